"""Planted transitions are found where they are, and nothing is found where there is none."""

import math

import numpy as np
import pytest
import results
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lensdepth.transition import (
    compare_definitions,
    compare_order,
    compare_widths,
    correct_many,
    find_change_point,
    find_commitment,
    find_crossing,
    find_transition,
)
from lensdepth.transition.crossing import _crossing
from lensdepth.transition.modes import find_modes
from lensdepth.transition.pairs import on_the_way
from lensdepth.units import Grouping

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
    # A switch takes a quarter of the depth at most.
    assert found.verdict == ("transition" if width <= 3 else "rise")
    assert found.location == pytest.approx(location, abs=0.3)
    assert found.width == pytest.approx(width, rel=0.35)
    assert found.location_low <= found.location <= found.location_high
    assert found.change == pytest.approx(height, rel=0.1)


def test_the_width_of_a_mean_of_few_units_is_covered() -> None:
    """Eight steps around depth 6, normally spread: so few leave little of their spread."""
    truth = find_transition(steps(4000, np.random.default_rng(0)), n_resamples=2).width
    rng, covered = np.random.default_rng(1), 0
    for _ in range(40):
        found = find_transition(steps(8, rng), n_resamples=20)
        covered += found.width_low <= truth <= found.width_high
    # By draws about the mean it is 87 %.
    assert covered / 40 >= 0.92


