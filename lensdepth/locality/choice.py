"""Which depths move the prediction most, where only so many can be edited at once?

Depths that do the same work again look strong one by one and add little to each other: who edits
the strongest few may edit one of them several times. Sets are chosen greedily, each step measured
exactly by the engine, beside the best single depths and the largest Shapley values; and sets are
judged on pairs that did not choose them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.locality.choice_profile import DepthChoice
from lensdepth.locality.choice_verdicts import ALONE
from lensdepth.locality.shapley import ShapleyPlan, check_permutations, plan_sets
from lensdepth.model import DepthModel
from lensdepth.patching.line import DepthLine, LinePosition, depth_line
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.sweep.apart import deal_fits, kept_apart
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled, shuffled_sources
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task
from lensdepth.telling.names import has_blocks

Chosen = tuple[int, ...]
"""A set of depths, as ascending indices."""


@checked
@bounded
def choose_depths(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    n_sites: int = 3,
    apart: str = "prompts",
    n_folds: int = 5,
    n_permutations: int | None = None,
    metric: str | Metric = "logit_diff",
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> DepthChoice:
    """Choose the sets of up to so many depths that move the metric most towards the source.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: as for `patch_sweep`. Whole residual states overwrite one another, so that a set of
            them is as good as its last depth; component outputs (`attn_out`, `mlp_out`) add up.
        depths: candidates, depths or blocks; by default all, but a whole state at depth L, which
            is all that is read.
        position: a name, an index, or a span.
        n_sites: the budget: depths in the largest set.
        apart: what pairs that choose a set share no value of with those that judge it:
            `"prompts"`; `"units"`, all that intervals go over; `"input"`, or the name of one label.
        n_folds: parts of these values; each pair is judged by sets chosen without the parts that
            its own values are in.
        n_permutations: orders that Shapley values and random sets are sampled from, as for
            `shapley_depths`.
        metric: one of METRICS, or a function.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` or a function.
        control_pairs: pairs that the control with another pair's source is run on, drawn at
            random; `"all"` of them.
        seed: of the folds, the orders and the controls.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        DepthChoice. Controls: random sets of each size, and another pair's source.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`; more sites than candidates, an
            odd `n_permutations`, or too few pairs apart from each other.
    Source: greedy choice of a set as in Nemhauser et al. 1978; a greedy set need not be the best
        one of its size. Shapley values as in `locality.shapley`.
    Example:
        >>> choose_depths(model, load_task("months", model), stream="attn_out").redundancy()
    """
    caller = "choose_depths"
    check_permutations(n_permutations, caller=caller)
    options = Options(
        caller=caller, metric=metric, mode=mode, seed=seed, engine=engine, batch_size=batch_size,
        max_memory=max_memory,
        own={
            "n_sites": n_sites, "apart": apart, "n_folds": n_folds,
            "n_permutations": n_permutations, "control_pairs": control_pairs,
        },
    )  # fmt: skip
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    if depths is None:
        line = _without_last(line)
    n = len(line.depths)
    if not 1 <= n_sites <= n:
        raise ValueError(
            f"{caller}: n_sites must lie between 1 and the {n} candidates, got {n_sites}."
        )
    fits = deal_fits(
        kept_apart(task, apart, caller=caller), n_folds=n_folds, seed=seed, caller=caller
    )
    plan = plan_sets(n, n_permutations, seed)
    sets = _Sets(line=line)
    all_of_them = tuple(range(n))
    but_one = [tuple(j for j in range(n) if j != i) for i in range(n)]
    sets.need([*plan.sets, *((i,) for i in range(n)), *but_one, all_of_them], "sets of depths")
    # The last choice is that of all pairs.
    masks = torch.cat([fits.train, torch.ones(1, len(task), dtype=torch.bool)])
    orders = torch.stack(
        [
            torch.tensor(found)
            for found in (
                _greedy(sets, masks, n, n_sites),
                _largest(_shapley(sets, plan), masks, n_sites),
                _largest(sets.by_depth([(i,) for i in range(n)]), masks, n_sites),
            )
        ],
        dim=1,
    )  # fit method size
    sets.need([tuple(sorted(row[:s])) for fit in orders.tolist() for row in fit
               for s in range(1, n_sites + 1)], "chosen depths")  # fmt: skip
    alone = sets.by_depth([(i,) for i in range(n)])
    whole = sets[all_of_them]
    group = _group(alone, whole, masks)
    together = len(group) > 1
    if together:
        sets.need([group, *_but_one(group)], "redundant depths")
    unknown = torch.full((len(task),), torch.nan, dtype=torch.float32)
    places = torch.tensor(line.depths)
    mine = orders[fits.of_pair]  # pair method size
    return DepthChoice(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        metric=options.names[0],
        apart=apart,
        n_fits=len(fits),
        n_fitted=fits.fewest,
        depths=places,
        chosen=places[orders[-1]],
        fits=places[orders[:-1]],
        of_pair=fits.of_pair,
        held_out=_judged(sets, mine),
        in_sample=_judged(sets, orders[-1:].expand(len(task), -1, -1)),
        random=torch.stack([_mean(sets, plan.of_size(s)) for s in range(1, n_sites + 1)]),
        shuffled=_with_other_sources(sets, orders[-1, 0].tolist(), control_pairs),
        whole=whole,
        alone=alone,
        without=sets.by_depth(but_one),
        group=places[list(group)],
        group_whole=sets[group] if together else unknown,
        group_without=(
            sets.by_depth(_but_one(group)) if together else unknown[:, None][:, : len(group)]
        ),
        floor=sets.floor,
    )


def _without_last(line: DepthLine) -> DepthLine:
    """Without a whole state at depth L, if that is not all."""
    whole = line.sites[0].stream in ("resid_pre", "resid_post")
    last = line.model.n_layers - has_blocks(line.sites[0].stream)
    kept = [site for site in line.sites if not (whole and site.place == last)]
    own = {**line.options.own, "depths": [site.place for site in kept]}
    return replace(line, sites=kept, options=replace(line.options, own=own)) if kept else line


@dataclass(kw_only=True, eq=False)
class _Sets:
    """Effects of sets of depths towards the source, each run once."""

    line: DepthLine
    known: dict[Chosen, Float[Tensor, " pair"]] = field(default_factory=dict)
    sign: Float[Tensor, " pair"] | float = 1.0
    """Of the way from base to source."""
    floor: float = 0.0

    def need(self, sets: Iterable[Chosen], description: str) -> None:
        """Run those that were not yet."""
        new = [chosen for chosen in dict.fromkeys(sets) if chosen not in self.known]
        if not new:
            return
        read = self.line.measure(new, description=description)
        self.sign = (read.source[0] - read.base[0]).sign()
        self.known |= dict(zip(new, read.change() * self.sign, strict=True))
        self.floor = max(self.floor, read.floor_of(read.metrics[0]))

    def __getitem__(self, chosen: Chosen) -> Float[Tensor, " pair"]:
        return self.known[chosen]

    def by_depth(self, sets: Sequence[Chosen]) -> Float[Tensor, "pair set"]:
        """Several, side by side."""
        return torch.stack([self.known[chosen] for chosen in sets], dim=1)


def _means(
    values: Float[Tensor, "pair set"], masks: Bool[Tensor, "fit pair"]
) -> Float[Tensor, "fit set"]:
    """Means over the pairs of each fit."""
    return torch.stack([values[mask].double().nanmean(0) for mask in masks])


def _greedy(sets: _Sets, masks: Bool[Tensor, "fit pair"], n: int, n_sites: int) -> list[list[int]]:
    """For each fit the depths in the order in which they join; each step is run for all fits."""
    orders: list[list[int]] = [[] for _ in masks]
    for _ in range(n_sites):
        steps = [
            {i: tuple(sorted((*order, i))) for i in range(n) if i not in order} for order in orders
        ]
        sets.need((chosen for step in steps for chosen in step.values()), "choosing depths")
        for order, step, mask in zip(orders, steps, masks, strict=True):
            means = _means(sets.by_depth([*step.values()]), mask[None])[0]
            order.append([*step][int(means.argmax())])
    return orders


def _shapley(sets: _Sets, plan: ShapleyPlan) -> Float[Tensor, "pair depth"]:
    """Each depth's share, pair by pair."""
    return plan.values(sets.by_depth(plan.sets))[0]


