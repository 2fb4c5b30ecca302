"""Intervals for what is measured between prompts: from halves of them, never from pairs.

A bootstrap draws prompts twice, and a prompt is at distance 0 from itself: that would lower ranks,
raise similarities and break nearest neighbours. Half of the prompts, drawn without replacement,
have none twice, and an estimate from half of them varies about the estimate from all as much as
that one varies about the truth, for a statistic with root-n error.

Source: Politis, Romano & Wolf 1999, "Subsampling", the half-sampling case.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from lensdepth import stats

FEWEST = 8
"""With fewer prompts there is no interval: bias-corrected measures need four in each half."""


def draw_halves(n: int, n_resamples: int, seed: int) -> Int[Array, "resample half"]:
    """Halves of `n` prompts in ascending order; no rows where there are too few prompts."""
    if n < FEWEST:
        return np.zeros((0, n // 2), dtype=int)
    rng = np.random.default_rng(seed)
    return np.stack([np.sort(rng.permutation(n)[: n // 2]) for _ in range(n_resamples)])


def half_interval(
    value: Float[Array, "*shape"], halves: Float[Array, "resample *shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """95 % interval (low, high) of a value from its values in the halves.

    Half of the prompts may give other values on average (fewer prompts fill fewer dimensions), so
    only the spread of the halves about their median is used.
    """
    if not len(halves):
        return np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    # A measure that a half does not define is left out of its spread.
    known = ~np.isnan(halves).all(0)
    middle = np.full(value.shape, np.nan)
    middle[known] = np.nanmedian(halves[:, known], axis=0)
    low, high = stats.percentile_interval(halves - middle)
    return value + low, value + high
