"""Shapley values of depths: each depth's fair share of what all of them do together.

The value of a set of depths is the effect of editing all of them in one run. A depth's Shapley
value is its mean contribution over all orders in which the depths could join; the values sum to
the effect of the whole window.

Source: Shapley 1953; sampling by permutations and their reverses as in Mitchell et al. 2022,
arXiv 2104.12199.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.outcome import Label, one_of
from lensdepth.patching.line import LinePosition, depth_line
from lensdepth.provenance import Provenance
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.storage import ModelResult
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import depth_columns

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

EXACT_UP_TO = 9
"""Windows of at most so many depths (2 ** 9 sets) are done exactly unless samples are asked for."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ShapleyProfile(ModelResult):
    """Shapley value of each depth, by pair."""

    MADE_BY: ClassVar[str] = "shapley_depths(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    metric: str
    depths: Int[Tensor, " depth"]
    values: Float[Tensor, "pair depth"]
    """Change of the metric that is a depth's share; sums to `whole` over depths."""
    standard_error: Float[Tensor, " depth"]
    """Of the mean over pairs, from the sampling of orders; 0 where all sets were run."""
    whole: Float[Tensor, " pair"]
    """Effect of all depths at once."""
    n_permutations: int
    """Orders sampled, reverses counted; 0 where all sets were run."""
    floor: float = 0.0
    """How far the metric moves, by rounding, in runs that change nothing: smaller values are none;
    0 where that was not measured."""

    def of(self, quantity: str | None = None, **labels: Label | None) -> Tensor:
        """Numbers at some labels, as every sweep's `of` has them: `of("value", depth=3)`.

        Args:
            quantity: `"value"`, the default, by pair and depth; `"standard_error"` by depth;
                `"whole"` by pair.
            labels: of `depth`, one of `depths`; None stands for the first.
        Raises:
            ValueError: there is no such quantity, axis or label.
        """
        numbers = {
            "value": ("pair depth", self.values),
            "standard_error": ("depth", self.standard_error),
            "whole": ("pair", self.whole),
        }
        coords = {"depth": self.depths.tolist()}
        return one_of(numbers, coords, quantity, owner="ShapleyProfile", **labels)

    def to_frame(self) -> "pd.DataFrame":
        """One row a depth: mean value over pairs, its interval, and the sampling error."""
        import pandas as pd

        from lensdepth import stats

        mean, low, high = stats.mean_interval(self.values.numpy(), units=self.provenance.units)
        return pd.DataFrame(
            {
                **depth_columns(self.depths, self.n_layers, stream=self.stream),
                "value": mean,
                "low": low,
                "high": high,
                "standard_error": self.standard_error.numpy(),
                "share": mean / self.whole.mean().item(),
            }
        )

    def plot(self) -> "Figure":
        """Mean value by depth with its 95 % band over units."""
        from lensdepth import plotting
        from lensdepth.telling.curves import Curve
        from lensdepth.telling.names import has_blocks, position_name, stream_name

        curve = Curve.of(
            "Shapley value",
            self.values,
            role="prediction",
            units=self.provenance.units,
            depths=self.depths.numpy() + has_blocks(self.stream),
            floor=self.floor,
        )
        return plotting.depth_figure(
            [curve],
            n_layers=self.n_layers,
            title=f"Share of each: {stream_name(self.stream)}, {position_name(self.position)}",
            y_title=f"Shapley value of {self.metric}",
        )


