"""A landmark of a curve over depth (its dip, peak, rise or step) beside the place of a switch.

A landmark comes with three ways of not being there: the extremum lies at an end of the curve, it
does not stand out from a flat curve that strays as this one does, or drawn units put it elsewhere
too often. Only what is left is put in order with the switch, and no finer than the grid of depths:
"before" and "after" mean by more than one depth, "at the same depth" within one.

Thresholds were set before any result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.covariance import EXACT
from lensdepth.telling.numbers import p_value, percent

Shape = Literal["dip", "peak", "rise", "step"]
Order = Literal[
    "before", "at the same depth", "after", "not settled", "none", "no switch", "too few"
]
ORDERED: tuple[Order, ...] = ("before", "at the same depth", "after")
"""Verdicts that put a landmark in order with the switch."""
FEWEST_DEPTHS = 4
"""A curve that is defined at fewer has no landmark."""
PRECISION = 1.0
"""Depths within which two places are one: a grid of depths shows no more."""


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """One landmark, and how far from the switch of the same pairs it lies."""

    name: str
    verdict: Order
    reason: str
    """Why it is not in order with the switch, if so."""
    depth: float
    """NaN where there is none."""
    low: float
    high: float
    stands_out: float
    """By how much, in the curve's unit; see `located`."""
    share: float
    """Share of the draws in which there is one; NaN of too few units."""
    p_flat: float
    """Of "the curve is flat, and strays as this one does"."""
    difference: float
    """Depth of the landmark less that of the switch; NaN where one of them is not there."""
    difference_low: float
    difference_high: float
    """95 % interval: both places of the same drawn units."""


def located(
    curves: Float[Array, "row depth"], at: Float[Array, " depth"], shape: Shape
) -> tuple[Float[Array, " row"], Float[Array, " row"]]:
    """Where each row has its landmark, NaN where it has none, and how far that stands out.

    A peak is the highest value, unless that is the first or the last; it stands out by what it has
    above the higher one of the lowest values on either side. A dip is the same upside down. A rise
    is the last passing upwards, on straight lines, of the level midway between the highest value
    and the lowest before, of those two that lie furthest apart. A step is a rise, or the same
    upside down, whichever is larger.
    """
    if shape == "step":
        (up, rise), (down, fall) = _rises(curves, at), _rises(-curves, at)
        return np.where(rise >= fall, up, down), np.maximum(rise, fall)
    if shape == "rise":
        return _rises(curves, at)
    upright = curves if shape == "peak" else -curves
    rows, n = np.arange(len(upright)), upright.shape[1]
    most = upright >= upright.max(1, keepdims=True) - EXACT
    # The middle of a plateau: the first place by which half of it is counted.
    k = (np.cumsum(most, axis=1) * 2 >= most.sum(1, keepdims=True)).argmax(1)
    left = np.minimum.accumulate(upright, axis=1)[rows, k]
    right = np.minimum.accumulate(upright[:, ::-1], axis=1)[rows, n - 1 - k]
    inside = (k > 0) & (k < n - 1)
    stands_out = upright[rows, k] - np.maximum(left, right)
    inside &= stands_out > EXACT
    return np.where(inside, at[k], np.nan), np.where(inside, stands_out, 0.0)


def _rises(
    curves: Float[Array, "row depth"], at: Float[Array, " depth"]
) -> tuple[Float[Array, " row"], Float[Array, " row"]]:
    rows = np.arange(len(curves))
    lowest = np.minimum.accumulate(curves, axis=1)
    top = (curves - lowest).argmax(1)
    rise = curves[rows, top] - lowest[rows, top]
    middle = (curves[rows, top] + lowest[rows, top]) / 2
    under = (curves < middle[:, None]) & (np.arange(len(at)) < top[:, None])
    k = len(at) - 1 - under[:, ::-1].argmax(1)
    there = under.any(1) & (rise > EXACT)
    k = np.where(there, k, 0)
    step = curves[rows, k + 1] - curves[rows, k]
    part = np.divide(middle - curves[rows, k], step, out=np.zeros(len(rows)), where=step > 0)
    return np.where(there, at[k] + part * (at[k + 1] - at[k]), np.nan), rise


