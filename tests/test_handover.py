"""Curves that change places, pairs that switch, places that part: each by hand or by exhaustion."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lensdepth.transition import (
    Crossing,
    compare_order,
    find_change_point,
    find_crossing,
    find_transition,
)
from lensdepth.transition import told as switches
from lensdepth.transition.crossing import _crossing
from lensdepth.transition.find import comes_back
from lensdepth.transition.handover import (
    PREDICTION_NEVER,
    arrives_last,
    held_between,
    held_to_end,
    last_crossing,
    lead,
    leads_before,
    measured_around,
    most_held,
    why_none,
)
from lensdepth.transition.modes import _effective, _one_peak, _valley, find_modes
from lensdepth.transition.pairs import best_cuts, switch_of_pairs
from lensdepth.transition.sigmoid import fit_sigmoids, unit_sigmoids
from lensdepth.units import Grouping

AT = np.array([0.0, 2.0, 4.0, 8.0])
NAN = math.nan


@pytest.mark.parametrize(
    ("difference", "depth"),
    [
        ([1.0, 0.5, -0.5, -1.0], 3.0),
        ([1.0, 0.6, -0.2, -1.0], 3.5),
        ([1.0, 1.0, 0.3, -0.1], 7.0),
        ([1.0, -1.0, 1.0, -1.0], 6.0),  # the last time
        ([1.0, -1.0, 1.0, 1.0], 1.0),
        ([1.0, 0.0, 0.0, -1.0], 4.0),  # the middle of where neither leads
        ([1.0, 0.03, -0.03, -1.0], 3.0),  # within the margin the sign decides
        ([1.0, 1.0, 1.0, -0.05], NAN),
        ([0.05, 0.0, -1.0, -1.0], NAN),
        ([-1.0, -1.0, 1.0, 1.0], NAN),
    ],
)
def test_the_last_change_of_sign_by_hand(difference: list[float], depth: float) -> None:
    assert last_crossing(np.array(difference), AT) == pytest.approx(depth, nan_ok=True)


def walked(difference: np.ndarray) -> float:
    """The same by walking back from the end: from the last clear trail to a clear lead before it,
    and on to where the sign changes."""
    clear = [i for i, d in enumerate(difference) if d < -0.05]
    behind = clear[-1] if clear else -1
    while behind >= 0 and not difference[behind] > 0.05:
        behind -= 1
    if behind < 0:
        return NAN
    after = behind
    while not difference[after] < 0:
        after += 1
    before = after - 1
    while not difference[before] > 0:
        before -= 1
    if after - before > 1:
        return (AT[before] + AT[after]) / 2
    return float(np.interp(0, [difference[after], difference[before]], [AT[after], AT[before]]))


LEVELS = st.sampled_from([-1.0, -0.5, -0.05, -0.02, 0.0, 0.02, 0.05, 0.06, 0.5, 1.0])


@given(arrays(float, (3, 5, 4), elements=LEVELS))
def test_many_draws_are_read_as_each_by_itself(curves: np.ndarray) -> None:
    first, second, moved = curves
    ahead = first - second
    places = last_crossing(ahead, AT)
    assert places == pytest.approx([walked(one) for one in ahead], nan_ok=True)
    held = [held_between(a, b, AT, a + b)[0] for a, b in zip(first, second, strict=True)]
    assert most_held((first, second), AT) == pytest.approx(held, nan_ok=True)
    rows = zip(first, second, moved, strict=True)
    other = [held_between(a, b, AT, total)[0] for a, b, total in rows]
    most = np.maximum(held, other)
    assert most_held((first, second, moved), AT) == pytest.approx(most, nan_ok=True)


def test_who_leads_first_and_who_never() -> None:
    for difference, before in (
        ([-1.0, 1.0, -1.0], True), ([1.0, -1.0, 1.0], True), ([1.0, -0.05, 1.0], False),
        ([1.0, 0.0, -1.0], False), ([-1.0, -1.0], False), ([-0.05, 1.0, -1.0], False),
    ):  # fmt: skip
        assert leads_before(np.array(difference)) == before
    none, late, early = np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])
    assert why_none(0.04 * early, none) == "the input position never leads"
    assert why_none(0.05 * early, 0.04 * late) == PREDICTION_NEVER
    assert "leads before the input" in why_none(0.05 * late, 0.05 * early)


def test_where_neither_is_ahead_the_one_that_moves_more_is_by_half_the_margin() -> None:
    first, second = np.array([0.4, 0.4, 0.0, 0.0]), np.array([0.1, 0.4, 0.0, 0.0])
    moved = np.array([0.0, 0.5, 3.0, 0.2]), np.array([1.0, 0.1, 0.0, NAN])
    assert lead(first, second, *moved) == pytest.approx([0.3, 0.01, 0.025, 0.0])


def test_what_is_held_between_by_hand() -> None:
    first, second = np.array([1.0, 0.8, 0.2, 0.0]), np.array([0.0, 0.1, 0.6, 1.0])
    held = held_between(first, second, AT, first + second)
    # From 0.8 to 0.2 and from 0.1 to 0.6 over depths 2 to 4: a half, and four fifths, of the way.
    assert held == pytest.approx((0.8, 3.0, 3.6))
    assert most_held((first, second, first * 0.9, second + 0.25), AT) == pytest.approx(0.8)
    assert most_held((first, second, second + 0.85), AT) == pytest.approx(0.95)
    # Neither is ever in control: all that lies around the crossing counts.
    weak = held_between(first / 2.5, second / 2.5, AT, first + second)
    assert weak == pytest.approx((0.8, NAN, NAN), nan_ok=True)
    assert held_between(second, first, AT, first) == pytest.approx((NAN,) * 3, nan_ok=True)
    gap = np.array([1.0, 1.0, 0.1, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.0, 0.2, 0.1, 1.0])
    found = held_between(*gap, np.arange(6.0), gap[0] + gap[1])
    assert found == pytest.approx((0.1, 1 + 5 / 9, 4 + 4 / 9))


def test_what_is_held_to_the_end_by_hand() -> None:
    first, together = np.array([1.0, 0.6, 0.2, 0.0]), np.array([0.1, 0.7, 0.3, 0.4])
    assert held_to_end(first, AT, together) == pytest.approx((0.3, 2.5))
    nowhere = pytest.approx((NAN, NAN), nan_ok=True)
    assert held_to_end(first / 3, AT, together) == nowhere
    assert held_to_end(first[::-1], AT, together) == nowhere


def test_control_arrives_last_where_it_rests_elsewhere_in_means_and_draws() -> None:
    first, second = np.array([0.5, 0.3, 0.1]), np.array([0.0, 0.3, 0.2])
    rest = [np.stack([first] * 20), np.stack([second] * 20)]
    assert arrives_last([first, second], rest, 0.95)
    for changed, so_many, rests in (
        ((0, 0, 0.4), 1, True), ((0, 0, 0.4), 2, False),  # the first never holds
        ((1, 1, 0.5), 2, False), ((0, 2, 0.3), 2, False),  # the second does, or both at the end
        ((0, 1, 0.9), 2, True),  # both together do before the end
    ):  # fmt: skip
        one, place, value = changed
        drawn = [curves.copy() for curves in rest]
        drawn[one][:so_many, place] = value
        assert arrives_last([first, second], drawn, 0.95) == rests
    total = np.array([0.0, 0.0, 0.5])
    assert not arrives_last([first, second, total], [*rest, np.stack([total] * 20)], 0.95)
    assert not arrives_last([first * 0.9, second], rest, 0.95)


def test_the_measured_depths_around_a_place() -> None:
    depths = torch.tensor([0.0, 2.0, 4.0, 8.0])
    for place, around in (
        (3.0, (2.0, 4.0)), (2.0, (0.0, 2.0)), (0.0, (0.0, 2.0)), (8.0, (4.0, 8.0)),
        (9.0, (4.0, 8.0)), (-1.0, (0.0, 2.0)),
    ):  # fmt: skip
        assert measured_around(place, depths) == around
    assert all(map(math.isnan, measured_around(NAN, depths)))


@given(arrays(np.int64, (3, 7), elements=st.integers(-5, 5)))
def test_the_best_cut_of_each_profile_is_that_of_exhaustion(profiles: np.ndarray) -> None:
    y, at = profiles.astype(float), np.array([0.0, 1, 2, 4, 5, 8, 9])
    place, before, after = best_cuts(y, at)
    for i, row in enumerate(y):
        left = np.array([row[:k].var() * k + row[k:].var() * (7 - k) for k in range(1, 7)])
        ties = np.flatnonzero(left <= left.min() + 1e-9)
        k = ties[(len(ties) - 1) // 2] + 1
        assert place[i] == (at[k - 1] + at[k]) / 2
        assert (before[i], after[i]) == pytest.approx((row[:k].mean(), row[k:].mean()))


def test_pairs_that_switch_around_two_depths_are_two_groups_by_hand() -> None:
    at = np.arange(12.0)
    where = [2] * 10 + [8] * 12
    y = np.array([at > k for k in where] + [at > 20, at <= 5]).astype(float)
    label = Grouping(name="kind", values=("a",) * 10 + ("b",) * 14)
    found = switch_of_pairs(y, at, location=3.0, change=1.0, labels=[label])
    assert found.n_without == 2  # one that never does, and one that does the other way
    assert found.depth[[0, 10]].tolist() == [2.5, 8.5]
    assert (found.median, found.first_quartile, found.third_quartile) == (8.5, 2.5, 8.5)
    assert found.near == pytest.approx(10 / 24)
    for groups, names in ((found.groups, ("", "")), (found.by_label, ("kind a", "kind b"))):
        said = [(one.name, one.n, one.depth) for one in groups]
        assert said == [(names[0], 10, 2.5), (names[1], 12, 8.5)]
    # A pair switches where it moves by half of the mean's change.
    half = switch_of_pairs(y * 0.5, at, location=3.0, change=1.0)
    assert half.n_without == 2
    assert switch_of_pairs(y * 0.49, at, location=3.0, change=1.0).n_without == 24
    assert switch_of_pairs(y, at, location=3.0, change=-1.0).n_without == 23


@pytest.mark.parametrize(
    ("counts", "peak"),
    [
        ([0, 1, 3, 2, 2, 0], [0, 1, 3, 2, 2, 0]),
        ([3, 1, 3], [3, 2, 2]),
        ([4, 0, 2, 6, 1], [2, 2, 2, 6, 1]),
        ([1, 6, 2, 0, 4], [1, 6, 2, 2, 2]),
    ],
)
def test_the_likeliest_histogram_of_one_peak_by_hand(counts: list[int], peak: list[float]) -> None:
    assert _one_peak(np.array(counts)).tolist() == pytest.approx(peak)


def test_a_histogram_of_one_peak_is_told_from_one_with_a_dip_of_chance() -> None:
    steps = np.arange(5) + 0.5
    rising, dipped = np.repeat(steps[1:4], [2, 3, 3]), np.repeat(steps[1:4], [3, 2, 3])
    assert find_modes(rising, steps).p == 1.0
    assert 0.05 < find_modes(dipped, steps).p < 1.0


@given(arrays(np.int64, 6, elements=st.integers(0, 4)))
def test_the_valley_leaves_least_spread_on_both_sides(counts: np.ndarray) -> None:
    steps = np.array([0.5, 1.5, 2.5, 4.0, 6.0, 7.5])
    places = np.repeat(steps, counts)
    sides = {
        cut: (places[places <= cut], places[places > cut])
        for cut in steps[:-1]
        if (places <= cut).any() and (places > cut).any()
    }
    spread = {cut: sum(x.var() * len(x) for x in two) for cut, two in sides.items()}
    expected = min((c for c in spread if spread[c] <= min(spread.values()) + 1e-9), default=0.5)
    assert _valley(counts, steps) == expected


def test_as_many_pairs_tell_a_share_as_units_leave() -> None:
    words = (Grouping(name="word", values=tuple("abcdef" * 4)),)
    below = np.array([True, True, False, False, False, False] * 4)
    # Six words that are each of one side: their variance over five stands for the share's own.
    assert _effective(below, words) == pytest.approx(5.0)
    assert _effective(below, ()) == pytest.approx(23.0)
    assert _effective(below | True, words) == 24.0


def test_what_comes_back_is_told_as_a_share_of_the_change() -> None:
    assert comes_back(np.array([0.0, 1.0, 0.6, 1.2]), 1.0) == pytest.approx(0.4)
    assert comes_back(np.array([1.0, 0.2, 0.5, 0.0]), -0.6) == pytest.approx(0.5)
    assert comes_back(np.array([0.0, 1.0, 2.0]), 2.0) == 0.0


def test_a_sigmoid_is_a_tenth_and_nine_tenths_at_the_ends_of_its_width() -> None:
    location, width = np.array([3.0, 5.0]), np.array([2.0, 0.5])
    at = np.array([2.0, 3.0, 4.0, 4.75, 5.25])
    found = unit_sigmoids(at, location, width)
    assert found[0, :3] == pytest.approx([0.1, 0.5, 0.9])
    assert found[1, 3:] == pytest.approx([0.1, 0.9])


def test_a_sigmoid_is_fitted_in_height_and_start_and_a_still_curve_has_none() -> None:
    at = np.arange(13.0)
    shape = unit_sigmoids(at, np.array([6.0]), np.array([3.0]))[0]
    y = np.stack([2 + 3 * shape, 1 - 0.5 * shape, np.full(13, 7.0), 4 * shape + (at == 12)])
    found = fit_sigmoids(y, at)
    assert found["location"][:2] == pytest.approx([6.0, 6.0], abs=0.05)
    assert found["width"][:2] == pytest.approx([3.0, 3.0], rel=0.1)
    assert found["start"][:3] == pytest.approx([2.0, 1.0, 7.0], abs=0.02)
    assert found["change"][:3] == pytest.approx([3.0, -0.5, 0.0], abs=0.02)
    total = ((y - y.mean(1, keepdims=True)) ** 2).sum(1)
    assert found["r_squared"][:3] == pytest.approx([1.0, 1.0, 0.0], abs=1e-3)
    assert found["explained"][:3] == pytest.approx([total[0], total[1], 0.0], rel=1e-3)
    assert np.isnan([found["location"][2], found["width"][2]]).all()
    # What it explains is what a line through the fitted shape leaves of the spread.
    fitted = unit_sigmoids(at, found["location"][3:], found["width"][3:])[0]
    left = np.polyfit(fitted, y[3], 1, full=True)[1][0]
    assert found["r_squared"][3] == pytest.approx(1 - left / total[3])
    assert 0.9 < found["r_squared"][3] < 0.999


def test_an_order_is_counted_pair_by_pair_by_hand() -> None:
    """Of ten pairs six switch two depths later by the second, one earlier, two at one depth."""
    at = np.arange(9.0)
    first = np.array([at > 3] * 9 + [at > 20]).astype(float)
    second = np.array([at > k for k in [5] * 6 + [1] + [3] * 2 + [5]]).astype(float)
    one, other = (find_transition(torch.from_numpy(y), n_resamples=19) for y in (first, second))
    found = compare_order(one, other)
    assert (found.n_pairs, found.n_units) == (9, 9)
    assert (found.earlier, found.same, found.later) == pytest.approx((6 / 9, 2 / 9, 1 / 9))
    assert (found.lead, found.lag, found.apart) == pytest.approx((5 / 9, 2.0, 2.0))
    assert found.low <= found.lead <= found.high
    back = compare_order(other, one)
    assert (back.lead, back.lag, back.apart) == pytest.approx((-5 / 9, -2.0, -2.0))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_a_crossing_knows_what_is_held_and_where_its_gap_lies() -> None:
    first = torch.tensor([1.0, 1.0, 0.2, 0.0, 0.0, 0.0]).expand(8, -1)
    second = torch.tensor([0.0, 0.0, 0.0, 0.1, 0.0, 1.0]).expand(8, -1)
    gap = find_crossing(first, second, depths=[0, 1, 2, 4, 5, 6], n_resamples=20)
    assert gap.verdict == "gap"
    assert (gap.held, gap.leaves, gap.arrives) == pytest.approx((0.0, 1.625, 5.5))
    assert gap.inside_gap.tolist() == [2.0, 4.0, 5.0]
    assert (gap.n_layers, gap.arrives_last, gap.between) == (6, False, (2.0, 4.0))
    assert math.isnan(gap.held_by_share)
    whole = find_crossing(first.flip(1), first, depths=[0, 1, 2, 4, 5, 6], n_resamples=20)
    assert whole.verdict == "none"


def test_a_small_change_that_is_sure_counts_beside_large_noise() -> None:
    rng, at = np.random.default_rng(0), np.arange(13)
    sure = (at > 6) + 0.1 * rng.normal(size=(40, 13))
    noise = 1000 * rng.normal(size=(40, 13))
    profiles = {"sure": torch.from_numpy(sure), "noise": torch.from_numpy(noise)}
    found = find_change_point(profiles, n_resamples=99)
    assert (found.p, found.location) == (0.01, 6.5)


def test_curves_that_cross_in_some_of_the_draws_settle_nothing() -> None:
    """At the end the second has 8 of 12 pairs, and the first half of each."""
    first = torch.tensor([[1.0, 1.0, 0.5]] * 12)
    second = torch.tensor([[0.0, 0.0, float(i < 8)] for i in range(12)])
    found = find_crossing(first, second, n_resamples=400)
    assert found.verdict == "cannot tell"
    assert 0.6 < found.share < 0.95
    assert "the curves cross in" in found.reason
    assert found.depth == pytest.approx(1 + 1 / (1 + 1 / 6))


DIRECT, APART = [1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]
"""Success at the input position; at the prediction position it is that turned round."""


def mixed(n_apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Of 20 pairs those that hand over between depths 2 and 4 and those that take three steps."""
    first = np.array([DIRECT] * (20 - n_apart) + [APART] * n_apart, dtype=float)
    return first, np.array([[0, 0, 0, 1, 1, 1, 1]] * (20 - n_apart) + [APART[::-1]] * n_apart)


