"""What a profile looks like that does not change with depth, in as many units as there are."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.units import Units


def flat_draws(
    *values: Float[Array, "unit depth"], units: Units, n_resamples: int, seed: int
) -> list[Float[Array, "resample depth"]]:
    """Mean profiles as units would give them whose true mean is the same at every depth.

    They stray from that mean as these units stray from theirs, so that noise that neighbouring
    depths share stays shared, and so does what the pairs of one unit have in common. Source: Efron
    & Tibshirani 1993, An Introduction to the Bootstrap, 16.4 (a null from deviations).
    """
    level = np.concatenate([np.full(y.shape[1], y.mean()) for y in values])
    return stats.drawn_means(*values, units=units, n_resamples=n_resamples, seed=seed, around=level)
