"""The median over pairs, with a standard error that knows which pairs go together.

Source: Woodruff 1952, "Confidence Intervals for Medians and Other Position Measures": the interval
of the share of pairs below the median, read off the pairs' own distribution.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array

from lensdepth.claims.estimate import Estimate, estimate


def median(values: Float[Array, " pair"], share: Bool[Array, "pair pair"], *, n: int) -> Estimate:
    """The median of the pairs' values; rows with NaN are left out.

    Args:
        values: one a pair.
        share: which pairs go together, as for `estimate`.
        n: different prompts behind the pairs.
    Returns:
        Estimate; its standard error is a quarter of what two standard errors of the share below
        take of the distribution to either side, and never below 1 / pairs, as of `estimate`.
    """
    there = ~np.isnan(values)
    values, share = values[there], share[np.ix_(there, there)]
    if len(values) < 2:
        return Estimate(value=float("nan"), se=float("nan"), n=max(n, 2))
    middle = float(np.median(values))
    # Ties at the median count half, so that the share is 1/2 however many there are.
    below = (values < middle) + 0.5 * (values == middle)
    se = estimate(below.astype(float), share, n=n).se
    low, high = np.quantile(values, [max(0.5 - 2 * se, 0.0), min(0.5 + 2 * se, 1.0)])
    return Estimate(value=middle, se=max(float(high - low) / 4, 1 / len(values)), n=max(n, 2))
