"""Pairs one by one, against planted models, the sweeps that they come from, and reckoning by
hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lensdepth import (
    DepthModel,
    PairTable,
    find_crossing,
    load_model,
    load_task,
    pair_table,
    patch_sweep,
)
from lensdepth.analyses import analysis
from lensdepth.pairs.table import NORMAL, NORMAL_MEAN
from lensdepth.provenance import Backend
from lensdepth.teaching import planted

N = len(planted.INPUTS)


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> PairTable:
    return pair_table(trained, load_task("months", trained, n=25))


def test_a_pair_of_another_planted_block_is_the_farthest_from_the_median(
    tmp_path: Path, backend: Backend
) -> None:
    """Inputs 0 and 1 are moved by block 4, all others by block 1; pairs are of one kind."""
    blocks = {i: 4 if i < 2 else 1 for i in range(N)}
    folder = planted.switch(tmp_path / "m", n_layers=6, layer=blocks)
    model = load_model(folder, backend=backend)
    pairs = [(0, 1), *((i, i + 1) for i in range(2, N - 1))]
    path = planted.prompt_file(tmp_path / "p.csv", pairs, list(range(N)))
    found = pair_table(model, load_task(path, model))
    assert found.crossing.tolist() == [4.5, *[1.5] * (len(pairs) - 1)]
    assert found.right.all()
    frame = found.to_frame().sort_values("distance", ascending=False)
    assert frame.pair.iloc[0] == 0
    assert analysis("pairs").summary(found)["outliers"] == [0]
    # Behind block 1 the last token's state decides all other pairs, and nothing in this one.
    assert found.depth == 2
    torch.testing.assert_close(found.transferred[1:], torch.ones(len(pairs) - 1))
    assert float(found.transferred[0].abs()) < 1e-4


def test_wrong_pairs_are_told_from_right_ones(tmp_path: Path, backend: Backend) -> None:
    """A model that is deaf to its input answers output 0: right nowhere, preferred nowhere."""
    model = load_model(planted.deaf(tmp_path / "m", n_layers=4), backend=backend)
    pairs = [(i, (i + 1) % N) for i in range(N)]
    path = planted.prompt_file(tmp_path / "p.csv", pairs, list(range(N)))
    found = pair_table(model, load_task(path, model))
    assert not found.right.any()
    assert found.crossing.isnan().all()
    assert "none crosses by itself" in analysis("pairs").sentences(found)[0]


def test_numbers_are_those_of_the_sweeps(trained: DepthModel, months: PairTable) -> None:
    task = load_task("months", trained, n=25)
    profile = patch_sweep(trained, task)
    own = find_crossing(profile).pairs.depth
    torch.testing.assert_close(months.crossing, own, equal_nan=True)
    at = months.depth
    effects = profile.of("effect", position="prediction", depth=at)
    torch.testing.assert_close(months.effect, effects, atol=1e-4, rtol=1e-4)
    norms = [
        trained.residual_stream(list(prompts)).resid[at, :, 0].norm(dim=-1)
        for prompts in (task.clean, task.corrupted or ())
    ]
    torch.testing.assert_close(months.norm_ratio, norms[0] / norms[1])
    right = load_task("months", trained, n=25, keep="correct")
    assert int(months.right.sum()) == len(right)


def test_distance_is_the_largest_in_robust_deviations(months: PairTable) -> None:
    crossing = torch.tensor([1.0, 2.0, 3.0, 4.0, float("nan")])
    ratio = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0])
    effect = torch.zeros(5)
    few = {
        "corrupted": months.corrupted[:5], "targets": months.targets[:5],
        "foils": months.foils[:5], "right": months.right[:5], "preferred": months.preferred[:5],
        "transferred": months.transferred[:5],
    }  # fmt: skip
    table = replace(months, crossing=crossing, norm_ratio=ratio, effect=effect, **few)
    # Median 2.5, distances 1.5, 0.5, 0.5, 1.5: their median is 1. Of the ratios' logarithms the
    # median distance is 0, and the mean one a fifth of log 2. The effects have no spread.
    by_crossing = [1.5 / NORMAL, 0.5 / NORMAL, 0.5 / NORMAL, 1.5 / NORMAL]
    expected = torch.tensor([*by_crossing, 5 / NORMAL_MEAN])
    torch.testing.assert_close(table.distance, expected)


def test_plain_prompts_and_depths_that_are_not_there_are_refused(trained: DepthModel) -> None:
    task = load_task("months", trained, n=5)
    with pytest.raises(ValueError, match=r"pair_table: depth must lie in 0\.\.\.3, got 4"):
        pair_table(trained, task, depth=4)
    plain = replace(
        task, corrupted=None, target=None, foil=None, target_ids=None, foil_ids=None,
        corrupted_tokens=None,
    )  # fmt: skip
    with pytest.raises(ValueError, match="plain prompts alone"):
        pair_table(trained, plain)


def test_the_figure_has_a_dot_for_each_pair(months: PairTable) -> None:
    traces = months.plot().to_dict()["data"]
    rows = [row for trace in traces for row in trace["meta"]["pairs"]]
    assert sorted(rows) == list(range(25))
    effects = {row: y for t in traces for row, y in zip(t["meta"]["pairs"], t["y"], strict=True)}
    assert [effects[i] for i in range(25)] == pytest.approx(months.effect.tolist())
