"""What a profile without a transition looks like: depths in any order, or a smooth drift."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.transition.sigmoid import explained_by_sigmoid

DRIFT_DEGREE = 2
"""Of the polynomial that a smooth drift is: a straight line has a midpoint too, so has a bend."""


def depth_order_p(
    y: Float[Array, "unit depth"], at: Float[Array, " depth"], *, n_resamples: int, seed: int
) -> float:
    """Chance of so large an explained sum of squares when each unit's depths are shuffled."""
    rng = np.random.default_rng(seed)
    observed = explained_by_sigmoid(y.mean(0, keepdims=True), at)[0]
    null = np.stack([rng.permuted(y, axis=1).mean(0) for _ in range(n_resamples)])
    return stats.permutation_p(observed, explained_by_sigmoid(null, at))


def drift_p(
    y: Float[Array, "unit depth"], at: Float[Array, " depth"], *, n_resamples: int, seed: int
) -> float:
    """Chance that a sigmoid beats a smooth drift by so much where the mean profile is one.

    The statistic is the sum of squares that the sigmoid's fit leaves less than the drift's (a
    polynomial of degree 2). Under the null the mean profile is the fitted drift, and units stray
    from it as they stray from the mean: a bootstrap of whole units, so that noise that
    neighbouring depths share stays shared. Source: Efron & Tibshirani 1993, An Introduction to the
    Bootstrap, 16.4 (a null from resampled deviations).
    """
    mean, n = y.mean(0), len(y)
    powers = np.vander((at - at.mean()) / (at[-1] - at[0]), DRIFT_DEGREE + 1)
    project = powers @ np.linalg.pinv(powers)
    strayed = stats.resampled_means(
        (y - mean) * np.sqrt(n / max(n - 1, 1)), n_resamples=n_resamples, seed=seed
    )
    observed = _lead(mean[None], project, at)[0]
    # What a drift fits up to rounding leaves no lead.
    if observed <= 1e-10 * ((mean - mean.mean()) ** 2).sum():
        return 1.0
    return stats.permutation_p(observed, _lead(project @ mean + strayed, project, at))


def _lead(
    curves: Float[Array, "curve depth"],
    project: Float[Array, "depth depth"],
    at: Float[Array, " depth"],
) -> Float[Array, " curve"]:
    """Sum of squares that the drift leaves, less that which the sigmoid leaves."""
    total = ((curves - curves.mean(1, keepdims=True)) ** 2).sum(1)
    by_drift = ((curves - curves @ project.T) ** 2).sum(1)
    return by_drift - (total - explained_by_sigmoid(curves, at))
