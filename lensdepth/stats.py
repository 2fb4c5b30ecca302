"""Uncertainty over prompts: bootstrap intervals, permutation p-values, Holm's correction.

The unit that is resampled is the prompt (or the pair of prompts), because numbers from one
prompt are not independent of each other. All randomness comes from a seed.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from lensdepth.telling.numbers import Interval

LEVEL = 0.95
"""Coverage of every interval."""


def bootstrap_statistic(
    statistic: Callable[..., Float[Array, " row"]],
    *values: Float[Array, "sample ..."],
    n_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """A function of means over units, with its 95 % percentile bootstrap interval.

    Args:
        statistic: from means `[row, *shape]`, one argument each, to one number a row.
        values: one array each, all of the same units, which are resampled together.
        n_resamples: bootstrap resamples; one unit alone has no interval.
        seed: of the resamples.
    """
    means = [bootstrap_mean(v, n_resamples=1)[0][None] for v in values]
    value = float(statistic(*means)[0])
    if len(values[0]) < 2:
        return Interval(value=value, low=float("nan"), high=float("nan"))
    drawn = [resampled_means(v, n_resamples=n_resamples, seed=seed) for v in values]
    low, high = percentile_interval(np.asarray(statistic(*drawn), dtype=float))
    return Interval(value=value, low=float(low), high=float(high))


def resample_counts(n: int, n_resamples: int, seed: int) -> Int[Array, "resample sample"]:
    """How often each of `n` units is drawn in each bootstrap resample (rows sum to n).

    Raises:
        ValueError: there are fewer than two units, so that nothing can be said of their spread.
    """
    if n < 2:
        raise ValueError(
            f"bootstrap: an interval over prompts needs at least 2 of them, got {n}; add prompts."
        )
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples)


def resampled_means(
    values: Float[Array, "sample *shape"], *, n_resamples: int = 1000, seed: int = 0
) -> Float[Array, "resample *shape"]:
    """Mean of each bootstrap resample; NaN entries are left out of the mean they would enter."""
    counts = resample_counts(len(values), n_resamples, seed).astype(float)
    flat = values.reshape(len(values), -1).astype(float)
    present = ~np.isnan(flat)
    total = counts @ np.where(present, flat, 0.0)
    weight = counts @ present.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(weight > 0, total / weight, np.nan)
    return means.reshape(n_resamples, *values.shape[1:])


def percentile_interval(
    samples: Float[Array, "resample *shape"],
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The 2.5 % and 97.5 % percentiles over resamples; NaN where a column has no number."""
    tail = 100 * (1 - LEVEL) / 2
    flat = samples.reshape(len(samples), -1)
    low, high = np.full(flat.shape[1], np.nan), np.full(flat.shape[1], np.nan)
    known = ~np.isnan(flat).all(0)
    if known.any():
        low[known], high[known] = np.nanpercentile(flat[:, known], [tail, 100 - tail], axis=0)
    return low.reshape(samples.shape[1:]), high.reshape(samples.shape[1:])


def bootstrap_mean(
    values: Float[Array, "sample *shape"], *, n_resamples: int = 1000, seed: int = 0
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Mean over units with its 95 % percentile bootstrap interval: (mean, low, high).

    One unit alone has a mean but no interval: low and high are then NaN.
    Source: Efron 1979, "Bootstrap Methods".
    """
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.asarray(np.where(present, values, 0.0).sum(0) / present.sum(0), dtype=float)
    if len(values) < 2:
        return mean, np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    low, high = percentile_interval(resampled_means(values, n_resamples=n_resamples, seed=seed))
    return mean, low, high


def permutation_p(observed: float, null: Float[Array, " permutation"]) -> float:
    """Share of the null at least as large as the observed, the observed itself counted in.

    Never zero: (1 + hits) / (1 + permutations). Source: Phipson & Smyth 2010.
    """
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def holm(p_values: Float[Array, " test"]) -> Float[Array, " test"]:
    """Adjusted p-values that hold the chance of any false alarm at the level.

    Source: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    order = np.argsort(p_values)
    factor = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factor), 1.0)
    return adjusted
