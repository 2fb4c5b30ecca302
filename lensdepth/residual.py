"""The residual stream by depth, at the positions that were asked for.

`DepthModel.residual_stream` makes it. Memory is (n_layers + 1) x prompts x kept positions x d_model
float32 values; `positions="last"` keeps one position per prompt. What does not fit is
kept on disk by `capture`, and opened by `ResidualStream.open`.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.provenance import ModelInfo
from lensdepth.storage import Result
from lensdepth.tokens import TokenBatch

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from lensdepth.captures import Capture


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualStream(Result):
    """Residual states: depth 0 enters block 0, depth d leaves block d - 1, depth L is read out."""

    MADE_BY: ClassVar[str] = "model.residual_stream(prompts)"
    """The call that makes one."""

    resid: Float[Tensor, "depth batch pos d_model"]
    """The states, float32, on the CPU; zeros where there is no real token."""
    positions: Int[Tensor, "batch pos"]
    """Where in its prompt each state stands; -1 where a prompt is shorter than the longest."""
    tokens: TokenBatch
    """The prompts."""
    info: ModelInfo
    """The model."""

    @classmethod
    def open(cls, folder: str | Path) -> "Capture":
        """The states that `capture` keeps in a folder, or others do, read as they are asked for.

        See `Capture`, whose `stream` gives a `ResidualStream` of some prompts.

        Raises:
            FileNotFoundError: there is no capture, or a shard of it is missing.
            ValueError: it is damaged or unfinished.
        """
        # It stands above this file: what it reads by is made of this class.
        return import_module("lensdepth.captures").open_capture(folder)

    @property
    def n_layers(self) -> int:
        """Number of blocks, one less than the number of depths."""
        return len(self.resid) - 1

    @property
    def mask(self) -> Bool[Tensor, "batch pos"]:
        """True where a state is real."""
        return self.positions >= 0

    @property
    def norms(self) -> Float[Tensor, "depth batch pos"]:
        """Length of each state; 0 where there is none."""
        return polar.norm(self.resid)

    @property
    def directions(self) -> Float[Tensor, "depth batch pos d_model"]:
        """Each state divided by its norm; the zero vector stays zero."""
        return polar.direction(self.resid)

    @property
    def turns(self) -> Float[Tensor, "step batch pos"]:
        """Angle between each state and the one that leaves the next block, in degrees.

        NaN where there is no state, or one is the zero vector.
        """
        return polar.angle(self.resid[:-1], self.resid[1:]).rad2deg()

    def to_frame(self) -> "pd.DataFrame":
        """One row a real state: its norm, and the turn since the depth before in degrees."""
        import pandas as pd

        n_depths, n_prompts, n_kept = self.norms.shape
        axes = {"depth": n_depths, "prompt": n_prompts, "place": n_kept}
        depth = repeat(torch.arange(n_depths), "depth -> depth prompt place", **axes)
        first = torch.full((1, n_prompts, n_kept), torch.nan, dtype=torch.float32)
        columns = {
            "prompt": repeat(torch.arange(n_prompts), "prompt -> depth prompt place", **axes),
            "position": repeat(self.positions, "prompt place -> depth prompt place", **axes),
            "depth": depth,
            "relative_depth": depth.double() / self.n_layers,
            "norm": self.norms,
            "turn": torch.cat([first, self.turns]),
        }
        real = repeat(self.mask, "prompt place -> depth prompt place", **axes)
        return pd.DataFrame({name: values[real].numpy() for name, values in columns.items()})

    def plot(self) -> "Figure":
        """Norm by depth, mean over the states, with its 95 % interval over prompts."""
        from lensdepth import plotting
        from lensdepth.telling.curves import Curve

        there = torch.where(self.mask, self.norms, torch.nan).nanmean(-1)
        curve = Curve.of("norm", there.T, role="norm", units=())
        return plotting.depth_figure(
            [curve], n_layers=self.n_layers, title="Norm of the residual stream", y_title="norm"
        )
