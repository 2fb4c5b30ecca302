"""Controls: another pair's source, another place, random directions, each drawn from a seed."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.sweep.roles import Roles
from lensdepth.sweep.spans import Span

ControlPairs = int | Literal["all"]
CONTROL_PAIRS = 64
"""Pairs that controls are run on by default. A control is looked at for whether it does nothing,
which so many show: a share of 0 in 64 is below 0.06 and one of a half is known to 0.12 (Wilson);
on hundreds of pairs controls take most of a sweep's time."""


def controlled(n_pairs: int, control_pairs: ControlPairs, seed: int) -> Bool[Tensor, " pair"]:
    """The pairs that controls are run on: all, or so many of them, drawn at random."""
    if control_pairs == "all" or control_pairs >= n_pairs:
        return torch.ones(n_pairs, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.zeros(n_pairs, dtype=torch.bool)
    drawn[torch.randperm(n_pairs, generator=generator)[:control_pairs]] = True
    return drawn


def shuffled_sources(answers: Int[Tensor, " pair"], seed: int) -> Int[Tensor, " pair"]:
    """For each pair another pair to take the source from, with another answer wherever possible.

    Pairs are lined up by answer (at random within one) and shifted by the size of the largest
    group, so no pair meets its own answer unless one answer holds over half of the pairs.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(answers), generator=generator)
    order = order[answers[order].argsort(stable=True)]
    largest = int(answers.unique(return_counts=True)[1].max())
    shift = largest if largest < len(answers) else 1
    partner = torch.empty_like(order)
    partner[order] = order.roll(shift)
    return partner


def other_pairs(
    n_pairs: int, fits: Callable[[int], Bool[Tensor, " pair"]], seed: int
) -> Int[Tensor, " pair"]:
    """For each pair one of those that fit it, drawn at random; -1 where none does.

    Args:
        n_pairs: how many there are.
        fits: from a pair to those that may stand in for it.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.full((n_pairs,), -1)
    for pair in range(n_pairs):
        others = fits(pair).nonzero()[:, 0]
        if len(others):
            chosen[pair] = others[torch.randint(len(others), (1,), generator=generator)]
    return chosen


def _generator(pair: int, seed: int) -> torch.Generator:
    """What a pair's random directions are drawn by."""
    return torch.Generator().manual_seed(seed * 1_000_003 + pair)


def pair_noise(pairs: range, shape: tuple[int, ...], seed: int) -> Float[Tensor, "pair *shape"]:
    """Standard normal numbers that depend on the pair and the seed alone, not on the batch."""
    drawn = []
    for pair in pairs:
        generator = _generator(pair, seed)
        drawn.append(torch.randn(shape, generator=generator, dtype=torch.float32))
    return torch.stack(drawn)


def depth_noise(
    pairs: range, depths: Sequence[int], shape: tuple[int, ...], seed: int
) -> Float[Tensor, "depth pair *shape"]:
    """The same at some residual depths: a direction at one depth does not depend on which others
    are asked for."""
    drawn = torch.empty(len(depths), len(pairs), *shape, dtype=torch.float32)
    where = {depth: i for i, depth in enumerate(depths)}
    for i, pair in enumerate(pairs):
        generator = _generator(pair, seed)
        for depth in range(max(depths) + 1):
            at_depth = torch.randn(shape, generator=generator, dtype=torch.float32)
            if depth in where:
                drawn[where[depth], i] = at_depth
    return drawn


def elsewhere(roles: Roles, span: Span, seed: int) -> Span:
    """For a control: a random other position of each prompt, and its like in the source prompt.

    The like has the same distance from the prompt's end. Pairs whose prompt is all span have none.
    """
    generator = torch.Generator().manual_seed(seed)
    n_pos = roles.base.tokens.shape[1]
    free = roles.base.mask.clone()
    for at in span.base.T:
        free[torch.arange(len(free))[at >= 0], at[at >= 0]] = False
    rank = torch.rand(len(free), n_pos, generator=generator, dtype=torch.float32).masked_fill(
        ~free, -1.0
    )
    base = torch.where(free.any(1) & span.present, rank.argmax(1), -1)
    source = base - roles.base.lengths + roles.source.lengths
    there = (base >= 0) & (source >= 0)
    return Span(
        name=span.name,
        base=torch.where(there, base, -1)[:, None],
        source=torch.where(there, source, -1)[:, None],
    )
