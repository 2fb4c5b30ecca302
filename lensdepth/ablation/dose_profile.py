"""How far directions were turned and norms stretched, and what followed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.ablation.profile import AtEnd, Effect, holds_by_identity
from lensdepth.arguments import checked
from lensdepth.coordinates import CoordinateName
from lensdepth.outcome import Effects
from lensdepth.provenance import Provenance
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class DoseProfile(SweepResult):
    """Outcome of turns and stretches of growing size, by depth and pair."""

    MADE_BY: ClassVar[str] = "dose_response(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    coordinates: CoordinateName
    position: str
    parts: tuple[str, ...]
    """For each dose: `direction` (towards the source), its control `random_direction`, `norm`."""
    doses: Float[Tensor, " dose"]
    """Share of the angle to the source where a direction turns; factor where a norm is scaled."""
    angle: Float[Tensor, "pair depth"]
    """Radians between base and source: the whole turn."""
    outcome: Effects
    """By dose (a row of `doses`), pair and depth."""
    at_end: AtEnd | None = None
    """Whether what is edited is the token that is read; None where the position's name tells."""

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        return self.outcome.places("depth")

    @property
    def base_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.outcome.unedited("base", "logit_diff", owner="DoseProfile")

    @property
    def source_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.outcome.unedited("source", "logit_diff", owner="DoseProfile")

    @property
    def logit_diff(self) -> Float[Tensor, "dose pair depth"]:
        return self.of("logit_diff")

    @property
    def kl(self) -> Float[Tensor, "dose pair depth"]:
        """KL(base || edited) in nats."""
        return self.of("kl")

    @property
    def flip(self) -> Float[Tensor, "dose pair depth"]:
        return self.of("flip")

    @property
    def success(self) -> Float[Tensor, "dose pair depth"]:
        return self.of("success")

    @property
    def identity_depth(self) -> int | None:
        """Depth L, where no factor of the norm can matter; see `AblationProfile.identity_depth`."""
        named: AtEnd = "always" if self.position == "prediction" else "never"
        at_end = self.at_end or named
        normalization = self.provenance.model.normalization
        there = self.n_layers in self.depths.tolist()
        holds = there and holds_by_identity(at_end, normalization, self.coordinates)
        return self.n_layers if holds else None

    def effect(self, name: Effect = "transferred") -> Float[Tensor, "dose pair depth"]:
        """An effect by its name; 0 where the edit does nothing."""
        return self.outcome.effect(name, owner="DoseProfile")

    def curve(
        self, part: str, values: Float[Tensor, "dose pair depth"], depth: int
    ) -> tuple[Float[Tensor, " part_dose"], Float[Tensor, "pair part_dose"]]:
        """The doses of one part and the response of each pair to them, at one depth.

        Raises:
            ValueError: that part or depth was not swept.
        """
        if part not in self.parts or depth not in self.depths.tolist():
            raise ValueError(
                f"DoseProfile: there is no dose of {part!r} at depth {depth}; parts are "
                f"{', '.join(dict.fromkeys(self.parts))}, depths {self.depths.tolist()}."
            )
        rows = torch.tensor([p == part for p in self.parts])
        return self.doses[rows], rearrange(
            values[rows, :, self.depths.tolist().index(depth)], "dose pair -> pair dose"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a part, dose, depth and pair."""
        frame = self.outcome.to_frame(
            "resid_pre",
            self.n_layers,
            {"amount": ("dose", self.doses), "angle": ("pair depth", self.angle)},
        )
        parts = [self.parts[i] for i in frame["dose"]]
        frame = frame.assign(position=self.position, part=parts, dose=frame["amount"])
        return frame.drop(columns="amount")

    def plot(self, effect: Effect = "transferred") -> "Figure":
        """One small panel a depth: response to the turn, and to the norm."""
        from lensdepth.ablation.figures import dose_figure

        return dose_figure(self, effect)
