"""Enough? Needed? Answers that say no more than the runs do.

A set is *enough* if, given the source run's outputs, it brings most of what the source's answer
gains between the two runs; it is *needed* if most of that is lost when it gets the base run's
outputs back in the source run. The answer's own logit is judged, not its difference from the
base's answer: of two components that each write an answer by themselves, one alone brings the
source's in full beside the base's, and of two that only write together, one alone merely takes the
base's away; both move the difference by a half. What "most" and "little" are was set before
anything was measured, four fifths and one fifth; an answer is given where the 95 % interval over
pairs lies on one side of both. Beside it stands what random sets of the same make-up do: an answer
that they share is none about this set. And where it all happens at tokens that differ between the
two prompts, it is an exchange of the input by another way, and called a shortcut.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.telling.numbers import Interval
from lensdepth.units import FEWEST_UNITS, Units, count, take

MOST, LITTLE = 0.8, 0.2
"""Shares of the change that are called most of it, and little of it."""
SAME = 1e-6
"""Nats below which nothing is moved, and shares that are equal."""
AnswerVerdict = Literal["yes", "in part", "no", "shortcut", "cannot tell", "too few"]
"""`in part`: between little and most. `shortcut`: more than little, and most of that at tokens that
differ between the prompts."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about a set, with what it rests on."""

    verdict: AnswerVerdict
    share: Interval
    """Of the change from base to source: what the set brings, or what is lost without it."""
    n_pairs: int
    n_units: int
    """Independent ones."""
    shared: Interval | None
    """The same at the tokens alone that both prompts share; None where no others are patched."""
    n_random: int
    as_much: int
    """Random sets that bring, or lose, as much or more."""
    random_mean: float
    """Mean over random sets and pairs; NaN without any."""
    random_high: float
    """Their 95th percentile, of the means over pairs; NaN without any."""

    @property
    def by_input(self) -> bool:
        """Whether most of what there is goes by tokens that differ between the prompts."""
        if self.shared is None:
            return False
        return self.share.value > LITTLE and self.shared.value < self.share.value / 2

    @property
    def p(self) -> float:
        """Share of sets that do as much, itself counted in; NaN without random sets."""
        return (1 + self.as_much) / (1 + self.n_random) if self.n_random else float("nan")

    @property
    def stands_out(self) -> bool:
        """Whether at most one in twenty sets of its make-up does as much, itself counted in."""
        return self.p <= stats.ALPHA


def answer(
    moved: Float[Tensor, " pair"],
    shared: Float[Tensor, " pair"] | None,
    drawn: Float[Tensor, "draw pair"],
    way: Float[Tensor, " pair"],
    units: Units,
) -> Answer:
    """What follows of how far a set moves a run.

    Args:
        moved: by the set, towards the other run.
        shared: by the set at the tokens alone that both prompts share, if it is patched at others.
        drawn: by random sets of the same make-up.
        way: from the one run to the other.
        units: which pairs go together.
    """
    whole = share_of(moved, way, units)
    rest = None if shared is None else share_of(shared, way, units)
    null = np.array([_quotient(one, way) for one in drawn])
    there = ~moved.isnan().numpy()
    known = int(there.sum())
    n_units = count(take(units, there), known)
    verdict = _verdict(whole, n_units)
    if rest is not None and whole.low > LITTLE and rest.high < whole.value / 2:
        verdict = "shortcut"
    return Answer(
        verdict=verdict,
        share=whole,
        n_pairs=known,
        n_units=n_units,
        shared=rest,
        n_random=len(null),
        as_much=int((null >= whole.value - SAME).sum()),
        random_mean=float(null.mean()) if len(null) else float("nan"),
        random_high=float(np.quantile(null, 1 - stats.ALPHA)) if len(null) else float("nan"),
    )


def share_of(moved: Float[Tensor, " pair"], way: Float[Tensor, " pair"], units: Units) -> Interval:
    """How much of the way is gone: the quotient of the means over pairs, with its 95 % interval.

    A mean of quotients would rest on the pairs whose way is next to nothing.
    """
    known = ~moved.isnan()
    if not known.any():
        return Interval(value=float("nan"), low=float("nan"), high=float("nan"))
    both = (part[known].double().numpy() for part in (moved, way))
    return stats.statistic_interval(_over, *both, units=take(units, known.numpy()))


def _quotient(moved: Float[Tensor, " pair"], way: Float[Tensor, " pair"]) -> float:
    both = (part[~moved.isnan()].double().mean().numpy()[None] for part in (moved, way))
    return float(_over(*both)[0])


def _over(moved: Float[Array, " row"], way: Float[Array, " row"]) -> Float[Array, " row"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(way) > SAME, moved / way, np.nan)


def _verdict(share: Interval, n_units: int) -> AnswerVerdict:
    if n_units < FEWEST_UNITS:
        return "too few"
    if share.low >= MOST:
        return "yes"
    if share.high <= LITTLE:
        return "no"
    return "in part" if share.low > LITTLE and share.high < MOST else "cannot tell"
