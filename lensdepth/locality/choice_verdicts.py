"""When several depths are more than one, and when depths are redundant; stated before any result.

More: the greedy sets of the whole budget move more than the best single depth, both judged on pairs
that did not choose them, by the 95 % interval of the difference over units. No more: that interval
stays below MORE of what all candidates move together.

Redundant: in the group of depths that each do at least ALONE of the whole by themselves (by all
pairs, and in every fit), each member moves more than ALONE of what the group moves, and without any
one of them the group loses less than SPARED of it, by 95 % intervals over units. Not redundant: for
some member one of the two is surely otherwise.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.stats import statistic_interval
from lensdepth.telling.numbers import Interval
from lensdepth.units import FEWEST_UNITS, Units, count

if TYPE_CHECKING:
    from lensdepth.locality.choice_profile import DepthChoice

MORE, ALONE, SPARED = 0.1, 0.5, 0.1
"""Shares, of what all candidates or all of a group move."""


def more_than_one(choice: "DepthChoice") -> str:
    """See `DepthChoice.verdict`."""
    if count(choice.provenance.units, len(choice.whole)) < FEWEST_UNITS:
        return "too few"
    lead = choice.lead("single", of_size=1)
    if not lead.known:
        return "too few"
    whole = abs(float(choice.whole.nanmean()))
    if lead.low > lead.floor:
        return "more"
    return "no more" if lead.high < MORE * whole else "cannot tell"


def member_shares(choice: "DepthChoice") -> list[tuple[Interval, Interval]]:
    """For each member of the group: the share of its effect that it does alone, and the share that
    is lost without it."""
    units = choice.provenance.units
    at = [choice.depths.tolist().index(place) for place in choice.group.tolist()]
    return [
        (
            _share(choice.alone[:, i], choice.group_whole, units),
            _share(choice.group_whole - choice.group_without[:, m], choice.group_whole, units),
        )
        for m, i in enumerate(at)
    ]


def redundant(choice: "DepthChoice") -> str:
    """See `DepthChoice.redundancy`."""
    if len(choice.group) < 2:
        return "none"
    shares = member_shares(choice)
    if not all(one.known for pair in shares for one in pair):
        return "too few"
    if all(alone.low > ALONE and lost.high < SPARED for alone, lost in shares):
        return "redundant"
    if any(alone.high < ALONE or lost.low > SPARED for alone, lost in shares):
        return "not redundant"
    return "cannot tell"


def _share(part: Float[Tensor, " pair"], whole: Float[Tensor, " pair"], units: Units) -> Interval:
    """Of means over pairs."""

    def ratio(top: Array, bottom: Array) -> Array:
        return np.where(np.abs(bottom) > 1e-6, top / np.where(bottom == 0, 1, bottom), np.nan)

    return statistic_interval(ratio, part.numpy(), whole.numpy(), units=units)
