"""Which tokens of differing prompts stand for the same thing, where every token is patched.

Prompts of one wording line up by index. Those of several do not: the fifth token of one wording is
the last but one of another, and a mean over both is of nothing. They are lined up by what stands
fast in all of them, and what is left over is averaged by where it lies, as in the figures of Meng
et al. 2022, arXiv 2202.05262 ("middle subject tokens", "further tokens").
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth.sweep.roles import Roles

ALIKE = 0.5
"""Share of tokens, index by index, from which on two prompts of one length are of one wording:
words may differ in it, and what is around them does not."""
EARLIER, BEFORE, AFTER, OTHERS = "input, earlier", "before input", "after input", "other tokens"
"""Roles of several tokens, whose effects are averaged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One token of every prompt; places of one name are averaged over, in each pair."""

    name: str
    base: Int[Tensor, " pair"]
    """Its position in the base prompts; -1 in pairs that have none."""
    source: Int[Tensor, " pair"]


def one_wording(roles: Roles) -> bool:
    """Whether the prompts line up index by index.

    They have one length and one input position, and the base prompts share half of their tokens or
    more with the first of them, as the source prompts do with theirs.
    """
    batch, others = roles.base, roles.source
    if len(batch.lengths.unique()) > 1 or not torch.equal(batch.lengths, others.lengths):
        return False
    places = [*roles.base_positions.values(), *roles.source_positions.values()]
    if any(len(place.unique()) > 1 for place in places):
        return False
    n = int(batch.lengths[0])
    shares = [(one.tokens[:, :n] == one.tokens[0, :n]).float().mean(1) for one in (batch, others)]
    return bool((torch.cat(shares) >= ALIKE).all())


def aligned_places(roles: Roles) -> list[Place]:
    """Every token of prompts of several wordings, by its role.

    In order: by index the first tokens that all prompts share; the tokens between them and the
    input (BEFORE); those of the input that differ between the two prompts of a pair (EARLIER) and
    its last one; the tokens behind it (AFTER); by index from the end the last tokens that all
    prompts share; the prediction position. Without an input position there are OTHERS between what
    all share.
    """
    inputs = [
        [None] * len(roles.base) if at is None else at.tolist()
        for at in (roles.base_positions.get("input"), roles.source_positions.get("input"))
    ]
    rows = [[batch.row(i) for i in range(len(batch))] for batch in (roles.base, roles.source)]
    each = [*zip(rows[0] + rows[1], inputs[0] + inputs[1], strict=True)]
    begin = _shared([row[: len(row) - 1 if at is None else at] for row, at in each])
    ends = [row[begin if at is None else at + 1 :][::-1] for row, at in each]
    end = max(_shared(ends), 1)  # the last token is the prediction position, whatever stands there
    found: dict[str, list[tuple[list[int], list[int]]]] = {}
    for i in range(len(roles.base)):
        at = [inputs[0][i], inputs[1][i]]
        both = [rows[0][i], rows[1][i]]
        earlier = _differing(both, at, begin)
        named = [
            dict(_named(len(row), place, begin, end, earlier))
            for row, place in zip(both, at, strict=True)
        ]
        for name in named[0].keys() | named[1].keys():
            pair = found.setdefault(name, [([], []) for _ in range(len(roles.base))])
            pair[i] = (named[0].get(name, []), named[1].get(name, []))
    return [place for name in _in_order(begin, end) for place in _places(name, found.get(name, []))]


def _shared(rows: list[list[int]]) -> int:
    """How many tokens all rows begin with."""
    n = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        n += 1
    return n


def _differing(both: list[list[int]], at: list[int | None], begin: int) -> int:
    """How many tokens in front of the input's last one differ between the two prompts of a pair."""
    base, source = at
    if base is None or source is None:
        return 0
    n = 0
    while min(base, source) - n - 1 >= begin and both[0][base - n - 1] != both[1][source - n - 1]:
        n += 1
    return n


def _named(
    length: int, place: int | None, begin: int, end: int, earlier: int
) -> Iterator[tuple[str, list[int]]]:
    """Roles of one prompt's tokens."""
    last = length - 1
    yield from ((str(k), [k]) for k in range(begin))
    yield from ((str(k - length), [k]) for k in range(length - end, last))
    yield "prediction", [last]
    if place is None:
        yield OTHERS, [*range(begin, length - end)]
        return
    if place < last:
        yield "input", [place]
    yield EARLIER, [*range(place - earlier, place)]
    yield BEFORE, [*range(begin, place - earlier)]
    yield AFTER, [*range(place + 1, length - end)]


def _in_order(begin: int, end: int) -> list[str]:
    first, last = map(str, range(begin)), (str(-k) for k in range(end, 1, -1))
    return [*first, BEFORE, EARLIER, "input", OTHERS, AFTER, *last, "prediction"]


def _places(name: str, tokens: list[tuple[list[int], list[int]]]) -> Iterator[Place]:
    """The first token of that role in all pairs that have it in both prompts, then the second."""
    counts = [min(len(base), len(source)) for base, source in tokens]
    for k in range(max(counts, default=0)):
        base, source = (
            torch.tensor([pair[side][k] if k < n else -1
                          for pair, n in zip(tokens, counts, strict=True)])
            for side in (0, 1)
        )  # fmt: skip
        yield Place(name=name, base=base, source=source)
