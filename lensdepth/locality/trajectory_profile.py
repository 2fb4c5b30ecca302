"""Where the traces of local edits go in the depths after them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outcome import Label, one_of
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.sweep.roles import Mode
from lensdepth.telling.depths import depth_columns
from lensdepth.telling.names import has_blocks

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

FOLLOWED = (
    "angle_from_base",
    "angle_to_source",
    "angle_progress",
    "norm",
    "norm_progress",
    "control_angle_from_base",
)
"""What is known of each edit at each later depth."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryProfile(ModelResult):
    """Angles and norms after a local edit; NaN at depths before it."""

    MADE_BY: ClassVar[str] = "trajectory_response(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    """What is edited; what is read is always the residual stream."""
    edit: str
    position: str
    """Where the edit is made."""
    read: str
    """Where the states are read."""
    edited: Int[Tensor, " edit"]
    """Residual depths that are edited, one at a time; block numbers at the other streams."""
    angle_from_base: Float[Tensor, "pair edit depth"]
    """Radians between the edited run's state and the base run's."""
    angle_to_source: Float[Tensor, "pair edit depth"]
    """Radians between the edited run's state and the source run's."""
    angle_base_source: Float[Tensor, "pair depth"]
    """Radians between the two unedited runs."""
    norm: Float[Tensor, "pair edit depth"]
    """Norm of the edited run's state."""
    base_norm: Float[Tensor, "pair depth"]
    source_norm: Float[Tensor, "pair depth"]
    control_angle_from_base: Float[Tensor, "pair edit depth"]
    """The same after turning the state as far in a random direction."""

    @property
    def reached(self) -> Int[Tensor, " edit"]:
        """First residual depth that each edit changes: the edited one, or the block's output."""
        return self.edited + has_blocks(self.stream)

    @property
    def angle_progress(self) -> Float[Tensor, "pair edit depth"]:
        """1 - angle to source / angle between base and source: 0 at the base, 1 at the source."""
        between = self.angle_base_source[:, None]
        progress = 1 - self.angle_to_source / between
        return torch.where(between > 1e-4, progress, torch.nan)

    @property
    def norm_progress(self) -> Float[Tensor, "pair edit depth"]:
        """Share of the way from the base's norm to the source's; NaN where those are alike."""
        base, source = self.base_norm[:, None], self.source_norm[:, None]
        progress = (self.norm - base) / (source - base)
        return torch.where((source - base).abs() > 1e-3 * base, progress, torch.nan)

    @property
    def persistence(self) -> Float[Tensor, "pair edit"]:
        """Angle from the base trajectory at the last depth over that at the first one reached.

        Below 1 the later layers undo the turn, above 1 they make more of it.
        """
        at = torch.stack(
            [self.angle_from_base[:, i, d] for i, d in enumerate(self.reached.tolist())], dim=1
        )
        return torch.where(at > 1e-4, self.angle_from_base[:, :, -1] / at, torch.nan)

    def of(self, quantity: str | None = None, **labels: Label | None) -> Tensor:
        """Numbers at some labels, as every sweep's `of` has them: `of("norm", edited=2, depth=5)`.

        Args:
            quantity: `"angle_progress"`, the default, or another of FOLLOWED, by pair, edited and
                later depth; `"angle_base_source"`, `"base_norm"` and `"source_norm"` by pair and
                depth; `"persistence"` by pair and edited depth.
            labels: of `edited`, as `edited` counts, and `depth`; None stands for the first.
        Raises:
            ValueError: there is no such quantity, axis or label.
        """
        axes = {"persistence": "pair edited"}
        axes |= dict.fromkeys(("angle_base_source", "base_norm", "source_norm"), "pair depth")
        axes |= dict.fromkeys(FOLLOWED, "pair edited depth")
        numbers = {name: (axes[name], getattr(self, name)) for name in axes}
        coords = {"edited": self.edited.tolist(), "depth": range(self.n_layers + 1)}
        chosen = quantity or "angle_progress"
        return one_of(numbers, coords, chosen, owner="TrajectoryProfile", **labels)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, edited depth and later depth."""
        import pandas as pd

        n_pairs, _, n_depths = self.norm.shape
        pair, row, depth = torch.meshgrid(
            torch.arange(n_pairs),
            torch.arange(len(self.edited)),
            torch.arange(n_depths),
            indexing="ij",
        )
        edited = self.edited[row]
        columns = {
            "pair": pair.flatten().numpy(),
            **depth_columns(edited.flatten(), self.n_layers, stream=self.stream, name="edited"),
            **depth_columns(depth.flatten(), self.n_layers),
        }
        for name in FOLLOWED:
            columns[name] = getattr(self, name).flatten().numpy()
        there = (depth >= self.reached[row]).flatten().numpy()
        return pd.DataFrame(columns)[there].reset_index(drop=True)

    def plot(self) -> "Figure":
        """Mean progress in angle towards the source, by edited (up) and later depth (across)."""
        from lensdepth import stats
        from lensdepth.heatmaps import depth_axis, effect_heatmap
        from lensdepth.telling.names import position_name

        mean, low, high = stats.mean_interval(
            self.angle_progress.numpy(), units=self.provenance.units
        )
        rows = depth_axis(self.edited.tolist(), self.n_layers, stream=self.stream)
        columns = depth_axis(range(self.n_layers + 1), self.n_layers)
        return effect_heatmap(
            mean,
            rows=rows.of("edited"),
            columns=columns.of("read"),
            title=f"Response of the trajectory, {position_name(self.read)}",
            unit="share of the angle from base to source",
            signs=("away from the source", "towards the source"),
            low=low,
            high=high,
        )
