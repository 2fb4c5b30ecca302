"""One position through depth: any set of depths edited there in one run.

Windows, leave-one-out and Shapley values are all sets of depths at one position; they differ in
which sets they ask for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth import polar
from lensdepth.edits import SWAPS, named_edit
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects
from lensdepth.provenance import Provenance
from lensdepth.site import Site, Stream
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.choices import check_stream, stream_sites
from lensdepth.sweep.loop import Planned, Planner, run_sweep, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Roles, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import Span, SpanTokens, resolve_spans, same_states
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task

LinePosition = str | int | SpanTokens
"""A name (`"input"`, `"prediction"`), an index, or the tokens of a span in the clean and in the
corrupted prompts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthLine:
    """A position, the depths there, the edit and what is read; made by `depth_line`."""

    model: DepthModel
    task: Task
    roles: Roles
    span: Span
    sites: list[Site]
    edit_name: str
    edit: polar.Edit
    options: Options

    @property
    def depths(self) -> list[int]:
        """Residual depths at `resid_pre`, block numbers at the other streams."""
        return [site.place for site in self.sites]

    @property
    def hooks(self) -> list[str]:
        """By depth."""
        return [site.hook for site in self.sites]

    @property
    def n_numbers(self) -> int:
        """Source numbers that one pair takes."""
        return len(self.sites) * self.span.base.shape[1] * self.model.d_model

    @property
    def provenance(self) -> Provenance:
        """Where a result on this line comes from."""
        return sweep_provenance(self.model, self.task, self.options)

    def blocks(self) -> list[slice]:
        """Pairs that go through together."""
        return pair_blocks(len(self.task), self.n_numbers)

    def moves(self, roles: Roles, span: Span) -> Bool[Tensor, " pair"] | None:
        """Pairs in which the edit changes something at every depth, by the tokens alone."""
        return ~same_states(roles, span)[0] if self.edit in SWAPS else None

    def source(self, roles: Roles, span: Span) -> Float[Tensor, "depth pair token d_hook"]:
        """The states that go in at some pairs."""
        return states_at(self.model, roles.source, self.hooks, [span.source]).states

    def measure(self, sets: Sequence[Sequence[int]], *, description: str) -> Effects:
        """Edit each set of depths, given as indices into `depths`, in one run of its own.

        Returns:
            Effects along the axis `set`.
        """

        def runs(rows: slice) -> Iterator[Run]:
            mine, here = self.roles.of(rows), self.span.of(rows)
            states = self.source(mine, here)
            for number, indices in enumerate(sets):
                yield Run(
                    cells=[(number,)],
                    hooks=[self.hooks[i] for i in indices],
                    tokens=here.base,
                    states=[states[i] for i in indices],
                    edit=self.edit,
                    there=here.present,
                    moves=self.moves(mine, here),
                )

        return self.run(
            lambda rows: Planned(runs=runs(rows)), {"set": range(len(sets))}, description
        )

    def run(self, plan: Planner, coords: dict[str, Sequence[int]], description: str) -> Effects:
        """Any plan on this line."""
        return run_sweep(
            self.model, self.roles, self.options, plan, coords,
            n_numbers=self.n_numbers, description=description,
        ).effects  # fmt: skip


def depth_line(
    model: DepthModel,
    task: Task,
    options: Options,
    *,
    stream: Stream,
    depths: Sequence[int] | None,
    position: LinePosition,
    edit: str | polar.Edit,
) -> DepthLine:
    """Check the options of an analysis at one position.

    Raises:
        ValueError: a task without pairs, an unknown option, or a depth or position out of range.
    """
    caller = options.caller
    check_stream(model, stream, caller=caller)
    sites = stream_sites(model, stream, depths, caller=caller)
    edit_name, function = named_edit(edit, caller=caller)
    named = (position,) if isinstance(position, str) else ()
    roles = assign_roles(task, options.mode, positions=named, caller=caller)
    where = {"span": position} if isinstance(position, tuple) else (position,)
    (span,) = resolve_spans(roles, where, caller=caller)
    own = {
        "stream": stream,
        "depths": [site.place for site in sites],
        "position": span.name,
        "edit": edit_name,
    }
    return DepthLine(
        model=model,
        task=task,
        roles=roles,
        span=span,
        sites=sites,
        edit_name=edit_name,
        edit=function,
        options=options.with_own(own),
    )
