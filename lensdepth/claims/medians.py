"""The median over pairs as an estimate: that of `stats.median_interval`, with a standard error."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.claims.estimate import Estimate
from lensdepth.units import Units, count, take


def median(values: Float[Array, " pair"], units: Units) -> Estimate:
    """The median of the pairs' values; rows with NaN are left out.

    Args:
        values: one a pair.
        units: which pairs go together.
    Returns:
        Estimate; its standard error is the one that its 95 % interval would have by Student's t,
        and never below 1 / pairs, as of `estimate`.
    """
    there = ~np.isnan(values)
    n = count(take(units, there), int(there.sum()))
    found = stats.median_interval(values, units=units)
    if not found.known:
        return Estimate(value=float("nan"), se=float("nan"), n=max(n, 2))
    reach = float(distributions.t.ppf((1 + stats.LEVEL) / 2, n - 1))
    se = max((found.high - found.low) / (2 * reach), 1 / int(there.sum()))
    return Estimate(value=found.value, se=se, n=n)
