"""From which step on there is a place where control passes, and how it moves from there."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.dynamics import null
from lensdepth.dynamics.moment import UNKNOWN, Moment
from lensdepth.telling.numbers import Interval, counted, p_value
from lensdepth.transition.change_point import find_change_point
from lensdepth.transition.find import too_few
from lensdepth.units import FEWEST_UNITS, Units, count, take

AppearanceVerdict = Literal[
    "with the answers", "after the answers", "comes and goes", "never", "cannot tell", "not learned"
]
CourseVerdict = Literal["jump", "moves", "wanders", "steady", "cannot tell", "too few"]
FEWEST_LOCATED = 8
"""Checkpoints with a place below which nothing is said of its course: of seven, no order of two
levels is rarer than one in twenty (2 of 35)."""
SMALLEST_MOVE = 0.5
"""Depths by which a place must surely stray over training, to count as a move: half of what one
block is."""
N_DRAWS, N_PATHS = 500, 2000
"""Draws of units, each of which is cut anew, and paths in each of the other two nulls."""
ABSENT = ("none", "gap")
"""Verdicts that say that control does not pass at one place."""


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Between which checkpoints control begins to pass at one place, for good."""

    verdict: AppearanceVerdict
    """`with the answers`: at every checkpoint that answers. `after the answers`: first checkpoints
    answer and have no such place, then all have. `comes and goes`: it was there before it was
    lost again. `never`: no checkpoint that answers has one."""
    reason: str
    learned: int | None
    """First step from which on every checkpoint answers."""
    after: int | None
    """Last step that is known not to have it: without answers, or without a crossing."""
    by: int | None
    """First step from which on every checkpoint has it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """How the place moves over the checkpoints that have one, on pairs that have one in all."""

    verdict: CourseVerdict
    """`steady`: it surely strays by less than SMALLEST_MOVE depths. `wanders`: it differs between
    checkpoints, in no order. `moves`: in an order, and no more suddenly than a path that wanders.
    `jump`: more suddenly."""
    reason: str
    steps: tuple[int, ...]
    """Of the checkpoints that have a place."""
    location: Float[Tensor, " checkpoint"]
    """Mean depth at which those pairs hand over, each by itself."""
    after: int | None
    """Last step before the best cut; None where too few have a place."""
    by: int | None
    """First step behind it."""
    low: float
    """Steps between which the cut lies in 95 % of draws of units; NaN with too few."""
    high: float
    change: Interval
    """Mean location behind the cut less before it, in depths. The cut was chosen to make it large:
    where nothing is shown to move it is no effect."""
    stray: Interval
    """Largest location less smallest. Noise of the units adds to it."""
    explained: float
    """Share of the variance over checkpoints that the best cut explains."""
    p_units: float
    """Of so much explained, if the place were the same at all and only units differed."""
    p_order: float
    """If the same places came in any order."""
    p_walk: float
    """If the place wandered: Brownian motion over the logarithm of the step."""
    n_pairs: int
    n_units: int


def appearance(moments: Sequence[Moment]) -> Appearance:
    """When control begins to pass at one place, read off the checkpoints' own verdicts."""
    learned = [one for one in moments if one.kind != "not learned"]
    since = _from(moments, lambda one: one.kind != "not learned")
    if not learned:
        reason = "no checkpoint answers enough of the pairs"
        return Appearance(
            verdict="not learned", reason=reason, learned=None, after=moments[-1].step, by=None
        )
    by = _from(learned, lambda one: one.kind == "crossing")
    before = [one for one in moments if by is None or one.step < by]
    known = [one for one in before if one.kind in (*ABSENT, "not learned")]
    after = known[-1].step if known else None
    absent = [one for one in learned if one.kind in ABSENT and one in before]
    once = [one for one in before if one.kind == "crossing"]
    undecided = [one for one in before if one.kind in ("cannot tell", "too few")]

    def found(verdict: AppearanceVerdict, reason: str) -> Appearance:
        return Appearance(verdict=verdict, reason=reason, learned=since, after=after, by=by)

    if once and any(one.step > once[0].step for one in absent):
        return found("comes and goes", f"it was there at step {once[0].step} and was lost again")
    if by is None and len(absent) == len(learned):
        last = learned[-1]
        have = f"none of the {len(learned)} checkpoints that answer has one"
        return found("never", f"{have}; at step {last.step:,} {last.reason}")
    if by is None or (undecided and not absent):
        unclear = undecided[-1] if undecided else learned[-1]
        return found("cannot tell", f"at step {unclear.step}: {unclear.reason}")
    if absent:
        return found(
            "after the answers",
            f"{counted(len(absent), 'checkpoint')} before answered without it",
        )
    return found("with the answers", "every checkpoint that answers has one")


