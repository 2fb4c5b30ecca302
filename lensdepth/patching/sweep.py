"""Activation patching: put the source run's state into the base run and see what follows.

Patching at the input position asks whether the prediction still reads the input there; patching
at the prediction position asks whether the prediction is already formed. Where the two curves
cross, control passes from the input to the output (claim C2).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.edits import SWAPS, named_edit
from lensdepth.model import DepthModel
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.patching.attribution import estimate, rank_agreement
from lensdepth.patching.profile import MAIN, WHOLE, PatchProfile
from lensdepth.replay.plan import Engine
from lensdepth.site import Site, Stream
from lensdepth.sweep.choices import check_heads, check_stream, stream_sites
from lensdepth.sweep.controls import elsewhere, shuffled_sources
from lensdepth.sweep.loop import (
    Options,
    Planned,
    check_self_patch,
    run_sweep,
    say_undefined,
    sweep_provenance,
)
from lensdepth.sweep.readings import METRICS, Metric, check_metrics
from lensdepth.sweep.roles import Mode, Roles, assign_roles
from lensdepth.sweep.runs import Cell, Run
from lensdepth.sweep.spans import (
    PatchPositions,
    Span,
    by_name,
    comparable_spans,
    named_positions,
    same_states,
    span_labels,
)
from lensdepth.sweep.states import Given, states_at
from lensdepth.tasks.task import Task

Control = Literal["shuffled_source", "random_site"]
Method = Literal["exact", "attribution"]
ALSO: tuple[str, ...] = ("success", "kl", *ANSWERS)
CONTROLS: tuple[Control, ...] = ("shuffled_source",)


@renamed(pairs="task")
@checked
@bounded
def patch_sweep(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    positions: PatchPositions | None = None,
    heads: Sequence[int] | Literal["all"] | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    controls: Sequence[Control] = CONTROLS,
    method: Method = "exact",
    verify: int = 0,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> PatchProfile:
    """Edit one site at a time with the source run's state, for every depth, position and head.

    Args:
        model: any wrapped model.
        task: pairs of prompts. Their token counts may differ: each run has its own positions.
        stream: what to patch: `"resid_pre"` means the residual stream at depths 0 ... L; the
            others are patched in blocks 0 ... L - 1.
        depths: those depths, or blocks; all by default.
        positions: `"all"`, names and indices, or spans; see `PatchPositions`. By default the
            input position, where the task has one, and the prediction position. Under `"all"`,
            prompts of one wording are patched index by index; those of several are lined up by
            the tokens that all share, the input and the prediction position, and effects of the
            other tokens are averaged by where they lie (before or after the input). Each wording
            by itself: `task.select(task.labels.template == "...")`.
        heads: at `z`, patch these heads one by one, or `"all"` of them.
        metric: one of METRICS, or a function of the logits and the pairs that they belong to.
        also: further metrics that are read off the same runs. `()` with `logit_diff` reads two
            columns of the unembedding and not the whole vocabulary.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` ("full", "direction", "norm" ...)
            or a function.
        controls: `"shuffled_source"` takes the state of another pair's source (another answer
            where possible; left out for a single pair), `"random_site"` patches another position
            of the same prompt.
        method: `"attribution"` estimates the metric to first order from two forward passes and
            one backward pass (gradient times difference), for a screen of large models. It reads
            the one metric and runs no controls.
        verify: with `"attribution"`, compute this many of the largest sites exactly as well, and
            report how well the ranks agree.
        seed: of the controls.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        PatchProfile; `.effects` is `[pair, depth, position(, head)]`.
    Raises:
        ValueError: before any forward pass: a task without pairs, an unknown option, a depth,
            head or position out of range, or prompts that do not line up.
        RuntimeError: putting the base run's own states back changes its logits.
    Source: Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262; Nanda 2023,
        "Attribution patching"; Heimersheim & Nanda 2024, arXiv 2404.15255.
    Example:
        >>> patch_sweep(model, load_task("months", model)).efficacy("input").mean(0)
    """
    caller = "patch_sweep"
    estimated = method == "attribution"
    # First of all, so that what is said of other options can rely on it.
    check_metrics([metric], caller=caller)
    check_stream(model, stream, caller=caller)
    sites = stream_sites(model, stream, depths, caller=caller)
    one_by_one = check_heads(model, stream, heads, caller=caller)
    edit_name, function = named_edit(edit, caller=caller)
    check_options(controls, method, verify, metric, also)
    wanted = named_positions(task, positions)
    roles = assign_roles(task, mode, positions=wanted, caller=caller)
    spans = comparable_spans(roles, wanted if positions is None else positions, caller=caller)
    run_controls: tuple[str, ...] = tuple(dict.fromkeys(controls))
    if estimated:
        run_controls = ()
    elif len(task) < 2:
        run_controls = tuple(c for c in run_controls if c != "shuffled_source")
    options = Options(
        caller=caller,
        metric=metric,
        also=() if estimated else also,
        mode=mode,
        seed=seed,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
        own={
            "stream": stream,
            "depths": [site.place for site in sites],
            "positions": [*by_name(spans)],
            "heads": list(one_by_one),
            "edit": edit_name,
            "controls": list(run_controls),
            "method": method,
            "verify": verify,
        },
    )
    grid = Grid(model, roles, spans, sites, one_by_one, function, run_controls, options)
    error = check_self_patch(model, roles, grid.hooks, [span.base for span in spans], options)
    effects = grid.estimated() if estimated else grid.measured()
    say_undefined(effects, options)
    exact, agreement = grid.verified(effects, verify) if verify else (None, None)
    return PatchProfile(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        stream=stream,
        edit=edit_name,
        method=method,
        labels=span_labels(model, roles, spans),
        outcome=effects,
        self_patch_error=error,
        exact_values=exact,
        rank_correlation=agreement,
    )


def check_options(
    controls: Sequence[str],
    method: str,
    verify: int,
    metric: str | Metric,
    also: Sequence[str | Metric] = (),
) -> None:
    """Say which words an option of `patch_sweep` takes.

    Raises:
        ValueError: an unknown control or method, or options that contradict each other.
    """
    options = [(method, Method, "method"), *((c, Control, "control") for c in controls)]
    for value, kind, name in options:
        if value not in get_args(kind):
            raise ValueError(
                f"patch_sweep: {name} must be one of {', '.join(get_args(kind))}, got {value!r}."
            )
    if method == "attribution" and isinstance(metric, str) and not METRICS[metric].has_slope:
        sloped = ", ".join(name for name, one in METRICS.items() if one.has_slope)
        raise ValueError(
            f"patch_sweep: attribution needs a metric with a slope at the base run, one of "
            f"{sloped} or a function; {metric!r} has none."
        )
    unused = {"also": (also, ALSO), "controls": (controls, CONTROLS)}
    for name, (given, default) in unused.items():
        if method == "attribution" and tuple(given) not in ((), default):
            raise ValueError(
                f"patch_sweep: method='attribution' reads the one metric and runs no controls; "
                f"leave out {name}={given!r}, or use method='exact'."
            )
    if verify < 0 or (verify and method != "attribution"):
        raise ValueError(
            f"patch_sweep: verify is a number of sites to compute exactly beside "
            f"method='attribution', got {verify} with method={method!r}."
        )


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
    options: Options

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

    def measured(self, chosen: Collection[Cell] | None = None) -> Effects:
        """Exact numbers at every site, and at each with every control.

        Args:
            chosen: the sites to run, by depth, position and head; all, by default.
        """

        def plan(rows: slice) -> Planned:
            mine, here = self.roles.of(rows), [span.of(rows) for span in self.spans]
            given = self._source(mine, [span.source for span in here])
            runs = [*self._runs(0, here, given, self._unmoved(mine, here), chosen)]
            for c, control in enumerate(self.controls, start=1):
                where, other = self._control(control, rows)
                runs += self._runs(c, where, other, None, chosen)
            return Planned(runs=runs)

        return run_sweep(
            self.model, self.roles, self.options, plan, self.coords,
            n_numbers=self.n_numbers, description="patching",
        ).effects.averaged("position")  # fmt: skip

    def estimated(self) -> Effects:
        """The same to first order."""
        hooks = self.hooks

        def values(rows: slice) -> tuple[Tensor, Tensor]:
            return estimate(
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
                        there=span.present & given.present[s],
                        moves=None if unmoved is None else ~unmoved[d, s],
                        head=head,
                    )

    def _of_head(self, states: Tensor, head: int) -> Tensor:
        n_heads = self.model.info.n_heads
        return rearrange(states, "p t (h e) -> h p t e", h=n_heads)[head]
