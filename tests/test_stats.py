"""Intervals, p-values and corrections against theory and hand-computed cases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
