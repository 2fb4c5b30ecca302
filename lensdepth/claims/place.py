"""Where control passes in one model, in short: what is kept of a crossing beside its claims."""

from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.transition.crossing_result import Crossing, CrossingVerdict

PLACED = ("crossing", "gap")
"""Verdicts of a crossing that has a depth."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where control passes in one model: a `Crossing` in short."""

    verdict: CrossingVerdict
    depth: float
    """NaN unless the verdict is one of PLACED, likewise the bounds."""
    low: float
    high: float
    step: float
    """Distance of the two measured depths that it lies between."""
    start: float
    """The first and the last measured depth that are judged: a place lies between them."""
    end: float
    n_units: int

    @property
    def placed(self) -> bool:
        return self.verdict in PLACED and not np.isnan([self.depth, self.low, self.high]).any()

    @property
    def se(self) -> float:
        """Standard error in depths: of the units, and of what was measured."""
        reach = float(distributions.t.ppf((1 + stats.LEVEL) / 2, max(self.n_units - 2, 1)))
        return float(np.hypot((self.high - self.low) / 2 / reach, self.step / np.sqrt(12)))


def place_of(found: Crossing) -> Place:
    """A crossing in short."""
    low, high = found.between
    return Place(
        verdict=found.verdict,
        depth=found.depth,
        low=found.low,
        high=found.high,
        step=high - low,
        start=float(found.depths[0]),
        end=float(found.depths[-1]),
        n_units=found.n_units,
    )
