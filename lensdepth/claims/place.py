"""Where control passes, or a profile switches, in one model: what is kept beside its claims."""

from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.transition.crossing_result import Crossing, CrossingVerdict
from lensdepth.transition.result import Switch, Transition

Switched = Crossing | Transition
PLACED = ("crossing", "gap", "transition", "rise")
"""Verdicts that have a depth."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A `Crossing`, or a `Transition`, in short."""

    verdict: CrossingVerdict | Switch
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


def place_of(found: Switched) -> Place:
    """A crossing or a transition in short."""
    names = ("depth", "low", "high")
    if isinstance(found, Transition):
        names = ("location", "location_low", "location_high")
    depth, low, high = (float(getattr(found, name)) for name in names)
    before, after = found.between
    return Place(
        verdict=found.verdict,
        depth=depth,
        low=low,
        high=high,
        step=after - before,
        start=float(found.depths[0]),
        end=float(found.depths[-1]),
        n_units=found.n_units,
    )


def what_switches(found: Switched) -> str:
    """Of what it is the place, in words."""
    return f"“{found.name}” switches" if isinstance(found, Transition) else PASSES


PASSES = "control passes"
