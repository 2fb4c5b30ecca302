"""The residual stream by depth, at the positions that were asked for.

`DepthModel.residual_stream` makes it. Memory is (n_layers + 1) x prompts x kept positions x d_model
float32 values; `positions="last"` keeps one position per prompt.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.provenance import ModelInfo
from lensdepth.tokens import TokenBatch


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualStream:
    """Residual states: depth 0 enters block 0, depth d leaves block d - 1, depth L is read out."""

    resid: Float[Tensor, "depth batch pos d_model"]
    """The states, float32, on the CPU; zeros where there is no real token."""
    positions: Int[Tensor, "batch pos"]
    """Where in its prompt each state stands; -1 where a prompt is shorter than the longest."""
    tokens: TokenBatch
    """The prompts."""
    info: ModelInfo
    """The model."""

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
