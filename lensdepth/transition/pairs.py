"""Where each pair switches by itself: a mean curve is not a prompt.

A pair switches at the step between two measured depths where its own profile is best cut in two.
That is the same functional for every profile, so that two switches of the same pairs can be put in
order pair by pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.transition.handover import HELD
from lensdepth.transition.modes import find_modes
from lensdepth.units import Grouping, Units, take

NEAR = 1.0
"""Depths about a location within which a pair switches near it."""
LEAST_STEP = 0.5
"""Of the mean profile's change: a pair whose own profile changes by less does not switch."""
EXPLAINS = 0.5
"""Share of the variance over pairs that a label must explain to be named."""
MOST_VALUES = 12
"""A label with more values than this names pairs, and explains nothing."""


@dataclass(frozen=True, kw_only=True)
class Together:
    """Pairs that switch around one depth."""

    name: str
    """What they have in common: `order BAB`; "" for one of two groups."""
    n: int
    depth: float
    """Their median."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairSwitches:
    """Where pairs switch, each by itself."""

    depth: Float[Tensor, " pair"]
    """Middle of the step; NaN where a pair does not switch."""
    median: float
    low: float
    high: float
    """95 % interval of the median."""
    first_quartile: float
    third_quartile: float
    near: float
    """Share of all pairs that switch within one depth of the location of the mean profile."""
    p_modes: float
    """Of "pairs switch around one depth"."""
    groups: tuple[Together, ...]
    """Two, where that is refuted; else none."""
    by_label: tuple[Together, ...]
    """Medians by value of the label that explains most of where pairs switch, if any does."""
    n_gap: int = 0
    """Of a crossing: pairs in which neither position decides for some depths on the way, nor both
    together; these have no one switch."""
    n_shared: int = 0
    """Of a crossing: pairs in which both decide together for several depths, likewise."""
    gap_label: str = ""
    """The label values whose pairs have a gap, where one label says which do."""

    @property
    def n_without(self) -> int:
        """Pairs that do not switch."""
        return int(self.depth.isnan().sum()) - self.n_gap - self.n_shared


def best_cuts(
    y: Float[Array, "pair depth"], at: Float[Array, " depth"]
) -> tuple[Float[Array, " pair"], Float[Array, " pair"], Float[Array, " pair"]]:
    """The cut of each profile that leaves least spread on both sides.

    Returns:
        By pair: the middle of the step, and the means before and after it. Of cuts that are as
        good the middle one.
    """
    n = y.shape[1]
    before = np.cumsum(y, axis=1)[:, :-1] / np.arange(1, n)
    after = (y.sum(1, keepdims=True) - np.cumsum(y, axis=1)[:, :-1]) / np.arange(n - 1, 0, -1)
    weight = np.arange(1, n) * np.arange(n - 1, 0, -1) / n
    gain = weight * (after - before) ** 2
    best = gain >= gain.max(1, keepdims=True) * (1 - 1e-9) - 1e-12
    # The middle of the ties: the first cut by which half of them are counted.
    k = (np.cumsum(best, axis=1) * 2 >= best.sum(1, keepdims=True)).argmax(1)
    rows = np.arange(len(y))
    steps = (at[1:] + at[:-1]) / 2
    return steps[k], before[rows, k], after[rows, k]


def switch_of_pairs(
    y: Float[Array, "pair depth"],
    at: Float[Array, " depth"],
    *,
    location: float,
    change: float,
    units: Units = (),
    labels: Sequence[Grouping] = (),
    on_the_way: "OnTheWay | None" = None,
    seed: int = 0,
) -> PairSwitches:
    """Where every pair switches, whether around one depth, and which label says where.

    Args:
        y: the pairs' profiles.
        at: depths of its columns.
        location: where the mean profile switches.
        change: of the mean profile, after less before; pairs switch in the same direction.
        units: which pairs go together.
        labels: what may explain where.
        on_the_way: of a crossing: pairs that take several steps, and so switch at none.
        seed: of the tests.
    """
    place, before, after = best_cuts(y, at)
    switches = (after - before) * np.sign(change) >= LEAST_STEP * abs(change)
    if on_the_way is not None:
        switches &= ~(on_the_way.gap | on_the_way.shared)
    place = np.where(switches, place, np.nan)
    found, whole = place[switches], take(units, switches)
    middle = stats.median_interval(place, units=units)
    quartiles = np.quantile(found, [0.25, 0.75]) if len(found) else (np.nan, np.nan)
    modes = find_modes(found, (at[1:] + at[:-1]) / 2, units=whole, seed=seed)
    groups: tuple[Together, ...] = ()
    if not np.isnan(modes.split):
        sides = found <= modes.split, found > modes.split
        groups = tuple(_together("", found[side]) for side in sides)
    return PairSwitches(
        depth=torch.from_numpy(place).float(),
        median=middle.value,
        low=middle.low,
        high=middle.high,
        first_quartile=float(quartiles[0]),
        third_quartile=float(quartiles[1]),
        near=float((np.abs(place - location) <= NEAR).mean()),
        p_modes=modes.p,
        groups=groups,
        by_label=_explained(found, take(tuple(labels), switches), seed) if groups else (),
        **({} if on_the_way is None else on_the_way.told(labels, seed)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class OnTheWay:
    """Pairs in which for some depths neither position decides alone."""

    gap: Bool[Array, " pair"]
    """Nor do both together."""
    shared: Bool[Array, " pair"]
    """Both together do, for several depths."""

    def told(self, labels: Sequence[Grouping], seed: int) -> dict[str, Any]:
        """How many there are, and in which pairs."""
        some = 0 < self.gap.sum() < len(self.gap)
        by_label = _explained(self.gap.astype(float), labels, seed) if some else ()
        names = [one.name for one in by_label if one.depth > 0.5]
        return {
            "n_gap": int(self.gap.sum()),
            "n_shared": int(self.shared.sum()),
            "gap_label": " and ".join(names),
        }


def on_the_way(
    first: Float[Array, "pair depth"],
    second: Float[Array, "pair depth"],
    moved: Float[Array, "position pair depth"] | None,
) -> OnTheWay:
    """Which pairs take several steps from the one position to the other.

    Of each pair: from the last depth at which the first position decides, to the first at which the
    second one does. Between, both share the decision where what they move, each by itself, adds up
    to half of what either moves at most. One depth at which they do is the handover itself.

    Args:
        first: success by pair, that leads early.
        second: success that leads late.
        moved: what each position moves; None where that is not known, and then one depth of
            neither is taken for the handover too.
    """
    gap, shared = np.zeros(len(first), dtype=bool), np.zeros(len(first), dtype=bool)
    for i, (early, late) in enumerate(zip(first >= HELD, second >= HELD, strict=True)):
        arrived = np.flatnonzero(late)
        before = np.flatnonzero(early[: arrived[-1]]) if len(arrived) else arrived
        if not len(before):
            continue
        start = int(before[-1])
        end = int(arrived[arrived > start][0])
        between = slice(start + 1, end)
        n = end - start - 1
        if moved is None:
            gap[i] = n > 1
            continue
        most = np.nanmax(moved[:, i])
        together = moved[:, i, between].sum(0)
        gap[i] = n > 0 and bool((together < HELD * most).any())
        shared[i] = n > 1 and not gap[i]
    return OnTheWay(gap=gap, shared=shared)


def _together(name: str, place: Float[Array, " pair"]) -> Together:
    return Together(name=name, n=len(place), depth=float(np.median(place)))


def _explained(
    place: Float[Array, " pair"], labels: Sequence[Grouping], seed: int
) -> tuple[Together, ...]:
    """Medians by value of the label that explains most, where it explains half and not by chance.

    The share of variance is tested by permuting places over pairs, for the best of all labels at
    once.
    """
    usable = [one for one in labels if 1 < len(set(one.values)) <= MOST_VALUES]
    if not usable or np.ptp(place) == 0:
        return ()
    codes = [np.unique(one.values, return_inverse=True)[1] for one in usable]
    share = [_share(place, code) for code in codes]
    rng = np.random.default_rng(seed)
    null = [max(_share(rng.permutation(place), code) for code in codes) for _ in range(200)]
    best = int(np.argmax(share))
    if share[best] < EXPLAINS or stats.permutation_p(share[best], np.array(null)) >= 0.05:
        return ()
    name, values = usable[best].name, np.array(usable[best].values, dtype=object)
    return tuple(
        _together(f"{name} {value}", place[values == value]) for value in sorted(set(values))
    )


def _share(place: Float[Array, " pair"], code: Array) -> float:
    """Share of the variance over pairs that means by value explain."""
    sizes = np.bincount(code)
    means = np.bincount(code, weights=place) / sizes
    return float((sizes * (means - place.mean()) ** 2).sum() / ((place - place.mean()) ** 2).sum())
