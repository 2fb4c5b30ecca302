"""How far definitions of a switch lie from the crossing of the same pairs.

Two intervals that meet say little of a difference: what moves one place often moves the other. So
both are found in the same draws of means, in which the same units are drawn for both.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.transition.change_point import ChangePoint
from lensdepth.transition.commitment import Commitment
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.handover import last_crossing
from lensdepth.transition.landmark import PRECISION, Landmark, Order, order_of
from lensdepth.transition.result import Transition
from lensdepth.transition.sigmoid import fit_sigmoids
from lensdepth.units import FEWEST_UNITS

Located = Transition | ChangePoint | Crossing | Commitment | Landmark
Apart = tuple[float, float, float, Order | str]
"""Difference in depths, its 95 % interval, and the order; "" where none is asked."""
NOWHERE = (float("nan"), float("nan"), float("nan"))
HALF = 0.5


def differences(
    found: Mapping[str, Located],
    places: Mapping[str, float],
    against: str,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Apart]:
    """Each place less that of a crossing, with a paired interval where both are of the same pairs.

    Args:
        found: by name.
        places: the depth of each, NaN where it has none.
        against: which of them is the crossing; "" for none.
        n_resamples: draws of the means.
        seed: of the draws.
    """
    switch = found.get(against)
    made: dict[str, Apart] = {}
    for name, one in found.items():
        if name == against:
            made[name] = (*NOWHERE, "")
        elif isinstance(one, Landmark):
            apart = one.difference, one.difference_low, one.difference_high
            made[name] = (*apart, one.verdict)
        elif np.isnan(places[name]):
            made[name] = (*NOWHERE, "none")
        elif not isinstance(switch, Crossing) or np.isnan(places[against]):
            made[name] = (*NOWHERE, "no switch")
        else:
            made[name] = _apart(one, places[name], switch, n_resamples, seed)
    return made


def _apart(one: Located, place: float, switch: Crossing, n_resamples: int, seed: int) -> Apart:
    value, (before, after) = place - switch.depth, switch.between
    curve = _curve(one)
    if curve is None or len(curve) != switch.n_pairs or not _same_prompts(one, switch):
        return value, np.nan, np.nan, "not paired"
    if switch.n_units < FEWEST_UNITS:
        return value, np.nan, np.nan, "too few"
    ahead = np.nan_to_num((switch.first - switch.second).double().numpy())
    drawn, control = stats.drawn_means(
        curve, ahead, units=switch.units, n_resamples=n_resamples, seed=seed
    )
    at = switch.depths.double().numpy()
    switches = last_crossing(control, at)
    low, high = stats.corrected_interval(_placed(one, drawn) - switches, value)
    return value, low, high, order_of(low, high, max(PRECISION, after - before))[0]


def _curve(one: Located) -> Float[Array, "pair depth"] | None:
    """What the place is read off, by pair; None where it is of several curves."""
    if isinstance(one, Transition):
        return one.curve.double().numpy()
    if isinstance(one, Crossing):
        return np.nan_to_num((one.first - one.second).double().numpy())
    if isinstance(one, Commitment):
        at = np.arange(one.n_layers + 1)
        return (one.depths.double().numpy()[:, None] <= at).astype(float)
    return None


def _placed(one: Located, means: Float[Array, "draw depth"]) -> Float[Array, " draw"]:
    """The place in each draw of the mean curve."""
    if isinstance(one, Transition):
        return fit_sigmoids(means, one.depths.double().numpy())["location"]
    if isinstance(one, Crossing):
        at = one.depths.double().numpy()
        return last_crossing(means, at)
    # The median: the first depth by which half are settled.
    return (means >= HALF).argmax(1).astype(float)


def _same_prompts(one: Located, switch: Crossing) -> bool:
    """Whether both are of the same prompts, as far as they know."""
    known = getattr(one, "provenance", None)
    if known is None or switch.provenance is None:
        return True
    return known.prompts == switch.provenance.prompts