def _largest(
    values: Float[Tensor, "pair depth"], masks: Bool[Tensor, "fit pair"], n_sites: int
) -> list[list[int]]:
    """For each fit the depths of the largest means, the largest first."""
    order = _means(values, masks).argsort(dim=1, descending=True, stable=True)
    return order[:, :n_sites].tolist()


def _judged(
    sets: _Sets, mine: Int[Tensor, "pair method size"]
) -> Float[Tensor, "method size pair"]:
    """Each pair's effect of the sets that judge it."""
    n_pairs, n_methods, n_sites = mine.shape
    found = torch.full((n_methods, n_sites, n_pairs), torch.nan, dtype=torch.float32)
    for pair, methods in enumerate(mine.tolist()):
        for m, order in enumerate(methods):
            for s in range(n_sites):
                found[m, s, pair] = sets[tuple(sorted(order[: s + 1]))][pair]
    return found


def _mean(sets: _Sets, some: Sequence[Chosen]) -> Float[Tensor, " pair"]:
    return sets.by_depth(some).mean(1)


def _group(
    alone: Float[Tensor, "pair depth"],
    whole: Float[Tensor, " pair"],
    masks: Bool[Tensor, "fit pair"],
) -> Chosen:
    """Depths that do at least ALONE of the whole by themselves, by all pairs and in every fit."""
    shares, goal = _means(alone, masks), ALONE * _means(whole[:, None], masks)
    # What is half but for rounding is half.
    strong = ((shares >= goal * (1 - 1e-4)) & (goal > 0)).all(0)
    return tuple(strong.nonzero()[:, 0].tolist())


def _but_one(group: Chosen) -> list[Chosen]:
    return [tuple(j for j in group if j != i) for i in group]


def _with_other_sources(
    sets: _Sets, order: Sequence[int], control_pairs: ControlPairs
) -> Float[Tensor, "size pair"]:
    """Effects of the first depths of an order with the source of another pair."""
    line = sets.line
    n_pairs, seed = len(line.task), line.options.seed
    if n_pairs < 2:
        return torch.full((len(order), n_pairs), torch.nan, dtype=torch.float32)
    partner, at = shuffled_sources(line.roles.intended, seed), line.span
    there = controlled(n_pairs, control_pairs, seed) & at.present & at.present[partner]
    base = torch.where(there[:, None], at.base, -1)
    other = replace(
        line,
        roles=replace(line.roles, source=line.roles.source[partner]),
        span=replace(at, base=base, source=at.source[partner]),
    )
    first = [tuple(sorted(order[: s + 1])) for s in range(len(order))]
    return other.measure(first, description="another pair's source").change() * sets.sign
