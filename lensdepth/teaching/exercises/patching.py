"""Notebook 5: the transferred fraction, the additivity gap, the Shapley value."""

from collections.abc import Callable
from itertools import combinations
from math import factorial
from typing import Any

import torch

from lensdepth import metrics
from lensdepth.teaching.exercise import Exercise, Mistake

Value = Callable[[frozenset[int]], float]


def _runs() -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(10)
    return [
        tuple(3 * torch.randn(3, n, generator=generator) + torch.tensor([[0.0], [-4.0], [4.0]]))
        for n in (1, 6)
    ]


def _effects() -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(11)
    return [
        (5 * torch.randn(n, generator=generator), torch.randn(n, 4, generator=generator))
        for n in (2, 5)
    ]


def _games() -> list[tuple[Any, ...]]:
    """Values of sets of blocks: each block does something alone, and some do more together."""
    generator = torch.Generator().manual_seed(12)
    made = []
    for n in (2, 3, 4):
        alone = torch.rand(n, generator=generator).tolist()
        extra = torch.randn(n, n, generator=generator).tolist()

        def value(chosen: frozenset[int], alone: Any = alone, extra: Any = extra) -> float:
            own = sum((alone[i] for i in chosen), 0.2 * len(chosen) ** 3)
            return own + sum(extra[i][j] for i, j in combinations(sorted(chosen), 2))

        made.append((value, n))
    return made


def _shapley(value: Value, n: int) -> list[float]:
    shares = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        share = 0.0
        for size in range(n):
            weight = factorial(size) * factorial(n - 1 - size) / factorial(n)
            for joined in map(frozenset, combinations(others, size)):
                share += weight * (value(joined | {i}) - value(joined))
        shares.append(share)
    return shares


def _left_out(value: Value, n: int) -> list[float]:
    everyone = frozenset(range(n))
    return [value(everyone) - value(everyone - {i}) for i in range(n)]


def _one_order(value: Value, n: int) -> list[float]:
    return [value(frozenset(range(i + 1))) - value(frozenset(range(i))) for i in range(n)]


def _unweighted(value: Value, n: int) -> list[float]:
    """The mean over all sets of others, each counted once."""
    shares = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        sets = [frozenset(c) for size in range(n) for c in combinations(others, size)]
        shares.append(sum(value(s | {i}) - value(s) for s in sets) / len(sets))
    return shares


EXERCISES: dict[str, Exercise] = {
    "05.transferred": Exercise(
        asks="Write `transferred(edited, base, source)`: how far the edited run's metric went from "
        "the base run's to the source run's: 0 at the base, 1 at the source.",
        right=metrics.transferred_fraction,
        cases=_runs,
        mistakes=(
            Mistake(
                "This is 1 where nothing happened, and 0 at the source: it is what is still "
                "missing.",
                lambda edited, base, source: (source - edited) / (source - base),
            ),
            Mistake(
                "Above the line the base run is missing: an edit that does nothing must give 0.",
                lambda edited, base, source: edited / (source - base),
            ),
            Mistake(
                "This divides by the source's value, not by the way from the base to it.",
                lambda edited, base, source: (edited - base) / source,
            ),
            Mistake(
                "The sign is turned round below the line.",
                lambda edited, base, source: (edited - base) / (base - source),
            ),
            Mistake(
                "This is the change itself, not yet a fraction of anything.",
                lambda edited, base, source: edited - base,
            ),
        ),
        well_done="Mind its weakness: an edit that destroys the base's answer moves it as well.",
    ),
    "05.gap": Exercise(
        asks="Write `gap(whole, local)`: the additivity gap of each pair, from the effect of all "
        "blocks together `[pair]` and of each alone `[pair, layer]`. Positive is synergy.",
        right=lambda whole, local: whole - local.sum(1),
        cases=_effects,
        mistakes=(
            Mistake(
                "The sign is turned round: where the whole is more than its parts, the gap is "
                "positive.",
                lambda whole, local: local.sum(1) - whole,
            ),
            Mistake(
                "The parts are averaged. Were effects to add up, their *sum* would be the whole.",
                lambda whole, local: whole - local.mean(1),
            ),
            Mistake(
                "Only the best part is taken off. That is about sufficiency; additivity sums all "
                "of them.",
                lambda whole, local: whole - local.max(1).values,
            ),
            Mistake(
                "The sum runs over the pairs as well. Each pair has a gap of its own.",
                lambda whole, local: whole - local.sum(),
            ),
        ),
        well_done="A gap of zero is what a single-layer story takes for granted.",
    ),
    "05.shapley": Exercise(
        asks="Write `shapley(value, n)`: the Shapley value of each of the blocks 0 … n − 1, as a "
        "list. `value(frozenset)` is the effect of editing those blocks' writes in one run.",
        right=_shapley,
        cases=_games,
        mistakes=(
            Mistake(
                "These are effects alone: what a block adds to others that have joined before is "
                "missing.",
                lambda value, n: [value(frozenset({i})) for i in range(n)],
            ),
            Mistake(
                "This is what is lost without a block: it joins last everywhere. It must join at "
                "every place equally often.",
                _left_out,
            ),
            Mistake(
                "This is one order of joining. Average over all of them.",
                _one_order,
            ),
            Mistake(
                "Every *set* of others counts alike here, but orders should: small and large sets "
                "come first in more orders than middling ones do for each of them.",
                _unweighted,
            ),
            Mistake(
                "Divide by the number of orders.",
                lambda value, n: [factorial(n) * share for share in _shapley(value, n)],
            ),
        ),
        otherwise="For every order of the blocks, let them join one by one and note what each adds "
        "(`itertools.permutations`); then average. The shares must sum to the value of all.",
        well_done="The shares sum to the whole, for any value whatever.",
    ),
}
