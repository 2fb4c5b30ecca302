"""One sweep over depths, positions and heads, a block of pairs at a time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import Stream
from lensdepth.model import DepthModel
from lensdepth.patching.attribution import gradients
from lensdepth.patching.readings import Metric, measure_sets, measure_source
from lensdepth.patching.sites import EditSets, Given, states_at, stream_hook, unneeded
from lensdepth.patching.spans import Span, elsewhere
from lensdepth.replay import Engine, replay
from lensdepth.roles import Roles, shuffled_sources

SELF_PATCH_TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest change of a logit that putting a run's own states back may cause, as a share of the
largest logit (or of 1, if that is more); 1e-5 in float32 and wider."""
SELF_PATCHED = 32
"""Pairs whose own states are put back as a check."""
SWAPS = (polar.full_swap, polar.direction_swap, polar.norm_swap, polar.self_swap)
"""Edits that change nothing where source and base agree."""
Site = tuple[int, int, int]
"""Depth, position and head, as indices into the result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockValues:
    """What a sweep read off one block of pairs."""

    base: Float[Tensor, "metric pair"]
    source: Float[Tensor, "metric pair"]
    values: Float[Tensor, "metric pair depth position head"]
    controls: Float[Tensor, "control metric pair depth position head"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """What is edited, how, and what is read."""

    model: DepthModel
    stream: Stream
    depths: Sequence[int]
    heads: Sequence[int]
    """One by one; none for the whole stream."""
    edit: polar.Edit
    metrics: Sequence[str | Metric]
    engine: Engine
    max_memory: int | None

    @property
    def hooks(self) -> list[str]:
        """By depth."""
        return [stream_hook(self.model, self.stream, depth) for depth in self.depths]

    def shape(self, spans: Sequence[Span]) -> tuple[int, int, int]:
        """Depths, positions and heads of the result."""
        return len(self.depths), len(spans), max(1, len(self.heads))

    def n_numbers(self, spans: Sequence[Span]) -> int:
        """Source numbers that one pair takes."""
        return len(self.depths) * sum(s.base.shape[1] for s in spans) * self.model.d_model

    def block(
        self,
        roles: Roles,
        spans: Sequence[Span],
        pairs: slice,
        controls: Sequence[str],
        seed: int,
    ) -> BlockValues:
        """Exact values for some of the pairs, and the same with each control."""
        mine, here = roles.of(pairs), [span.of(pairs) for span in spans]
        hooks = self.hooks
        given = states_at(self.model, mine.source, hooks, [span.source for span in here])
        base, values = self.run(mine, here, given)
        found = []
        for control in controls:
            if control == "shuffled_source":
                partner = shuffled_sources(roles.intended, seed)[pairs]
                at = [span.source[partner] for span in spans]
                other, where = states_at(self.model, roles.source[partner], hooks, at), here
            else:
                moved = [elsewhere(roles, span, seed) for span in spans]
                where = [span.of(pairs) for span in moved]
                at = [span.source for span in where]
                other = states_at(self.model, mine.source, hooks, at)
            found.append(self.run(mine, where, other, swap=False)[1])
        return BlockValues(
            base=base,
            source=measure_source(self.model, mine, self.metrics),
            values=values,
            controls=torch.stack(found) if found else values.new_zeros(0, *values.shape),
        )

    def run(
        self,
        roles: Roles,
        spans: Sequence[Span],
        given: Given,
        *,
        chosen: Collection[Site] | None = None,
        swap: bool = True,
    ) -> tuple[Float[Tensor, "metric pair"], Float[Tensor, "metric pair depth position head"]]:
        """The base run's values and those of the edited runs.

        Args:
            roles: of a block of pairs.
            spans: of the same pairs.
            given: what goes in.
            chosen: the sites to run; all by default.
            swap: `given` comes from the pair's own source at the same place, so that sites where
                base and source agree need no run.
        """
        n_depths, n_spans, n_heads = self.shape(spans)
        skip = torch.zeros(n_depths, n_spans, len(roles.base), dtype=torch.bool)
        if swap and self.edit in SWAPS:
            skip = unneeded(roles, spans, self.depths, residual=self.stream == "resid_pre")
        sets = EditSets(len(roles.base))
        for d, hook in enumerate(self.hooks):
            for s, span in enumerate(spans):
                wanted = span.present & given.present[s] & ~skip[d, s]
                states = given.at(d, s)
                for h in range(n_heads):
                    if chosen is not None and (d, s, h) not in chosen:
                        continue
                    head = self.heads[h] if self.heads else None
                    part = states if head is None else self._of_head(states, head)
                    site = (d * n_spans + s) * n_heads + h
                    sets.add(site, [hook], span.base, [part], self.edit, wanted=wanted, head=head)
        base, values = measure_sets(
            self.model,
            roles,
            sets,
            self.metrics,
            n_depths * n_spans * n_heads,
            engine=self.engine,
            max_memory=self.max_memory,
        )
        grid = values.view(-1, n_depths, n_spans, n_heads, len(roles.base)).movedim(-1, 1)
        there = torch.stack([span.present for span in spans], dim=1) & given.present.T
        return base, torch.where(there[None, :, None, :, None], grid, torch.nan)

    def _of_head(self, states: Tensor, head: int) -> Tensor:
        return states.unflatten(-1, (self.model.info.n_heads, -1))[..., head, :]

    def estimate(self, roles: Roles, spans: Sequence[Span], pairs: slice) -> BlockValues:
        """The same to first order: gradient times difference, summed over a span's tokens."""
        mine, here = roles.of(pairs), [span.of(pairs) for span in spans]
        given = states_at(self.model, mine.source, self.hooks, [span.source for span in here])
        own = states_at(self.model, mine.base, self.hooks, [span.base for span in here])
        base, slopes = gradients(
            self.model, mine, here, self.hooks, self.metrics[0], self.engine, self.max_memory
        )
        n_heads = self.model.info.n_heads if self.heads else 1
        columns = []
        for s, span in enumerate(here):
            found, source = own.states[:, :, own.spans[s]], given.states[:, :, given.spans[s]]
            found, source, slope = (
                x.unflatten(-1, (n_heads, -1)) for x in (found, source, slopes[:, :, own.spans[s]])
            )
            width = found.shape[-1]
            put = self.edit(found.reshape(-1, width), source.reshape(-1, width)).view_as(found)
            effect = torch.einsum("dpthe,dpthe->dpth", put - found, slope)
            effect = torch.where((span.base >= 0)[..., None], effect, 0.0).sum(2)
            columns.append(effect[..., list(self.heads)] if self.heads else effect)
        effects = torch.stack(columns, dim=2).movedim(0, 1)  # pair depth position head
        there = torch.stack([span.present for span in here], dim=1)[:, None, :, None]
        values = torch.where(there, base[:, None, None, None] + effects, torch.nan)
        return BlockValues(
            base=base[None],
            source=measure_source(self.model, mine, self.metrics),
            values=values[None],
            controls=values.new_zeros(0, 1, *values.shape),
        )


