"""Whether control passes at one relative depth in several models: summary and sentences."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lensdepth.claims.places import FEWEST_MODELS
from lensdepth.telling.numbers import Interval, counted, number, p_value, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.claims.places import DepthComparison


def summary(found: "DepthComparison") -> Json:
    """The verdict with the numbers of both tests, and each model's place."""
    names = (
        "verdict", "what", "spread", "p_closer", "p_different", "twin_share", "n_twin_sets",
        "by_architecture",
    )  # fmt: skip
    rows = {name: getattr(found, name) for name in names}
    return to_json(rows | {"places": found.to_frame().to_dict("records")})


def sentences(found: "DepthComparison") -> list[str]:
    """The verdict; the places; how close together, how different; what twins show."""
    rows = found.to_frame().to_dict("records")
    placed = [row for i, row in enumerate(rows) if i in found.placed]
    said = [_verdict(found)]
    if placed:
        where = "; ".join(f"{row['model']} {_place(row)}" for row in placed)
        said.append(f"As a fraction of the depth, {found.what} at: {where}.")
    if found.without:
        said.append(
            f"In {' and '.join(found.without)} there is no such place, so that none is the same "
            f"in all models asked."
        )
    if found.verdict == "too few":
        return said
    return [
        *said,
        f"Their standard deviation is {number(found.spread)}. Places turned at random round each "
        f"model's own depths are as close together with {p_value(found.p_closer)}; that "
        f"all are one and the same has {p_value(found.p_different)}. Each is tested at 2.5 %.",
        _twins(found),
    ]


def _place(row: Mapping[Any, Any]) -> str:
    return str(Interval(value=row["relative_depth"], low=row["low"], high=row["high"]))


def _verdict(found: "DepthComparison") -> str:
    n = counted(len(found.placed), "model")
    if found.verdict == "too few":
        verb = "has" if len(found.placed) == 1 else "have"
        return (
            f"Whether {found.what} at one relative depth in all models cannot be told: {n} "
            f"{verb} a place, and {FEWEST_MODELS} are needed."
        )
    words = {
        "closer than chance": "closer together than chance, and not different beyond noise",
        "different": "different beyond noise, and not closer together than chance: one relative "
        "depth in all is contradicted",
        "closer than chance, yet different": "closer together than chance, yet different beyond "
        "noise: alike, but not one relative depth",
        "open": "neither closer together than chance nor different beyond noise",
    }
    why = ""
    if found.by_architecture:
        why = " (closeness that untrained twins show as often is not counted)"
    return f"The relative depths at which {found.what} in {n} are {words[found.verdict]}{why}."


def _twins(found: "DepthComparison") -> str:
    if not found.n_twin_sets:
        return (
            "No untrained twins stand beside all of them, so that it is not known what of their "
            "closeness is by architecture."
        )
    told = "by architecture" if found.by_architecture else "not by architecture"
    return (
        f"Of {counted(found.n_twin_sets, 'set')} of untrained twins, one of each model, "
        f"{percent(found.twin_share)} are as close together: {told}."
    )
