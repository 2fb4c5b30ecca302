"""Two mean curves that change places: where, and who is in control on the way."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats

MARGIN = 0.05
"""Efficacy by which one curve must lead the other, on each side of a crossing."""
HELD = 0.5
"""Efficacy from which on somebody is in control: of one position beside a
crossing, of both together at it."""

PREDICTION_NEVER = "the prediction position never leads"
"""Why curves do not cross whose second one is never ahead."""


def why_none(first: Float[Array, " depth"], second: Float[Array, " depth"]) -> str:
    """Why two mean curves do not change places, in words."""
    difference = first - second
    if difference.max() < MARGIN:
        return "the input position never leads"
    if difference.min() > -MARGIN:
        return PREDICTION_NEVER
    return "the prediction position leads before the input position does"


def leads_before(difference: Float[Array, " depth"]) -> bool:
    """Whether the second curve leads clearly somewhere before the first one last does."""
    leads, trails = np.flatnonzero(difference > MARGIN), np.flatnonzero(difference < -MARGIN)
    return bool(len(leads) and len(trails) and trails[0] < leads[-1])


def last_crossing(
    difference: Float[Array, "*draw depth"], at: Float[Array, " depth"]
) -> Float[Array, "*draw"]:
    """Depth of the last change from positive to negative; NaN where there is none."""
    depths = np.arange(len(at))
    leads, last_trail = difference > MARGIN, _last(difference < -MARGIN)
    before = _last(leads & (depths < last_trail[..., None]))
    # From the last clear lead, the sign may change within the margin: find where it does.
    after = _first((difference < 0) & (depths > before[..., None]))
    positive = _last((difference > 0) & (depths < after[..., None]))
    there = before >= 0
    low, high = (np.where(there, index, 0)[..., None] for index in (positive, after))
    over, under = (np.take_along_axis(difference, i, -1)[..., 0] for i in (low, high))
    start, end = at[low[..., 0]], at[high[..., 0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where((high - low)[..., 0] > 1, 0.5, over / (over - under))
        return np.where(there, start + step * (end - start), np.nan)


def _last(there: Bool[Array, "*draw depth"]) -> Int[Array, "*draw"]:
    """Index of the last depth that is there; -1 where none is."""
    n = there.shape[-1]
    return np.where(there.any(-1), n - 1 - there[..., ::-1].argmax(-1), -1)


def _first(there: Bool[Array, "*draw depth"]) -> Int[Array, "*draw"]:
    """Index of the first depth that is there; behind the last where none is."""
    return np.where(there.any(-1), there.argmax(-1), there.shape[-1])


def lead(
    first: Float[Array, "*draw depth"],
    second: Float[Array, "*draw depth"],
    moved_first: Float[Array, "*draw depth"],
    moved_second: Float[Array, "*draw depth"],
) -> Float[Array, "*draw depth"]:
    """How far the first is ahead; where neither is, and the answer changes hands nowhere, that
    which moves more is, by less than the margin."""
    ahead = np.clip(np.nan_to_num(moved_first - moved_second), -1, 1)
    return np.where(first == second, MARGIN / 2 * ahead, first - second)


def placed(
    ahead: Callable[..., Float[Array, "*draw depth"]],
    means: Sequence[Float[Array, " depth"]],
    draws: Sequence[Float[Array, "draw depth"]],
    at: Float[Array, " depth"],
    level: float = stats.LEVEL,
) -> tuple[float, float, float, float]:
    """Depth at which curves change places for the last time, its interval, and the share of draws
    in which they do; NaN where there are no draws.

    Args:
        ahead: how far the first position is ahead, of as many curves as there are.
        means: the curves.
        draws: the same of each draw; none of too few units.
        at: their depths.
        level: coverage of the interval.
    """
    depth = float(last_crossing(ahead(*means), at))
    if not draws:
        return depth, math.nan, math.nan, math.nan
    found = last_crossing(ahead(*draws), at)
    return depth, *stats.corrected_interval(found, depth, level), float((~np.isnan(found)).mean())


def held_between(
    first: Float[Array, " depth"],
    second: Float[Array, " depth"],
    at: Float[Array, " depth"],
    together: Float[Array, " depth"],
) -> tuple[float, float, float]:
    """Least that is held on the way from one to the other, and where the first falls below HELD and
    the second rises above it; NaN where they do not change places.

    Args:
        first: success that leads early.
        second: success that leads late.
        at: their depths.
        together: what both hold.
    """
    depth, *ends = _way(first, second, at)
    if np.isnan(depth):
        return float(depth), float(depth), float(depth)
    start, end = (int(index) for index in ends)
    leaves = _passes(first, at, start) if first[start] >= HELD else float("nan")
    arrives = _passes(second, at, end - 1) if second[end] >= HELD else float("nan")
    return float(together[start : end + 1].min()), leaves, arrives


def _way(
    first: Float[Array, "*draw depth"],
    second: Float[Array, "*draw depth"],
    at: Float[Array, " depth"],
) -> tuple[Float[Array, "*draw"], Int[Array, "*draw"], Int[Array, "*draw"]]:
    """Where curves change places, and indices of the depths between which control is handed over:
    the last before it that the first controls, and the first behind it that the second does; the
    next to it where there is none. Without a meaning where they do not change places."""
    depth = last_crossing(first - second, at)
    before, behind = at < depth[..., None], at > depth[..., None]
    holds, held = _last((first >= HELD) & before), _first((second >= HELD) & behind)
    return (
        depth,
        np.where(holds >= 0, holds, _last(before)),
        np.where(held < len(at), held, _first(behind)),
    )


def held_to_end(
    first: Float[Array, " depth"], at: Float[Array, " depth"], together: Float[Array, " depth"]
) -> tuple[float, float]:
    """Least that is held from the last depth that the first curve controls to the last of all, and
    where it falls below HELD; NaN where it never controls, or does so to the end."""
    holds = np.flatnonzero(first >= HELD)
    if not len(holds) or holds[-1] == len(at) - 1:
        return float("nan"), float("nan")
    start = int(holds[-1])
    return float(together[start:].min()), _passes(first, at, start)


def arrives_last(
    means: Sequence[Float[Array, " depth"]],
    draws: Sequence[Float[Array, "draw depth"]],
    level: float,
) -> bool:
    """Whether control rests elsewhere until after the last of these depths.

    It has left the first position there, and is neither at the second, which never had it, nor at
    both together: in the means, and in a share of the draws.

    Args:
        means: of the first and of the second position's success, and of further totals of both.
        draws: of the same.
        level: that share.
    """

    def rests(curves: Sequence[Float[Array, "*draw depth"]]) -> Bool[Array, "*draw"]:
        first, second, *totals = curves
        most = np.max([(first + second)[..., -1], *(total[..., -1] for total in totals)], axis=0)
        return (first.max(-1) >= HELD) & (second.max(-1) < HELD) & (most < HELD)

    return bool(rests([mean[None] for mean in means]).all() and rests(draws).mean() >= level)


def most_held(
    curves: Sequence[Float[Array, "*draw depth"]], at: Float[Array, " depth"]
) -> Float[Array, "*draw"]:
    """Least that is controlled on the way, by success of both or by what both move; NaN where they
    do not change places."""
    first, second, *moved = curves
    depth, start, end = _way(first, second, at)
    depths = np.arange(len(at))
    on_the_way = (depths >= start[..., None]) & (depths <= end[..., None])
    least = [np.where(on_the_way, total, np.inf).min(-1) for total in (first + second, *moved)]
    return np.where(np.isnan(depth), np.nan, np.max(least, axis=0))


def _passes(curve: Float[Array, " depth"], at: Float[Array, " depth"], step: int) -> float:
    """Where a curve passes HELD within the step after a depth, interpolated."""
    change = curve[step + 1] - curve[step]
    part = 0.5 if change == 0 else float(np.clip((HELD - curve[step]) / change, 0.0, 1.0))
    return float(at[step] + part * (at[step + 1] - at[step]))


def measured_around(place: float, depths: Float[Tensor, " depth"]) -> tuple[float, float]:
    """The measured depths before and after a place; NaN twice where there is none."""
    if np.isnan(place):
        return float("nan"), float("nan")
    k = int(torch.searchsorted(depths.double(), place, right=False))
    k = min(max(k, 1), len(depths) - 1)
    return float(depths[k - 1]), float(depths[k])
