"""Depths that are found: all that matter are, and they say what all depths say."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import (
    ablation_sweep,
    compare_order,
    dose_response,
    evaluate_claims,
    find_crossing,
    load_model,
    load_task,
    patch_sweep,
    steering_sweep,
)
from lensdepth.analyses import analysis
from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.figures import handovers
from lensdepth.model import DepthModel
from lensdepth.patching import grid
from lensdepth.sweep import adaptive
from lensdepth.sweep.adaptive import MOVES, Watched, between, coarse_grid, find_depths, pilot
from lensdepth.sweep.loop import Planned, run_sweep
from lensdepth.tasks.task import Task
from lensdepth.teaching import planted

pytestmark = pytest.mark.long


def found(
    curves: Float[Array, "curve depth"], lead: Float[Array, " depth"] | None = None
) -> list[int]:
    """The depths that are found along known curves, each of which is asked for once."""
    asked: list[int] = []

    def measure(depths: list[int]) -> dict[int, Watched]:
        asked.extend(depths)
        leads = np.zeros(curves.shape[1]) if lead is None else lead
        return {d: Watched(curves=curves[:, d], lead=float(leads[d])) for d in depths}

    depths = find_depths(measure, coarse_grid(curves.shape[1] - 1))
    assert sorted(asked) == depths
    return depths


def test_a_step_is_found_from_few_depths() -> None:
    assert coarse_grid(30) == [0, 5, 10, 15, 20, 25, 29, 30]
    step = (np.arange(31) > 22).astype(float)[None]
    assert found(step) == [0, 5, 10, 15, 20, 22, 23, 25, 29, 30]
    assert found(np.zeros((1, 31))) == coarse_grid(30)
    assert found(np.arange(31)[None] / 2) == list(range(31))


def test_the_last_change_of_the_lead_is_found_however_little_moves() -> None:
    flat = np.full((2, 31), 0.5)
    lead = np.where(np.arange(31) < 18, 0.06, -0.06)
    assert {17, 18} <= set(found(flat, lead))
    # A lead of less than LEADS on one side is none.
    assert found(flat, np.where(np.arange(31) < 18, 0.04, -0.06)) == coarse_grid(30)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=60))
def test_neighbours_of_a_gap_are_alike(values: list[float]) -> None:
    curve = np.array([values])
    depths = found(curve)
    for low, high in pairwise(depths):
        assert high - low == 1 or abs(values[high] - values[low]) <= MOVES
    assert not between({d: Watched(curves=curve[:, d]) for d in depths})


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> tuple[DepthModel, Task]:
    """A model of 24 blocks that moves its input in block 13, and its pairs."""
    folder = tmp_path_factory.mktemp("deep")
    model = load_model(planted.switch(folder / "model", n_layers=24, layer=13))
    pairs = [(a, (a + 1 + a % 3) % len(planted.INPUTS)) for a in range(len(planted.INPUTS))]
    path = planted.prompt_file(folder / "p.csv", pairs, list(range(12)), planted.WORDINGS[:2])
    return model, load_task(path, model, keep="correct")


def test_found_depths_say_what_all_depths_say(deep: tuple[DepthModel, Task]) -> None:
    model, task = deep
    few, every = patch_sweep(model, task), patch_sweep(model, task, depths="all")
    at = few.depths
    assert at.tolist() == few.provenance.settings["depths"]
    assert {13, 14} <= set(at.tolist())
    assert 2 * len(at) < len(every.depths) == 25
    # Every number is that of the whole sweep.
    torch.testing.assert_close(few.values, every.values[:, :, at], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        few.control_values, every.control_values[:, :, :, at], rtol=0, atol=1e-5
    )
    crossings = [find_crossing(profile, n_resamples=50) for profile in (few, every)]
    assert [(c.verdict, c.depth, c.between) for c in crossings] == [
        ("crossing", 13.5, (13, 14))
    ] * 2
    # Cut at the depths that both have, the two switches are one.
    assert compare_order(*crossings).same == 1.0


def test_no_pair_is_measured_twice_where_depths_are_found(
    deep: tuple[DepthModel, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, task = deep
    monkeypatch.setattr(adaptive, "PILOT", 10)
    assert len(range(len(task))[pilot(len(task))]) == 8
    runs: list[int] = []
    sweep: Any = run_sweep

    def counted(*given: Any, **named: Any) -> Any:
        *first, plan, coords = given

        def planned(rows: slice) -> Planned:
            made = plan(rows)
            runs.append(sum(int(run.there.sum()) for run in made.runs))
            return made

        return sweep(*first, planned, coords, **named)

    monkeypatch.setattr(grid, "run_sweep", counted)
    few = patch_sweep(model, task, controls=())
    assert sum(runs) == 2 * len(few.depths) * len(task)

    # A function is told the pairs of the whole task, so that none of a pilot's are taken.
    def whose(logits: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        return pairs.float()

    named = patch_sweep(model, task, controls=(), metric=whose, also=("logit_diff", "success"))
    assert named.depths.tolist() == few.depths.tolist()
    values = named.of(position="input")
    assert torch.equal(values, torch.arange(len(task)).float()[:, None].expand_as(values))
    torch.testing.assert_close(named.of("logit_diff"), few.of(), rtol=0, atol=1e-5)


def test_other_sweeps_take_the_depths_where_patching_moves(deep: tuple[DepthModel, Task]) -> None:
    model, task = deep
    patched = patch_sweep(model, task, depths="auto", controls=(), also=("success",))
    ablated = ablation_sweep(model, task)
    steered = steering_sweep(model, task, scopes=("suffix",))
    dosed = dose_response(model, task, factors=(2.0,), angles=(), depths="auto")
    for one in (ablated, steered, dosed):
        assert one.depths.tolist() == patched.depths.tolist()
        assert one.provenance.settings["depths"] == patched.depths.tolist()
        assert one.provenance.settings["depths_found"]
    few = patched.depths.tolist()
    whole = steering_sweep(model, task, scopes=("suffix",), depths="all")
    assert whole.depths.tolist() == list(range(model.n_layers + 1))
    at: dict[str, Any] = {"scope": "suffix", "edit": "full", "position": "prediction"}
    # A sustained run reaches every later depth, measured or not.
    torch.testing.assert_close(steered.of("success", **at), whole.of("success", **at)[:, few])


def test_what_is_unmeasured_is_shown_as_such(deep: tuple[DepthModel, Task]) -> None:
    model, task = deep
    few = patch_sweep(model, task, controls=())
    curves: Any = few.plot().data
    (line,) = [t for t in curves if t.mode == "lines+markers" and t.name == "input position"]
    assert list(line.x) == few.depths.tolist()
    cells: Any = few.heatmap().data
    rows = cells[0].z
    blank = [depth for depth, row in enumerate(rows) if np.isnan(row).all()]
    assert blank == [d for d in range(25) if d not in few.depths.tolist()]

    assert f"{len(few.depths)} of 25 depths were measured" in " ".join(
        analysis("patch").sentences(few)
    )


def test_the_depths_are_checked_before_anything_runs(deep: tuple[DepthModel, Task]) -> None:
    model, task = deep
    with pytest.raises(ValueError, match="depths='auto' follows curves of the residual stream"):
        patch_sweep(model, task, stream="attn_out", depths="auto")
    with pytest.raises(ValueError, match="'auto' or 'all' or None, got 'some'"):
        patch_sweep(model, task, depths="some")  # type: ignore[arg-type]
    assert len(patch_sweep(model, task, stream="attn_out", controls=(), also=()).depths) == 24


def test_claims_at_found_depths_are_those_at_all_depths(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("claims")
    path = planted.switch(folder / "model", n_layers=20, layer=11, noise=0.02, seed=3)
    model = load_model(path)
    pairs = [(a, (a + k) % 12) for a in range(12) for k in (1, 5)]
    file = planted.prompt_file(folder / "p.csv", pairs, list(range(12)), planted.WORDINGS)
    task = load_task(file, model, keep="correct")
    few, every = (evaluate_claims(model, task, twins=0, depths=depths) for depths in (None, "all"))
    assert [(one.claim, one.verdict) for one in few.claims] == [
        (one.claim, one.verdict) for one in every.claims
    ]
    for found, whole in zip(few.findings, every.findings, strict=True):
        assert (found.effect is None) == (whole.effect is None), found.key
        if found.effect is not None and whole.effect is not None:
            assert found.effect == pytest.approx(whole.effect, abs=0.05), found.key
    measured = ~few.handover.isnan()
    assert int(measured.sum()) < 15
    assert torch.allclose(few.handover[measured], every.handover[measured])
    lines: Any = handovers([few], ["few"]).data
    assert len(lines[-1].x) == int(measured.sum())
    lean = complete_evidence(model, task, lean=True)
    assert lean.steering is not None
    found = measured.nonzero()[:, 0].tolist()
    assert lean.steering.depths.tolist() == found
    for other in (lean.ablation, lean.contrasts):
        assert other is not None
        assert 5 < other.depths.min() <= 12, "the late ones, and what leads to them"
        assert {*other.depths.tolist()} < {*found}
    with pytest.raises(ValueError, match="ablation of the evidence is of depths"):
        evaluate_claims(
            model,
            task,
            twins=0,
            evidence=replace(lean, ablation=ablation_sweep(model, task, depths="all")),
        )
