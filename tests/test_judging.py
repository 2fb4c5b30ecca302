"""The numbers that claims are judged by: estimates, depths, twins and places, by hand."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats as distributions

from lensdepth.claims.architecture import Beside, Draws, passes
from lensdepth.claims.contrasts import rotated
from lensdepth.claims.deals import over_deals
from lensdepth.claims.estimate import LEAST_P, Estimate, estimate, rises_to
from lensdepth.claims.gradual import handed_over, middles, widths
from lensdepth.claims.judged import judge_claims
from lensdepth.claims.medians import median
from lensdepth.claims.models import _everywhere, _passes
from lensdepth.claims.norms import _left_out_share, projections
from lensdepth.claims.place import Place
from lensdepth.claims.places import _twins_as_close, _verdict, turned_spreads
from lensdepth.claims.power import prompts_needed
from lensdepth.claims.result import ClaimTable, ClaimVerdict, Finding, make_finding
from lensdepth.claims.statements import STATEMENTS
from lensdepth.claims.states import mean_cosine
from lensdepth.claims.verdict import Expectation, Judged, all_of, decide, judge
from lensdepth.claims.zones import (
    Zones,
    at_all_depths,
    deal_groups,
    find_zones,
    mean_over,
    others,
    reached_late,
)
from lensdepth.units import Grouping

NAN = math.nan


def test_a_standard_error_at_another_truth_is_that_of_as_many_outcomes() -> None:
    """Between −1 and 1, 0.9 is a share of 0.95, and 0.05 of the way 0.025: of 76 outcomes."""
    found = Estimate(value=0.9, se=0.05, n=40, bounds=(-1.0, 1.0))
    assert found.se_at(0.0) == pytest.approx(2 * math.sqrt(0.25 / 76))
    assert found.se_at(0.9) == pytest.approx(0.05)
    assert found.se_at(5.0) == 0.05  # beyond the bound nothing strays, but what was seen did
    t = 0.2 / (2 * math.sqrt(0.85 * 0.15 / 76))
    assert found.p_above(0.7) == pytest.approx(float(distributions.t.sf(t, 39)))
    assert found.p_below(0.7) == pytest.approx(1 - found.p_above(0.7))
    assert Estimate(value=0.9, se=0.05, n=40).se_at(0.0) == 0.05
    assert Estimate(value=0.9, se=0.05, n=40).p_above(-9.0) == LEAST_P
    other = Estimate(value=0.9, se=0.05, n=40, df=7.0)
    assert other.high - 0.9 == pytest.approx(0.05 * float(distributions.t.ppf(0.975, 7)))


def test_an_end_lies_where_a_test_would_just_refuse() -> None:
    for value, bounds in ((0.9, (-1.0, 1.0)), (0.2, (0.0, 1.0)), (3.0, None)):
        found = Estimate(value=value, se=0.05, n=40, bounds=bounds)
        if found.high < (math.inf if bounds is None else bounds[1]):
            assert found.p_below(found.high) == pytest.approx(0.025)
        assert found.p_above(found.low) == pytest.approx(0.025)


def test_at_a_bound_it_is_as_if_one_pair_had_come_out_the_other_way() -> None:
    """All of 50 right or wrong: an error of 1 / 50 is of 49 outcomes."""
    for value, other in ((1.0, 0.5), (0.0, 0.5)):
        found = Estimate(value=value, se=1 / 50, n=50, bounds=(0.0, 1.0))
        assert found.se_at(other) == pytest.approx(math.sqrt(0.25 / 49))


def test_an_estimate_leaves_out_rows_with_nan_and_needs_five_units() -> None:
    x = np.array([[1.0, 2.0], [3.0, NAN], [2.0, 5.0], [4.0, 1.0], [0.0, 3.0], [3.0, 4.0]])
    kept = np.delete(x, 1, axis=0)
    found = estimate(x, (), lambda mean: float(mean[0] * mean[1]), floor=0.0)
    assert (found.value, found.n) == (pytest.approx(2.0 * 3.0), 5)
    pull = kept[:, 0] * 3.0 + kept[:, 1] * 2.0
    assert found.se == pytest.approx(pull.std(ddof=1) / math.sqrt(5))
    assert found.df == pytest.approx(4)
    few = estimate(x[:5], ())
    assert (math.isnan(few.value), math.isnan(few.se), few.n) == (True, True, 4)
    assert estimate(np.full((3, 1), NAN), ()).n == 2
    words = (Grouping(name="word", values=tuple("abcdea")),)
    assert estimate(x[:, 0], words).n == 5
    # The least error is no estimate of a spread: its degrees of freedom are those of the units.
    level = estimate(np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.51]), ())
    assert (level.se, level.df) == (pytest.approx(1 / 6), None)


def test_so_far_a_curve_comes_by_hand() -> None:
    curve = np.array([2.0, 2.0, 4.0, 3.0, 6.0])  # 0, 0, 0.5, 0.5, 1 of its way
    for level, at in ((0.1, 1.2), (0.5, 2.0), (0.75, 3.5), (0.0, 0.0), (1.0, 4.0)):
        assert rises_to(curve, level) == pytest.approx(at / 4)
        assert rises_to(-curve, level) == pytest.approx(at / 4)
    assert math.isnan(rises_to(np.array([1.0, 5.0, 1.0]), 0.5))


def test_handovers_below_a_fifth_of_the_way_are_none() -> None:
    curves = np.array(
        [[0.0, 0.0, 0.5, 1.0, 1.0], [0.5, 0.6, 0.69, 0.69, 0.69], [0.4, 0, 0, 0, 0.2]]
    )
    kept = handed_over(curves)
    assert np.isnan(kept).all(1).tolist() == [False, True, False]
    assert middles(curves)[[0, 2]] == pytest.approx([0.5, 0.0625])
    # From 0.2 of the way to the middle, and on to 1.8: 1.6 of four steps.
    assert widths(curves)[0] == pytest.approx(1.6 / 4)
    assert np.isnan([widths(curves)[1], middles(curves)[1]]).all()


def test_two_one_sided_tests_both_ways() -> None:
    found = Estimate(value=0.3, se=0.1, n=31)
    above, below = (float(distributions.t.sf(t, 30)) for t in (1.0, -1.0))
    assert judge(found, "greater", 0.2) == Judged(p_for=above, p_against=below)
    assert judge(found, "less", 0.2) == Judged(p_for=below, p_against=above)
    far = judge(found, "equivalent", 0.2)
    assert (far.p_for, far.p_against) == pytest.approx((below, 2 * above))
    back = judge(Estimate(value=-0.3, se=0.1, n=31), "equivalent", 0.2)
    assert (back.p_for, back.p_against) == pytest.approx((below, 2 * above))
    assert judge(Estimate(value=NAN, se=0.1, n=9), "less", 0.2) == Judged(p_for=1.0, p_against=1.0)
    assert judge(Estimate(value=0.1, se=NAN, n=9), "less", 0.2) == Judged(p_for=1.0, p_against=1.0)
    assert judge(Estimate(value=0.0, se=1.0, n=31), "equivalent", 0.2).p_against <= 1.0


def test_a_family_by_hand() -> None:
    parts = [Judged(p_for=f, p_against=a) for f, a in ((0.01, 0.9), (0.04, 0.3), (0.02, 0.6))]
    whole = all_of(parts)
    assert (whole.p_for, whole.p_against, whole.p) == pytest.approx((0.04, 0.9, 0.08))
    assert all_of([Judged(p_for=0.9, p_against=0.5)] * 3).p_against == 1.0
    assert Judged(p_for=0.9, p_against=0.8).p == 1.0
    for p_for, p_against, verdict in (
        (0.0249, 0.9, "supported"), (0.9, 0.0249, "contradicted"), (0.025, 0.9, "cannot tell"),
    ):  # fmt: skip
        assert decide([Judged(p_for=p_for, p_against=p_against)])[0][0] == verdict


@pytest.mark.parametrize(
    ("expect", "threshold", "distances"),
    [("greater", 0.2, [0.3]), ("less", 0.9, [0.4]), ("equivalent", 0.8, [0.3, 1.3])],
)
@pytest.mark.parametrize("n_tests", [1, 4])
def test_so_many_prompts_and_not_one_less(
    expect: Expectation, threshold: float, distances: list[float], n_tests: int
) -> None:
    """Power by the noncentral t, with the wider side of the pilot's interval for the spread."""
    reach = float(distributions.t.ppf(0.975, 24))
    pilot = Finding(
        key="H", says="", unit="", expect=expect, threshold=threshold, effect=0.5,
        low=0.5 - 0.2 * reach, high=0.5 + 0.1 * reach, p_for=1.0, p_against=1.0, n=25, reason="",
    )  # fmt: skip

    def power(n: int) -> float:
        bar = distributions.t.ppf(1 - 0.025 / n_tests, n - 1)
        missed = [distributions.nct.cdf(bar, n - 1, d * math.sqrt(n) / 1.0) for d in distances]
        return 1 - float(np.sum(missed))

    n = prompts_needed(pilot, power=0.85, n_tests=n_tests)
    assert n is not None
    assert power(n) >= 0.85 > power(n - 1)
    assert prompts_needed(pilot, effect=threshold, power=0.85) is None
    with pytest.raises(ValueError, match="n_tests must be at least 1, got 0"):
        prompts_needed(pilot, n_tests=0)


