"""The median over pairs, with a standard error that knows which pairs go together.

Source: Woodruff 1952, "Confidence Intervals for Medians and Other Position Measures": the interval
of the share of pairs below the median, read off the pairs' own distribution.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.claims.estimate import Estimate, estimate
from lensdepth.units import FEWEST_UNITS, Units, count, take


def median(values: Float[Array, " pair"], units: Units) -> Estimate:
    """The median of the pairs' values; rows with NaN are left out.

    Args:
        values: one a pair.
        units: which pairs go together.
    Returns:
        Estimate; its standard error is a quarter of what two standard errors of the share below
        take of the distribution to either side, and never below 1 / pairs, as of `estimate`.
    """
    there = ~np.isnan(values)
    values, units = values[there], take(units, there)
    n = count(units, len(values))
    if n < FEWEST_UNITS:
        return Estimate(value=float("nan"), se=float("nan"), n=max(n, 2))
    middle = float(np.median(values))
    # Ties at the median count half, so that the share is 1/2 however many there are.
    below = (values < middle) + 0.5 * (values == middle)
    found = estimate(below.astype(float), units)
    reach = 2 * found.se
    low, high = np.quantile(values, [max(0.5 - reach, 0.0), min(0.5 + reach, 1.0)])
    se = max(float(high - low) / 4, 1 / len(values))
    return Estimate(value=middle, se=se, n=n, df=found.df)
