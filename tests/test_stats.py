"""Intervals, p-values and corrections against theory and hand-computed cases."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from lensdepth import stats
from lensdepth.covariance import covariance_root, influence_of, jackknife, variance_of_sum
from lensdepth.units import Grouping, Units, count, default_units, given_units


def test_interval_of_a_mean_has_the_width_that_theory_says() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    mean, low, high = stats.mean_interval(values)
    assert mean == pytest.approx(values.mean())
    expected = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert high - low == pytest.approx(expected, rel=0.06)


def test_a_jackknife_by_hand() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0, 3.0, 5.0])

    def mean(means: np.ndarray) -> np.ndarray:
        return means[:, 0]

    variance, df = jackknife(mean, values[:, None], ())
    assert (variance, df) == (pytest.approx(values.var(ddof=1) / 6), 5)
    # Two and two go together: half the squared distances of their means, over three.
    words = (Grouping(name="word", values=("a", "a", "b", "b", "c", "c")),)
    variance, df = jackknife(mean, values[:, None], words)
    assert (variance, df) == (pytest.approx(np.var([1.5, 6.5, 4.0], ddof=1) / 3), 2)
    # Never less than if all pairs were independent.
    apart = (Grouping(name="word", values=("a", "b", "c", "a", "b", "c")),)
    alike = np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0])
    assert jackknife(mean, alike[:, None], apart)[0] == pytest.approx(alike.var(ddof=1) / 6)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    samples = rng.exponential(1.0, size=(300, 60))
    hits = 0
    for sample in samples:
        _, low, high = stats.mean_interval(sample)
        hits += int(low <= 1.0 <= high)
    assert 0.88 < hits / len(samples) < 0.98


def test_nan_entries_are_left_out_column_by_column() -> None:
    values = np.array([[1.0, np.nan]] * 4 + [[3.0, np.nan]] * 4 + [[np.nan, 5.0]])
    mean, low, high = stats.mean_interval(values)
    assert mean.tolist() == [2.0, 5.0]
    assert np.isnan([low[1], high[1]]).all()
    # Student's t with seven degrees of freedom: 2.365 standard errors of sqrt(8 / 7 / 8).
    assert high[0] - mean[0] == pytest.approx(2.3646 * np.sqrt(1 / 7), rel=1e-3)


def test_one_unit_has_a_mean_and_no_interval() -> None:
    mean, low, high = stats.mean_interval(np.array([[1.0, 2.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert np.isnan([low, high]).all()
    with pytest.raises(ValueError, match="at least 2"):
        stats.resample_counts(1, 10, 0)


def test_the_same_seed_gives_the_same_resamples() -> None:
    first, again, other = (stats.resample_counts(9, 20, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (first.sum(1) == 9).all()


def test_permutation_p_counts_the_observed_value_in() -> None:
    assert stats.permutation_p(5.0, np.array([1.0, 2.0, 3.0])) == 0.25
    assert stats.permutation_p(2.0, np.array([1.0, 2.0, 3.0])) == 0.75


def test_holm_by_hand() -> None:
    adjusted = stats.holm(np.array([0.01, 0.04, 0.03, 0.5]))
    assert adjusted.tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert stats.holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


# ---------------------------------------------------------------- units


def crossed(
    n_words: int, n_pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Units]:
    """Pairs of two different words each, and the words as units in both roles."""
    first = rng.integers(n_words, size=n_pairs)
    second = (first + rng.integers(1, n_words, size=n_pairs)) % n_words
    word = Grouping(name="word", values=texts(first), other=texts(second))
    return first, second, (word,)


def texts(codes: np.ndarray) -> tuple[str, ...]:
    return tuple(f"w{i}" for i in codes)


def test_dyadic_variance_adds_up_pairs_that_share_a_word_by_hand() -> None:
    rng = np.random.default_rng(0)
    first, second, units = crossed(9, 40, rng)
    values = rng.normal(size=9)[first] + rng.normal(size=9)[second]
    pull = (values - values.mean()) / 40
    shared = np.array(
        [[len({a, b} & {c, d}) for c, d in zip(first, second, strict=True)]
         for a, b in zip(first, second, strict=True)]
    )  # fmt: skip
    share = shared > 0
    centre = np.eye(40) - 1 / 40
    # What is seen of the words' own effects, of which pairs of pairs have as much as they share.
    seen = np.trace(centre @ share @ centre @ shared)
    factor = max(1 / (1 - share.mean()), shared.sum() / seen)
    found, df = variance_of_sum(pull[:, None], units)
    assert found[0] == pytest.approx(factor * (pull @ share @ pull))
    spread = centre @ share @ centre @ shared
    assert df[0] == pytest.approx(seen**2 / np.trace(spread @ spread))


def test_of_equal_groups_the_degrees_of_freedom_are_one_less() -> None:
    units = (Grouping(name="word", values=texts(np.arange(6).repeat(4))),)
    values = np.random.default_rng(3).normal(size=6).repeat(4)
    pull = (values - values.mean()) / 24
    variance, df = variance_of_sum(pull[:, None], units)
    assert df[0] == pytest.approx(5)
    assert variance[0] == pytest.approx(values[::4].var(ddof=1) / 6)


def test_one_word_for_all_says_nothing_of_a_spread_between_words() -> None:
    pull = np.array([[-1.0], [0.0], [1.0], [2.0], [-2.0]]) / 5
    variance, df = variance_of_sum(pull, (Grouping(name="word", values=("a",) * 5),))
    assert (variance[0], df[0]) == (pytest.approx(variance_of_sum(pull, ())[0][0]), 1.0)


def test_pairs_of_one_unit_count_once() -> None:
    """Each of eight words five times over, all alike, tells no more than the eight."""
    words = np.random.default_rng(1).normal(size=8)
    units = (Grouping(name="word", values=texts(np.arange(8).repeat(5))),)
    once, many = stats.mean_interval(words), stats.mean_interval(words.repeat(5), units=units)
    assert np.array(once) == pytest.approx(np.array(many))


@pytest.mark.parametrize(("n_units", "size"), [(7, 8), (12, 5), (24, 3)])
def test_clustered_intervals_cover(n_units: int, size: int) -> None:
    rng = np.random.default_rng(2)
    label = np.arange(n_units).repeat(size)
    units = (Grouping(name="word", values=texts(label)),)
    hits = 0
    for _ in range(300):
        values = rng.normal(size=n_units)[label] + 0.5 * rng.normal(size=len(label))
        _, low, high = stats.mean_interval(values, units=units)
        hits += int(low <= 0 <= high)
    assert 0.92 <= hits / 300 <= 0.98


def test_two_crossed_groupings_add_up() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        word, template = rng.integers(15, size=90), rng.integers(8, size=90)
        units = tuple(Grouping(name="x", values=texts(code)) for code in (word, template))
        values = rng.normal(size=15)[word] + rng.normal(size=8)[template] + rng.normal(size=90)
        _, low, high = stats.mean_interval(values, units=units)
        hits += int(low <= 0 <= high)
    assert hits / 300 >= 0.92


@given(st.integers(0, 30), st.integers(6, 30))
def test_shares_stay_in_range_and_have_a_width(ones: int, n: int) -> None:
    outcomes = (np.arange(n) < ones).astype(float)
    mean, low, high = stats.mean_interval(outcomes, share=True)
    assert 0 <= low <= mean <= high <= 1
    assert high - low > 0.01


def test_wilson_by_hand() -> None:
    """Eight of eight: n / (n + t^2) with t of seven degrees of freedom."""
    _, low, high = stats.mean_interval(np.ones(8), share=True)
    assert (float(low), float(high)) == (pytest.approx(8 / (8 + 2.3646**2), abs=1e-3), 1.0)


@given(st.floats(0, 1), st.floats(1, 1e4), st.floats(0.1, 10))
def test_the_ends_of_wilson_lie_so_many_of_their_own_standard_errors_away(
    share: float, outcomes: float, reach: float
) -> None:
    for end in map(float, stats.wilson(share, outcomes, reach)):
        own = reach * stats.se_of_share(end, outcomes)
        assert abs(share - end) == pytest.approx(own, abs=1e-6) or end == share in (0, 1)


def test_a_standard_error_tells_how_many_outcomes_it_is_of() -> None:
    assert stats.se_of_share(0.2, 16.0) == pytest.approx(0.1)
    assert stats.outcomes_told(0.2, 0.1) == pytest.approx(16.0)
    assert stats.outcomes_told(0.2, 0.0) == np.inf


def test_shares_of_units_that_are_alike_are_of_the_pairs_less_one_by_hand() -> None:
    """Six words of ten pairs, half of each right: between the words nothing strays."""
    units = (Grouping(name="word", values=texts(np.arange(6).repeat(10))),)
    half, n, t = np.tile([0.0, 1.0], 30), 59, 2.5706  # five degrees of freedom, of six words
    mean, low, high = stats.mean_interval(np.stack([half, np.ones(60)], axis=1), units=units)
    assert mean.tolist() == [0.5, 1.0]
    reach = t / 2 / np.sqrt(n + t**2)
    assert [low[0], high[0]] == pytest.approx([0.5 - reach, 0.5 + reach], abs=1e-5)
    # How pairs go together is learned from the share beside it.
    assert [low[1], high[1]] == pytest.approx([n / (n + t**2), 1.0], abs=1e-5)


def test_shares_are_known_by_zeros_and_ones_and_nothing_else() -> None:
    both, half = np.array([0.0, 1.0] * 5 + [np.nan]), np.array([0.0, 1.0, 0.5] * 4)
    ones = np.ones(9)
    for values, share in ((both, True), (half, False), (ones, False), (ones - 1, False)):
        found, said = stats.mean_interval(values), stats.mean_interval(values, share=share)
        other = stats.mean_interval(values, share=not share)
        assert np.array(found).tolist() == np.array(said).tolist()
        assert np.array(found).tolist() != np.array(other).tolist()


def test_a_one_sided_p_is_that_of_a_t_test() -> None:
    values = np.array([0.3, -0.1, 0.4, 0.2, 0.5, -0.2, 0.1])
    found = stats.p_positive(values)
    assert found == pytest.approx(ttest_1samp(values, 0.0, alternative="greater").pvalue)
    # Of a mean that is known to two thirds of itself at best, t is 1.5.
    least = (values.mean() / 1.5) ** 2
    assert stats.p_positive(values, least=least) == pytest.approx(float(student.sf(1.5, 6)))
    # Where the six words are less spread than that, it has the degrees of freedom of six.
    words = (Grouping(name="word", values=texts(np.arange(6).repeat(10))),)
    of_words = stats.p_positive(np.tile(values[:5], 12), units=words, least=(0.26 / 1.5) ** 2)
    assert of_words == pytest.approx(float(student.sf(1.5, 5)))
    alike = [stats.p_positive(np.full(6, x)) for x in (1.0, 0.0, -1.0)]
    assert alike == [0.0, 1.0, 1.0]


def test_percentiles_of_columns_by_hand() -> None:
    columns = np.stack([np.arange(1001.0), np.full(1001, np.nan), np.arange(1001.0) / 10], axis=1)
    columns[400, 2] = np.nan  # one of the middle, which moves the others by less than a rank
    low, high = stats.percentile_interval(columns.reshape(1001, 3, 1))
    assert low.shape == high.shape == (3, 1)
    assert [low[0, 0], high[0, 0]] == pytest.approx([25.0, 975.0])
    assert [low[2, 0], high[2, 0]] == pytest.approx([2.5, 97.5], abs=0.01)
    assert np.isnan([low[1, 0], high[1, 0]]).all()


def test_two_units_can_be_drawn() -> None:
    drawn = stats.resample_counts(2, 50, 0)
    assert set(map(tuple, drawn.tolist())) == {(0, 2), (1, 1), (2, 0)}


def test_a_function_of_means_is_that_of_the_means_found() -> None:
    top, bottom = np.array([[2.0, np.nan, 4.0, 3.0, 1.0, 5.0], [1.0, 2.0, 3.0, 2.0, 1.0, 3.0]])
    found = stats.statistic_interval(lambda x, y: x / y, top, bottom, n_resamples=200)
    assert found.value == pytest.approx(3.0 / 2.0)
    assert found.low < found.value < found.high


def test_the_share_below_the_median_by_hand() -> None:
    words = (Grouping(name="word", values=texts(np.arange(6).repeat(10))),)
    # Three words lie below and three above: of six shares 0 or 1 the variance is 0.3.
    se, df = stats.share_below_median(np.arange(6.0).repeat(10), words)
    assert (se, df) == (pytest.approx(np.sqrt(0.3 / 6)), pytest.approx(5))
    # Nearly all lie at it: no surer than a half of sixty, and that is no estimate of six words.
    tied = np.repeat([0.0, 1.0, 2.0], [3, 54, 3])
    assert stats.share_below_median(tied, ()) == (pytest.approx(np.sqrt(0.25 / 60)), 59)


NORMAL = NormalDist()


@pytest.mark.parametrize(("value", "below", "level"), [
    (499.0, 0.5, 0.95), (499.0, 0.5, 0.5), (699.0, 0.7, 0.95), (99.5, 0.1005, 0.8),
])  # fmt: skip
def test_draws_are_corrected_for_their_bias_by_hand(
    value: float, below: float, level: float
) -> None:
    """A value that is no draw lies half a draw beyond those below it."""
    bias, reach = NORMAL.inv_cdf(below), NORMAL.inv_cdf((1 + level) / 2)
    draws = np.append(np.arange(999.0), np.nan)
    ends = [998 * NORMAL.cdf(2 * bias + side * reach) for side in (-1, 1)]
    assert stats.corrected_interval(draws, value, level) == pytest.approx(ends)


def test_draws_that_are_the_value_count_half() -> None:
    draws = np.repeat([0.0, 1.0, 2.0], [200, 600, 199])  # a half and half a draw lie below the 1
    low, high = stats.corrected_interval(draws, 1.0, 0.5)
    assert (low, high) == (1.0, 1.0)
    assert stats.corrected_interval(draws, 1.0 + 1e-11, 0.65) == (0.0, 2.0)


@pytest.mark.parametrize(("draws", "value"), [([np.nan] * 9, 1.0), ([1.0] * 9, np.nan)])
def test_of_nothing_there_is_no_interval(draws: list[float], value: float) -> None:
    assert np.isnan(stats.corrected_interval(np.array(draws), value)).all()


@pytest.mark.parametrize("n", [2, 4])
def test_few_units_have_no_interval(n: int) -> None:
    units = (Grouping(name="word", values=texts(np.arange(n).repeat(20))),)
    values = np.random.default_rng(0).normal(size=20 * n)
    _, low, high = stats.mean_interval(values, units=units)
    assert np.isnan([low, high]).all()
    assert not stats.median_interval(values, units=units).known
    assert not stats.statistic_interval(lambda mean: mean, values, units=units).known


def test_draws_stray_as_the_covariance_says() -> None:
    rng = np.random.default_rng(4)
    _, _, units = crossed(30, 400, rng)
    values = rng.normal(size=(400, 3)) * [1.0, 2.0, 0.0]
    (drawn,) = stats.drawn_means(values, units=units, n_resamples=20_000, seed=0)
    root, df = covariance_root(influence_of(values)[1], units)
    spread = np.sqrt((root**2).sum(0) * (df - 1) / (df - 3))
    assert drawn.std(0) == pytest.approx(spread, rel=0.05)
    assert drawn[:, 2].tolist() == [0.0] * 20_000


def test_a_root_of_one_covariance_squares_to_it() -> None:
    """Of one number, however its groupings are crossed; of several, where there is one grouping."""
    rng = np.random.default_rng(5)
    _, _, words = crossed(12, 80, rng)
    templates = Grouping(name="template", values=texts(rng.integers(7, size=80)))
    alike = Grouping(name="alike", values=texts(np.arange(8).repeat(10)))  # and nothing between
    own = rng.normal(size=12)[[int(text[1:]) for text in words[0].values]]
    numbers = own[:, None] * [1.0, 3.0] + rng.normal(size=(80, 2)) / 4
    for values, units in (
        (numbers[:, :1], ()),
        (numbers[:, :1], (*words, templates)),
        (numbers[:, :1] * 1e-4, (templates, *words)),
        (np.tile([0.0, 1.0], 40)[:, None], (alike,)),
        (numbers, words),
    ):
        influence = influence_of(values)[1]
        variance, df = variance_of_sum(influence, units)
        root, least = covariance_root(influence, units)
        assert (root**2).sum(0) == pytest.approx(variance)
        assert least == pytest.approx(df[0])
        assert len(root) <= values.shape[1]


def test_the_median_lies_between_the_quantiles_of_its_rank() -> None:
    found = stats.median_interval(np.arange(101.0))
    # A half give or take 1.984 / (2 sqrt(101)) of the 101 ranks: the 40.6th and the 60.4th.
    assert (found.value, found.low, found.high) == (50.0, 40.0, 59.0)


def test_default_units_are_words_in_both_roles_and_labels_that_repeat() -> None:
    words = texts(np.arange(8).repeat(4))
    others = texts((np.arange(8).repeat(4) + 1) % 8)
    labels = {
        "word": list(words),
        "template": [f"t{i % 4}" for i in range(32)],
        "place": [f"p{i % 7}" for i in range(32)],
        "number": list(range(32)),
        "missing": [None] * 32,
    }
    found = default_units(
        prompts=tuple(map(str, range(32))), corrupted=None, inputs=words,
        corrupted_inputs=others, labels=labels,
    )  # fmt: skip
    # `word` is the input word again, templates are too few to be a sample, numbers never repeat.
    assert [one.name for one in found] == ["input word", "place"]
    assert count(found, 32) == 7


@pytest.mark.parametrize(
    ("units", "says"),
    [
        (["a"] * 6, "a list of groupings"),
        ([["a"] * 5], "a label for each of the 6 pairs"),
    ],
)
def test_units_that_do_not_fit_are_refused(units: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        given_units(units, 6, caller="x")


def test_no_pairs_have_neither_mean_nor_draws() -> None:
    for ends in stats.mean_interval(np.zeros((0, 2, 3))):
        assert ends.shape == (2, 3)
        assert np.isnan(ends).all()
    with pytest.raises(ValueError, match="at least 2 of them, got 1"):
        stats.drawn_means(np.zeros((1, 3)))


def test_the_interval_of_a_length_is_the_wider_of_draws_and_jackknife_by_hand() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 3.0, 6.0])
    without = np.log([np.delete(values, i).mean() for i in range(6)])
    reach = 2.5706 * np.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())

    def mean(means: np.ndarray) -> np.ndarray:
        return means[:, 0]

    still = stats.scale_interval(mean, values[:, None], np.full(99, 4.0))
    assert still == pytest.approx((4 * np.exp(-reach), 4 * np.exp(reach)), rel=1e-4)
    low, high = stats.scale_interval(mean, values[:, None], np.append([0.1], np.full(98, 4.0)))
    assert (low, high) == pytest.approx(still)
    wide = np.linspace(-20.0, 28.0, 999)
    found = stats.scale_interval(mean, values[:, None], wide)
    assert found == pytest.approx(stats.corrected_interval(wide, 4.0))