def test_a_median_s_error_is_a_quarter_of_two_to_either_side() -> None:
    x = np.arange(101.0)
    found = median(x, ())
    below = math.sqrt(0.25 / 101)
    assert found.se == pytest.approx(100 * 4 * below / 4)
    assert (found.value, found.n, found.df) == (50.0, 101, 100)
    few = median(np.array([1.0, 2.0, 3.0, 4.0, NAN]), ())
    assert (math.isnan(few.value), math.isnan(few.se), few.n) == (True, True, 4)


def test_the_mean_over_deals_needs_more_than_half_of_them() -> None:
    one, other = (Estimate(value=v, se=0.1, n=20) for v in (0.2, 0.4))
    assert over_deals([one, None]) is None
    assert over_deals([one, Estimate(value=NAN, se=0.1, n=9), other, None]) is None
    alone = over_deals([one])
    assert alone is not None
    assert (alone.found.se, alone.deals) == (pytest.approx(0.1), (0.2, 0.2))


def test_prompts_are_dealt_into_groups_of_one_size() -> None:
    first, second = ([f"p{(i + k) % 23}" for i in range(60)] for k in (0, 7))
    group = deal_groups(first, second, seed=3)
    of_prompt = {p: g for row, own in zip((first, second), group.T, strict=True)
                 for p, g in zip(row, own.tolist(), strict=True)}  # fmt: skip
    assert sorted(np.bincount(list(of_prompt.values())).tolist()) == [4, 4, 5, 5, 5]
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        assert group[i].tolist() == [of_prompt[a], of_prompt[b]]
    assert others(group, (0, 2)).tolist() == [not {0, 2} & set(row) for row in group.tolist()]


