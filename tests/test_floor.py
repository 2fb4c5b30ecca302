"""The numerical floor: runs that change nothing lie below it, in both dtypes; edits do not."""

from dataclasses import replace

import pytest
import torch

from lensdepth import (
    attribute_logits,
    intervene,
    load_model,
    load_task,
    metrics,
    patch_components,
    patch_sweep,
    shapley_depths,
)
from lensdepth.explorer.panels import numbers
from lensdepth.sweep.readings import SHARES
from lensdepth.sweep.told import column_floors, floors
from lensdepth.telling.numbers import below

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


PROMPTS = ("Two months from May is", "Two months from June is")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_intervention_knows_where_rounding_begins(dtype: str) -> None:
    """A stretch by 1 changes nothing but rounding; a swap at depth L changes the answer."""
    model = load_model("tiny", dtype=dtype)
    last = model.n_layers
    still = intervene(model, *PROMPTS, depth=last, scopes=("local",), edit="scale", strength=1.0)
    moved = intervene(model, *PROMPTS, depth=last, scopes=("local",))
    small, large = (1e-8, 1e-4) if dtype == "float32" else (1e-4, 2.0)
    assert small < still.floor["logit_diff"] < large
    assert abs(still.effect[2].item()) <= still.floors["effect"]
    assert abs(still.transferred[2].item()) <= still.floors["transferred"]
    shown = still.number("local", "effect")
    assert still.effect[2] == 0 or shown.is_rounding
    assert str(moved.number("local", "transferred")) == "1.00"
    assert floors(still) == {"floor": still.floors}
    # Without a source there is no way, and no share of it.
    alone = intervene(model, PROMPTS[0], depth=1, edit="scale")
    assert set(alone.floors) == {"effect", "kl"}


def test_tables_of_the_explorer_write_rounding_as_below_the_floor() -> None:
    model = load_model("tiny")
    found = intervene(model, *PROMPTS, depth=model.n_layers, scopes=("local",))
    coarse = replace(found, floor=dict.fromkeys(found.floor, 2 * float(found.kl[2])))
    table = numbers(coarse.to_frame(), column_floors(coarse))
    kl = table["head"].index("kl")
    assert table["rows"][0][kl] == "0.00"  # exactly
    assert table["rows"][2][kl] == below(coarse.floor["kl"])
    assert numbers(found.to_frame())["rows"][2][kl] != table["rows"][2][kl]
    diff = table["head"].index("logit_diff")  # a level has no floor
    assert table["rows"][0][diff] == numbers(found.to_frame())["rows"][0][diff]


def test_values_and_parts_have_the_floor_of_what_they_are_made_of() -> None:
    model = load_model("tiny", dtype="bfloat16")
    task = load_task("months", model, n=6)
    shapley = shapley_depths(model, task, depths=[1, 2])
    assert 1e-3 < shapley.floor < 2.0
    assert floors(shapley) == {"floor": {"logit_diff": shapley.floor}}
    parts = attribute_logits(model, task)
    assert parts.floor >= 2 * float(parts.residual.abs().max())
    assert column_floors(parts)["value"] == column_floors(parts)["low"] == parts.floor


def test_the_circuit_figure_does_not_scale_to_rounding() -> None:
    model = load_model("tiny")
    circuit = patch_components(model, load_task("months", model, n=6), ["MLP0"], n_random=2)
    floor = 10 * float(circuit.outcome.change().abs().max())
    raised = replace(circuit.outcome, floor=(floor,) * len(circuit.outcome.metrics))
    coarse = replace(circuit, outcome=raised)
    drawn = coarse.plot().to_plotly_json()
    assert all("<" in text for text in drawn["data"][0]["customdata"])
    first = "transferred" if coarse.judged == coarse.outcome.metrics[0] else "brought"
    assert drawn["layout"]["xaxis"]["range"][1] >= 10 * coarse.floor_of(first)
    assert "range" not in circuit.plot().to_plotly_json()["layout"]["xaxis"]
