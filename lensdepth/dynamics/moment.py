"""What one checkpoint gives on the pairs that it answers."""

import math
from dataclasses import dataclass, field
from typing import Literal

from lensdepth.provenance import ModelInfo
from lensdepth.telling.numbers import Interval
from lensdepth.transition.handover import HELD

Kind = Literal["crossing", "gap", "none", "cannot tell", "too few", "not learned"]
LEARNED = HELD
"""Share of the pairs that a checkpoint must answer rightly to be asked how it forms its answers: by
whom they are held for the most part is said of success alike."""
UNKNOWN = Interval(value=math.nan, low=math.nan, high=math.nan)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One checkpoint; what it has not is NaN. Depths are absolute, intervals 95 % over units."""

    step: int
    """Training steps that led to it."""
    model: ModelInfo
    """With the fingerprint of its weights."""
    kind: Kind
    """The verdict of `find_crossing` on the pairs that it answers rightly; `not learned` where
    these are fewer than LEARNED of all, and then there is no place to speak of."""
    reason: str
    right: Interval
    """Share of the pairs whose answers are its first choice, on both prompts."""
    preferred: float
    """Share whose answers are likelier than the other prompt's, on both."""
    n_right: int
    n_units: int
    """Independent ones of these."""
    depth: Interval
    """Where control passes from the input position to the prediction position; of a crossing."""
    width: Interval
    """Depths that 10 to 90 % of the handover take, of one with `find_transition`'s verdict
    transition or rise; needs four depths before the last."""
    leaves: float
    """Of a gap: where control leaves the input position."""
    arrives: float
    """Of a gap: where it reaches the prediction position."""
    lens: str
    """Verdict of `find_transition` on the logit lens; "" where it was not asked."""
    lens_depth: Interval
    """Where the lens switches; of a transition or a rise."""
    lens_width: Interval
    coupling: Interval
    """Spearman correlation, over pairs of clean prompts, of the angle between their states at depth
    L - 1 with the Jensen-Shannon divergence of their predictions."""
    claims: dict[str, str] = field(default_factory=dict)
    """Verdict by claim, where they were asked for."""

    @property
    def n_layers(self) -> int:
        """Depth L."""
        return self.model.n_layers

    @property
    def relative(self) -> Interval:
        """The place where control passes as a share of the depth."""
        return relative(self.depth, self.n_layers)


def relative(depth: Interval, n_layers: int) -> Interval:
    """A depth as a share of depth L."""
    value, low, high = (x / n_layers for x in (depth.value, depth.low, depth.high))
    return Interval(value=value, low=low, high=high)
