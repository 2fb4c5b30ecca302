"""Numbers with a standard error that knows which pairs go together.

Every estimate is a function of means over pairs. Pairs that share a word, a template or a prompt
are not independent, so the variance is the clustered one of `covariance`, over a task's units; the
function's part comes by the delta method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.covariance import variance_of_sum
from lensdepth.stats import LEVEL
from lensdepth.units import FEWEST_UNITS, Units, count, take

LEAST_P = 1e-6
"""Further out the tail of Student's t says nothing about means of so few prompts."""
STEP = 1e-4
"""Relative step of the numerical gradient; functions of means are smooth or have kinks."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number, its standard error, and from how many prompts."""

    value: float
    se: float
    n: int
    """Independent units."""
    df: float | None = None
    """Degrees of freedom of the standard error; n - 1 by default."""
    bounds: tuple[float, float] | None = None
    """Least and largest value that it can have; None where there is no such bound."""

    def se_at(self, truth: float) -> float:
        """Standard error that there would be if the number were truly this; at least the seen one.

        A number between bounds is read as a share of the way from one to the other, see
        `stats.se_of_share`.
        """
        if self.bounds is None or np.isnan(self.se):
            return self.se
        return max(self.se, self._width * stats.se_of_share(self._share(truth), self._outcomes))

    @property
    def _width(self) -> float:
        assert self.bounds is not None
        return self.bounds[1] - self.bounds[0]

    def _share(self, number: float) -> float:
        """How far a number lies on the way between the bounds."""
        assert self.bounds is not None
        return min(max((number - self.bounds[0]) / self._width, 0.0), 1.0)

    @property
    def _outcomes(self) -> float:
        """Of how many it is, read as a share."""
        se = self.se / self._width
        seen = self._share(self.value)
        if not 0 < seen < 1:  # as if one pair in all had come out the other way
            seen = se if seen <= 0 else 1 - se
        return stats.outcomes_told(seen, se)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval, by Student's t: the numbers that no test would refuse."""
        return self._end(-1)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self._end(1)

    @property
    def _df(self) -> float:
        return float(self.n - 1) if self.df is None else self.df

    def _end(self, side: Literal[-1, 1]) -> float:
        reach = float(distributions.t.ppf((1 + LEVEL) / 2, self._df))
        end = self.value + side * reach * self.se
        if self.bounds is None or np.isnan(self.se):
            return end
        ends = stats.wilson(self._share(self.value), self._outcomes, reach)
        wilson = self.bounds[0] + self._width * float(ends[(1 + side) // 2])
        # `se_at` is the larger of two, so that the end is the further one; never beyond the bound.
        bound = self.bounds[(1 + side) // 2]
        return side * min(max(side * end, side * wilson), side * bound)

    def p_above(self, threshold: float) -> float:
        """One-sided p against "the number is at most this"."""
        return self._tail((self.value - threshold) / self.se_at(threshold))

    def p_below(self, threshold: float) -> float:
        """One-sided p against "the number is at least this"."""
        return self._tail((threshold - self.value) / self.se_at(threshold))

    def _tail(self, t: float) -> float:
        return max(float(distributions.t.sf(t, self._df)), LEAST_P)


def estimate(
    values: Float[Array, "pair *shape"],
    units: Units,
    function: Callable[[Float[Array, "*shape"]], float] | None = None,
    *,
    floor: float | None = None,
) -> Estimate:
    """A function of the mean over pairs, with its standard error.

    Args:
        values: one row a pair; rows with NaN are left out.
        units: which pairs go together.
        function: from the mean row to a number; the mean itself by default.
        floor: least standard error; 1 / pairs by default, which is what it would be if one pair in
            all had come out the other way: outcomes that never differ are not known exactly.
    Returns:
        Estimate; NaN where fewer than five units are left.
    """
    flat = values.reshape(len(values), -1).astype(float)
    whole = ~np.isnan(flat).any(1)
    flat, units = flat[whole], take(units, whole)
    n = count(units, len(flat))
    if n < FEWEST_UNITS:
        return Estimate(value=float("nan"), se=float("nan"), n=max(n, 2))

    def at(mean: Float[Array, " number"]) -> float:
        shaped = mean.reshape(values.shape[1:])
        return float(shaped) if function is None else function(shaped)

    mean = flat.mean(0)
    influence = (flat - mean) @ _gradient(at, mean, flat.std(0))
    variance, df = variance_of_sum(influence[:, None] / len(flat), units)
    least = 1 / len(flat) if floor is None else floor
    se = float(np.sqrt(variance[0]))
    # The least is no estimate of a spread, whose degrees of freedom were those of its units.
    told = float(df[0]) if se > least else None
    return Estimate(value=at(mean), se=max(se, least), n=n, df=told)


def _gradient(
    function: Callable[[Array], float], at: Float[Array, " number"], scale: Float[Array, " number"]
) -> Float[Array, " number"]:
    """Central differences, in steps of a part of each number's own spread."""
    slopes = np.zeros(len(at))
    for i, spread in enumerate(scale):
        if spread == 0:
            continue  # it does not vary, so its slope does not matter
        step = np.zeros(len(at))
        step[i] = STEP * spread
        slopes[i] = (function(at + step) - function(at - step)) / (2 * step[i])
    return slopes


def ratio(mean: Float[Array, "2"]) -> float:
    """The first mean over the second."""
    return float(mean[0] / mean[1])


def rise_width(curve: Float[Array, " depth"]) -> float:
    """Depths, as a fraction of all, in which a curve goes from 10 to 90 % of its way.

    The way is from the curve's first value to its last, and the curve is made monotone (it keeps
    the most that it has reached). A straight line gives 0.8; NaN where the ends do not differ.
    """
    return rises_to(curve, 0.9) - rises_to(curve, 0.1)


def rises_to(curve: Float[Array, " depth"], level: float) -> float:
    """Fraction of the depth at which a curve first comes so far on its way, as in `rise_width`."""
    way = curve[-1] - curve[0]
    if not abs(way) >= 1e-9:
        return float("nan")
    reached = np.maximum.accumulate((curve - curve[0]) / way)
    after = int(np.argmax(reached >= level))
    if after == 0:
        return 0.0
    low, high = reached[after - 1], reached[after]
    return float((after - 1 + (level - low) / (high - low)) / (len(curve) - 1))