def steps(n: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy((6 + 1.5 * rng.normal(size=(n, 1)) <= DEPTHS).astype(float))


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
    assert find_transition(sigmoid_profile(6, 2)[:1]).verdict == "too few"
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


def test_where_no_answer_changes_hands_the_larger_part_leads() -> None:
    """Success is 0 at both positions over depths 2 to 6; what they move changes order after 4."""
    depths = np.arange(9.0)
    first, second = (np.tile(x, (8, 1)).astype(float) for x in (depths < 2, depths > 6))
    falls = np.array([1, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.1, 0.0])
    moved = np.stack([np.tile(falls, (8, 1)), np.tile(1 - falls, (8, 1))])
    found = _crossing(
        first, second, depths, moved=moved, units=(), n_resamples=50, level=0.95, seed=0
    )
    assert (found.verdict, found.between) == ("crossing", (4.0, 5.0))
    assert found.depth == pytest.approx(4.5)
    bare = _crossing(first, second, depths, units=(), n_resamples=50, level=0.95, seed=0)
    assert bare.verdict == "gap"  # of bare curves it is not known that both move a part


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


def test_curves_that_change_places_twice_are_no_handover() -> None:
    first = torch.tensor([0.1, 0.2, 0.9, 0.2, 0.0]).expand(6, -1)
    second = torch.tensor([0.5, 0.5, 0.5, 0.6, 1.0]).expand(6, -1)
    found = find_crossing(first, second, n_resamples=50)
    assert found.verdict == "cannot tell"
    assert "more than once" in found.reason


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


# ---------------------------------------------------------------- nulls


@pytest.mark.parametrize("drift", [DEPTHS / 12, (DEPTHS / 12) ** 2, 1 - (DEPTHS / 12) ** 2])
def test_a_smooth_drift_is_no_transition(drift: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    found = [
        find_transition(
            torch.from_numpy(drift + 0.3 * rng.normal(size=(20, 13))), n_resamples=99, seed=seed
        ).verdict
        for seed in range(40)
    ]
    assert found.count("transition") <= 2
    exact = find_transition(torch.from_numpy(np.tile(drift, (8, 1))), n_resamples=99)
    assert exact.verdict in ("none", "rise")


def test_noise_that_neighbouring_depths_share_raises_no_alarm() -> None:
    """A walk that every prompt takes by itself has no order that prompts agree on."""
    rng = np.random.default_rng(2)
    verdicts = [
        find_transition(
            torch.from_numpy(rng.normal(size=(30, 13)).cumsum(1)), n_resamples=99, seed=seed
        ).verdict
        for seed in range(40)
    ]
    assert verdicts.count("transition") <= 4


def test_a_step_passes_both_nulls() -> None:
    found = find_transition(sigmoid_profile(6, 1.0, noise=0.3), n_resamples=199)
    assert found.p_flat == 0.005
    assert found.p_wide == pytest.approx(0.005, abs=0.005)


def test_what_the_first_block_does_is_no_switch_along_the_depth() -> None:
    copied = torch.from_numpy((DEPTHS >= 1).astype(float)).expand(20, -1)
    found = find_transition(copied, n_resamples=99)
    assert found.verdict == "none"
    assert "by the first depth after the embedding" in found.reason


def test_curves_that_start_high_plateau_or_bend_back() -> None:
    rng = np.random.default_rng(3)
    noise = 0.05 * rng.normal(size=(20, 13))
    falling = find_transition(torch.from_numpy(5.0 - 4 * (DEPTHS >= 8) + noise), n_resamples=99)
    assert falling.verdict == "transition"
    assert falling.location == pytest.approx(7.5, abs=0.1)
    assert falling.change == pytest.approx(-4, abs=0.1)
    overshoot = (DEPTHS >= 5) + 0.4 * np.exp(-((DEPTHS - 6) ** 2))
    found = find_transition(torch.from_numpy(overshoot + noise), n_resamples=99)
    assert found.verdict == "transition"
    assert found.location == pytest.approx(4.7, abs=0.4)
    two = find_transition(
        torch.from_numpy(((DEPTHS >= 4) & (DEPTHS < 8)).astype(float) + noise), n_resamples=99
    )
    assert two.verdict != "transition"


def test_holm_corrects_many_profiles_by_hand() -> None:
    strong = find_transition(sigmoid_profile(6, 2), n_resamples=99)
    assert strong.p == 0.01
    weak = [find_transition(sigmoid_profile(6, 2), n_resamples=99) for _ in range(5)]
    corrected = correct_many([strong, *weak])
    # Six tests at p = 0.01 each: all become 0.06.
    assert [round(one.p, 6) for one in corrected] == [0.06] * 6
    assert {one.verdict for one in corrected} == {"cannot tell"}
    assert "after correction for 6 profiles" in corrected[0].reason
    assert correct_many([strong, strong])[0].verdict == "transition"
    assert correct_many([]) == []


# ---------------------------------------------------------------- other definitions


def test_a_change_point_is_the_best_cut_by_exhaustion() -> None:
    profile = sigmoid_profile(4.6, 2.0, noise=0.2)
    mean = profile.mean(0).numpy()
    left = [mean[:k].var() * k + mean[k:].var() * (13 - k) for k in range(1, 13)]
    found = find_change_point(profile, n_resamples=99)
    assert found.location == np.argmin(left) + 0.5
    assert found.verdict == "change"
    assert found.low <= found.location <= found.high
    assert found.gain == pytest.approx(1 - min(left) / (mean.var() * 13))
    last = float(found.depths[-1])
    assert found.to_frame().relative_location[0] == pytest.approx(found.location / last)
    deeper = find_change_point(profile, n_layers=int(last) + 4, n_resamples=19)
    assert deeper.to_frame().relative_location[0] == pytest.approx(found.location / (last + 4))
    with pytest.raises(ValueError, match="n_layers must be the last depth"):
        find_change_point(profile, n_layers=2)


def test_several_profiles_are_cut_together_and_count_alike() -> None:
    both = find_change_point(
        {
            "small": sigmoid_profile(6.5, 0.5, noise=0.1),
            "huge": sigmoid_profile(6.5, 0.5, noise=0.1, height=1000.0, seed=1),
        },
        n_resamples=49,
    )
    assert both.names == ("small", "huge")
    assert both.location == 6.5
    flat = find_change_point({"flat": torch.ones(6, 6)}, n_resamples=19)
    assert (flat.verdict, flat.gain) == ("cannot tell", 0.0)
    noise = find_change_point(
        torch.from_numpy(np.random.default_rng(0).normal(size=(20, 13))), n_resamples=99
    )
    assert noise.p > 0.05
    assert find_change_point(sigmoid_profile(6, 2)[:1]).verdict == "too few"
    with pytest.raises(ValueError, match="there is no profile"):
        find_change_point({})
    with pytest.raises(ValueError, match="same depths"):
        find_change_point({"a": torch.ones(3, 6), "b": torch.ones(3, 7)})


def test_commitment_is_the_start_of_the_last_unbroken_run() -> None:
    agrees = torch.tensor(
        [
            [1.0, 1.0, 1.0, 1.0, 1.0],
            [0.0, 1.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, 0.0, 0.0, 1.0],
        ]
    )
    found = find_commitment(agrees.repeat(4, 1))
    assert found.depths.tolist() == [0, 3, 4] * 4
    assert (found.location, found.mean) == (3.0, pytest.approx(7 / 3))
    assert found.low <= 3 <= found.high
    assert found.to_frame().loc[1, "relative_depth"] == 0.75
    assert math.isnan(find_commitment(agrees[:1]).low)
    with pytest.raises(ValueError, match="0 or 1, and 1 at the last depth"):
        find_commitment(torch.zeros(2, 4))


def test_definitions_agree_where_their_intervals_meet() -> None:
    profile = sigmoid_profile(6.0, 2.0)
    found = {
        "sigmoid": find_transition(profile, n_resamples=99),
        "cut": find_change_point(profile, n_resamples=99),
        "crossing": find_crossing(*curves(6.0), n_resamples=99),
        "elsewhere": find_transition(sigmoid_profile(10.0, 1.0), n_resamples=99),
        "nowhere": find_transition(torch.full((9, 13), 1.0), n_resamples=19),
    }
    rows = {row["definition"]: row for row in compare_definitions(found).to_dict("records")}
    assert "elsewhere" not in rows["sigmoid"]["agrees_with"]
    assert "sigmoid" in rows["crossing"]["agrees_with"]
    assert rows["nowhere"]["agrees_with"] == ""
    assert math.isnan(rows["nowhere"]["depth"])
    assert rows["cut"]["kind"] == "change point"
    assert list(compare_definitions({}).columns)[:2] == ["definition", "kind"]


def test_a_sharp_switch_is_told_from_a_gradual_one_on_the_same_prompts() -> None:
    sharp = find_transition(sigmoid_profile(6, 1.0, noise=0.1), n_resamples=19)
    gradual = find_transition(sigmoid_profile(6, 6.0, noise=0.1, seed=1), n_resamples=19)
    assert compare_widths(sharp, gradual).verdict == "first is sharper"
    assert compare_widths(gradual, sharp).verdict == "second is sharper"
    same = compare_widths(sharp, sharp)
    assert (same.verdict, same.low, same.high) == ("cannot tell", 0.0, 0.0)
    with pytest.raises(ValueError, match="same prompts"):
        compare_widths(sharp, find_transition(sigmoid_profile(6, 2, n=12), n_resamples=19))


def test_pairs_that_take_several_steps_have_no_one_switch() -> None:
    """Ten pairs hand over at 2.5; in ten others neither position decides at depths 2 to 4."""
    direct = ([1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1])
    apart = ([1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1])
    first, second = (
        torch.tensor([one] * 10 + [other] * 10, dtype=torch.float32)
        for one, other in zip(direct, apart, strict=True)
    )
    found = find_crossing(first, second, n_resamples=50)
    assert (found.pairs.n_gap, found.pairs.n_shared, found.pairs.n_without) == (10, 0, 0)
    assert torch.equal(found.pairs.depth[:10], torch.full((10,), 2.5))
    assert found.pairs.depth[10:].isnan().all()
    mostly = find_crossing(first[5:], second[5:], n_resamples=50)
    assert mostly.verdict in ("cannot tell", "gap")
    assert mostly.pairs.n_gap == 10


def test_both_together_decide_where_what_they_move_adds_up() -> None:
    first = np.array([[1.0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]])
    second = np.array([[0.0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 1, 1, 1]])
    moved = np.stack([np.array([[1.0, 1, 0.4, 0.3, 0]] * 3), np.array([[0.0, 0, 0.4, 0.5, 1]] * 3)])
    moved[:, 1, 2:4] = 0.1
    found = on_the_way(first, second, moved)
    assert found.shared.tolist() == [True, False, False]
    assert found.gap.tolist() == [False, True, False]
    # Of bare curves one depth of neither is the handover itself.
    assert on_the_way(first[:, [0, 1, 3, 4]], second[:, [0, 1, 3, 4]], None).gap.sum() == 0
    assert on_the_way(first, second, None).gap.tolist() == [True, True, False]


def test_depth_l_decides_no_crossing() -> None:
    late = find_crossing(results.patch(7.5), n_resamples=50)
    assert late.verdict == "none"
    assert late.reason == (
        "the prediction position never leads before depth 8, where it does by construction"
    )
    assert late.depths.tolist() == list(range(8))
    before = find_crossing(results.patch(5.5), n_resamples=50)
    assert before.verdict == "crossing"
    # Orders are told of a lens that is read up to the end.
    lens = find_transition(results.lens(7.0), n_resamples=50)
    assert len(lens.depths) == len(before.depths) + 1
    assert compare_order(before, lens).verdict == "first comes first"


def test_four_pairs_are_no_two_groups() -> None:
    """However far apart: of fewer than five nothing is told, and of ten so parted it is."""
    steps = np.arange(30) + 0.5
    apart = np.repeat([20.5, 23.5], 2)
    assert find_modes(apart, steps).p == 1
    assert find_modes(np.repeat([20.5, 23.5], 5), steps).p < 0.05
    words = (Grouping(name="word", values=tuple("aaabbccddd")),)
    assert find_modes(np.repeat([20.5, 23.5], 5), steps, units=words).p == 1


def test_an_order_of_pairs_that_switch_nowhere_is_too_few() -> None:
    flat = torch.full((6, 8), 0.5)
    found = find_crossing(flat, flat, n_resamples=20)
    order = compare_order(
        found, find_crossing(*(x[:, :8] for x in curves(4.2, n=6)), n_resamples=20)
    )
    assert (order.verdict, order.n_pairs) == ("too few", 0)
    assert math.isnan(order.lead)