def put_in_order(
    name: str,
    shape: Shape,
    curve: Float[Array, " depth"],
    strayed: Float[Array, "draw depth"],
    at: Float[Array, " depth"],
    *,
    switch: float,
    switch_draws: Float[Array, " draw"],
    no_switch: str = "",
    margin: float = PRECISION,
    named_end: Callable[[float], str] = "depth {:g}".format,
) -> Landmark:
    """Find a landmark, or say why there is none, and put it in order with a switch.

    Args:
        name: of the landmark.
        shape: what it is of the curve.
        curve: in all pairs; NaN where it is not defined.
        strayed: how far it strays from that, draw by draw; no rows with too few units.
        at: depths of its columns.
        switch: where the switch is.
        switch_draws: the same in the same draws.
        no_switch: why there is none, if so.
        margin: depths within which both places are one.
        named_end: how an end of the curve is called, in a reason.
    """
    often = np.isnan(strayed).mean(0) > stats.ALPHA if len(strayed) else np.zeros(len(at), bool)
    defined = ~np.isnan(curve) & ~often
    nowhere = dict.fromkeys(
        ("depth", "low", "high", "stands_out", "share", "p_flat", "difference", "difference_low",
         "difference_high"), np.nan,
    )  # fmt: skip
    if defined.sum() < FEWEST_DEPTHS:
        said = f"the curve is defined at {defined.sum()} depths, and {FEWEST_DEPTHS} are needed"
        return Landmark(name=name, verdict="none", reason=said, **nowhere)
    y, at = curve[defined], at[defined]
    (place,), (stands_out,) = located(y[None], at, shape)
    if not len(strayed):
        found = nowhere | {"depth": float(place), "difference": float(place - switch)}
        return Landmark(name=name, verdict="too few", reason=no_switch, **found)
    noise = np.nan_to_num(strayed[:, defined])
    drawn, _ = located(y + noise, at, shape)
    share = float((~np.isnan(drawn)).mean())
    p_flat = stats.permutation_p(float(stands_out), located(noise, at, shape)[1])
    low, high = stats.corrected_interval(drawn, float(place))
    apart = float(place) - switch
    first, last = stats.corrected_interval(drawn - switch_draws, apart)
    verdict, reason = _judge(
        shape, y, at, float(place), share, p_flat, (first, last), no_switch, margin, named_end
    )
    if verdict == "none":
        return Landmark(
            name=name, verdict=verdict, reason=reason,
            **nowhere | {"stands_out": float(stands_out), "share": share, "p_flat": p_flat},
        )  # fmt: skip
    return Landmark(
        name=name, verdict=verdict, reason=reason, depth=float(place), low=low, high=high,
        stands_out=float(stands_out), share=share, p_flat=p_flat, difference=apart,
        difference_low=first, difference_high=last,
    )  # fmt: skip


def _judge(
    shape: Shape,
    y: Float[Array, " depth"],
    at: Float[Array, " depth"],
    place: float,
    share: float,
    p_flat: float,
    apart: tuple[float, float],
    no_switch: str,
    margin: float,
    named_end: Callable[[float], str],
) -> tuple[Order, str]:
    sure = stats.LEVEL
    if np.isnan(place):
        where = "it does not rise" if shape == "rise" else "it does not change"
        if shape in ("dip", "peak"):
            end = at[(y if shape == "peak" else -y).argmax()]
            where = f"its {'highest' if shape == 'peak' else 'lowest'} value is an end, "
            where += named_end(float(end))
        if share <= 1 - sure:
            return "none", where
        return "not settled", f"{where}, but in {percent(share)} of the draws it is not so"
    if p_flat >= stats.ALPHA:
        return "none", f"it does not stand out from a flat curve ({p_value(p_flat)})"
    if share < sure:
        return "not settled", f"it is there in {percent(share)} of the draws only"
    if no_switch:
        return "no switch", no_switch
    return order_of(*apart, margin)


def order_of(low: float, high: float, margin: float = PRECISION) -> tuple[Order, str]:
    """The order that the interval of a difference of depths shows, and why it shows none.

    Args:
        low: end of the 95 % interval of a place less the switch's.
        high: its other end.
        margin: depths within which both places are one.
    """
    if high < -margin:
        return "before", ""
    if low > margin:
        return "after", ""
    if -margin <= low and high <= margin:
        return "at the same depth", ""
    within = f"within {margin:g} depth{'s' * (margin != 1)} of it"
    if high < 0 or low > 0:
        return "not settled", f"{'before' if high < 0 else 'after'} the switch, perhaps {within}"
    return "not settled", f"it may lie {within} or further off"