def self_patch_error(
    model: DepthModel,
    roles: Roles,
    hooks: Sequence[str],
    positions: Sequence[Int[Tensor, "pair _"]],
    *,
    engine: Engine,
) -> float:
    """Put the base run's own states back at every site at once; the largest change of a logit.

    Raises:
        RuntimeError: it is above the tolerance, so no patch of this model can be trusted.
    """
    first = slice(0, SELF_PATCHED)
    mine, at = roles.of(first), [tokens[first] for tokens in positions]
    own = states_at(model, mine.base, hooks, at)
    sets = EditSets(len(mine.base))
    for i, tokens in enumerate(at):
        states = [own.at(d, i) for d in range(len(hooks))]
        sets.add(i, hooks, tokens, states, polar.full_swap, wanted=(tokens >= 0).any(1))
    plain = model.logits(mine.base)[:, 0]
    error = 0.0
    for part in replay(model, mine.base, sets.sets, only=sets.only, engine=engine):
        logits = model.readout(part.resid[:, 0, 0]).cpu()
        error = max(error, float((logits - plain[part.prompts]).abs().max()))
    allowed = SELF_PATCH_TOLERANCE.get(model.dtype, 1e-5) * max(1.0, float(plain.abs().max()))
    if not error <= allowed:
        raise RuntimeError(
            f"self-patch: putting the model's own states back changed a logit by {error:.1e}, "
            f"where {allowed:.1e} is allowed; patches of {model.info.name!r} "
            f"({model.info.backend}) cannot be trusted."
        )
    return error


def pair_blocks(n_pairs: int, n_numbers: int, n_bytes: int) -> list[slice]:
    """Pairs that go through together, so that their source states fit."""
    size = max(1, n_bytes // (4 * n_numbers))
    return [slice(start, min(start + size, n_pairs)) for start in range(0, n_pairs, size)]
