"""Every pair in numbers: the result, its table and its figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.telling.depths import depth_columns

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

KindName = Literal["all", "right", "wrong"]
OrderName = Literal["pair", "clean", "right", "depth", "norm_ratio", "effect", "distance"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)
"""Columns that rows may be sorted by."""
NORMAL = 1.4826
"""Median distance from the median -> standard deviation, of a normal distribution."""
NORMAL_MEAN = 1.2533
"""The same of the mean distance from the median, where the median one is 0."""
ROUNDING = 1e-5
"""Of the logarithm of a ratio of norms, in float32."""
DISTANCE = (
    "Distance is how far a pair lies from the median of all pairs, in the column where it lies "
    "farthest (crossing, logarithm of the norm ratio, effect), in robust standard deviations: "
    "1.4826 times the median distance from the median, or 1.2533 times the mean one where that "
    "is 0."
)
"""Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class PairTable(ModelResult):
    """A row for each pair; what a pair does not have is NaN."""

    MADE_BY: ClassVar[str] = "pair_table(model, task)"
    """The call that makes one."""

    provenance: Provenance
    corrupted: tuple[str, ...]
    """The corrupted prompts; the clean ones are the provenance's."""
    targets: tuple[str, ...]
    foils: tuple[str, ...]
    right: Bool[Tensor, " pair"]
    """Whether the model's first choice is target on the clean and foil on the corrupted prompt."""
    preferred: Bool[Tensor, " pair"]
    """Whether it prefers target to foil on the clean prompt, and the reverse on the other."""
    crossing: Float[Tensor, " pair"]
    """Depth at which control passes from the input to the last token; NaN where it does not, does
    so in several steps, or was not looked for."""
    verdict: str
    """On the crossing of the mean curves; "" where none was looked for."""
    depth: int
    """Where norms and effects are read."""
    norm_ratio: Float[Tensor, " pair"]
    """Norm of the last token's state on the clean prompt, over that on the corrupted one."""
    effect: Float[Tensor, " pair"]
    """Change of logit(target) - logit(foil), in nats, where the last token's state of the clean
    prompt is put into the corrupted run."""
    transferred: Float[Tensor, " pair"]
    """The same as a share of the distance between both runs."""
    floor: float
    """Size of an effect below which it is rounding."""

    @property
    def floors(self) -> dict[str, float]:
        """By column of the table: below it an effect is rounding."""
        return {"effect": self.floor}

    @property
    def distance(self) -> Float[Tensor, " pair"]:
        """How far each pair lies from the median of all; see DISTANCE. NaN has no distance."""
        columns = (
            (self.crossing, 0.0), (self.norm_ratio.log(), ROUNDING), (self.effect, self.floor)
        )  # fmt: skip
        return torch.stack([_distances(*one) for one in columns]).amax(0)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair; `depth` is where it crosses."""
        import pandas as pd

        return pd.DataFrame(
            {
                "pair": range(len(self.corrupted)),
                "clean": self.provenance.prompts,
                "corrupted": self.corrupted,
                "target": self.targets,
                "foil": self.foils,
                "right": self.right.numpy(),
                "preferred": self.preferred.numpy(),
                **depth_columns(self.crossing.numpy(), self.n_layers),
                "norm_ratio": self.norm_ratio.numpy(),
                "effect": self.effect.numpy(),
                "transferred": self.transferred.numpy(),
                "distance": self.distance.numpy(),
            }
        )

    def sorted_frame(
        self,
        by: OrderName = "pair",
        *,
        descending: bool = False,
        only: KindName = "all",
        text: str = "",
    ) -> "pd.DataFrame":
        """The same rows in another order, or some of them; what has no number comes last.

        Args:
            by: one of ORDERS, a column.
            descending: the largest first.
            only: right pairs, wrong ones, or all.
            text: what must occur in a prompt or an answer, in whatever case.
        """
        frame = self.to_frame()
        shown = np.ones(len(frame), dtype=bool)
        if only != "all":
            shown &= (frame["right"] == (only == "right")).to_numpy()
        if text.strip():
            words = frame[["clean", "corrupted", "target", "foil"]].agg(" ".join, axis=1)
            shown &= words.str.contains(text.strip(), case=False, regex=False).to_numpy()
        there: pd.DataFrame = frame.loc[shown]
        return there.sort_values(by=by, ascending=not descending, kind="stable")

    def plot(self) -> "Figure":
        """Each pair as a dot: where it crosses against its effect, right and wrong ones apart."""
        from lensdepth.pairs.figures import pair_dots

        return pair_dots(self)


def _distances(values: Float[Tensor, " pair"], floor: float) -> Float[Tensor, " pair"]:
    """Distance from the median in robust standard deviations; 0 where there is none, or no more
    of it than rounding."""
    known = values.double()[values.isfinite()]
    if not len(known):
        return torch.zeros_like(values)
    away = (values.double() - known.quantile(0.5)).abs()
    away = torch.where(away > floor, away, 0.0)  # NaN is no distance
    spread = away[values.isfinite()]
    scale = NORMAL * spread.quantile(0.5)
    if scale == 0:
        scale = NORMAL_MEAN * spread.mean()
    if scale == 0:
        return torch.zeros_like(values)
    return (away / scale).to(values.dtype)
