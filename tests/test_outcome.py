"""Numbers under labels: selecting, changes, fractions and frames against what is done by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lensdepth.outcome import Effects, axes_in_order
from lensdepth.storage import load_result, save_result
from lensdepth.telling.depths import depth_columns

COORDS = {"edit": ("full", "norm"), "depth": (0, 2, 5), "position": ("input", "-1")}


@pytest.fixture
def effects() -> Effects:
    """Two metrics of four pairs; each number says where it stands."""
    values = torch.arange(2 * 2 * 4 * 3 * 2, dtype=torch.float32).view(2, 2, 4, 3, 2)
    values[0, 1, 3, 2, 1] = torch.nan
    return Effects(
        metrics=("logit_diff", "kl"),
        coords=COORDS,
        values=values,
        base=torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]]),
        source=torch.tensor([[3.0, 4.0, 5.0, 4.0], [1.0, 1.0, 1.0, 1.0]]),
    )


def test_axes_stand_in_one_order(effects: Effects) -> None:
    assert effects.dims == ("metric", "edit", "pair", "depth", "position")
    assert axes_in_order(("scope", "head", "dose")) == ("scope", "dose", "pair", "head")


def test_labels_choose_numbers(effects: Effects) -> None:
    chosen = effects.of("kl", edit="norm", depth=2)
    assert chosen.tolist() == effects.values[1, 1, :, 1].tolist()
    assert effects.of(position="-1").shape == (2, 4, 3)
    fewer = effects.at(position="input")
    assert fewer.dims == ("metric", "edit", "pair", "depth")
    assert fewer.of("kl", edit="full").tolist() == effects.values[1, 0, :, :, 0].tolist()
    with pytest.raises(ValueError, match="edit 'half' was not made; there are full, norm"):
        effects.of(edit="half")
    with pytest.raises(ValueError, match="metric 'js' was not read; there are logit_diff, kl"):
        effects.of("js")


def test_changes_and_fractions_are_by_pair(effects: Effects) -> None:
    pair = 2
    found = effects.values[0, 0, pair]
    assert effects.change()[0, pair].tolist() == (found - 3.0).tolist()
    assert effects.transferred()[0, pair].tolist() == ((found - 3.0) / 2.0).tolist()
    assert effects.transferred()[:, 3].isnan().all()  # its runs are alike
    assert torch.equal(effects.change("kl"), effects.values[1])


def test_a_frame_has_a_row_a_number(effects: Effects) -> None:
    angle = torch.arange(12.0).view(4, 3)
    frame = effects.to_frame("resid_pre", 5, {"angle": ("pair depth", angle)})
    assert len(frame) == effects.values[0].numel() - 1  # what a pair does not have is no row
    row = frame[
        (frame.edit == "norm") & (frame.pair == 1) & (frame.depth == 5) & (frame.position == "-1")
    ]
    assert row["kl"].item() == effects.values[1, 1, 1, 2, 1]
    assert row["angle"].item() == angle[1, 2]
    assert row["relative_depth"].item() == 1.0
    assert (row["base_logit_diff"].item(), row["source_logit_diff"].item()) == (2.0, 4.0)
    assert row["effect"].item() == row["logit_diff"].item() - 2.0
    inside = effects.to_frame("attn_out", 6)
    assert set(zip(inside["layer"], inside["depth"], strict=True)) == {(0, 1), (2, 3), (5, 6)}


def test_mean_frames_are_means_of_changes(effects: Effects) -> None:
    frame = effects.mean_frame("mlp_out", 6, units=())
    row = frame[(frame.edit == "full") & (frame.layer == 2) & (frame.position == "input")]
    assert row["effect"].item() == pytest.approx(effects.change()[0, :, 1, 0].mean().item())
    # Three pairs are too few for an interval.
    assert np.isnan([row["low"].item(), row["high"].item()]).all()


@given(st.integers(1, 40), st.sampled_from(("resid_pre", "resid_mid", "resid_post", "z")))
def test_a_depth_is_the_state_behind(n_layers: int, stream: str) -> None:
    places = np.arange(n_layers)
    columns = depth_columns(places, n_layers, stream=stream)
    behind = places if stream == "resid_pre" else places + 1
    assert columns["depth"].tolist() == behind.tolist()
    assert columns["relative_depth"].tolist() == (behind / n_layers).tolist()
    assert ("layer" in columns) == (stream != "resid_pre")


def test_numbers_without_their_labels_are_refused(effects: Effects) -> None:
    with pytest.raises(ValueError, match="values must have the axes metric, edit, pair, depth"):
        Effects(
            metrics=effects.metrics,
            coords=COORDS,
            values=effects.values[:, :, :, :2],
            base=effects.base,
            source=effects.source,
        )


def test_effects_are_saved_whole(effects: Effects, tmp_path: Path) -> None:
    save_result(effects, tmp_path / "e.safetensors")
    again = load_result(Effects, tmp_path / "e.safetensors")
    assert again.coords == COORDS
    torch.testing.assert_close(again.values, effects.values, equal_nan=True)