def _from(moments: Sequence[Moment], holds: Callable[[Moment], bool]) -> int | None:
    """First step from which on something holds of every one; None where not of the last."""
    first: int | None = None
    for one in reversed(moments):
        if not holds(one):
            break
        first = one.step
    return first


def course(
    places: Float[Tensor, "pair checkpoint"],
    steps: Sequence[int],
    *,
    units: Units,
    n_draws: int = N_DRAWS,
    seed: int = 0,
) -> Course:
    """How the place of the same pairs moves over the checkpoints that have one.

    Args:
        places: depth at which each pair hands over; NaN where it does not.
        steps: ascending, one a column.
        units: which pairs go together.
        n_draws: of units.
        seed: of all of them.
    """
    whole = ~places.isnan().any(1)
    y = places[whole].double().numpy()
    grouped = take(units, whole.numpy())
    n_units = count(grouped, len(y)) if len(y) else 0
    means = y.mean(0) if len(y) else np.full(len(steps), np.nan)
    settled = {
        "steps": tuple(steps), "location": torch.from_numpy(means).float(),
        "n_pairs": len(y), "n_units": n_units,
    }  # fmt: skip
    short = ""
    if len(steps) < FEWEST_LOCATED:
        have = "checkpoint has" if len(steps) == 1 else "checkpoints have"
        short = f"{len(steps)} {have} a place, and {FEWEST_LOCATED} are needed"
    elif n_units < FEWEST_UNITS:
        short = f"the pairs that have a place in all of them are {too_few(n_units, grouped)}"
    if short:
        unknown = dict.fromkeys(
            ("low", "high", "explained", "p_units", "p_order", "p_walk"), math.nan
        )
        return Course(
            verdict="too few", reason=short, after=None, by=None, change=UNKNOWN, stray=UNKNOWN,
            **unknown, **settled,
        )  # fmt: skip
    at = null.log_steps(np.array(steps, float))
    cut = find_change_point(
        torch.from_numpy(y), depths=at.tolist(), units=grouped, n_resamples=n_draws, seed=seed
    )
    behind = int((at < cut.location).sum())
    own = float(null.explained(means[None])[0])
    by_chance = [null.shuffled(means, N_PATHS, seed), null.walks(at, N_PATHS, seed + 1)]
    p_order, p_walk = (stats.permutation_p(own, null.explained(paths)) for paths in by_chance)
    stray, change = _sizes(y, behind, grouped, n_draws, seed)
    verdict, reason = _judge(cut.p, p_order, p_walk, stray)
    return Course(
        verdict=verdict,
        reason=reason,
        after=steps[behind - 1],
        by=steps[behind],
        low=10**cut.low - 1,
        high=10**cut.high - 1,
        change=change,
        stray=stray,
        explained=own,
        p_units=cut.p,
        p_order=p_order,
        p_walk=p_walk,
        **settled,
    )


def _sizes(
    y: Float[Array, "pair checkpoint"], behind: int, units: Units, n_draws: int, seed: int
) -> tuple[Interval, Interval]:
    """How far the place strays, and its change across the cut, with intervals."""
    (drawn,) = stats.drawn_means(y, units=units, n_resamples=n_draws, seed=seed)
    ends = stats.percentile_interval(np.ptp(drawn, axis=1)[:, None])
    low, high = (float(end[0]) for end in ends)
    stray = Interval(value=float(np.ptp(y.mean(0))), low=low, high=high)
    own = y[:, behind:].mean(1) - y[:, :behind].mean(1)
    mean, lower, upper = stats.mean_interval(own[:, None], units=units)
    return stray, Interval(value=float(mean[0]), low=float(lower[0]), high=float(upper[0]))


def _judge(
    p_units: float, p_order: float, p_walk: float, stray: Interval
) -> tuple[CourseVerdict, str]:
    if stray.high < SMALLEST_MOVE:
        return "steady", f"it strays by {stray} depths, and {SMALLEST_MOVE:g} would be a move"
    if p_units >= stats.ALPHA:
        return "cannot tell", f"units alone could make it stray as much ({p_value(p_units)})"
    if p_order >= stats.ALPHA:
        return "wanders", f"checkpoints in any order could do the same ({p_value(p_order)})"
    if p_walk >= stats.ALPHA:
        return "moves", f"a path that wanders is as often as sudden ({p_value(p_walk)})"
    return "jump", f"a path that wanders is seldom so sudden ({p_value(p_walk)})"
