"""What goes for all numbers of a sweep, as JSON and in words: where rounding begins, and on how
many pairs controls were run."""

from typing import Any

from lensdepth.telling.fractions import COMPARED, FRACTIONS, effect_name
from lensdepth.telling.numbers import below, counted
from lensdepth.telling.plain import Json

PART = "value"
"""The column of what is neither a metric nor an effect: a part of a logit, a Shapley value."""
COARSE = ("bfloat16", "float16")
"""Dtypes in which rounding is large enough to be told in words."""


def floors(result: Any) -> Json:
    """`floor`: by effect, the size below which a number of this result is rounding."""
    outcome = getattr(result, "outcome", None)
    if outcome is None:
        many = getattr(result, "floors", None)
        if many is not None:
            return {"floor": many} if any(many.values()) else {}
        floor = getattr(result, "floor", 0.0)
        return {"floor": {getattr(result, "metric", PART): floor}} if floor else {}
    fractions = FRACTIONS if outcome.has_gains else FRACTIONS[:1]
    return {"floor": {name: outcome.floor_of(name) for name in (*outcome.metrics, *fractions)}}


def column_floors(result: Any) -> dict[str, float]:
    """The same by the columns of its tables that hold effects, and bounds of these; levels, such as
    a logit difference, have none."""
    sizes = floors(result).get("floor", {})
    if not sizes:
        return {}
    main = next(iter(sizes.values()))
    named = {name: sizes[name] for name in (*FRACTIONS, *COMPARED, PART) if name in sizes}
    named |= {"effect": main}
    if hasattr(result, "brought"):
        named |= {"brought": result.floor_of("brought")}
    bounds = {f"{name}_{end}": size for name, size in named.items() for end in ("low", "high")}
    return named | bounds | {"low": main, "high": main}


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


def control_pairs(result: Any) -> Json:
    """`control_pairs`: on how many pairs controls were run; nothing where there are none."""
    settings, n_pairs = result.provenance.settings, len(result.provenance.prompts)
    if "control_pairs" not in settings or settings.get("controls") == []:
        return {}
    asked = settings["control_pairs"]
    return {"control_pairs": n_pairs if asked == "all" else min(asked, n_pairs)}


def control_notes(result: Any) -> list[str]:
    """One sentence where controls were run on some of the pairs only."""
    n_pairs = len(result.provenance.prompts)
    n = control_pairs(result).get("control_pairs", n_pairs)
    if n == n_pairs:
        return []
    what = getattr(result, "SAMPLED", "Controls")
    return [f"{what} were run on {n:,} of the {counted(n_pairs, 'pair')}, drawn at random."]
