"""At which depths right and wrong answers stand, and whether these differ beyond chance."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.telling.numbers import Interval
from lensdepth.units import Units, take

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

By = Literal["lens", "patch"]
MistakeVerdict = Literal["later", "earlier", "cannot tell", "too few"]
KINDS = {
    "right": "right",
    "wrong": "wrong",
    "almost": "almost right",
    "off": "further off",
}
"""Kind of an answer -> its words; the wrong ones are the almost right and those further off."""
FEWEST = 8
"""Answers of each kind below which nothing is compared."""


@checked
@dataclass(frozen=True, kw_only=True)
class Difference:
    """Whether answers of one kind stand at other depths than those of another."""

    kind: str
    than: str
    verdict: MistakeVerdict
    """Of the one kind, at the 5 % level."""
    reason: str
    """Why nothing can be told, if so."""
    difference: float
    """Mean depth of the one less that of the other; NaN where one kind is not there."""
    low: float
    high: float
    """Its 95 % interval over units, all groupings crossed; NaN with too few."""
    p: float
    """Two-sided, against deals of both kinds within units; the largest over groupings."""

    @property
    def gap(self) -> Interval:
        """The difference with its interval."""
        return Interval(value=self.difference, low=self.low, high=self.high)


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class MistakeProfile(ModelResult):
    """The depth from which on each answer stands, by pair, and right held against wrong."""

    MADE_BY: ClassVar[str] = "compare_mistakes(model, task)"
    """The call that makes one."""

    provenance: Provenance
    by: By
    """How an answer is seen to stand: `lens`, it is the lens's first choice from there on; `patch`,
    the last token's state brings it about in the corrupted run from there on."""
    depths: Float[Tensor, " pair"]
    """First depth from which on the model's own answer to the clean prompt stands; L at the latest,
    by construction. NaN where it cannot be seen: by patching, if both prompts have one answer."""
    wrong: Bool[Tensor, " pair"]
    """Whether that answer, the model's first choice, is another than the target."""
    answers: tuple[str, ...]
    """The model's answers to the clean prompts."""
    targets: tuple[str, ...]
    verdict: MistakeVerdict
    """Whether wrong answers stand later or earlier than right ones, at the 5 % level."""
    reason: str
    """Why nothing can be told, if so."""
    difference: float
    """Mean depth of wrong answers less that of right ones; NaN where one kind is not there."""
    low: float
    high: float
    """Its 95 % interval over units, all groupings crossed; NaN with too few."""
    p: float
    """Two-sided, against deals of right and wrong within units; the largest over groupings."""
    units: dict[str, int]
    """What right and wrong are dealt out within, and how many units that makes."""
    almost: Bool[Tensor, " pair"] | None = None
    """Of the wrong answers those beside which the target is the model's second choice."""
    differences: tuple[Difference, ...] = ()
    """Of the almost right answers to the right ones, and to those further off."""

    @property
    def gap(self) -> Interval:
        """The difference with its interval."""
        return Interval(value=self.difference, low=self.low, high=self.high)

    def of(self, kind: str) -> Float[Tensor, " answer"]:
        """The depths of one kind of answers (see KINDS), those that could be seen.

        Raises:
            ValueError: another word.
        """
        if kind not in KINDS:
            raise ValueError(
                f"MistakeProfile: kind must be one of {', '.join(KINDS)}, got {kind!r}."
            )
        return self.depths[self._seen(kind)]

    def units_of(self, kind: str) -> Units:
        """Which of these go together."""
        return take(self.provenance.units, self._seen(kind).numpy())

    def _seen(self, kind: str) -> Bool[Tensor, " pair"]:
        almost = torch.zeros_like(self.wrong) if self.almost is None else self.almost
        of = {
            "right": ~self.wrong,
            "wrong": self.wrong,
            "almost": almost,
            "off": self.wrong & ~almost,
        }
        return of[kind] & ~self.depths.isnan()

    def settled(self, kind: str) -> Float[Tensor, "answer depth"]:
        """1 from the depth on at which an answer stands."""
        return (self.of(kind)[:, None] <= torch.arange(self.n_layers + 1)).float()

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair."""
        import pandas as pd

        return pd.DataFrame(
            {
                "pair": range(len(self.depths)),
                "prompt": self.provenance.prompts,
                "answer": self.answers,
                "target": self.targets,
                "wrong": self.wrong.numpy(),
                "almost": None if self.almost is None else self.almost.numpy(),
                "depth": self.depths.numpy(),
                "relative_depth": (self.depths / self.n_layers).numpy(),
            }
        )

    def plot(self) -> "Figure":
        """Share of each kind of answers that stand, by depth, with 95 % bands."""
        from lensdepth import plotting
        from lensdepth.mistakes.told import curves, seen_by

        return plotting.depth_figure(
            curves(self),
            n_layers=self.n_layers,
            title="Where right and wrong answers form",
            y_title=f"share of answers that stand from there on, by {seen_by(self.by)}",
            y_range=(-0.03, 1.03),
        )
