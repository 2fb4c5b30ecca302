"""The median over pairs as an estimate, whose interval is symmetric."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.claims.estimate import Estimate
from lensdepth.units import FEWEST_UNITS, Units, count, take


def median(values: Float[Array, " pair"], units: Units) -> Estimate:
    """The median of the pairs' values; rows with NaN are left out.

    Args:
        values: one a pair.
        units: which pairs go together.
    Returns:
        Estimate; its standard error is a quarter of what two standard errors of the share below
        (as in `stats.median_interval`) take of the distribution to either side, and never below
        1 / pairs, as of `estimate`.
    """
    there = ~np.isnan(values)
    values, units = values[there], take(units, there)
    n = count(units, len(values))
    if n < FEWEST_UNITS:
        return Estimate(value=float("nan"), se=float("nan"), n=max(n, 2))
    below, df = stats.share_below_median(values, units)
    reach = min(2 * below, 0.5)
    low, high = np.quantile(values, [0.5 - reach, 0.5 + reach])
    se = max(float(high - low) / 4, 1 / len(values))
    return Estimate(value=float(np.median(values)), se=se, n=n, df=df)
