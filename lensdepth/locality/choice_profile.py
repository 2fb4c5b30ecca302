"""Which depths to take where there is a budget: what was chosen, and what it does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outcome import Label, one_of
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.sweep.roles import Mode
from lensdepth.telling.curves import estimate
from lensdepth.telling.depths import depth_columns
from lensdepth.telling.numbers import Interval

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Method = Literal["greedy", "shapley", "single"]
METHODS: tuple[Method, ...] = ("greedy", "shapley", "single")
"""Ways to choose: `greedy` adds the depth with which the set does most, measured anew at each step;
`shapley` takes the largest Shapley values; `single` the depths that do most alone."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class DepthChoice(ModelResult):
    """Sets of depths by method and size, judged on pairs that did not choose them.

    Effects are changes of the metric towards the source run, in the metric's unit.
    """

    MADE_BY: ClassVar[str] = "choose_depths(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    metric: str
    apart: str
    """What pairs that chose a set and pairs that judge it share no value of."""
    n_fits: int
    """How often sets were chosen: by all pairs but those of some folds."""
    n_fitted: int
    """Pairs that the choice with fewest had."""
    depths: Int[Tensor, " depth"]
    """Candidates: residual depths at `resid_pre`, block numbers at the other streams."""
    chosen: Int[Tensor, "method size"]
    """By all pairs, in the order in which they join: the first s of a row are its set of size s;
    as `depths` counts. Methods as in METHODS."""
    fits: Int[Tensor, "fit method size"]
    """The same by the pairs of each fit."""
    of_pair: Int[Tensor, " pair"]
    """Which fit judges each pair."""
    held_out: Float[Tensor, "method size pair"]
    """Effect of the set of that size that was chosen without the pair."""
    in_sample: Float[Tensor, "method size pair"]
    """Effect of `chosen`, the pair among those that chose."""
    random: Float[Tensor, "size pair"]
    """Control: mean effect of random sets of that size."""
    shuffled: Float[Tensor, "size pair"]
    """Control: effect of the greedy ones of `chosen` with another pair's source; NaN elsewhere."""
    whole: Float[Tensor, " pair"]
    """All candidates at once."""
    alone: Float[Tensor, "pair depth"]
    without: Float[Tensor, "pair depth"]
    """All candidates but one."""
    group: Int[Tensor, " member"]
    """Depths that do at least half of the whole alone, by all pairs and in every fit: what may be
    redundant; none or one where there are no two."""
    group_whole: Float[Tensor, " pair"]
    """All of the group at once; NaN where it has no two members."""
    group_without: Float[Tensor, "pair member"]
    """All of the group but one."""
    floor: float
    """How far the metric moves, by rounding, in runs that change nothing."""

    @property
    def n_sites(self) -> int:
        """The budget."""
        return self.chosen.shape[1]

    @property
    def sizes(self) -> list[int]:
        """Sizes of sets, from 1 to the budget."""
        return list(range(1, self.n_sites + 1))

    def of(self, quantity: str | None = None, **labels: Label | None) -> Tensor:
        """Numbers at some labels, as every sweep's `of` has them: `of("held_out", size=2)`.

        Args:
            quantity: `"held_out"`, the default, and `"in_sample"` by method, size and pair;
                `"random"` and `"shuffled"` by size and pair; `"alone"` and `"without"` by pair and
                depth; `"whole"` by pair.
            labels: of `method`, `size`, `depth`; None stands for the first.
        Raises:
            ValueError: there is no such quantity, axis or label.
        """
        numbers = {
            "held_out": ("method size pair", self.held_out),
            "in_sample": ("method size pair", self.in_sample),
            "random": ("size pair", self.random),
            "shuffled": ("size pair", self.shuffled),
            "alone": ("pair depth", self.alone),
            "without": ("pair depth", self.without),
            "whole": ("pair", self.whole),
        }
        coords = {"method": METHODS, "size": self.sizes, "depth": self.depths.tolist()}
        return one_of(numbers, coords, quantity, owner="DepthChoice", **labels)

    def effect(self, method: Method = "greedy", size: int | None = None) -> Interval:
        """Mean effect of a method's sets on pairs that did not choose them.

        Args:
            method: one of METHODS.
            size: of the sets; the budget by default.
        Raises:
            ValueError: there is no such method or size.
        """
        held_out = self.of(method=method, size=self.n_sites if size is None else size)
        return estimate(held_out, self.provenance.units, floor=self.floor)

    def optimism(self, method: Method = "greedy", size: int | None = None) -> Interval:
        """By how much judging on the pairs that chose would overstate: in-sample less held-out.

        Args:
            method: one of METHODS.
            size: of the sets; the budget by default.
        Raises:
            ValueError: there is no such method or size.
        """
        labels = {"method": method, "size": self.n_sites if size is None else size}
        gap = self.of("in_sample", **labels) - self.of("held_out", **labels)
        return estimate(gap, self.provenance.units, floor=self.floor)

    def lead(
        self, over: Method = "single", size: int | None = None, of_size: int | None = None
    ) -> Interval:
        """How much more the greedy sets do than another method's, pair by pair.

        Args:
            over: the other method; `"single"` with `of_size=1` is the best single depth.
            size: of the greedy sets; the budget by default.
            of_size: of the other's; the same by default.
        Raises:
            ValueError: there is no such method or size.
        """
        size = self.n_sites if size is None else size
        gap = self.of(method="greedy", size=size) - self.of(method=over, size=of_size or size)
        return estimate(gap, self.provenance.units, floor=self.floor)

    @property
    def frequency(self) -> Float[Tensor, "method depth"]:
        """Share of the pairs that are judged by a set of the whole budget with that depth in it."""
        hits = (self.fits[..., None] == self.depths).any(2).float()
        return hits[self.of_pair].mean(0)

    def verdict(self) -> str:
        """Whether several depths do more than the best single one: `more`, `no more`, `cannot
        tell`, `too few`; by the rule of `locality.choice_verdicts`."""
        from lensdepth.locality.choice_verdicts import more_than_one

        return more_than_one(self)

    def redundancy(self) -> str:
        """Whether the group does the same work again: `redundant`, `not redundant`, `none` where
        there is no group, `cannot tell`, `too few`; by the rule of `locality.choice_verdicts`."""
        from lensdepth.locality.choice_verdicts import redundant

        return redundant(self)

    def to_frame(self) -> "pd.DataFrame":
        """One row a method and size: the depth that joins, and what the set does."""
        import pandas as pd

        rows = []
        whole = float(self.whole.nanmean())
        for m, method in enumerate(METHODS):
            for size in self.sizes:
                found, optimism = self.effect(method, size), self.optimism(method, size)
                places = self.chosen[m, :size].tolist()
                where = depth_columns([places[-1]], self.n_layers, stream=self.stream)
                rows.append(
                    {
                        "method": method,
                        "size": size,
                        **{name: column[0] for name, column in where.items()},
                        "set": " ".join(map(str, places)),
                        "effect": found.value,
                        "low": found.low,
                        "high": found.high,
                        "share": found.value / whole if whole else float("nan"),
                        "optimism": optimism.value,
                        "optimism_low": optimism.low,
                        "optimism_high": optimism.high,
                    }
                )
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """What sets of each method and size do, on pairs that did not choose them, beside random
        ones, another pair's source, and all candidates."""
        from lensdepth.locality.choice_told import bars

        return bars(self)