@renamed(pairs="task")
@checked
@bounded
def shapley_depths(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    n_permutations: int | None = None,
    metric: str | Metric = "logit_diff",
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> ShapleyProfile:
    """Divide the effect of a window among its depths.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: as for `patch_sweep`.
        depths: the window, depths or blocks; all by default.
        position: a name, an index, or a span.
        n_permutations: orders to sample, an even number since each goes with its reverse. None
            runs all sets of up to EXACT_UP_TO depths, and samples 64 orders beyond.
        metric: one of METRICS, or a function.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` or a function.
        seed: of the orders.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`; or an odd `n_permutations`.
    """
    check_permutations(n_permutations, caller="shapley_depths")
    options = Options(
        caller="shapley_depths", metric=metric, mode=mode, seed=seed, engine=engine,
        batch_size=batch_size, max_memory=max_memory, own={"n_permutations": n_permutations},
    )  # fmt: skip
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    n = len(line.depths)
    plan = plan_sets(n, n_permutations, seed)
    measured = line.measure(plan.sets, description="Shapley")
    effects = rearrange(measured.change(), "set pair -> pair set")
    values, error = plan.values(effects)
    return ShapleyProfile(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        metric=line.options.names[0],
        depths=torch.tensor(line.depths),
        values=values,
        standard_error=error,
        whole=effects[:, plan.sets.index(tuple(range(n)))],
        n_permutations=len(plan.orders),
        floor=measured.floor_of(measured.metrics[0]),
    )


def check_permutations(n_permutations: int | None, *, caller: str) -> None:
    """Say how many orders can be sampled.

    Raises:
        ValueError: an odd number of them, or fewer than four.
    """
    if n_permutations is not None and (n_permutations < 4 or n_permutations % 2):
        raise ValueError(
            f"{caller}: n_permutations must be even and at least 4, since each order goes with its "
            f"reverse, got {n_permutations}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapleyPlan:
    """The sets of depths to run, as indices, and what their effects come to."""

    n: int
    """Depths of the window."""
    orders: list[list[int]]
    """Those that were sampled; none where all sets are run."""
    sets: list[tuple[int, ...]]

    def values(
        self, effects: Float[Tensor, "pair set"]
    ) -> tuple[Float[Tensor, "pair depth"], Float[Tensor, " depth"]]:
        """Shapley values, and the standard errors of their means from the sampling of orders."""
        if not self.orders:
            return _exact(effects, self.n), torch.zeros(self.n, dtype=torch.float32)
        column = {chosen: i for i, chosen in enumerate(self.sets)}
        shares = torch.stack([_shares(effects, column, order) for order in self.orders])
        # An order and its reverse lean opposite ways: their mean is one sample.
        shares = reduce(shares, "(sample both) pair depth -> sample pair depth", "mean", both=2)
        return shares.mean(0), shares.nanmean(1).std(0) / math.sqrt(len(shares))

    def of_size(self, size: int) -> list[tuple[int, ...]]:
        """Random sets of so many depths: all that there are, or the beginnings of the orders."""
        if not self.orders:
            return [chosen for chosen in self.sets if len(chosen) == size]
        return [tuple(sorted(order[:size])) for order in self.orders]


def plan_sets(n: int, n_permutations: int | None, seed: int) -> ShapleyPlan:
    """All sets of up to EXACT_UP_TO depths, unless orders are asked for; else their beginnings."""
    if n_permutations is None and n <= EXACT_UP_TO:
        sets = [tuple(i for i in range(n) if mask >> i & 1) for mask in range(2**n)]
        return ShapleyPlan(n=n, orders=[], sets=sets)
    orders = _orders(n, 64 if n_permutations is None else n_permutations, seed)
    # What several orders share is run once.
    met = {tuple(sorted(order[:k])) for order in orders for k in range(n + 1)}
    sets = sorted(met, key=lambda chosen: (len(chosen), chosen))
    return ShapleyPlan(n=n, orders=orders, sets=sets)


def _orders(n: int, n_permutations: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    orders = []
    for _ in range(n_permutations // 2):
        order = torch.randperm(n, generator=generator).tolist()
        orders += [order, order[::-1]]
    return orders


def _shares(
    effects: Float[Tensor, "pair set"], column: dict[tuple[int, ...], int], order: list[int]
) -> Float[Tensor, "pair depth"]:
    """What each depth adds when the depths join in this order."""
    shares = torch.zeros(len(effects), len(order), dtype=torch.float32)
    for k, depth in enumerate(order):
        before, after = (column[tuple(sorted(order[: k + add]))] for add in (0, 1))
        shares[:, depth] = effects[:, after] - effects[:, before]
    return shares


def _exact(effects: Float[Tensor, "pair set"], n: int) -> Float[Tensor, "pair depth"]:
    """From all sets, numbered by their bits."""
    masks = torch.arange(2**n)
    sizes = torch.stack([(masks >> i) & 1 for i in range(n)]).sum(0)
    weights = torch.tensor(
        [math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n) for s in range(n)],
        dtype=torch.float64,
    )
    wide = effects.double()
    columns = []
    for i in range(n):
        without = masks[((masks >> i) & 1) == 0]
        gain = wide[:, without | (1 << i)] - wide[:, without]
        columns.append(gain @ weights[sizes[without]])
    return torch.stack(columns, dim=1).float()
