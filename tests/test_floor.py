"""The numerical floor: runs that change nothing lie below it, in both dtypes; edits do not."""

from dataclasses import replace

import pytest
import torch

from lensdepth import load_model, load_task, metrics, patch_sweep
from lensdepth.sweep.readings import SHARES

ALSO = ("kl", "target_logit", "answer_probability", "success", "js")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("n", [1, 12])
def test_self_patches_lie_below_the_floor(dtype: str, n: int) -> None:
    model = load_model("tiny", dtype=dtype)
    task = load_task("months", model, n=n)
    where = {"positions": ("prediction", -2, -3), "also": ALSO}
    still = patch_sweep(model, task, edit="self", **where).outcome  # type: ignore[arg-type]
    moved = patch_sweep(model, task, **where).outcome  # type: ignore[arg-type]
    for name, floor in zip(still.metrics, still.floor, strict=True):
        assert (floor == 0) == (name in SHARES)
        if floor:
            # An exact zero is none; of many numbers below the floor none is above it.
            assert still.change(name).nan_to_num(0).abs().max() <= floor
    at = still.metrics.index("logit_diff")
    small, large = (1e-7, 1e-4) if dtype == "float32" else (1e-3, 1.0)
    assert small < still.floor[at] < large
    assert moved.change()[0].abs().max() > 10 * moved.floor[at]


def test_the_floor_is_the_largest_change_where_nothing_changes() -> None:
    """By hand: a prompt alone and among others."""
    model = load_model("tiny", dtype="bfloat16")
    task = load_task("months", model, n=8)
    profile = patch_sweep(model, task, depths=[1])
    assert task.corrupted_tokens is not None
    assert task.target_ids is not None
    assert task.foil_ids is not None
    alone = model.logits(task.corrupted_tokens[:1])[:, 0]
    diff = metrics.logit_diff(alone, task.target_ids[:1], task.foil_ids[:1])
    assert (diff - profile.base_values[0, :1]).abs().item() <= profile.outcome.floor[0]
    assert profile.outcome.floor_of("transferred") == pytest.approx(
        profile.outcome.floor[0]
        / (profile.source_values[0] - profile.base_values[0]).abs().median().item()
    )


def test_pairs_that_differ_by_rounding_have_no_fraction() -> None:
    model = load_model("tiny")
    outcome = patch_sweep(model, load_task("months", model, n=4), depths=[1]).outcome
    way = (outcome.source[0] - outcome.base[0]).abs()
    coarse = replace(outcome, floor=(float(way.median()), *outcome.floor[1:]))
    gone = way <= coarse.floor[0]
    assert 0 < int(gone.sum()) < 4
    missing = coarse.transferred()[0, :, 0, 0, 0].isnan()
    assert torch.equal(missing, gone)
    assert torch.equal(coarse.target_gain[0, :, 0, 0, 0].isnan(), gone)
