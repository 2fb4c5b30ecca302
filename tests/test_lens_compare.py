"""Lenses of different models on one axis, bars of one cell, and what is laid over a map."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lensdepth import DepthModel, load_model, logit_lens
from lensdepth.heatmaps import add_level, outline
from lensdepth.lens import LensComparison, compare_lenses
from lensdepth.plotting import Zone

PROMPTS = ["The capital of France is", "The capital of Spain is", "The capital of Italy is"]


@pytest.fixture(scope="module")
def compared(trained: DepthModel) -> LensComparison:
    lenses = [logit_lens(model, PROMPTS) for model in (trained, load_model("calendar"))]
    return compare_lenses(*lenses, names=["tiny", "calendar"])


def test_lenses_of_different_depths_share_an_axis(
    compared: LensComparison, trained: DepthModel
) -> None:
    assert compared.n_layers.tolist() == [3, 10]
    assert compared.relative_depth[0, :4].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert compared.relative_depth[0, 4:].isnan().all()
    assert compared.relative_depth[1, -1] == 1
    lens = logit_lens(trained, PROMPTS)
    torch.testing.assert_close(compared.kl[0, :, :4], lens.kl[..., 0].T)
    # At its own last depth every lens is the model.
    for i, n in enumerate(compared.n_layers.tolist()):
        assert compared.kl[i, :, n].abs().max() < 1e-5
        assert (compared.top1_agreement[i, :, n] == 1).all()
    frame = compared.to_frame()
    assert len(frame) == 3 * 4 + 3 * 11
    assert frame.groupby("lens")["relative_depth"].max().tolist() == [1, 1]


def test_it_draws_saves_and_loads(compared: LensComparison, tmp_path: Path) -> None:
    figure: Any = compared.plot()
    lines = [t for t in figure.data if t.name == "calendar" and t.customdata is not None]
    assert len(lines) == 3
    assert max(lines[0].x) == 1
    assert lines[0].customdata[0].startswith("0% of the depth")
    compared.save(tmp_path / "both.safetensors")
    again = LensComparison.load(tmp_path / "both.safetensors")
    assert again.to_frame().equals(compared.to_frame())


def test_one_lens_is_nothing_to_compare(trained: DepthModel) -> None:
    lens = logit_lens(trained, PROMPTS[0])
    with pytest.raises(ValueError, match="two lenses or more and a name for each"):
        compare_lenses(lens, names=["one"])
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare_lenses(lens, lens, names=["one"])


def test_bars_are_those_of_the_cell(trained: DepthModel) -> None:
    lens = logit_lens(trained, PROMPTS[0], positions="all")
    figure: Any = lens.plot_top(position=2, depth=1, k=3)
    torch.testing.assert_close(
        torch.tensor(figure.data[0].x), lens.top_log_probs[1, 0, 2, :3].exp(), atol=1e-6, rtol=0
    )
    last: Any = lens.plot_top()
    assert last.data[0].x[0] == pytest.approx(float(lens.top_log_probs[-1, 0, -1, 0].exp()))
    for wrong in ({"position": 99}, {"position": -99}, {"depth": 9}):
        with pytest.raises(ValueError, match="there is no cell at token"):
            lens.plot_top(**wrong)


def test_zones_and_frames_lie_over_a_map(trained: DepthModel) -> None:
    figure: Any = logit_lens(trained, PROMPTS[0], positions="all").plot_tokens()
    add_level(figure, Zone(name="<b>switch</b>", low=1.2, at=1.5, high=1.9))
    outline(figure, rows=(3, 1), columns=(2, 4))
    band, line, frame = figure.layout.shapes
    assert (band.y0, band.y1, line.y0) == (1.2, 1.9, 1.5)
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (1.5, 4.5, 0.5, 3.5)
    (note,) = [a for a in figure.layout.annotations if a.name == "zone"]
    assert "&lt;b&gt;switch" in note.text
