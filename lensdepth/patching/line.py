"""One position through depth: any set of depths edited there in one run.

Windows, leave-one-out and Shapley values are all sets of depths at one position; they differ in
which sets they ask for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth import polar
from lensdepth.hooks import Stream
from lensdepth.model import DepthModel
from lensdepth.patching.grid import SWAPS, pair_blocks
from lensdepth.patching.readings import Metric, check_metrics, measure_sets, measure_source
from lensdepth.patching.sites import (
    EditSets,
    check_model,
    named_edit,
    states_at,
    stream_depths,
    stream_hook,
)
from lensdepth.patching.spans import Span, SpanTokens, resolve_spans, same_states
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.replay import Engine
from lensdepth.roles import Mode, Roles, assign_roles
from lensdepth.tasks import Task

SOURCE_BYTES = 2**28
"""Source states that are held at a time; pairs go through in blocks that fit."""
LinePosition = str | int | SpanTokens
"""A name (`"input"`, `"prediction"`), an index, or the tokens of a span in the clean and in the
corrupted prompts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LineValues:
    """What was read off, by set of depths."""

    base: Float[Tensor, "metric pair"]
    source: Float[Tensor, "metric pair"]
    values: Float[Tensor, "metric set pair"]

    @property
    def effects(self) -> Float[Tensor, "pair set"]:
        """Change of the main metric against the base run."""
        return (self.values[0] - self.base[0]).T


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthLine:
    """A position, the depths there, the edit and what is read; made by `depth_line`."""

    model: DepthModel
    pairs: Task
    roles: Roles
    span: Span
    stream: Stream
    depths: list[int]
    """Residual depths at `resid_pre`, block numbers at the other streams."""
    edit_name: str
    edit: polar.Edit
    asked: list[str | Metric]
    metrics: tuple[str, ...]
    engine: Engine
    max_memory: int | None

    @property
    def hooks(self) -> list[str]:
        """By depth."""
        return [stream_hook(self.model, self.stream, depth) for depth in self.depths]

    def blocks(self) -> list[slice]:
        """Pairs that go through together."""
        n_numbers = len(self.depths) * self.span.base.shape[1] * self.model.d_model
        return pair_blocks(len(self.pairs), n_numbers, SOURCE_BYTES)

    def measure(self, sets: Sequence[Sequence[int]], *, description: str) -> LineValues:
        """Edit each set of depths, given as indices into `depths`, in one run of its own."""
        found = []
        blocks = self.blocks()
        quiet = None if len(blocks) > 1 else True
        for block in tqdm(blocks, desc="blocks of pairs", disable=quiet, leave=False):
            mine, here = self.roles.of(block), self.span.of(block)
            given = states_at(self.model, mine.source, self.hooks, [here.source])
            wanted = here.present
            if self.edit in SWAPS:
                wanted = wanted & ~same_states(mine, here)[0]
            edits = EditSets(len(mine.base))
            for site, indices in enumerate(sets):
                hooks = [self.hooks[i] for i in indices]
                states = [given.at(i, 0) for i in indices]
                if hooks:
                    edits.add(site, hooks, here.base, states, self.edit, wanted=wanted)
            base, values = measure_sets(
                self.model,
                mine,
                edits,
                self.asked,
                len(sets),
                engine=self.engine,
                max_memory=self.max_memory,
                description=description,
            )
            values[..., ~here.present] = torch.nan
            found.append((base, measure_source(self.model, mine, self.asked), values))
        base, source, values = (torch.cat(parts, dim=-1) for parts in zip(*found, strict=True))
        return LineValues(base=base, source=source, values=values)

    def provenance(self, analysis: str, *, seed: int = 0, **settings: Any) -> Provenance:
        """Where a result on this line comes from."""
        return make_provenance(
            analysis,
            self.model.info,
            task=self.pairs.name,
            prompts=self.pairs.clean,
            corrupted=self.pairs.corrupted or (),
            settings={
                "stream": self.stream,
                "depths": self.depths,
                "position": self.span.name,
                "metrics": list(self.metrics),
                "mode": self.roles.mode,
                "edit": self.edit_name,
                "engine": self.engine,
                **settings,
            },
            seed=seed,
        )


def depth_line(
    model: DepthModel,
    pairs: Task,
    *,
    caller: str,
    stream: Stream,
    depths: Sequence[int] | None,
    position: LinePosition,
    metric: str | Metric,
    also: Sequence[str | Metric] = (),
    mode: Mode,
    edit: str | polar.Edit,
    engine: Engine,
    max_memory: int | None,
) -> DepthLine:
    """Check the options of an analysis at one position.

    Raises:
        ValueError: a task without pairs, an unknown option, or a depth or position out of range.
    """
    asked = [metric, *(other for other in also if other != metric)]
    names = check_metrics(asked, caller=caller)
    check_model(model, stream, caller=caller)
    places = stream_depths(model, stream, depths, caller=caller)
    edit_name, function = named_edit(edit, caller=caller)
    named = (position,) if isinstance(position, str) else ()
    roles = assign_roles(pairs, mode, positions=named, caller=caller)
    where = {"span": position} if isinstance(position, tuple) else (position,)
    (span,) = resolve_spans(roles, where, caller=caller)
    return DepthLine(
        model=model,
        pairs=pairs,
        roles=roles,
        span=span,
        stream=stream,
        depths=places,
        edit_name=edit_name,
        edit=function,
        asked=asked,
        metrics=names,
        engine=engine,
        max_memory=max_memory,
    )
