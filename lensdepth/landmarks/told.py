"""What landmarks say: curves, summary, sentences and figures."""

import math
from typing import TYPE_CHECKING

from lensdepth.landmarks.kinds import BY_KEY, KINDS, Kind
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import fraction
from lensdepth.telling.numbers import Interval, counted, number, percent
from lensdepth.telling.plain import Json, to_json
from lensdepth.transition.landmark import ORDERED, Landmark
from lensdepth.transition.told import patching_verdict

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.landmarks.profile import Landmarks


def curves(found: "Landmarks") -> list[Curve]:
    """The curve of each landmark by depth, with its band."""
    return [_curve(found, i, one) for i, one in enumerate(KINDS)]


def _curve(found: "Landmarks", row: int, kind: Kind) -> Curve:
    bounds = (x[row].double().numpy() for x in (found.value, found.low, found.high))
    return Curve.from_interval(kind.curve, *bounds, key=kind.key, unit=kind.unit, role=kind.role)


def summary(found: "Landmarks") -> Json:
    """The switch, each landmark with its order, and its curve by depth."""
    switch = found.crossing
    names = ("verdict", "reason", "depth", "low", "high", "n_pairs", "n_units")
    return to_json(
        {
            "switch": {name: getattr(switch, name) for name in names},
            "landmarks": {
                one.name: {
                    key: getattr(one, key)
                    for key in (
                        "verdict",
                        "reason",
                        "depth",
                        "low",
                        "high",
                        "stands_out",
                        "share",
                        "p_flat",
                    )
                }
                | {
                    "difference": {
                        "value": one.difference,
                        "low": one.difference_low,
                        "high": one.difference_high,
                    },
                    "shape": BY_KEY[one.name].shape,
                }
                for one in found.landmarks
            },
            "curves": {
                kind.key: {"value": value.tolist(), "low": low.tolist(), "high": high.tolist()}
                for kind, value, low, high in zip(
                    KINDS, found.value, found.low, found.high, strict=True
                )
            },
            "read_dims": found.read_dims,
            "read_share": found.read_share,
            "twin": dict(found.twin),
            "twin_note": found.twin_note,
        }
    )


def sentences(found: "Landmarks") -> list[str]:
    """Where control passes; each landmark beside it; what twins show, and how it was judged."""
    said = [patching_verdict(found.crossing, found.n_layers)]
    said += [_landmark(found, one) for one in found.landmarks]
    if found.read_dims:
        said.append(
            f"Alignment is with the {counted(found.read_dims, 'direction')} that the unembedding "
            f"reads most; a random space of as many holds {percent(found.read_share)} of the "
            f"squared distances."
        )
    else:
        said.append("The model's logits come from no plain matrix, with which nothing is aligned.")
    said += _twin(found)
    n = counted(len(found.landmarks), "landmark")
    said.append(
        f"Each of the {n} is judged by itself at 95%, and two places within a depth are one. That "
        f"a landmark stands beside the switch in one task is no law of it."
    )
    return said


def _landmark(found: "Landmarks", one: Landmark) -> str:
    name = BY_KEY[one.name].name
    text = f"{name.capitalize()}: {one.verdict}"
    if one.verdict in ("none", "too few"):
        return f"{text} ({one.reason})."
    place = Interval(value=one.depth, low=one.low, high=one.high)
    if one.depth == one.depth:
        text += f"; at depth {place}, {fraction(one.depth, found.n_layers)} of the way"
        text += f", where it {_stands_out(one)}"
    if one.verdict in (*ORDERED, "not settled") and one.difference == one.difference:
        text += f"; {_lag(one)}"
    return f"{text} ({one.reason})." if one.reason else f"{text}."


def _stands_out(one: Landmark) -> str:
    """By how much, in words."""
    kind = BY_KEY[one.name]
    if kind.key == "dimension":  # whose curve is a logarithm
        return f"is {number(math.exp(one.stands_out))} times as low as on either side"
    verb = {"peak": "stands out by", "rise": "rises by", "step": "changes by"}[kind.shape]
    return f"{verb} {number(one.stands_out)} ({kind.unit})"


def _lag(one: Landmark) -> str:
    """How far it lies from the switch, in words."""
    return f"{_difference(one)} depths from the switch"


def _difference(one: Landmark) -> Interval:
    return Interval(value=one.difference, low=one.difference_low, high=one.difference_high)


def _twin(found: "Landmarks") -> list[str]:
    if found.twin_note:
        return [found.twin_note]
    if not found.twin:
        return []
    own = {one.name: one.verdict for one in found.landmarks}
    told = "; ".join(f"{BY_KEY[name].name}: {verdict}" for name, verdict in found.twin)
    alike = [
        BY_KEY[name].name
        for name, verdict in found.twin
        if verdict in ORDERED and verdict == own.get(name)
    ]
    text = f"An untrained twin on its own answers: {told}."
    if alike:
        text += f" What it shows alike is no finding of this model: {' and '.join(alike)}."
    return [text]


def curve_panels(found: "Landmarks") -> "Figure":
    """The curves, with the interval of the switch behind them."""
    from lensdepth.plotting import Panel, Zone, depth_story

    panels = [
        Panel(title=curve.heading, curves=[curve])
        for curve in curves(found)
        if not all(x != x for x in curve.mean)
    ]
    switch = found.crossing
    zones = []
    if switch.verdict == "crossing":
        zones.append(Zone(name="control passes", low=switch.low, at=switch.depth, high=switch.high))
    return depth_story(
        panels, n_layers=found.n_layers, title="Landmarks beside the switch", zones=zones
    )


def order_figure(found: "Landmarks") -> "Figure":
    """Each landmark's depth less that of the switch."""
    from lensdepth.intervals import interval_figure

    return interval_figure(
        {f"{BY_KEY[one.name].name}: {one.verdict}": _difference(one) for one in found.landmarks},
        title="Landmarks: before (left) or after the switch",
        x_title="depth of the landmark less depth of the switch",
    )
