"""Whether pairs switch around one depth or around two.

Where pairs switch is known to a step between two measured depths, so the question is whether the
histogram over steps rises to one peak and falls. Unlike the dip test (Hartigan & Hartigan 1985)
this expects ties, of which there is nothing else here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array
from scipy.optimize import isotonic_regression

from lensdepth import stats
from lensdepth.covariance import influence_of, variance_of_sum
from lensdepth.units import FEWEST_UNITS, Units, count

LEAST_SHARE = 0.1
"""A group of fewer is no group."""


@dataclass(frozen=True, kw_only=True)
class Modes:
    """One peak or two."""

    p: float
    """Of "the histogram has one peak"; 1 where it has, or where a group or all are too few."""
    split: float
    """Place between the two groups; NaN where there is one."""


def find_modes(
    place: Float[Array, " pair"],
    steps: Float[Array, " step"],
    *,
    units: Units = (),
    n_resamples: int = 200,
    seed: int = 0,
) -> Modes:
    """Test whether places have one peak, and where they part if not.

    The statistic is the likelihood ratio of the histogram against the best one with a single peak;
    under the null, histograms are drawn from that one, with as many pairs as clustering leaves.

    Args:
        place: of each pair, one of `steps`.
        steps: all places there are, increasing.
        units: which pairs go together.
        n_resamples: draws of the null.
        seed: of these.
    """
    counts = (place[:, None] == steps).sum(0)
    if count(units, len(place)) < FEWEST_UNITS or (counts > 0).sum() < 2:
        return Modes(p=1.0, split=float("nan"))
    peak, split = _one_peak(counts), _valley(counts, steps)
    n = max(2, round(_effective(place <= split, units)))
    shares = counts / counts.sum()
    observed = n * _lead(shares, peak / peak.sum())
    below = float((place <= split).mean())
    if observed < 1e-9 or min(below, 1 - below) < LEAST_SHARE:
        return Modes(p=1.0, split=float("nan"))
    rng = np.random.default_rng(seed)
    null = np.array(
        [
            n * _lead(drawn / n, (fit := _one_peak(drawn)) / fit.sum())
            for drawn in rng.multinomial(n, peak / peak.sum(), size=n_resamples)
        ]
    )
    p = stats.permutation_p(float(observed), null)
    return Modes(p=p, split=split if p < stats.ALPHA else float("nan"))


def _effective(below: Array, units: Units) -> float:
    """Independent pairs that tell the share below as exactly as these do."""
    share = below.mean()
    variance, _ = variance_of_sum(influence_of(below[:, None].astype(float))[1], units)
    if not 0 < share < 1:
        return float(len(below))
    return min(float(share * (1 - share) / variance[0]), len(below))


def _one_peak(counts: Int[Array, " step"]) -> Float[Array, " step"]:
    """The likeliest histogram that rises to one step and falls from there."""
    y = counts.astype(float)
    best, found = -np.inf, y
    around = np.pad(y, 1, constant_values=-1)
    for peak in np.flatnonzero((y >= around[:-2]) & (y >= around[2:]) & (y > 0)):
        rising = isotonic_regression(y[: peak + 1]).x
        falling = (
            isotonic_regression(y[peak + 1 :], increasing=False).x if peak + 1 < len(y) else []
        )
        fit = np.concatenate([rising, falling])
        # What rises to the peak and falls behind it has one peak, wherever the larger one is.
        likelihood = float((y[y > 0] * np.log(fit[y > 0])).sum())
        if likelihood > best + 1e-12:
            best, found = likelihood, fit
    return found


def _lead(shares: Float[Array, " step"], fit: Float[Array, " step"]) -> float:
    seen = shares > 0
    return float(2 * (shares[seen] * np.log(shares[seen] / fit[seen])).sum())


def _valley(counts: Int[Array, " step"], steps: Float[Array, " step"]) -> float:
    """The cut that leaves least spread on both sides (Otsu 1979)."""
    total, best, cut = counts.sum(), -1.0, float(steps[0])
    for k in range(len(steps) - 1):
        left, right = counts[: k + 1].sum(), counts[k + 1 :].sum()
        if not left or not right:
            continue
        means = (counts[: k + 1] @ steps[: k + 1] / left, counts[k + 1 :] @ steps[k + 1 :] / right)
        between = left * right / total**2 * (means[1] - means[0]) ** 2
        if between > best + 1e-12:
            best, cut = between, float(steps[k])
    return cut
