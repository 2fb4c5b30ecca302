"""Steering where some words stand in one prompt only: these pairs are left out, and not the run."""

import logging

import pytest
import torch

from lensdepth.claims.evidence import Evidence, check_evidence
from lensdepth.model import DepthModel
from lensdepth.patching import patch_sweep
from lensdepth.steering import steering_sweep
from lensdepth.steering.labels import by_pair, steered
from lensdepth.tasks import Task, load_task
from lensdepth.tasks.told import on_which_pairs, reasons


@pytest.fixture(scope="module")
def task(trained: DepthModel) -> Task:
    """Every month begins two prompts or more, but for one pair at the end: only it has August."""
    frame = load_task("months", trained, n=200).to_frame()
    others = frame[~frame[["alpha", "corrupted_alpha"]].isin(["August"]).any(axis=1)][:60]
    alone = frame[(frame["alpha"] == "August") & frame["gamma"].isin(set(others["gamma"]))][:1]
    return load_task([*others.to_dict("records"), *alone.to_dict("records")], trained, n=None)


def test_one_word_costs_its_pair(
    trained: DepthModel, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    assert steered(task).tolist() == [True] * 60 + [False]
    with caplog.at_level(logging.WARNING):
        found = steering_sweep(trained, task, depths=[1, 2], scopes=("local",))
    assert "1 of 61 pairs are left out" in caplog.text
    assert "at the input position a label of row 60 has no other prompt" in caplog.text
    pairs = found.provenance.pairs
    assert (pairs["used"], pairs["alone"]) == (60, 1)
    assert reasons(pairs) == "1 with a label of no other prompt"
    same = steering_sweep(trained, task.select(slice(0, 60)), depths=[1, 2], scopes=("local",))
    assert torch.equal(found.efficacy("input"), same.efficacy("input"))


def test_claims_have_no_number_for_that_pair(trained: DepthModel, task: Task) -> None:
    every = list(range(trained.n_layers + 1))
    found = steering_sweep(trained, task, depths=every, scopes=("local",))
    check_evidence(Evidence(steering=found), trained.info, task, seed=0, caller="test")
    values = by_pair(found.efficacy("input").double().numpy(), found.positions, task)
    assert values.shape == (61, len(every))
    assert [bool(torch.from_numpy(row).isnan().all()) for row in values] == [False] * 60 + [True]


def test_pairs_left_out_may_leave_others_alone(trained: DepthModel) -> None:
    """June stands in one pair; without it February does, and then its own partners."""
    chain = ["January", "February", "June"]
    rows = [
        {"clean": f"{beta} months from {a} is", "corrupted": f"{beta} months from {b} is",
         "target": t, "foil": f, "input": a, "corrupted_input": b}
        for beta, a, b, t, f in (
            ("Two", chain[0], chain[1], "March", "April"),
            ("Three", chain[1], chain[2], "May", "September"),
        )
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"so it goes with all 2 pairs\. Every label needs two"):
        steering_sweep(trained, load_task(rows, trained, n=None))


def test_there_are_more_folds_where_few_leave_a_label_without_prompts(trained: DepthModel) -> None:
    """Two prompts a label: with three folds, a pair's two hold both of some label's."""
    months = ["January", "March", "May", "July", "September", "November"]
    frame = load_task("months", trained, n=None).to_frame()
    few = frame[frame["alpha"].isin(months) & frame["corrupted_alpha"].isin(months)
                & frame["beta"].isin([2, 4])].drop_duplicates(["alpha", "beta"])  # fmt: skip
    task = load_task(few, trained, n=None)
    found = steering_sweep(trained, task, depths=[1], scopes=("local",), n_folds=3)
    assert found.n_folds >= 3
    assert int(found.centroid_sizes.min()) >= 1


def test_preference_is_said_where_no_pair_is_left_out(trained: DepthModel) -> None:
    for keep, said in (("preferred", "On 8 of 8 pairs. Success is preference"), ("correct", "")):
        task = load_task("months", trained, n=8, keep=keep)  # type: ignore[arg-type]
        found = on_which_pairs(patch_sweep(trained, task, depths=[1]).provenance)
        assert " ".join(found).startswith(said)
        assert bool(found) == bool(said)
