"""Where direction and norm are taken: from the origin, from a mean, or as the final norm sees them.

A state is y plus a rest, and y alone is split into direction and norm:

- `raw`: y = x; the rest is 0.
- `centred`: y = x - c, with c the mean of the states of a data set at that depth and position.
- `final_norm`: y = x less its mean over coordinates where the final norm is a LayerNorm, which
  subtracts it; y = x where it is an RMSNorm, which does not, and where there is none. The norm's
  own weights are left out: they act after the division by the length.

An edit in some coordinates acts on y and leaves the base's rest where it is.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lensdepth.metrics import widen
from lensdepth.polar import Edit

CoordinateName = Literal["raw", "centred", "final_norm"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """How the rest of a state is found."""

    center: Float[Tensor, "*shape d_model"] | None = None
    """Subtracted from every state, broadcast over it; None for the origin."""
    without_mean: bool = False
    """Whether the mean over a state's own coordinates belongs to the rest."""

    def __getitem__(self, depth: int) -> "Coordinates":
        """Those of one depth, where there is a center for each."""
        center = None if self.center is None else self.center[depth].flatten()
        return Coordinates(center=center, without_mean=self.without_mean)

    def inner(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """y, in float32 or wider."""
        y = widen(x)
        return self.tangent(y if self.center is None else y - self.center.to(y))

    def tangent(self, y: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The part of a displacement that lies in the space of y."""
        return y - y.mean(-1, keepdim=True) if self.without_mean else y

    def outer(
        self, y: Float[Tensor, "*batch d_model"], base: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """The state with this y and the base's rest."""
        return y + (widen(base) - self.inner(base))

    def edit(self, edit: Edit) -> Edit:
        """An edit of y; the edit itself where nothing is left out."""
        if self.center is None and not self.without_mean:
            return edit

        def inside(base: Tensor, source: Tensor | None) -> Tensor:
            given = None if source is None else self.inner(source)
            return self.outer(edit(self.inner(base), given), base).to(base.dtype)

        return inside


def coordinates_of(
    name: CoordinateName,
    normalization: str,
    center: Float[Tensor, "*shape d_model"] | None = None,
) -> Coordinates:
    """The coordinates of that name, for a model whose final norm is `LN`, `RMS` or `none`."""
    if name == "centred":
        assert center is not None, "centred coordinates need a center"
        return Coordinates(center=center)
    return Coordinates(without_mean=name == "final_norm" and normalization == "LN")