def test_where_pairs_do_not_cross_the_outer_thirds_stand() -> None:
    group = np.stack([np.arange(40) % 5] * 2, axis=1)
    never = find_zones(np.ones((40, 10)), np.zeros((40, 10)), group)
    assert never.located == 0.0
    for early, late in ((never.early, never.late), (never.group_early, never.group_late)):
        assert np.flatnonzero(early[0]).tolist() == [1, 2, 3]
        assert np.flatnonzero(late[0]).tolist() == [6, 7, 8]
    first = np.tile([1.0, 0, 0, 0, 0, 0], (40, 1))
    at_once = find_zones(first, 1 - first, group)
    assert (at_once.located, set(at_once.crossing)) == (1.0, {0.5})
    assert np.flatnonzero(at_once.early[0]).tolist() == [1]  # one depth is left at either end
    assert np.flatnonzero(at_once.late[0]).tolist() == [1, 2, 3, 4]


def zones(late: list[list[int]], n_layers: int) -> Zones:
    where = np.array([np.isin(np.arange(n_layers + 1), row) for row in late])
    nothing = np.zeros(len(late))
    return Zones(
        group=np.zeros((len(late), 2), dtype=int), crossing=nothing, early=~where, late=where,
        group_early=~where, group_late=where,
    )  # fmt: skip


