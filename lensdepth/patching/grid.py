"""The runs of a patch sweep: every depth by every position by every head, each by itself."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth import polar
from lensdepth.edits import SWAPS
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects, joined
from lensdepth.patching.attribution import estimate_effects, rank_agreement
from lensdepth.patching.profile import MAIN, WHOLE
from lensdepth.site import Site
from lensdepth.sweep.adaptive import Watched, coarse_grid, find_depths, pilot
from lensdepth.sweep.controls import elsewhere, shuffled_sources
from lensdepth.sweep.loop import Planned, run_sweep
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.runs import Cell, Run
from lensdepth.sweep.spans import Span, by_name, same_states
from lensdepth.sweep.states import Given, states_at

WATCHED: dict[str, Callable[[Effects], Tensor]] = {
    "logit_diff": lambda effects: effects.transferred("logit_diff"),
    "success": lambda effects: effects.of("success"),
}
"""Metric -> the numbers of it whose means are followed to find depths."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Every depth by every span by every head, each in a run of its own."""

    model: DepthModel
    roles: Roles
    spans: Sequence[Span]
    sites: Sequence[Site]
    heads: Sequence[int]
    """One by one; none for the whole stream."""
    edit: polar.Edit
    controls: Sequence[str]
    controlled: Bool[Tensor, " pair"]
    """The pairs that controls are run on."""
    options: Options

    def at(self, depths: Sequence[int]) -> "Grid":
        """The same at other depths of the residual stream."""
        return replace(self, sites=[Site("resid_pre", depth) for depth in depths])

    @property
    def hooks(self) -> list[str]:
        """By depth."""
        return [site.hook for site in self.sites]

    @property
    def coords(self) -> dict[str, Sequence[str | int]]:
        """Labels of the result's axes."""
        return {
            "control": (MAIN, *self.controls),
            "depth": [site.place for site in self.sites],
            "position": [span.name for span in self.spans],
            "head": self.heads or (WHOLE,),
        }

    @property
    def n_numbers(self) -> int:
        """Source numbers that one pair takes."""
        return len(self.sites) * sum(s.base.shape[1] for s in self.spans) * self.model.d_model

    def measured(
        self,
        chosen: Collection[Cell] | None = None,
        *,
        known: Effects | None = None,
        floor: bool = True,
    ) -> Effects:
        """Exact numbers at every site, and at each with every control.

        Args:
            chosen: the sites to run, by depth, position and head; all, by default.
            known: of the pairs of `pilot`, what was measured of them without controls at these
                depths, and the floor: it is taken and not measured again.
            floor: whether to measure how far numbers move when nothing is changed.
        """
        wanted = torch.ones(len(self.roles.base), dtype=torch.bool)
        if known is not None:
            wanted[pilot(len(wanted))] = False

        def plan(rows: slice) -> Planned:
            mine, here = self.roles.of(rows), [span.of(rows) for span in self.spans]
            given = self._source(mine, [span.source for span in here])
            runs = [*self._runs(0, here, given, wanted[rows], self._unmoved(mine, here), chosen)]
            for c, control in enumerate(self.controls, start=1):
                where, other = self._control(control, rows)
                runs += self._runs(c, where, other, self.controlled[rows], None, chosen)
            return Planned(runs=runs)

        found = run_sweep(
            self.model, self.roles, self.options, plan, self.coords,
            n_numbers=self.n_numbers, description="patching", floor=floor and known is None,
        ).effects.averaged("position")  # fmt: skip
        if known is None:
            return found
        rows = pilot(len(wanted))
        found.values[:, 0, rows] = known.values[:, 0]
        found.base[:, rows], found.source[:, rows] = known.base, known.source
        return replace(found, floor=known.floor)

    def estimated(self) -> Effects:
        """The same to first order."""
        hooks = self.hooks

        def values(rows: slice) -> tuple[Tensor, Tensor]:
            return estimate_effects(
                self.model, self.roles, self.spans, hooks, self.heads, self.edit, rows, self.options
            )

        def plan(rows: slice) -> Planned:
            base, found = values(rows)
            return Planned(
                runs=(),
                beside={"base": base, "values": rearrange(found, "p d s h -> d s h p")},
            )

        read = run_sweep(
            self.model, self.roles, self.options, plan, self.coords,
            n_numbers=self.n_numbers, description="estimating",
        )  # fmt: skip
        values_of = rearrange(read.beside["values"], "d s h p -> 1 1 p d s h")
        found = replace(read.effects, values=values_of, base=read.beside["base"][None])
        return found.averaged("position")

    def verified(
        self, estimated: Effects, n: int
    ) -> tuple[Float[Tensor, "pair depth position head"], float | None]:
        """Exact values at the sites of the largest estimates, and how well the ranks agree."""
        means = estimated.at(control=MAIN).change().nanmean(0)
        largest = means.abs().nan_to_num(0.0).flatten().argsort(descending=True, stable=True)[:n]
        sites = torch.stack(torch.unravel_index(largest, means.shape), dim=1)
        where = [*by_name(self.spans).values()]
        chosen = {(d, s, h) for d, p, h in sites.tolist() for s in where[p]}
        exact = self.measured(chosen).at(control=MAIN)
        found = exact.change().nanmean(0).flatten()[largest]
        return exact.of(), rank_agreement(means.flatten()[largest], found)

    def _source(self, roles: Roles, positions: Sequence[Tensor]) -> Given:
        return states_at(self.model, roles.source, self.hooks, positions)

    def _unmoved(self, roles: Roles, spans: Sequence[Span]) -> Tensor | None:
        """`[depth, span, pair]`: where a swap changes nothing, by the tokens alone."""
        if self.edit not in SWAPS:
            return None
        before, alike = map(
            torch.stack, zip(*(same_states(roles, span) for span in spans), strict=True)
        )
        return torch.stack(
            [before | alike if site == Site("resid_pre", 0) else before for site in self.sites]
        )

    def _control(self, control: str, rows: slice) -> tuple[list[Span], Given]:
        """Where a control edits, and what it puts in."""
        if control == "shuffled_source":
            partner = shuffled_sources(self.roles.intended, self.options.seed)[rows]
            at = [span.source[partner] for span in self.spans]
            given = states_at(self.model, self.roles.source[partner], self.hooks, at)
            return [span.of(rows) for span in self.spans], given
        moved = [elsewhere(self.roles, span, self.options.seed).of(rows) for span in self.spans]
        return moved, self._source(self.roles.of(rows), [span.source for span in moved])

    def _runs(
        self,
        control: int,
        spans: Sequence[Span],
        given: Given,
        wanted: Bool[Tensor, " pair"],
        unmoved: Tensor | None,
        chosen: Collection[Cell] | None,
    ) -> Iterator[Run]:
        for d, site in enumerate(self.sites):
            for s, span in enumerate(spans):
                states = given.at(d, s)
                for h, head in enumerate(self.heads or (None,)):
                    if chosen is not None and (d, s, h) not in chosen:
                        continue
                    yield Run(
                        cells=[(control, d, s, h)],
                        hooks=[site.hook],
                        tokens=span.base,
                        states=[states if head is None else self._of_head(states, head)],
                        edit=self.edit,
                        there=span.present & given.present[s] & wanted,
                        moves=None if unmoved is None else ~unmoved[d, s],
                        head=head,
                    )

    def _of_head(self, states: Tensor, head: int) -> Tensor:
        n_heads = self.model.info.n_heads
        return rearrange(states, "p t (h e) -> h p t e", h=n_heads)[head]


