"""Which tokens of differing prompts stand for the same thing, where every token is patched.

Prompts of one wording line up by index. Those of several do not: the fifth token of one wording is
the last but one of another, and a mean over both is of nothing. They are lined up by what stands
fast in all of them, and what is left over is averaged by where it lies, as in the figures of Meng
et al. 2022, arXiv 2202.05262 ("middle subject tokens", "further tokens").

The two prompts of a pair line up by index where they are equally long. Where they are not, what is
equal in both lines up, as in a comparison of two texts, and a token that stands in one of them
alone has no counterpart and is not patched.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth.sweep.roles import Roles

ALIKE = 0.5
"""Share of tokens from which on two prompts of one length are of one wording, index by index: words
may differ in it, and what is around them does not. Likewise the share of the shorter prompt's
tokens from which on two prompts of different lengths line up at all."""
Ends = tuple[int | None, int | None]
"""The input's last token in a base and in its source prompt."""
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
    """Every token of prompts of several wordings or lengths, by its role.

    In order: by index the first tokens that all prompts share; the tokens between them and the
    input (BEFORE); those of the input that differ between the two prompts of a pair (EARLIER) and
    its last one; the tokens behind it (AFTER); by index from the end the last tokens that all
    prompts share; the prediction position. Without an input position there are OTHERS between what
    all share.
    """
    rows, inputs = _rows(roles), _inputs(roles)
    begin, end = _shared_by_all(rows, inputs)
    found: dict[str, list[list[tuple[int, int]]]] = {}
    for i, (base, source) in enumerate(rows):
        at, same = counterparts(base, source, inputs[i], begin, end)
        earlier = 0 if at[0] is None else _differing(base, source, at[0], same, begin)
        for name, tokens in _named(len(base), at[0], begin, end, earlier):
            pair = found.setdefault(name, [[] for _ in rows])
            pair[i] = [(token, same[token]) for token in tokens if token in same]
    return [place for name in _in_order(begin, end) for place in _places(name, found.get(name, []))]


def unaligned(roles: Roles) -> list[int]:
    """Pairs whose prompts have different lengths and too little in common to line up."""
    rows, inputs = _rows(roles), _inputs(roles)
    found = []
    for i, (base, source) in enumerate(rows):
        if len(base) != len(source):
            _, same = counterparts(base, source, inputs[i], *_shared_by_all([rows[i]], [inputs[i]]))
            equal = sum(base[here] == source[there] for here, there in same.items())
            if equal < ALIKE * min(len(base), len(source)):
                found.append(i)
    return found


def n_alone(roles: Roles, places: Sequence[Place]) -> int:
    """Tokens of base prompts that no place names, since their sources have nothing for them."""
    named = sum(int((place.base >= 0).sum()) for place in places)
    return int(roles.base.lengths.sum()) - named


def counterparts(
    base: list[int], source: list[int], at: Ends, begin: int, end: int
) -> tuple[Ends, dict[int, int]]:
    """Which token of the source prompt stands for which of the base prompt.

    Args:
        base: tokens.
        source: tokens.
        at: the input's last token in either, if any.
        begin: so many tokens stand for each other from the start,
        end: and so many from the end.
    Returns:
        the input's last tokens, None where one of them is a prediction position and the other is
        not; and token of the base -> token of the source.
    """
    ends = len(base) - end, len(source) - end
    here, there = at
    if here is None or there is None or (here >= ends[0]) != (there >= ends[1]):
        here = there = None
    same = {k: k for k in range(begin)} | {ends[0] + k: ends[1] + k for k in range(end)}
    stretches = [((begin, begin), ends)]
    if here is not None and there is not None and here < ends[0]:
        same[here] = there
        stretches = [((begin, begin), (here, there)), ((here + 1, there + 1), ends)]
    for (b, s), (b_end, s_end) in stretches:
        for k, j in _matched(base[b:b_end], source[s:s_end]):
            same[b + k] = s + j
    return (here, there), same


def _matched(base: list[int], source: list[int]) -> Iterator[tuple[int, int]]:
    """Tokens of two stretches that stand for each other.

    Of a word of two tokens and one of three the last two do: a word is read at its end.
    """
    if len(base) == len(source):
        yield from ((k, k) for k in range(len(base)))
        return
    first = _shared([base, source])
    last = _shared([base[first:][::-1], source[first:][::-1]])
    middle = base[first : len(base) - last], source[first : len(source) - last]
    yield from ((k, k) for k in range(first))
    yield from ((len(base) - k, len(source) - k) for k in range(1, last + 1))
    for _, b, b_end, s, s_end in SequenceMatcher(None, *middle, autojunk=False).get_opcodes():
        n = min(b_end - b, s_end - s)
        yield from ((first + b_end - k, first + s_end - k) for k in range(1, n + 1))


def _rows(roles: Roles) -> list[tuple[list[int], list[int]]]:
    return [(roles.base.row(i), roles.source.row(i)) for i in range(len(roles.base))]


def _inputs(roles: Roles) -> list[Ends]:
    here, there = roles.base_positions.get("input"), roles.source_positions.get("input")
    if here is None or there is None:
        return [(None, None)] * len(roles.base)
    return [*zip(here.tolist(), there.tolist(), strict=True)]


def _shared_by_all(
    rows: Sequence[tuple[list[int], list[int]]], inputs: Sequence[Ends]
) -> tuple[int, int]:
    """How many tokens all prompts share in front of the input, and behind it up to the end."""
    each = [
        one for both, at in zip(rows, inputs, strict=True) for one in zip(both, at, strict=True)
    ]
    begin = _shared([row[: len(row) - 1 if at is None else at] for row, at in each])
    ends = [row[begin if at is None else at + 1 :][::-1] for row, at in each]
    return begin, max(_shared(ends), 1)  # the last token predicts, whatever stands there


def _shared(rows: list[list[int]]) -> int:
    """How many tokens all rows begin with."""
    n = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        n += 1
    return n


def _differing(
    base: list[int], source: list[int], place: int, same: dict[int, int], begin: int
) -> int:
    """How many tokens in front of the input's last one differ between the two prompts of a pair."""
    n = 0
    while place - n - 1 >= begin:
        there = same.get(place - n - 1)
        if there is not None and base[place - n - 1] == source[there]:
            break
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


def _places(name: str, tokens: list[list[tuple[int, int]]]) -> Iterator[Place]:
    """The first token of that role in all pairs that have it, then the second."""
    for k in range(max(map(len, tokens), default=0)):
        both = [pair[k] if k < len(pair) else (-1, -1) for pair in tokens]
        base, source = torch.tensor(both).T
        yield Place(name=name, base=base, source=source)
