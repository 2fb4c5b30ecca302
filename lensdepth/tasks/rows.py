"""Pairs as text, before any tokenizer has seen them, and how to draw a balanced lot of them."""

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")
Draw = tuple[int, ...]

MOST = 100_000
"""No more rows than this are listed where all there are is asked for."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two prompts that differ in one place and have different answers, as `load_task` takes them.

    >>> pair = Pair(
    ...     clean="Two months from January is",
    ...     corrupted="Two months from May is",
    ...     target="March",
    ...     foil="July",
    ... )
    >>> load_task([pair], model).target
    ('March',)
    """

    clean: str
    """The prompt that the target answers."""
    corrupted: str
    """The prompt that the foil answers."""
    target: str | None = None
    """One token as text, with the space in front that it has; None: `target_id` tells."""
    foil: str | None = None
    input: str | None = None
    """The part of the clean prompt that varies; None: found by comparing the two prompts."""
    corrupted_input: str | None = None
    labels: Mapping[str, object] = field(default_factory=dict)
    """Whatever else is known of the pair, by name: texts, numbers, truth values, dates."""
    target_id: int | None = None
    """The token that the target is, with or without its text; None: found from the text."""
    foil_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One pair of prompts, or one plain prompt (then the answers are None), once it is read."""

    clean: str
    corrupted: str | None = None
    target: str | None = None
    foil: str | None = None
    input: str | None = None
    """The part of the clean prompt that varies; None: found by comparing the two prompts."""
    corrupted_input: str | None = None
    labels: dict[str, object] = field(default_factory=dict)
    target_id: int | None = None
    """The token that the target is, with or without its text; None: found from the text."""
    foil_id: int | None = None
    said: str | None = None
    """What the user says in the clean prompt, where a chat template is round it."""
    corrupted_said: str | None = None
    where: str = ""
    """How an error names this row: its line in a file, or its number."""


Make = Callable[[Sequence[str], int | None, random.Random], list[Row]]
"""(template names, number of pairs or None for all, generator) -> rows."""


def listed(items: Sequence[str], *, limit: int = 5) -> str:
    """The first few, and how many more there are, as errors name rows."""
    more = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {more} more" if more > 0 else "")


def draw_balanced(sizes: Sequence[int], n: int | None, rng: random.Random) -> list[Draw]:
    """Draw different points of a grid, every level of every factor about equally often.

    Up to repeats that no exchange can mend, frequencies differ by one at most. The grid is never
    listed unless at least half of it is asked for.

    Args:
        sizes: number of levels of each factor.
        n: how many points; None, or more than there are, gives all of them, in random order.
    Raises:
        ValueError: all points are asked for and there are more than `MOST`.
    """
    total = math.prod(sizes)
    if n is None and total > MOST:
        raise ValueError(f"there are {total:,} pairs, more than {MOST:,}; say how many with n.")
    if n is None or 2 * n > total:
        left_out = set(_spread(sizes, max(total - (n or total), 0), rng))
        kept = [d for d in itertools.product(*map(range, sizes)) if d not in left_out]
        rng.shuffle(kept)
        return kept
    return _spread(sizes, n, rng)


def _spread(sizes: Sequence[int], n: int, rng: random.Random) -> list[Draw]:
    """At most half of the grid: shuffled columns side by side, repeats mended by swaps."""
    drawn = list(zip(*(shuffled_levels(size, n, rng) for size in sizes), strict=True))
    seen = Counter(drawn)
    for i in range(n):
        for _ in range(1000):
            if seen[drawn[i]] == 1:
                break
            # Two rows exchange one factor's level: repeats go, the frequencies stay.
            j, factor = rng.randrange(n), rng.randrange(len(sizes))
            mine, theirs = list(drawn[i]), list(drawn[j])
            mine[factor], theirs[factor] = theirs[factor], mine[factor]
            new_mine, new_theirs = tuple(mine), tuple(theirs)
            if new_mine != new_theirs and not seen[new_mine] and not seen[new_theirs]:
                seen.subtract((drawn[i], drawn[j]))
                seen.update((new_mine, new_theirs))
                drawn[i], drawn[j] = new_mine, new_theirs
        while seen[drawn[i]] > 1:  # no swap helped: any free point will do
            free = tuple(rng.randrange(size) for size in sizes)
            if not seen[free]:
                seen[drawn[i]] -= 1
                seen[free] += 1
                drawn[i] = free
    return drawn


def shuffled_levels(size: int, n: int, rng: random.Random) -> list[int]:
    """`n` levels out of `range(size)`: whole rounds in random order, then part of one."""
    listed: list[int] = []
    while len(listed) < n:
        listed += rng.sample(range(size), size)
    return listed[:n]


def draw_in_turn(groups: Sequence[Sequence[Item]], n: int | None, rng: random.Random) -> list[Item]:
    """Draw different items of unequal groups, one of each group in turn; all if there are fewer."""
    shuffled = [rng.sample(list(group), len(group)) for group in groups]
    drawn: list[Item] = []
    for turn in range(max(map(len, shuffled), default=0)):
        here = [group[turn] for group in shuffled if turn < len(group)]
        drawn += rng.sample(here, len(here))
    return drawn if n is None else drawn[:n]