def test_late_depths_are_reached_from_the_measured_one_before() -> None:
    found = zones([[6, 7], [5, 6, 7]], 8)
    assert reached_late(found, [0, 2, 4, 6, 8]) == [4, 6, 8]
    assert reached_late(found, [0, 5, 7]) == [5, 7]
    assert reached_late(found, [6, 7]) == [6, 7]


def test_between_measured_depths_numbers_lie_on_a_line() -> None:
    class At:
        depths, n_layers = torch.tensor([0, 2, 5]), 5

    values = torch.tensor([[0.0, 4.0, 1.0], [1.0, 1.0, 4.0]])
    found = at_all_depths(values, At())
    assert found.tolist() == [[0.0, 2.0, 4.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 2.0, 3.0, 4.0]]
    where = np.array([[1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]], dtype=bool)
    assert mean_over(found, where).tolist() == [2.0, 3.5]


@pytest.mark.parametrize(("expect", "side"), [("greater", 1.0), ("less", -1.0)])
def test_twins_stand_beside_a_number(expect: Expectation, side: float) -> None:
    numbers = tuple({"a": x if x is None else side * x} for x in (0.1, 0.3, None, 0.2, 0.6))
    draws = Draws(numbers=(*numbers, {"b": 1.0}))
    own = Estimate(value=side * 0.9, se=0.05, n=20)
    found = draws.beside("a", own, expect, side * 0.5, n_statements=2)
    assert (found.n, found.passed, found.share, found.by_architecture) == (5, 1, 0.2, True)
    assert sorted(side * x for x in found.values) == [0.1, 0.2, 0.3, 0.6]
    assert (found.low, found.high) == (min(found.values), max(found.values))
    assert found.median == pytest.approx(side * 0.25)
    spread = np.std([0.1, 0.2, 0.3, 0.6], ddof=1)
    law = distributions.t(3, 0.3, math.hypot(spread * math.sqrt(1.25), 0.05))
    assert found.as_far == pytest.approx(2 * law.sf(0.9))
    assert found.says_nothing
    # None passes, but more than one in twenty would.
    assert draws.beside("a", own, expect, side * 0.61).by_architecture
    assert not draws.beside("a", own, expect, side * 0.7).by_architecture
    assert draws.beside("a", None, expect, side * 0.7).as_far is None
    unasked = draws.beside("a", own, None, None)
    assert (unasked.n, unasked.passed, unasked.as_far) == (5, 0, None)
    assert draws.beside("c", own, expect, 0.0) == Beside()
    assert (Beside().median, Beside().low, Beside().high, Beside().share) == (None,) * 4
    assert [passes(side * x, expect, side * 0.5) for x in (0.5, 0.51)] == [False, True]


def test_what_twins_show_says_nothing_unless_the_model_is_beyond_them() -> None:
    for by_architecture, as_far, nothing in (
        (True, None, True), (True, 0.06, True), (True, 0.05, False), (False, 0.5, False),
    ):  # fmt: skip
        assert Beside(by_architecture=by_architecture, as_far=as_far).says_nothing == nothing


def place(depth: float, *, end: float = 8.0, verdict: str = "crossing", **more: float) -> Place:
    given = {"low": depth - 1, "high": depth + 1, "step": 1.0, "start": 0.0} | more
    return Place(verdict=verdict, depth=depth, end=end, n_units=12, **given)  # type: ignore[arg-type]


def test_a_place_is_as_unsure_as_its_units_and_its_step() -> None:
    reach = float(distributions.t.ppf(0.975, 10))
    assert place(4.0, step=2.0).se == pytest.approx(math.sqrt((1 / reach) ** 2 + 4 / 12))
    placed = [place(4.0, verdict=v).placed for v in ("crossing", "gap", "none", "too few")]
    assert placed == [True, True, False, False]
    assert not place(4.0, high=NAN).placed


