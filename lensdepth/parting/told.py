"""What two runs side by side say: curves, summary and sentences."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lensdepth.parting.alike import sides
from lensdepth.telling.curves import Curve, estimate
from lensdepth.telling.depths import at_depth, block_at
from lensdepth.telling.numbers import Interval, below, counted, number, percent, tiny
from lensdepth.telling.plain import Json, to_json
from lensdepth.units import FEWEST_UNITS, Units, count
from lensdepth.units import named as units_named

if TYPE_CHECKING:
    from lensdepth.parting.profile import Component, RunComparison

KINDS = {
    "": ("apart", "full"), "own_": ("by the block itself", "prediction"),
    "carried_": ("carried over", "input"),
}  # fmt: skip
MEASURES = {
    "angle": ("angle", "radians"),
    "norm": ("log ratio of norms", "B over A"),
    "distance": ("distance", "share of the norm"),
}
SWAPS = {
    "write_kl_b_a": ("write_kl", 0, 1, "A with B's write: KL(B ‖ run)", "prediction", False),
    "write_kl_a_a": ("write_kl", 0, 0, "A with B's write: KL(A ‖ run)", "prediction", True),
    "write_kl_a_b": ("write_kl", 1, 0, "B with A's write: KL(A ‖ run)", "input", False),
    "write_kl_b_b": ("write_kl", 1, 1, "B with A's write: KL(B ‖ run)", "input", True),
    "state_kl_b_a": ("state_kl", 0, 1, "A from B's state: KL(B ‖ run)", "prediction", False),
    "state_kl_a_a": ("state_kl", 0, 0, "A from B's state: KL(A ‖ run)", "prediction", True),
    "state_kl_a_b": ("state_kl", 1, 0, "B from A's state: KL(A ‖ run)", "input", False),
    "state_kl_b_b": ("state_kl", 1, 1, "B from A's state: KL(B ‖ run)", "input", True),
}
"""By key: field, run, goal, name, role, whether dashed."""
PANELS = {
    **{
        f"{name}, {unit}": tuple(before + key for before in KINDS)
        for key, (name, unit) in MEASURES.items()
    },
    "one write taken from the other run, nats": tuple(key for key in SWAPS if key[0] == "w"),
    "going on from the other run's state, nats": tuple(key for key in SWAPS if key[0] == "s"),
}
"""Panels of the figure, and the keys of their curves."""
CHIEF = ("distance", "own_distance", "carried_distance", "write_kl_b_a", "state_kl_b_a")
"""What a terminal has room for."""


def named(result: "RunComparison") -> tuple[str, str]:
    """What the two models are called."""
    return sides(result.provenance.model, result.other)


def curves(result: "RunComparison") -> list[Curve]:
    """What is apart by depth, of its own and carried over, and KL of swapped runs; at depth d what
    block d - 1 does."""
    units = result.provenance.units
    found = [
        _bounded(
            Curve.of(
                f"{name} {words}",
                getattr(result, before + key),
                key=before + key,
                role=role,
                units=units,
                unit=unit,
                floor=result.floor if key == "distance" else 0.0,
            ),
            sizes=key != "norm",
        )
        for key, (name, unit) in MEASURES.items()
        for before, (words, role) in KINDS.items()
    ]
    return found + [
        _bounded(
            Curve.of(
                name,
                getattr(result, field)[:, run, goal],
                key=key,
                role=role,
                units=units,
                unit="nats",
                dashed=dashed,
                floor=result.kl_floor,
            ),
            sizes=True,
        )
        for key, (field, run, goal, name, role, dashed) in SWAPS.items()
    ]


def _bounded(curve: Curve, *, sizes: bool) -> Curve:
    """Sizes and divergences end at 0, and so do their bands; rounding may lie below."""
    low = np.maximum(curve.low, np.minimum(curve.mean, 0.0))
    return replace(curve, low=low) if sizes else curve


def _size(values: Float[Tensor, " prompt"], units: Units, floor: float) -> Interval:
    """The mean of a size or divergence with its interval, which ends at 0."""
    found = estimate(values, units, floor=floor)
    return replace(found, low=max(found.low, min(found.value, 0.0))) if found.known else found


def summary(result: "RunComparison") -> Json:
    """Both models, where they part, the floors, and every curve by its key."""
    units, first = result.provenance.units, result.first
    a, b = named(result)
    return to_json(
        {
            "a": a,
            "b": b,
            "first": None if first is None else first._asdict(),
            "parted": [one._asdict() for one in result.parted],
            "first_depth": result.first_depth,
            "components": result.told_apart,
            "noise": {
                "distance": result.floor, "measured": result.measured,
                "tolerance": result.tolerance,
            },
            "kl": {
                name: _size(result.kl[:, i], units, result.kl_floor)
                for i, name in enumerate(("a_b", "b_a"))
            },
            "same_first_choice": estimate(result.agree, units, share=True),
            "decides": {"a": result.decides("a"), "b": result.decides("b")},
            "taken_from": {"a": result.taken_from("a"), "b": result.taken_from("b")},
            "n_prompts": len(result.kl),
            "n_units": count(units, len(result.kl)),
            **{curve.key: curve.means for curve in curves(result)},
        }
    )  # fmt: skip


def sentences(result: "RunComparison") -> list[str]:
    """Where they part and beyond what, which block adds most, and what swaps bring about."""
    a, b = named(result)
    n, units = len(result.kl), result.provenance.units
    n_units = count(units, n)
    kl = _size(result.kl[:, 0], units, result.kl_floor)
    said = [
        f"A is {a}, B is {b}; {counted(n, 'prompt')}, "
        f"{'all tokens' if result.positions == 'all' else 'the last token of each'}.",
        *_parting(result),
    ]
    if not result.predictions_differ:
        said.append(
            f"Their predictions are the same up to noise (KL below {tiny(result.kl_floor)} nats): "
            f"no swap can be told from none."
        )
    else:
        said.append(
            f"KL(A ‖ B) is {kl} nats; the first choice is the same on "
            f"{percent(float(result.agree.mean()))} of the prompts."
        )
        said += _swaps(result)
    if n_units < FEWEST_UNITS:
        said.append(f"There are {counted(n_units, 'unit')} only: no number has an interval.")
    else:
        said.append(f"Intervals are over {n_units} units ({units_named(units)}).")
    return said


def component(one: "Component") -> str:
    """A component in a sentence: `the MLP of block 3 (into depth 4)`."""
    words = {"attention": "the attention of ", "mlp": "the MLP of ", "block": ""}
    if one.layer is None:
        return f"the {one.part}"
    return words[one.part] + block_at(one.layer)


def _parting(result: "RunComparison") -> list[str]:
    noise = (
        f"the floor is {below(result.floor)[2:]}, the larger of the stated tolerance "
        f"{_far(result.tolerance)} and twice {_far(result.measured)}, which the same model in "
        f"another batch size shows"
    )
    n, first, depth = result.n_layers, result.first, result.first_depth
    if first is not None:
        others = len(result.parted) - 1
        also = (
            "no other component does"
            if not others
            else f"so {'does' if others == 1 else 'do'} {counted(others, 'other component')}"
        )
        said = [
            f"From the same input, {component(first)} is the first that writes something else "
            f"(distance {_far(first.distance)} at most; {noise}); {also}."
        ]
    else:
        said = [f"From the same input, no component writes anything else beyond noise: {noise}."]
    if depth is not None:
        said.append(
            f"States are further apart than such noise adds up to from {at_depth(depth, n)} on"
            if (~(result.distance.amax(0) <= result.noise))[depth:].all()
            else f"States are further apart than such noise adds up to first at "
            f"{at_depth(depth, n)}"
        )
        if first is None:
            said[-1] += ": what each block makes of small differences, no one component's own doing"
        said[-1] += "."
    else:
        most = float(result.distance.max())
        said.append(
            "States are equal at every depth."
            if most == 0
            else f"States part at no depth beyond what such noise adds up to "
            f"(at most {_far(most)})."
        )
    if first is not None:
        own = result.own_distance.mean(0)
        at = int(own.argmax())
        carried = float(result.carried_distance[:, at].mean())
        part = "the embedding" if at == 0 else block_at(at - 1)
        found = _size(result.own_distance[:, at], result.provenance.units, result.floor)
        said.append(
            f"Most of its own is added by {part}: distance {found}, where {_far(carried)} is "
            f"carried over."
        )
    return said


def _far(x: float) -> str:
    return number(x) if x == 0 or x >= 0.01 else tiny(x)


def _swaps(result: "RunComparison") -> list[str]:
    said = []
    units, floor = result.provenance.units, result.kl_floor
    for run, mine, theirs in (("a", "A", "B"), ("b", "B", "A")):
        i = "ab".index(run)
        goal, at = 1 - i, result.decides(run)  # type: ignore[arg-type]
        whole = _size(result.kl[:, goal], units, floor)
        if at is None:
            said.append(f"No single write of {theirs}'s brings {mine} nearer to {theirs}.")
        else:
            part = "embedding" if at == 0 else f"write of {block_at(at - 1)}"
            left = _size(result.write_kl[:, i, goal, at], units, floor)
            said.append(
                f"Of single writes {theirs}'s {part} brings {mine} nearest: "
                f"KL({theirs} ‖ {mine}) {whole} becomes {left} nats."
            )
        start = result.taken_from(run)  # type: ignore[arg-type]
        if start is None:
            said.append(f"{mine}, going on from {theirs}'s state, predicts as {mine} at the end.")
        elif start == 0:
            said.append(
                f"{mine}, going on from {theirs}'s state of any depth, predicts nearer to {theirs}."
            )
        else:
            said.append(
                f"{mine}, going on from {theirs}'s state, predicts nearer to {theirs} than to "
                f"itself from {at_depth(start, result.n_layers)} on."
            )
    return said
