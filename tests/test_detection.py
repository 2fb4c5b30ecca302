"""A small version of `benchmarks.detection`: the detector on models whose switch was planted."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.detection import N_LAYERS, Outcome, Planted, draw, outcomes, population

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Each kind of model once on each architecture."""
    rng = np.random.default_rng(0)
    models = [draw(index, seed=3) for index in range(12)]
    assert {(m.kind, m.architecture) for m in models} == {
        (kind, architecture)
        for kind in ("sharp", "spread", "copied", "deaf")
        for architecture in ("llama", "gpt2")
    }
    return [
        one
        for model in models
        for one in outcomes(model, population(model, tmp_path_factory.mktemp("m")), rng)
    ]


def test_planted_switches_are_located(found: list[Outcome]) -> None:
    with_switch = [one for one in found if one.kind in ("sharp", "spread")]
    assert np.mean([one.verdict == "transition" for one in with_switch]) > 0.9
    assert np.mean([abs(one.location - one.planted) <= 0.5 for one in with_switch]) > 0.9


def test_patching_raises_no_alarm_where_nothing_switches(found: list[Outcome]) -> None:
    without = [one for one in found if one.kind in ("copied", "deaf") and one.profile == "patching"]
    assert len(without) == 20
    assert not any(one.verdict == "transition" for one in without)


def test_spread_switches_are_wider(found: list[Outcome]) -> None:
    width = {
        kind: np.median([one.width for one in found if one.kind == kind])
        for kind in ("sharp", "spread")
    }
    assert width["spread"] > 1.5 * width["sharp"]


def test_a_sharp_switch_is_a_step_in_the_patched_model(tmp_path: Path) -> None:
    model = Planted(kind="sharp", architecture="gpt2", noise=0.15, layers=(7,) * 12, seed=1)
    whole = population(model, tmp_path)
    steps = (torch.arange(N_LAYERS + 1) > 7).double()
    assert whole.location == 7.5
    assert torch.equal(whole.profiles["patching"], steps.expand_as(whole.profiles["patching"]))