def test_places_are_turned_round_what_was_measured_alone() -> None:
    """From depth 2 to 6, of 8 and of 16 blocks: spreads of all turns are those of 16 pairs."""
    places = [place(2.5, start=2.0, end=6.0), place(5.0, start=2.0, end=6.0)]
    layers = np.array([8.0, 16.0])
    turns = [(2.5, 3.5, 4.5, 5.5), (5.0, 2.0, 3.0, 4.0)]
    expected = {round(float(np.std([a / 8, b / 16])), 9) for a, b in itertools.product(*turns)}
    assert {round(x, 9) for x in turned_spreads(places, layers, seed=0).tolist()} == expected


def test_sets_of_twins_are_one_of_each_model() -> None:
    rows = [
        (8, place(4.0), (place(4.0), place(2.0))),
        (16, place(8.0), (place(8.0, end=16.0), place(4.0, verdict="none"))),
    ]
    share, n_sets = _twins_as_close(rows, 0.0, 0)
    assert (share, n_sets) == (0.25, 4)  # both at a half; two sets have a twin without a place
    assert _twins_as_close(rows, 0.125, 0)[0] == 0.5
    share, n_sets = _twins_as_close([(8, place(4.0), ())], 1.0, 0)
    assert (math.isnan(share), n_sets) == (True, 0)


def test_two_questions_share_the_error() -> None:
    for closer, different, twins, verdict in (
        (0.024, 0.9, NAN, "closer than chance"), (0.025, 0.9, NAN, "open"),
        (0.024, 0.9, 0.05, "closer than chance"), (0.024, 0.9, 0.051, "open"),
        (0.9, 0.024, NAN, "different"), (0.9, 0.025, NAN, "open"),
        (0.024, 0.024, NAN, "closer than chance, yet different"),
    ):  # fmt: skip
        assert _verdict(closer, different, twins) == verdict


def test_a_mean_cosine_is_with_all_the_others() -> None:
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    found = mean_cosine(states)
    for depth, i in itertools.product(range(3), range(5)):
        rest = [j for j in range(5) if j != i]
        cosines = torch.cosine_similarity(states[depth, i][None], states[depth, rest], dim=-1)
        assert found[i, depth] == pytest.approx(float(cosines.mean()), abs=1e-6)


def test_a_rotation_turns_its_plane_and_keeps_lengths_and_what_is_across() -> None:
    first, second = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[0.0, 3.0, 0, 0]])
    x = torch.tensor([[1.0, 2.0, 5.0, -1.0]])
    torch.testing.assert_close(rotated(x, first, second), torch.tensor([[-2.0, 1.0, 5.0, -1.0]]))
    assert torch.equal(rotated(x, first, 4 * first), x)
    generator = torch.Generator().manual_seed(1)
    x, first, second = torch.randn(3, 2, 3, 6, generator=generator, dtype=torch.float64)
    back = rotated(rotated(x, first, second), second, first)
    torch.testing.assert_close(back, x)
    unit = first / first.norm(dim=-1, keepdim=True)
    arrived = rotated(unit, first, second)
    torch.testing.assert_close(arrived, second / second.norm(dim=-1, keepdim=True))


def test_a_left_out_share_is_that_of_leaving_out_one_by_one() -> None:
    rng = np.random.default_rng(0)
    label = np.array([0, 0, 0, 2, 2, 2, 2, 3])  # one class of one, and one that is not there
    values = rng.normal(size=(8, 2, 3)) + label[:, None, None]
    values[:, 1, 2] = 4.0  # does not vary
    found = _left_out_share(values, label)
    for d, k in itertools.product(range(2), range(3)):
        x, error, spread = values[:, d, k], 0.0, 0.0
        for i in range(8):
            rest = np.delete(np.arange(8), i)
            own = rest[label[rest] == label[i]]
            error += (x[i] - x[own if len(own) else rest].mean()) ** 2
            spread += (x[i] - x[rest].mean()) ** 2
        assert found[d, k] == pytest.approx(1 - error / spread if spread > 1e-12 else -np.inf)


