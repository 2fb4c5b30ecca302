"""Standard errors, verdicts and power against scipy, by hand, and on simulated data."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as distributions

from lensdepth.claims.estimate import Estimate, estimate, ratio, rise_width
from lensdepth.claims.power import prompts_needed
from lensdepth.claims.result import Finding
from lensdepth.claims.verdict import Expectation, Judged, all_of, decide, judge
from lensdepth.units import Grouping


def finding(effect: float, se: float, n: int, expect: Expectation, threshold: float) -> Finding:
    found = Estimate(value=effect, se=se, n=n)
    return Finding(
        key="H", says="", unit="", expect=expect, threshold=threshold, effect=effect,
        low=found.low, high=found.high, p_for=0.5, p_against=0.5, n=n, reason="",
    )  # fmt: skip


def test_a_mean_of_independent_pairs_is_the_t_test() -> None:
    x = np.random.default_rng(0).normal(0.3, 1, 40)
    found = estimate(x, (), floor=0.0)
    test = distributions.ttest_1samp(x, 0.1, alternative="greater")
    assert found.p_above(0.1) == pytest.approx(test.pvalue)
    interval = distributions.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_pairs_that_share_a_prompt_count_as_one() -> None:
    x = np.random.default_rng(0).normal(0, 1, 30)
    once = estimate(x, (), floor=0.0)
    prompts = tuple(f"a{i}" for i in range(30)) * 2
    twice = estimate(np.tile(x, 2), (Grouping(name="prompt", values=prompts),), floor=0.0)
    # The same numbers again are no news.
    assert (twice.se, twice.n) == (pytest.approx(once.se, rel=1e-9), 30)
    assert twice.df == pytest.approx(29)


def test_a_ratio_by_the_delta_method() -> None:
    rng = np.random.default_rng(1)
    bottom = rng.normal(5, 1, 400)
    top = 0.4 * bottom + rng.normal(0, 0.5, 400)
    found = estimate(np.stack([top, bottom], 1), (), ratio)
    by_hand = top - found.value * bottom
    assert found.value == pytest.approx(top.mean() / bottom.mean())
    assert found.se == pytest.approx(by_hand.std(ddof=1) / 20 / bottom.mean(), rel=1e-4)


def test_outcomes_that_never_differ_are_not_known_exactly() -> None:
    assert estimate(np.ones(50), ()).se == pytest.approx(1 / 50)


def test_a_share_near_its_bound_is_tested_with_the_spread_at_the_threshold() -> None:
    outcomes = np.r_[np.zeros(3), np.ones(57)]
    found = replace(estimate(outcomes, (), floor=0.0), bounds=(0.0, 1.0))
    by_hand = (0.95 - 0.8) / np.sqrt(0.8 * 0.2 / 59)
    assert found.p_above(0.8) == pytest.approx(distributions.t.sf(by_hand, 59))
    reach = distributions.t.ppf(0.975, 59)
    # Wilson's interval, of 59 outcomes as the standard error counts them.
    middle = (0.95 + reach**2 / 118) / (1 + reach**2 / 59)
    half = reach / (1 + reach**2 / 59) * np.sqrt(0.95 * 0.05 / 59 + (reach / 118) ** 2)
    assert found.low == pytest.approx(middle - half)
    assert found.high == 1.0
    # Towards the bound it is never shorter than what was seen.
    more = replace(estimate(np.r_[np.zeros(12), np.ones(48)], ()), bounds=(0.0, 1.0))
    assert more.high == pytest.approx(0.8 + reach * more.se)
    every = replace(estimate(np.ones(60), ()), bounds=(0.0, 1.0))
    assert (every.high, every.low) == (1.0, pytest.approx(60 / (60 + reach**2), abs=2e-3))


@pytest.mark.parametrize(("words", "pairs"), [(12, 120), (8, 60)])
def test_words_that_fail_together_do_not_pass_for_a_share_beyond_its_threshold(
    words: int, pairs: int
) -> None:
    rng, alarms, n_sets = np.random.default_rng(0), 0, 600
    names = tuple(str(i % words) for i in range(pairs))
    for _ in range(n_sets):
        word = rng.normal(size=words)[np.arange(pairs) % words]
        right = 0.7 * word + np.sqrt(0.51) * rng.normal(size=pairs) < distributions.norm.ppf(0.9)
        units = (Grouping(name="word", values=names),)
        found = replace(estimate(right.astype(float), units), bounds=(0.0, 1.0))
        alarms += found.p_above(0.9) < 0.025
    # Without the bounds it is 0.13, and with other degrees of freedom than the words' 0.1.
    assert alarms / n_sets <= 0.05


@pytest.mark.parametrize("members", [1, 4])
def test_intervals_cover_and_tests_err_as_often_as_they_say(members: int) -> None:
    rng, covered, alarms, n_trials = np.random.default_rng(members), 0, 0, 600
    clusters = 40
    names = tuple(f"p{i // members}" for i in range(clusters * members))
    units = (Grouping(name="prompt", values=names),)
    for _ in range(n_trials):
        shared = np.repeat(rng.normal(0, 1, clusters), members)
        x = shared + rng.normal(0, 1, clusters * members)
        found = estimate(x, units, floor=0.0)
        covered += found.low <= 0 <= found.high
        alarms += decide([judge(found, "greater", 0.0)])[0][0] == "supported"
    assert 0.92 <= covered / n_trials <= 0.98
    assert alarms / n_trials <= 0.045


def test_rise_widths_by_hand() -> None:
    assert rise_width(np.linspace(3, 7, 11)) == pytest.approx(0.8)
    assert rise_width(np.array([0.0, 0.0, 1.0, 1.0, 1.0])) == pytest.approx(0.8 / 4)
    assert rise_width(-np.array([0.0, 0.0, 1.0, 1.0, 1.0])) == pytest.approx(0.8 / 4)
    assert np.isnan(rise_width(np.ones(5)))
    assert np.isnan(rise_width(np.full(5, np.nan)))


def test_equivalence_is_two_one_sided_tests() -> None:
    found = Estimate(value=0.01, se=0.02, n=101)
    upper = distributions.t.sf((0.05 - 0.01) / 0.02, 100)
    lower = distributions.t.sf((0.01 + 0.05) / 0.02, 100)
    assert judge(found, "equivalent", 0.05).p_for == pytest.approx(max(upper, lower))
    apart = judge(Estimate(value=0.2, se=0.02, n=101), "equivalent", 0.05)
    assert apart.p_for > 0.99
    assert apart.p_against < 1e-4


def test_a_number_short_of_its_threshold_speaks_against() -> None:
    short = judge(Estimate(value=0.1, se=0.01, n=50), "greater", 0.2)
    assert decide([short])[0][0] == "contradicted"
    assert (
        decide([judge(Estimate(value=0.19, se=0.02, n=50), "greater", 0.2)])[0][0] == "cannot tell"
    )
    assert decide([judge(Estimate(value=0.1, se=0.01, n=50), "less", 0.2)])[0][0] == "supported"


def test_a_claim_is_all_of_its_statements() -> None:
    good, open_, bad = (
        Judged(p_for=f, p_against=a) for f, a in ((0.001, 0.999), (0.2, 0.8), (0.99, 0.001))
    )
    assert decide([all_of([good, good])])[0][0] == "supported"
    assert decide([all_of([good, open_])])[0][0] == "cannot tell"
    assert decide([all_of([good, open_, bad])])[0][0] == "contradicted"


def test_holm_by_hand() -> None:
    judged = [Judged(p_for=p / 2, p_against=1 - p / 2) for p in (0.01, 0.04, 0.02)]
    assert [p for _, p in decide(judged)] == pytest.approx([0.03, 0.04, 0.04])
    assert decide([]) == []


@pytest.mark.parametrize(
    ("effect", "expect", "threshold"),
    [(0.5, "greater", 0.2), (-0.4, "less", -0.1), (0.01, "equivalent", 0.2)],
)
def test_the_power_that_was_planned_is_had(
    effect: float, expect: Expectation, threshold: float
) -> None:
    pilot = finding(effect, 1 / np.sqrt(20), 20, expect, threshold)  # spread 1
    n = prompts_needed(pilot, power=0.8)
    assert n is not None
    rng, hits, n_trials = np.random.default_rng(0), 0, 400
    for _ in range(n_trials):
        x = rng.normal(effect, 1, n)
        found = Estimate(value=x.mean(), se=x.std(ddof=1) / np.sqrt(n), n=n)
        hits += decide([judge(found, expect, threshold)])[0][0] == "supported"
    assert 0.74 <= hits / n_trials <= 0.88


def test_no_number_is_enough_short_of_the_threshold() -> None:
    assert prompts_needed(finding(0.1, 0.1, 20, "greater", 0.2)) is None
    assert prompts_needed(finding(0.1, 0.1, 20, "greater", 0.2), effect=0.5) is not None
    with pytest.raises(ValueError, match=r"power must lie between 0 and 1, got 2\.0"):
        prompts_needed(finding(0.5, 0.1, 20, "greater", 0.2), power=2.0)
