"""The numbers of a report that are put beside those of another, as functions of means over pairs.

A place along the depth, or the mean of a curve over it: both are known on any draw of the units.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.ablation.profile import FIRST
from lensdepth.report.measured import Measured
from lensdepth.telling.numbers import Interval, percent
from lensdepth.transition.crossing import ENDS
from lensdepth.transition.handover import last_crossing, lead
from lensdepth.transition.sigmoid import fit_sigmoids
from lensdepth.transition.told import located
from lensdepth.units import Units


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """One number of a report as a function of means over its pairs."""

    values: tuple[Array, ...]
    """Each `[pair, depth]`."""
    statistic: Callable[..., Float[Array, " row"]]
    """From means `[row, depth]`, one argument each."""
    at: Float[Array, " depth"]
    """Relative depths of the columns."""
    units: Units
    found: Interval | None = None
    """The same as the report has it, where it does."""
    step: tuple[float, float] | None = None
    """Of a place: the measured relative depths on both sides of it."""


def _crossing(found: Any, profile: Any, n_layers: int) -> Read | str | None:
    """Where two efficacy curves cross, as `find_crossing` finds it; or why nowhere."""
    if found is None or profile is None:
        return None
    if found.verdict != "crossing":
        return f"the verdict is {found.verdict!r}"
    at = found.depths.double().numpy()
    judged = np.isin(profile.depths.double().numpy(), at)
    moved = [profile.moved(name).double().numpy()[:, judged] for name in ENDS]
    values = [found.first.double().numpy(), found.second.double().numpy()]
    ahead: Any = np.subtract
    if not any(np.isnan(one).all() for one in moved):
        values, ahead = [*values, *moved], lead

    def place(*means: Float[Array, "row depth"]) -> Float[Array, " row"]:
        return last_crossing(ahead(*means), at) / n_layers

    return Read(
        values=tuple(values),
        statistic=place,
        at=at / n_layers,
        units=found.units,
        found=_relative(found, n_layers),
        step=(found.between[0] / n_layers, found.between[1] / n_layers),
    )


def _relative(found: Any, n_layers: int) -> Interval | None:
    there = located(found)
    if there is None:
        return None
    low, at, high = (x / n_layers for x in there)
    return Interval(value=at, low=low, high=high)


def _lens_place(report: Measured) -> Read | str | None:
    found = report.transition
    if found is None:
        return None
    if found.verdict not in ("transition", "rise"):
        return f"the verdict is {found.verdict!r}"
    at = found.depths.double().numpy()

    def place(means: Float[Array, "row depth"]) -> Float[Array, " row"]:
        return fit_sigmoids(means, at)["location"] / report.n_layers

    return Read(
        values=(found.curve.double().numpy(),),
        statistic=place,
        at=at / report.n_layers,
        units=found.units,
        found=_relative(found, report.n_layers),
        step=(found.between[0] / report.n_layers, found.between[1] / report.n_layers),
    )


def _mean(values: Any, depths: Any, n_layers: int, units: Units) -> Read:
    """The mean of a curve over the depth, along straight lines between measured depths."""
    at = np.asarray(depths, dtype=float) / n_layers
    return Read(
        values=(values.double().numpy(),),
        statistic=partial(area, at=at, start=float(at[0]), end=float(at[-1])),
        at=at,
        units=units,
    )


def area(
    means: Float[Array, "row depth"],
    *,
    at: Float[Array, " depth"],
    start: float | int,
    end: float | int,
) -> Float[Array, " row"]:
    """Mean of curves from one place to another, along straight lines."""
    if end <= start:
        return np.array([np.interp(start, at, row) for row in means])
    places = np.unique([start, *at[(at > start) & (at < end)], end])
    rows = np.stack([np.interp(places, at, row) for row in means])
    steps = (rows[:, 1:] + rows[:, :-1]) / 2 * np.diff(places)
    return steps.sum(1) / (end - start)


def over_the_same(first: Read, second: Read) -> tuple[Read, Read, str]:
    """Two means over the depth, both where both were measured; and how far that is, in words."""
    start, end = (
        float(max(first.at[0], second.at[0])),
        float(min(first.at[-1], second.at[-1])),
    )
    first, second = (
        replace(one, statistic=partial(area, at=one.at, start=start, end=end))
        for one in (first, second)
    )
    whole = start == 0 and end == 1
    said = "the depth" if whole else f"{percent(start)} to {percent(end)} of the depth"
    return first, second, said


def _agreement(report: Measured) -> Read:
    lens = report.lens
    values = lens.reading("top1_agreement")
    return _mean(values, range(values.shape[1]), report.n_layers, lens.provenance.units)


def _success(position: str) -> Callable[[Measured], Read | str | None]:
    def read(report: Measured) -> Read | str | None:
        patch = report.patch
        if patch is None or position not in patch.positions:
            return None
        values = patch.efficacy(position)
        return _mean(values, patch.depths, report.n_layers, patch.provenance.units)

    return read


def _swapped(edit: str) -> Callable[[Measured], Read | str | None]:
    def read(report: Measured) -> Read | str | None:
        profile = report.ablation
        if profile is None:
            return None
        values = profile.of("transferred", edit=edit, **FIRST)
        return _mean(values, profile.depths, report.n_layers, profile.provenance.units)

    return read


QUANTITIES: tuple[tuple[str, str, str, bool, Callable[[Measured], Read | str | None]], ...] = (
    ("patching place", "Control passes to the last token", "patch", True,
     lambda one: _crossing(one.crossing, one.patch, one.n_layers)),
    ("steering place", "Steering passes to the last token", "steering", True,
     lambda one: _crossing(one.steering_crossing, one.steering, one.n_layers)),
    ("lens place", "The lens switches", "lens", True, _lens_place),
    ("lens mean", "Top-1 agreement of the lens, mean", "lens", False, _agreement),
    ("input mean", "Patching succeeds at the input, mean", "patch", False,
     _success("input")),
    ("prediction mean", "Patching succeeds at the last token, mean", "patch", False,
     _success("prediction")),
    ("direction mean", "The direction alone moves, mean", "ablation", False,
     _swapped("direction")),
    ("norm mean", "The norm alone moves, mean", "ablation", False,
     _swapped("norm")),
)  # fmt: skip
"""Key, words, analysis, whether it is a place, and how a report is asked for it: what comes is the
number, why there is none, or None where it was not measured."""