def test_projections_are_on_the_same_unit_directions_at_every_depth() -> None:
    states = np.stack([np.eye(4), 2 * np.eye(4)])
    found = projections(states, seed=0)
    assert found.shape == (4, 2, 100)
    assert (found[:, 0] ** 2).sum(0) == pytest.approx(np.ones(100))
    assert found[:, 1] == pytest.approx(2 * found[:, 0])


def test_what_a_statement_s_number_can_be_follows_from_its_unit() -> None:
    """Shares and fractions lie between 0 and 1, and differences as far on either side of 0."""
    most = {"share of pairs": 1, "fraction of the depth": 1, "correlation": 1}
    most |= {"difference of correlations": 2}
    alone = {"C1 width", *(one.key for one in STATEMENTS if "mean of both" in one.says)}
    for one in STATEMENTS:
        high = most.get(one.unit)
        low = 0 if one.key in alone else high and -high
        assert one.bounds == (high and (low, high)), one.key


def judged_with(measured: dict[str, tuple[float, str]]) -> dict[str, ClaimVerdict]:
    """Claims by name; the statements named have such a number, sure to 0.01, and reason."""
    findings = []
    for i, one in enumerate(STATEMENTS):
        value, reason = measured.get(one.key, (NAN, f"open {i % 2}"))
        found = None if math.isnan(value) else Estimate(value=value, se=0.01, n=100)
        findings.append(
            make_finding(
                one.key, found, says=one.says, unit=one.unit, expect=one.expect,
                threshold=one.threshold, reason=reason,
            )
        )  # fmt: skip
    return {one.claim: one for one in judge_claims(findings)}


def test_what_decides_a_claim_and_why_it_is_open() -> None:
    crossing = [one for one in STATEMENTS if one.claim == "C2"]
    nothing = judged_with({})["C2"]
    assert (nothing.verdict, nothing.p) == ("cannot tell", None)
    assert nothing.decisive == crossing[0].key
    assert {*nothing.reason.split("; ")} == {"open 0", "open 1"}  # each once
    keys = [one.key for one in crossing]
    some = judged_with({keys[1]: (0.9, "sure"), keys[3]: (0.21, "hardly")})["C2"]
    # What is open leaves it open, and of what is measured the weaker one is named.
    assert (some.verdict, some.decisive) == ("cannot tell", keys[3])
    assert "open" in some.reason
    assert "sure" not in some.reason
    against = judged_with({keys[1]: (0.9, "sure"), keys[2]: (-0.9, ""), keys[3]: (0.19, "near")})
    assert (against["C2"].verdict, against["C2"].decisive) == ("contradicted", keys[2])
    assert "open 0" in against["C2"].reason
    whole = judged_with(dict.fromkeys(keys, (0.9, "sure")))["C2"]
    assert (whole.verdict, whole.reason, whole.decisive in keys) == ("supported", "sure", True)


def test_where_control_passes_is_told_as_a_fraction_where_it_does() -> None:
    def table(there: Place | None) -> ClaimTable:
        found, model = object.__new__(ClaimTable), SimpleNamespace(n_layers=8)
        found.__dict__.update(place=there, provenance=SimpleNamespace(model=model))
        return found

    assert _passes(table(place(4.0))) == {"at": 0.5, "low": 0.375, "high": 0.625}
    for nowhere in (None, place(4.0, verdict="none"), place(4.0, low=NAN)):
        assert all(map(math.isnan, _passes(table(nowhere)).values()))


def test_depths_that_were_not_measured_lie_on_a_line() -> None:
    curve = np.array([NAN, 0.0, NAN, 1.0, NAN])
    assert _everywhere(curve).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert np.isnan(_everywhere(np.full(3, NAN))).all()


def test_where_two_are_parallel_there_is_no_plane_whatever_stands_beside_them() -> None:
    x, first, second = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(2))
    second[:4] = 3 * first[:4]
    found = rotated(x, first, second)
    assert torch.equal(found[:4], x[:4])
    assert (found[4:] != x[4:]).any(-1).all()
