"""Planted transitions are found where they are, and nothing is found where there is none."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lensdepth.transition import find_crossing, find_transition

DEPTHS = np.arange(13)


def sigmoid_profile(
    location: float, width: float, *, n: int = 40, noise: float = 0.1, seed: int = 0, height=1.0
) -> Tensor:
    scale = width / (2 * math.log(9))
    mean = height / (1 + np.exp(-(DEPTHS - location) / scale))
    draws = np.random.default_rng(seed).normal(size=(n, len(DEPTHS)))
    return torch.from_numpy(mean + noise * draws)


@pytest.mark.parametrize("height", [1.0, -4.0])
@pytest.mark.parametrize(("location", "width"), [(3.2, 1.5), (6.0, 4.0), (9.5, 2.0)])
def test_a_planted_sigmoid_is_located(location: float, width: float, height: float) -> None:
    found = find_transition(sigmoid_profile(location, width, height=height), n_resamples=200)
    assert found.verdict == "transition"
    assert found.location == pytest.approx(location, abs=0.3)
    assert found.width == pytest.approx(width, rel=0.35)
    assert found.location_low <= found.location <= found.location_high
    assert found.change == pytest.approx(height, rel=0.1)


def test_the_interval_covers_the_planted_location() -> None:
    found = [
        find_transition(sigmoid_profile(6.3, 3.0, n=25, noise=0.4, seed=s), n_resamples=200)
        for s in range(40)
    ]
    covered = [f.location_low <= 6.3 <= f.location_high for f in found]
    assert sum(covered) >= 34


def test_a_perfect_step_is_placed_in_the_middle_of_its_gap() -> None:
    step = torch.from_numpy((DEPTHS >= 5).astype(float)).expand(8, -1)
    found = find_transition(step, n_resamples=50)
    assert found.location == pytest.approx(4.5, abs=0.02)
    assert found.width < 1


def test_noise_constants_and_straight_lines_have_no_transition() -> None:
    rng = np.random.default_rng(0)
    noise = [
        find_transition(
            torch.from_numpy(rng.normal(size=(20, 13))), n_resamples=100, seed=s
        ).verdict
        for s in range(30)
    ]
    assert noise.count("transition") <= 3
    flat = find_transition(torch.full((10, 13), 2.0), n_resamples=50)
    assert (flat.verdict, flat.p) == ("none", 1.0)
    line = torch.from_numpy(DEPTHS / 12 + 0.01 * rng.normal(size=(20, 13)))
    drift = find_transition(line, n_resamples=100)
    assert drift.verdict == "none"
    assert "drift" in drift.reason


def test_a_bump_is_not_called_a_transition() -> None:
    bump = torch.from_numpy(np.exp(-((DEPTHS - 6) ** 2) / 2)).expand(10, -1)
    assert find_transition(bump, n_resamples=50).verdict != "transition"


def test_one_prompt_cannot_tell_and_bad_profiles_are_refused() -> None:
    assert find_transition(sigmoid_profile(6, 2)[:1]).verdict == "cannot tell"
    with pytest.raises(ValueError, match="four or more"):
        find_transition(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="infinite"):
        find_transition(torch.full((5, 6), math.inf))
    with pytest.raises(ValueError, match="every one of the 5 units"):
        find_transition(torch.full((5, 6), math.nan))


def test_units_with_a_nan_are_left_out() -> None:
    profile = sigmoid_profile(6, 2)
    spoiled = torch.cat([profile, torch.full((1, 13), math.nan)])
    whole, partly = (find_transition(p, n_resamples=50) for p in (profile, spoiled))
    assert partly.n_units == 40
    assert partly.location == whole.location


def curves(at: float, *, n: int = 30) -> tuple[Tensor, Tensor]:
    second = sigmoid_profile(at, 2.0, n=n, noise=0.05)
    return 1 - second, second


def test_a_planted_crossing_is_found_between_its_depths() -> None:
    found = find_crossing(*curves(4.7), n_resamples=200)
    assert found.verdict == "crossing"
    assert found.depth == pytest.approx(4.7, abs=0.1)
    assert found.low <= found.depth <= found.high


def test_a_gap_where_both_are_zero_counts_by_its_middle() -> None:
    first = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]).expand(5, -1)
    second = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]).expand(5, -1)
    assert find_crossing(first, second, n_resamples=20).depth == 3.0
    linear = find_crossing(
        torch.tensor([[1.0, 0.75, 0.0]] * 2), torch.tensor([[0.0, 0.0, 0.25]] * 2)
    )
    assert linear.depth == pytest.approx(1.75)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ([1, 1, 1, 1], [0, 0, 0, 0], "prediction position never leads"),
        ([0, 0, 0, 0], [0, 1, 1, 1], "input position never leads"),
        ([0, 0, 1, 1], [1, 1, 0, 0], "before"),
        ([0, 0, 0, 0], [0, 0, 0, 0], "input position never leads"),
    ],
)
def test_curves_that_do_not_cross_say_why(first: list[int], second: list[int], why: str) -> None:
    a, b = (torch.tensor(x, dtype=torch.float32).expand(6, -1) for x in (first, second))
    found = find_crossing(a, b, n_resamples=50)
    assert found.verdict == "none"
    assert math.isnan(found.depth)
    assert why in found.reason


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_curves_of_a_crossing_leaves_none(seed: int) -> None:
    at = 2 + seed % 9
    first, second = curves(at)
    assert find_crossing(second, first, n_resamples=30, seed=seed).verdict == "none"


def test_transition_saves_and_loads(tmp_path) -> None:
    found = find_transition(sigmoid_profile(6, 2), name="a <b>", n_resamples=50)
    found.save(tmp_path / "t.safetensors")
    again = type(found).load(tmp_path / "t.safetensors")
    assert (again.name, again.location, again.verdict) == (
        found.name,
        found.location,
        found.verdict,
    )
    assert torch.equal(again.curve, found.curve)
    assert found.to_frame().loc[0, "n_units"] == 40
