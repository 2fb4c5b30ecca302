"""What `find_transition` found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import Result
from lensdepth.transition.handover import measured_around
from lensdepth.transition.pairs import PairSwitches
from lensdepth.transition.sigmoid import unit_sigmoids
from lensdepth.units import Units, count

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Switch = Literal["transition", "rise", "none", "cannot tell", "too few"]


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Transition(Result):
    """Sigmoid a + b / (1 + exp(-(depth - location) / scale)) through the mean profile."""

    MADE_BY: ClassVar[str] = "find_transition(profile)"
    """The call that makes one."""

    name: str
    provenance: Provenance | None
    """Of the profile that was read; None for a bare array."""
    units: Units
    """Which pairs go together."""
    verdict: Switch
    reason: str
    """Why, in plain words."""
    depths: Float[Tensor, " depth"]
    curve: Float[Tensor, "unit depth"]
    """The profile that was fitted, one row a prompt or pair."""
    location: float
    """Depth at half of the mean profile's change; NaN where nothing could be fitted."""
    location_low: float
    location_high: float
    width: float
    """Depths over which the mean profile goes from 10 to 90 % of its change."""
    width_low: float
    width_high: float
    pair_width: float
    """Median of the widths of the pairs' own profiles, which is what a pair's switch takes; NaN
    where noise hides them."""
    pair_width_low: float
    pair_width_high: float
    change: float
    """b: the profile after minus before."""
    start: float
    """a: the profile before."""
    r_squared: float
    """Share of the mean profile's variance over depth that the sigmoid explains."""
    p: float
    """The larger of the two below, both of which a transition must pass; after `correct_many`,
    corrected for the number of profiles."""
    p_flat: float
    """Of "the profile does not change with depth"."""
    p_wide: float
    """Of "10 to 90 % of a pair's change take a quarter of the depth or more, in half of the pairs
    at least"; where pairs have no widths of their own, of the mean profile's change."""
    pairs: PairSwitches
    """Where each pair switches by itself."""
    seed: int

    @property
    def n_pairs(self) -> int:
        """Prompts or pairs."""
        return self.curve.shape[0]

    @property
    def n_units(self) -> int:
        """Independent ones."""
        return count(self.units, self.n_pairs)

    @property
    def n_layers(self) -> int:
        """Of the model; the last depth, where the curves are bare arrays."""
        if self.provenance is not None:
            return self.provenance.model.n_layers
        return int(self.depths[-1])

    @property
    def between(self) -> tuple[float, float]:
        """The two measured depths between which the location lies."""
        return measured_around(self.location, self.depths)

    def fitted(self, depth: Float[Array, " point"]) -> Float[Array, " point"]:
        """The sigmoid at the given depths."""
        location, width = np.array([self.location]), np.array([self.width])
        return self.start + self.change * unit_sigmoids(depth, location, width)[0]

    def to_frame(self) -> "pd.DataFrame":
        """One row: location, width and their intervals, p-value and verdict."""
        import pandas as pd

        names = (
            "name", "verdict", "location", "location_low", "location_high", "width", "width_low",
            "width_high", "pair_width", "pair_width_low", "pair_width_high", "change", "r_squared",
            "p", "p_flat", "p_wide", "n_pairs", "n_units", "reason",
        )  # fmt: skip
        row = {name: getattr(self, name) for name in names}
        row["relative_location"] = self.location / self.n_layers
        row |= {f"pairs_{name}": getattr(self.pairs, name) for name in OF_PAIRS}
        return pd.DataFrame([row])

    def plot(self) -> "Figure":
        """The profile with its band, the fitted sigmoid, and the interval of the location."""
        from lensdepth import plotting

        depths = self.depths.numpy()
        curves = [
            plotting.Curve.of(self.name, self.curve, role="lens", depths=depths, units=self.units)
        ]
        zone = None
        if self.verdict in ("transition", "rise"):
            fine = np.linspace(depths[0], depths[-1], 200)
            curves.append(
                plotting.Curve.from_interval(
                    "sigmoid", self.fitted(fine), role="full", depths=fine, dashed=True
                )
            )
            zone = (self.location_low, self.location, self.location_high)
        return plotting.depth_figure(
            curves,
            n_layers=self.n_layers,
            title=f"Transition of {self.name}: {self.verdict}",
            y_title=self.name,
            zone=zone,
        )


OF_PAIRS = ("median", "low", "high", "first_quartile", "third_quartile", "near", "p_modes")
"""Numbers of `PairSwitches` that stand in frames."""
