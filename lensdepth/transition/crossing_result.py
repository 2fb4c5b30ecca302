"""What `find_crossing` found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import Result
from lensdepth.transition.handover import HELD, measured_around
from lensdepth.transition.holders import Holder, resting
from lensdepth.transition.pairs import PairSwitches
from lensdepth.transition.result import OF_PAIRS
from lensdepth.units import Units, count

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

CrossingVerdict = Literal["crossing", "gap", "none", "cannot tell", "too few"]


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing(Result):
    """Where control passes from one position to the other."""

    provenance: Provenance | None
    units: Units
    """Which pairs go together."""
    verdict: CrossingVerdict
    reason: str
    depth: float
    """Depth at which the second curve overtakes the first, interpolated between two measured ones;
    NaN where it does not."""
    low: float
    high: float
    share: float
    """Share of the draws in which the curves cross."""
    held: float
    """Success of both positions together where it is least on the way from the last depth that the
    first controls to the first that the second does; NaN where they do not change places."""
    moved: float
    """Share of the logit difference that both move together there, each patched by itself: where
    neither brings the answer about, they may share it. NaN of bare curves."""
    leaves: float
    """Of a gap: where the first curve falls below HELD; NaN otherwise."""
    arrives: float
    """Of a gap: where the second curve rises above HELD; depth L where it does so after the last
    block alone, where it must; NaN otherwise."""
    holders: tuple[Holder, ...]
    """Of a gap: where control rests between, by depth, once it was looked for by patching other
    places (`find_holder`, or a profile that has some); () otherwise."""
    depths: Float[Tensor, " depth"]
    first: Float[Tensor, "unit depth"]
    """Efficacy that leads early: patching or steering at the input position."""
    second: Float[Tensor, "unit depth"]
    """Efficacy that leads late: at the prediction position."""
    pairs: PairSwitches
    """Where each pair hands over by itself."""
    seed: int

    @property
    def n_layers(self) -> int:
        """Of the model; the last depth, where the curves are bare arrays."""
        if self.provenance is not None:
            return self.provenance.model.n_layers
        return int(self.depths[-1])

    @property
    def n_pairs(self) -> int:
        """Pairs."""
        return len(self.first)

    @property
    def n_units(self) -> int:
        """Independent ones."""
        return count(self.units, self.n_pairs)

    @property
    def between(self) -> tuple[float, float]:
        """The two measured depths between which the curves cross; NaN where they do not."""
        return measured_around(self.depth, self.depths)

    @property
    def arrives_last(self) -> bool:
        """Of a gap: whether control reaches the second position after the last measured depth that
        is judged, in the last block where all are."""
        return self.verdict == "gap" and self.arrives > float(self.depths[-1])

    @property
    def analysis(self) -> str:
        """The function whose curves these are; "" of bare ones."""
        return "" if self.provenance is None else self.provenance.analysis

    @property
    def metric(self) -> str:
        """The main metric of the sweep, of which `moved` is a share."""
        known = {} if self.provenance is None else self.provenance.settings
        return known.get("metric", "logit_diff")

    @property
    def held_by(self) -> str:
        """Of a gap: where control rests between, in words; "" where that was not looked for, or
        where no place holds it."""
        return resting(self.holders)

    @property
    def held_by_share(self) -> float:
        """Success of patching there, where it is least; where no place holds control, what the best
        one has, where that is most; NaN where that was not looked for."""
        named = [one.share for one in self.holders if one.name]
        return min(named) if named else max((x.share for x in self.holders), default=float("nan"))

    @property
    def inside_gap(self) -> Float[np.ndarray, " inside"]:
        """The measured depths of a gap, at which neither curve reaches HELD; none otherwise."""
        at = self.depths.double().numpy()
        nobody = (self.first.nanmean(0) < HELD) & (self.second.nanmean(0) < HELD)
        return at[(at >= self.leaves) & (at <= self.arrives) & nobody.numpy()]

    def to_frame(self) -> "pd.DataFrame":
        """One row: the depth, its interval, and the verdict."""
        import pandas as pd

        names = (
            "verdict", "depth", "low", "high", "share", "held", "moved", "leaves", "arrives",
            "held_by", "held_by_share", "n_pairs", "n_units", "reason",
        )  # fmt: skip
        row = {name: getattr(self, name) for name in names}
        row["relative_depth"] = self.depth / self.n_layers
        row |= {f"pairs_{name}": getattr(self.pairs, name) for name in OF_PAIRS}
        return pd.DataFrame([row])

    def plot(self) -> "Figure":
        """Both curves with bands and the interval of the crossing."""
        from lensdepth import plotting

        curves = [
            plotting.Curve.of(
                f"{role} position",
                values,
                role=role,
                depths=self.depths.numpy(),
                units=self.units,
            )
            for role, values in (("input", self.first), ("prediction", self.second))
        ]
        found = self.verdict == "crossing"
        return plotting.depth_figure(
            curves,
            n_layers=self.n_layers,
            title="Crossing of input and output control",
            y_title="efficacy",
            y_range=(-0.03, 1.03),
            zone=(self.low, self.depth, self.high) if found else None,
        )
