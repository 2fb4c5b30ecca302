"""Where rounding begins in the numbers of a sweep: as JSON and in words."""

from typing import Any

from lensdepth.telling.fractions import FRACTIONS, effect_name
from lensdepth.telling.numbers import below
from lensdepth.telling.plain import Json

COARSE = ("bfloat16", "float16")
"""Dtypes in which rounding is large enough to be told in words."""


def floors(result: Any) -> Json:
    """`floor`: by effect, the size below which a number of this result is rounding."""
    outcome = getattr(result, "outcome", None)
    if outcome is None:
        floor = getattr(result, "floor", 0.0)
        return {"floor": {result.metric: floor}} if floor else {}
    fractions = FRACTIONS if outcome.has_gains else FRACTIONS[:1]
    return {"floor": {name: outcome.floor_of(name) for name in (*outcome.metrics, *fractions)}}


def floor_notes(result: Any) -> list[str]:
    """One sentence where the model computes in half precision, else nothing."""
    dtype = result.provenance.model.dtype
    sizes = floors(result).get("floor", {})
    main = next((name for name in sizes if sizes[name] > 0), None)
    if dtype not in COARSE or main is None:
        return []
    said = f"{effect_name(main)} {below(sizes[main])}"
    if sizes.get("transferred"):
        said += f", transferred fraction {below(sizes['transferred'])}"
    return [
        f"The model computes in {dtype}: effects of the size of rounding, measured by runs that "
        f"change nothing, are shown as below it ({said})."
    ]
