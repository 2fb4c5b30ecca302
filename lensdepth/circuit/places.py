"""A set of components with the tokens at which each of them is patched.

A component is patched at its own tokens where it names some (`MLP7@input`), else where all are.
The unit of a set is hence a component at a token: what is patched, its complement and the random
sets of the same make-up are all counted in these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lensdepth.circuit.components import Component, ComponentSet
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.spans import PatchPositions, Span, named_positions, resolve_spans
from lensdepth.tasks.task import Task

At = str | int | None
"""Where a component says that it is patched; None: where all are."""
DRAWS = 50
"""Draws for each random set that is asked for: more than enough to find nearly all there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Components that are patched at the same tokens."""

    members: ComponentSet
    spans: tuple[str, ...]
    """Names of the spans whose tokens these are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Which components are patched at which token of each pair."""

    heads: Bool[Tensor, "pair token layer head"]
    mlps: Bool[Tensor, "pair token layer"]

    def __invert__(self) -> "Members":
        return Members(heads=~self.heads, mlps=~self.mlps)

    def only(self, tokens: Bool[Tensor, "pair token"]) -> "Members":
        """At some of the tokens alone."""
        return Members(
            heads=self.heads & tokens[..., None, None], mlps=self.mlps & tokens[..., None]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """All tokens at which anything is patched, side by side, and what each of them belongs to."""

    span: Span
    """A pair that has fewer of them repeats one of its own, which changes nothing."""
    of_span: dict[str, Bool[Tensor, "pair token"]]
    """Span -> the tokens that are its own; a token may be of several."""
    differ: Bool[Tensor, "pair token"]
    """Whether base and source prompt have another token there."""

    @property
    def present(self) -> Bool[Tensor, " pair"]:
        return self.span.present

    def has(self, group: Group) -> Bool[Tensor, " pair"]:
        """Pairs in which a group has a token at all."""
        return torch.stack([self.of_span[name].any(1) for name in group.spans]).any(0)

    def of(self, pairs: slice) -> "Tokens":
        """For some of the pairs."""
        return Tokens(
            span=self.span.of(pairs),
            of_span={name: mine[pairs] for name, mine in self.of_span.items()},
            differ=self.differ[pairs],
        )

    def members(self, groups: Sequence[Group]) -> Members:
        """Which components are patched at which token."""
        first = groups[0].members
        heads = torch.zeros(*self.span.base.shape, *first.heads.shape, dtype=torch.bool)
        mlps = torch.zeros(*self.span.base.shape, *first.mlps.shape, dtype=torch.bool)
        for group in groups:
            mine = torch.zeros_like(self.differ)
            for name in group.spans:
                if name in self.of_span:
                    mine |= self.of_span[name]
            heads |= mine[..., None, None] & group.members.heads
            mlps |= mine[..., None] & group.members.mlps
        return Members(heads=heads, mlps=mlps)


def names_in(task: Task, named: Sequence[Component], positions: PatchPositions) -> tuple[str, ...]:
    """The named positions that must be found for these components."""
    asked = [at for at in _wanted(named) if isinstance(at, str) and at != "all"]
    spans = positions if isinstance(positions, Mapping) else ()
    if None in _wanted(named) and not isinstance(positions, str | Mapping):
        asked += [at for at in positions if isinstance(at, str)]
    if "all" in _wanted(named) or positions == "all":
        asked += named_positions(task, "all")
    return tuple(dict.fromkeys(at for at in asked if at not in spans))


def grouped(
    roles: Roles,
    named: Sequence[Component],
    positions: PatchPositions,
    size: tuple[int, int],
    *,
    caller: str,
) -> tuple[list[Group], list[Span]]:
    """Components by where they are patched, and all the spans in which that is.

    Args:
        roles: base and source.
        named: the set.
        positions: of those that name none of their own.
        size: blocks of the model, and heads of each.
        caller: named in errors.
    """
    groups: list[Group] = []
    spans: dict[str, Span] = {}
    for at in _wanted(named):
        where: PatchPositions = positions if at is None else "all" if at == "all" else [at]
        if isinstance(positions, Mapping) and isinstance(at, str) and at in positions:
            where = {at: positions[at]}
        found = resolve_spans(roles, where, caller=caller)
        spans |= {span.name: span for span in found}
        members = ComponentSet.of([c for c in named if c.at == at], *size)
        groups.append(Group(members=members, spans=tuple(span.name for span in found)))
    return groups, list(spans.values())


def _wanted(named: Sequence[Component]) -> list[At]:
    return list(dict.fromkeys(component.at for component in named))


def together(spans: Sequence[Span]) -> Span:
    """All tokens of several spans as one.

    A pair that has fewer tokens repeats one of its own, which changes nothing: what is swapped
    twice is swapped once. A pair that has none keeps -1.
    """
    base = torch.cat([span.base for span in spans], dim=1)
    source = torch.cat([span.source for span in spans], dim=1)
    first = (base >= 0).int().argmax(1, keepdim=True)
    return Span(
        name="+".join(span.name for span in spans),
        base=torch.where(base >= 0, base, base.gather(1, first)),
        source=torch.where(base >= 0, source, source.gather(1, first)),
    )


def tokens_of(roles: Roles, spans: Sequence[Span]) -> Tokens:
    """The tokens of some spans."""
    whole = together(spans)
    texts = [
        batch.tokens.gather(1, at.clamp(min=0))
        for batch, at in ((roles.base, whole.base), (roles.source, whole.source))
    ]
    return Tokens(
        span=whole,
        of_span={span.name: _belongs(whole.base, span.base) for span in spans},
        differ=texts[0] != texts[1],
    )


def _belongs(
    tokens: Int[Tensor, "pair token"], own: Int[Tensor, "pair one"]
) -> Bool[Tensor, "pair token"]:
    """Which tokens are among some; -1 stands for none."""
    return ((tokens[..., None] == own[:, None]) & (own >= 0)[:, None]).any(-1)


def random_groups(groups: Sequence[Group], n: int, seed: int) -> list[list[Group]]:
    """Sets of the same make-up: at the same tokens as many heads and as many MLPs of the model.

    They differ from the set and from one another, so there may be fewer than asked for; where the
    set is the only one of its make-up, it stands for itself.
    """
    seen = {_key(groups)}
    found: list[list[Group]] = []
    for i in range(DRAWS * n):
        if len(found) == n:
            break
        drawn = [
            replace(group, members=group.members.drawn_like(seed + i * len(groups) + j))
            for j, group in enumerate(groups)
        ]
        if _key(drawn) not in seen:
            seen.add(_key(drawn))
            found.append(drawn)
    return found or [list(groups)] * min(n, 1)


def _key(groups: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    return tuple(group.members.names() for group in groups)


def written(groups: Sequence[Group]) -> tuple[str, ...]:
    """Names of a set; with where each is patched, if that differs."""
    if len(groups) == 1:
        return groups[0].members.names()
    return tuple(
        f"{name}@{'+'.join(group.spans)}" for group in groups for name in group.members.names()
    )