@dataclass(frozen=True, kw_only=True, eq=False)
class Piloted:
    """What was found on a few pairs, spread over the task."""

    depths: list[int]
    effects: Effects | None
    """Of these pairs at these depths, without controls; None where other metrics were read than
    the grid's own."""


def piloted(grid: Grid) -> Piloted:
    """Depths found on a few pairs, and their numbers, which need not be measured again."""
    rows = pilot(len(grid.roles.base))
    asked = grid.options.asked
    # A function is told which pairs logits belong to: of the whole task, not of these.
    own = all(isinstance(metric, str) for metric in asked)
    metric, *also = (*dict.fromkeys((*asked, *WATCHED)),) if own else WATCHED
    few = replace(
        grid,
        roles=grid.roles.of(rows),
        spans=[span.of(rows) for span in grid.spans],
        controls=(),
        controlled=grid.controlled[rows],
        options=replace(grid.options, metric=metric, also=also),
    )
    found = _found(few, coarse_grid(grid.model.n_layers))
    effects = _first_metrics(found, len(asked)) if own else None
    return Piloted(depths=list(map(int, found.coords["depth"])), effects=effects)


def _first_metrics(effects: Effects, n: int) -> Effects:
    return replace(
        effects,
        metrics=effects.metrics[:n],
        values=effects.values[:n],
        base=effects.base[:n],
        source=effects.source[:n],
        floor=effects.floor[:n],
    )


def completed(grid: Grid, known: Effects | None) -> Effects:
    """What is measured at the grid's depths, and at those that all pairs need besides.

    Args:
        known: the pilot's numbers, at the grid's depths.
    """
    return _found(grid, [site.place for site in grid.sites], known)


def _found(grid: Grid, first: list[int], known: Effects | None = None) -> Effects:
    """At some depths, and at those where a curve moves between them."""
    parts: list[Effects] = []

    def measure(depths: list[int]) -> dict[int, Watched]:
        begun = len(parts) > 0
        parts.append(grid.at(depths).measured(known=None if begun else known, floor=not begun))
        return watched(parts[-1])

    find_depths(measure, first)
    return joined(parts, "depth")


def watched(effects: Effects) -> dict[int, Watched]:
    """What is looked at to find depths: means over pairs of the transferred logit difference and of
    success, where these were read, at each position; and how far success at the first leads."""
    main = effects.at(control=MAIN)
    read = {name: name in main.metrics for name in WATCHED}
    n_depths, n_positions = (len(effects.coords[axis]) for axis in ("depth", "position"))
    means = {
        name: rearrange(numbers(main).double().nanmean(0), "d s h -> d (s h)").numpy()
        for name, numbers in WATCHED.items()
        if read[name]
    }
    curves = np.concatenate([np.zeros((n_depths, 0)), *means.values()], axis=1)
    lead = np.zeros(n_depths)
    if n_positions == 2 and read["success"]:
        lead = means["success"][:, 0] - means["success"][:, 1]
    return {
        int(depth): Watched(curves=curves[d], lead=float(np.nan_to_num(lead[d])))
        for d, depth in enumerate(effects.coords["depth"])
    }
