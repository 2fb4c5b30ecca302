"""Whether two mean curves change places, and whether somebody is in control where they do.

Nothing is told here of single pairs but how many take several steps: see `pairs`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.telling.numbers import percent
from lensdepth.transition.crossing_result import CrossingVerdict
from lensdepth.transition.find import too_few
from lensdepth.transition.handover import (
    HELD,
    held_between,
    lead,
    leads_before,
    most_held,
    placed,
    why_none,
)
from lensdepth.transition.pairs import OnTheWay, on_the_way
from lensdepth.units import FEWEST_UNITS, Units, count


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossed:
    """What two curves come to."""

    verdict: CrossingVerdict
    reason: str
    depth: float
    """Where they change places for the last time; NaN where they do not."""
    low: float
    high: float
    share: float
    """Of the draws, those in which they do."""
    held: float
    """What both positions control together between, at least."""
    leaves: float
    arrives: float
    means: list[Float[Array, " depth"]]
    """Of the two curves, and of what both move together where that is known."""
    totals: list[Float[Array, " depth"]]
    """Of both together: success, and what they move."""
    draws: list[Float[Array, "draw depth"]]
    """Of `means`; none with too few units."""
    on_the_way: OnTheWay


def crossed(
    first: Float[Array, "pair depth"],
    second: Float[Array, "pair depth"],
    at: Float[Array, " depth"],
    *,
    units: Units,
    n_resamples: int,
    level: float,
    seed: int,
    moved: Float[Array, "position pair depth"] | None = None,
) -> Crossed:
    """Judge two curves; see `find_crossing`.

    Args:
        first: success that leads early.
        second: success that leads late.
        at: their depths.
        units: which pairs go together.
        n_resamples: draws of the means.
        level: as of `find_crossing`.
        seed: of the draws.
        moved: what each position moves; None of bare curves.
    """
    means = np.nanmean(first, axis=0), np.nanmean(second, axis=0)
    if moved is not None and np.isnan(moved).all():
        moved = None  # base and source do not differ, so nothing is a share of their distance
    together = [first + second, *([] if moved is None else [moved.sum(0)])]
    totals = [np.nanmean(one, axis=0) for one in together]
    held, leaves, arrives = held_between(*means, at, totals[0])
    n_units = count(units, len(first))
    draws: list[Float[Array, "draw depth"]] = []
    if n_units >= FEWEST_UNITS:
        draws = stats.drawn_means(
            *(first, second, *together[1:], *([] if moved is None else moved)),
            units=units, n_resamples=n_resamples, seed=seed,
        )  # fmt: skip
    depth, low, high, share = placed(np.subtract, means, draws[:2], at, level)
    moves, draws = draws[len(totals) + 1 :], draws[: len(totals) + 1]
    verdict, reason = _judge(
        [*means, *totals[1:]], draws, at, depth=depth, share=share, n_units=n_units, units=units,
        level=level,
    )  # fmt: skip
    if verdict == "crossing" and moved is not None:
        own_means = np.nanmean(moved, axis=1)
        depth, low, high, _ = placed(lead, [*means, *own_means], [*draws[:2], *moves], at, level)
    own = on_the_way(first, second, moved)
    if verdict == "crossing" and own.gap.mean() > HELD:
        verdict = "cannot tell"
        reason = (
            f"in {own.gap.sum()} of {len(first)} pairs neither position decides somewhere on the "
            f"way, each at depths of its own"
        )
    return Crossed(
        verdict=verdict,
        reason=reason,
        depth=depth,
        low=low,
        high=high,
        share=share,
        held=held,
        leaves=leaves,
        arrives=arrives,
        means=[*means, *totals[1:]],
        totals=totals,
        draws=draws,
        on_the_way=own,
    )


def _judge(
    means: list[Float[Array, " depth"]],
    draws: list[Float[Array, "draw depth"]],
    at: Float[Array, " depth"],
    *,
    depth: float,
    share: float,
    n_units: int,
    units: Units,
    level: float,
) -> tuple[CrossingVerdict, str]:
    first, second = means[:2]
    if n_units < FEWEST_UNITS:
        return "too few", too_few(n_units, units)
    if share <= 1 - level:
        return "none", why_none(first, second)
    if np.isnan(depth) or share < level:
        return "cannot tell", f"the curves cross in {percent(share)} of the draws only"
    if leads_before(first - second):
        return (
            "cannot tell",
            "the curves change places more than once, so control is not handed over once",
        )
    for name, curve, side in (("input", first, at < depth), ("prediction", second, at > depth)):
        most = curve[side].max(initial=0.0)
        if most < HELD:
            return "none", f"the {name} position is never in control: it reaches {percent(most)}"
    # Where neither brings the answer about, both may move a part of it.
    found = most_held(draws, at)
    apart = (found[~np.isnan(found)] >= HELD).mean()
    held = float(most_held(means, at))
    tail = (1 - level) / 2
    if held >= HELD and apart > tail:
        return "crossing", f"the curves cross in {percent(share)} of the draws"
    if held < HELD and apart < 1 - tail:
        return "gap", f"between, both positions together control {percent(max(held, 0.0))}"
    return "cannot tell", f"both together control {percent(held)} between, which is about a half"
