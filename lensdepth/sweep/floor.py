"""The numerical floor: how far numbers move when nothing is changed.

An effect is the difference of two runs, and two runs that should be equal are not, by rounding: the
same prompt alone and among others, replayed from a depth and run as a whole, with its own states
put back, with another last digit of its logits. The largest such change of a metric is its floor in
this model and dtype; an effect below it is rounding, whatever its digits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.plain_runs import anew
from lensdepth.sweep.readings import SHARES, Metric, PairBlock
from lensdepth.sweep.runs import RunSets

Replayed = Callable[
    [
        PairBlock,
        Sequence[Sequence[SiteEdit]],
        Bool[Tensor, "set pair"],
        Callable[[Tensor, Tensor], dict[str, Tensor]],
    ],
    dict[str, Tensor],
]
"""Pairs, sets of edits, on which pairs each runs, what is measured -> that by set and pair."""
MARGIN = 2.0
"""Of the largest change that was seen: elsewhere than in the few runs that are measured, rounding
was up to 1.8 times as large (self-patches at 44 sites of 40 pairs, both dtypes)."""
PAIRS, STILL, SETS, ALONE, DIGITS = 32, 8, 8, 1, 3
"""Pairs that are looked at; of these, those whose own states are put back, in how many of a sweep's
runs; those run by themselves; and how often last digits are drawn."""


def measure_floor(
    block: PairBlock,
    sets: RunSets,
    asked: Sequence[str | Metric],
    names: Sequence[str],
    base: Float[Tensor, "metric pair"],
    replayed: Replayed,
) -> tuple[float, ...]:
    """The floor of each metric, in its unit; 0 for those that are shares of pairs.

    Args:
        block: pairs of the sweep.
        sets: what is run on them; some of these are run with each state as it was found.
        asked: metrics.
        names: of these.
        base: the metrics of the base run, as the sweep has them.
        replayed: runs sets of edits on some pairs by the sweep's own engine.
    """
    few = slice(0, min(PAIRS, base.shape[1]))
    mine = PairBlock(model=block.model, roles=block.roles.of(few), start=block.start)
    some = range(1, len(sets.sets), max(1, -(-(len(sets.sets) - 1) // SETS)))
    still = [
        [replace(edit.of(few), edit=polar.self_swap, source=None) for edit in sets.sets[i]]
        for i in some
    ]
    only = torch.cat([sets.only[:1], sets.only[list(some)]])[:, few].clone()
    only[1:, STILL:] = False

    def measure(logits: Tensor, pairs: Tensor) -> dict[str, Tensor]:
        return {str(i): values for i, values in enumerate(mine.read(asked, logits, pairs))}

    found = replayed(mine, [[], *still], only, measure)
    unchanged = [torch.stack([found[str(i)] for i in range(len(asked))])]
    n = only.shape[1]
    unchanged += [
        mine.read(asked, logits, torch.arange(n))[:, None]
        for logits in (mine.base, *last_digits(mine.base, block.model.dtype))
    ]
    for pair in range(min(ALONE, n)):
        alone = torch.full((len(asked), 1, n), torch.nan, dtype=torch.float32)
        with anew():
            logits = block.model.logits(mine.roles.base[pair : pair + 1])[:, 0]
        alone[:, 0, pair] = mine.read(asked, logits, torch.tensor([pair]))[:, 0]
        unchanged.append(alone)
    floor = floor_of(torch.cat(unchanged, dim=1), base[:, few]).tolist()
    return tuple(0.0 if name in SHARES else value for name, value in zip(names, floor, strict=True))


def floor_of(
    unchanged: Float[Tensor, "metric run pair"], base: Float[Tensor, "metric pair"]
) -> Float[Tensor, " metric"]:
    """The floor of each metric, from runs in which nothing is changed; NaN is not looked at."""
    off = (unchanged - base[:, None]).abs().nan_to_num(0.0)
    # Metrics are float32, and an effect is the difference of two.
    size = base.abs().nan_to_num(0.0).amax(1).clamp_min(1.0)
    return torch.maximum(MARGIN * off.amax((1, 2)), torch.finfo(torch.float32).eps * size)


def last_digits(
    logits: Float[Tensor, "pair d_vocab"], dtype: torch.dtype
) -> Iterator[Float[Tensor, "pair d_vocab"]]:
    """Logits with their last digit in the model's dtype drawn anew, several times."""
    half = dtype in (torch.float16, torch.bfloat16)
    eps = torch.finfo(dtype if half else torch.float32).eps
    generator = torch.Generator().manual_seed(0)
    for _ in range(DIGITS):
        drawn = torch.rand(logits.shape, generator=generator, dtype=torch.float32) * 2 - 1
        yield logits * (1 + eps * drawn)
