"""What goes through a model, counted; a rehearsal counts what the analysis itself does."""

import pytest
import torch

from lensdepth import ablation_sweep, load_model, load_task, patch_sweep, plan_report
from lensdepth.model import DepthModel
from lensdepth.sweep.adaptive import Watched, find_depths
from lensdepth.tally import counting, drawn_states, tallied
from lensdepth.tasks import Task


@pytest.fixture(scope="module")
def model() -> DepthModel:
    return load_model("tiny")


@pytest.fixture(scope="module")
def task(model: DepthModel) -> Task:
    return load_task("months", model, n=6, keep="all")


@pytest.mark.parametrize("sweep", [patch_sweep, ablation_sweep])
def test_a_rehearsal_counts_what_goes_through(sweep, model: DepthModel, task: Task):
    sweep(model, task)  # what is found out about a model once is no part of either
    with tallied() as real:
        sweep(model, task)
    with tallied(rehearsed=True) as rehearsed:
        sweep(model, task)
    for name in ("rows", "reads", "runs", "n_bytes"):
        assert getattr(rehearsed, name) == getattr(real, name) > 0, name
    assert counting() is None


def test_rows_by_hand(model: DepthModel, task: Task):
    """One position and one depth without controls: the base run, and what is behind the edit."""
    depth, n = 1, len(task)
    with tallied(rehearsed=True) as tally:
        patch_sweep(model, task, depths=[depth], positions=["prediction"], also=(), controls=())
    # The self-patch and the floor put the state back once more each, on the same base run; the last
    # token goes through the blocks from the depth on.
    base = int(task.corrupted_tokens.lengths.sum()) * model.n_layers  # type: ignore[union-attr]
    assert tally.rows == base + 3 * n * (model.n_layers - depth)


def test_states_are_those_of_the_tokens_up_to_them():
    tokens = torch.tensor([[5, 6, 7], [5, 6, 8]])
    states = drawn_states(tokens, torch.tensor([[1, 2], [1, 2]]), 4)
    assert torch.equal(states[0, 0], states[1, 0])
    assert not torch.equal(states[0, 1], states[1, 1])


def test_a_search_is_led_to_the_depths_that_were_found():
    asked: list[list[int]] = []

    def flat(depths: list[int]) -> dict[int, Watched]:
        asked.append(depths)
        return {depth: Watched(curves=torch.zeros(1).double().numpy()) for depth in depths}

    first = [0, 4, 8]
    with tallied(rehearsed=True, depths=[0, 4, 5, 6, 8]):
        assert find_depths(flat, first) == [0, 4, 5, 6, 8]
    assert asked == [[0, 4, 8], [6], [5]]
    assert find_depths(flat, first) == first


def test_a_plan_names_each_section_that_the_task_can_have(model: DepthModel, task: Task):
    plan = plan_report(model, task, sections=["ablation"])
    assert plan.sections == ("lens", "patch", "ablation")
    assert all(took > 0 for took in plan.expected)
    assert plan.seconds == pytest.approx(sum(plan.expected))
    assert plan.told.startswith("about ")
    assert "first page after" in plan.told
    with tallied() as real:
        ablation_sweep(model, task)
    assert dict(zip(plan.sections, plan.runs, strict=True))["ablation"] == real.runs