def crossing_of(n_apart: int, moved: np.ndarray | None = None) -> Crossing:
    first, second = mixed(n_apart)
    return _crossing(
        first, second.astype(float), np.arange(7.0), moved=moved, units=(), n_resamples=50,
        level=0.95, seed=0,
    )  # fmt: skip


def test_pairs_that_take_several_steps_are_told_of_where_they_are_more_than_a_tenth() -> None:
    for n_apart, told in ((2, False), (3, True)):
        found = crossing_of(n_apart)
        assert (found.verdict, found.pairs.n_gap) == ("crossing", n_apart)
        said = switches.patching_verdict(found, 6)
        assert (f"In {n_apart} of 20 pairs neither position decides" in said) == told
        assert "decide together for several" not in said
    # Where both together move half or more, these pairs share the decision.
    moved = np.full((2, 20, 7), 0.5)
    for n_apart, told in ((2, False), (3, True)):
        found = crossing_of(n_apart, moved)
        assert (found.pairs.n_gap, found.pairs.n_shared) == (0, n_apart)
        said = switches.patching_verdict(found, 6)
        assert (f"In {n_apart} of 20 pairs both positions decide together" in said) == told
        assert "neither position decides" not in said


def test_what_both_move_is_told_beside_the_success_of_both() -> None:
    """Success falls to nothing over depths 2 to 6, and between both move 0.8 together at least."""
    depths = np.arange(9.0)
    first, second = (np.tile(x, (8, 1)).astype(float) for x in (depths < 2, depths > 6))
    own = np.array([1, 0.9, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    moved = np.stack([np.tile(own, (8, 1)), np.tile(own[::-1], (8, 1))])
    found = _crossing(
        first, second, depths, moved=moved, units=(), n_resamples=50, level=0.95, seed=0
    )
    assert (found.verdict, found.held) == ("crossing", 0.0)
    assert found.moved == pytest.approx(0.8)
    assert "both together bring the answer about in 0% of the pairs, and move 80%" in (
        switches.patching_verdict(found, 8)
    )


def test_a_change_from_one_depth_to_the_next_is_the_sharpest_one_can_see() -> None:
    at = np.arange(13.0)
    for width, said in ((0.1, "happens from one depth to the next"), (2.0, "takes 2.0")):
        y = np.tile(unit_sigmoids(at, np.array([6.5]), np.array([width])), (9, 1))
        found = find_transition(torch.from_numpy(y), n_resamples=99)
        assert found.verdict == "transition"
        assert said in switches.lens_verdict(found, 12)
