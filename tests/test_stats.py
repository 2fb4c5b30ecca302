"""Intervals, p-values and corrections against theory and hand-computed cases."""

import numpy as np
import pytest

from lensdepth import stats


def test_interval_of_a_mean_has_the_width_that_theory_says() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    mean, low, high = stats.bootstrap_mean(values, n_resamples=4000)
    assert mean == pytest.approx(values.mean())
    expected = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert high - low == pytest.approx(expected, rel=0.06)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    samples = rng.exponential(1.0, size=(300, 60))
    hits = 0
    for sample in samples:
        _, low, high = stats.bootstrap_mean(sample, n_resamples=300)
        hits += int(low <= 1.0 <= high)
    assert 0.88 < hits / len(samples) < 0.98


def test_nan_entries_are_left_out_column_by_column() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan]])
    mean, low, high = stats.bootstrap_mean(values)
    assert mean[0] == 2.0
    assert np.isnan([mean[1], low[1], high[1]]).all()
    assert (low[0], high[0]) == (1.0, 3.0)


def test_one_unit_has_a_mean_and_no_interval() -> None:
    mean, low, high = stats.bootstrap_mean(np.array([[1.0, 2.0]]))
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
