"""Where something switches along the depth, in a sentence and as JSON.

What is told of a result together with its switch is made by `analyses`, from here and from the
room that the result is of.
"""

from typing import TYPE_CHECKING

from lensdepth.telling.depths import between, place
from lensdepth.telling.numbers import Interval, number
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.transition.crossing import Crossing
    from lensdepth.transition.find import Transition


def transition_summary(transition: "Transition") -> Json:
    """Location and width with intervals; location is null unless there is a transition."""
    found = transition.verdict == "transition"
    return to_json(
        {
            "verdict": transition.verdict,
            "reason": transition.reason,
            "depth": transition.location if found else None,
            "low": transition.location_low if found else None,
            "high": transition.location_high if found else None,
            "width": transition.width if found else None,
            "width_low": transition.width_low if found else None,
            "width_high": transition.width_high if found else None,
            "p": transition.p,
            "p_order": transition.p_order,
            "p_drift": transition.p_drift,
        }
    )


def crossing_summary(crossing: "Crossing") -> Json | None:
    """Depth with its interval, or null where the curves do not cross."""
    if crossing.verdict != "crossing":
        return None
    return to_json({"depth": crossing.depth, "low": crossing.low, "high": crossing.high})


def lens_summary(transition: "Transition | None") -> Json:
    """The transition of a lens; null where none was sought."""
    return {"transition": None if transition is None else transition_summary(transition)}


def patching_summary(crossing: "Crossing | None") -> Json:
    """Where the curves cross, and if they do."""
    return {
        "crossing": None if crossing is None else crossing_summary(crossing),
        "crossing_verdict": None if crossing is None else crossing.verdict,
        "crossing_reason": None if crossing is None else crossing.reason,
    }


def sustained_summary(crossing: "Crossing | None") -> Json:
    """The same of steering from each depth on."""
    return {
        "sustained_crossing": None if crossing is None else crossing_summary(crossing),
        "sustained_verdict": None if crossing is None else crossing.verdict,
    }


def lens_verdict(transition: "Transition | None", n_layers: int) -> str:
    """One sentence: the transition of the lens, or that there is none, or no telling."""
    if transition is None:
        return (
            "No transition of the lens was sought: a curve through fewer than four depths, or one "
            "with infinite values, cannot show one."
        )
    if transition.verdict == "none":
        return f"The lens shows no transition: {transition.reason}."
    if transition.verdict == "cannot tell":
        return (
            f"Whether the lens has a transition cannot be told from these prompts: "
            f"{transition.reason}."
        )
    where = place(transition.location, transition.location_low, transition.location_high, n_layers)
    verb = "falls" if transition.change < 0 else "rises"
    width = Interval(value=transition.width, low=transition.width_low, high=transition.width_high)
    return (
        f"The divergence of the lens from the final distribution {verb} around {where}; "
        f"{_breadth(width)}"
    )


def _breadth(width: Interval) -> str:
    if width.high <= 1:
        return "most of the change happens from one depth to the next, the sharpest one can see."
    return f"10 to 90% of the change takes {width} depths."


def patching_verdict(crossing: "Crossing", n_layers: int) -> str:
    """One sentence: where control passes, or that the curves do not cross, or no telling."""
    if crossing.verdict == "none":
        return f"The two curves do not cross: {crossing.reason}."
    if crossing.verdict != "crossing":
        return f"Whether the two curves cross cannot be told from these pairs: {crossing.reason}."
    where = place(crossing.depth, crossing.low, crossing.high, n_layers)
    return f"Control passes from the input position to the prediction position at {where}."


def steering_verdict(crossing: "Crossing", n_layers: int) -> str:
    """One sentence: where steering passes from the input to the output, if it does."""
    if crossing.verdict == "none":
        return f"The two steering curves do not cross: {crossing.reason}."
    if crossing.verdict != "crossing":
        return f"Whether the steering curves cross cannot be told: {crossing.reason}."
    where = place(crossing.depth, crossing.low, crossing.high, n_layers)
    return f"Steering passes from input-centric to output-centric at {where}."


def sustained_verdict(crossing: "Crossing", n_layers: int) -> str:
    """Two sentences on steering from each depth on, the second a caution."""
    if crossing.verdict == "crossing":
        where = place(crossing.depth, crossing.low, crossing.high, n_layers)
        text = f"Sustained from each depth on, the curves cross at {where}."
    else:
        text = f"Sustained from each depth on, there is no clear crossing: {crossing.reason}."
    return (
        f"{text} Read it with care: what is added piles up, and output-centric steering from an "
        f"early depth on also acts at all late depths, where it works by itself."
    )


def order_verdict(crossing: "Crossing | None", transition: "Transition | None") -> str | None:
    """Which comes first, the passing of control or the lens; None unless both were found."""
    if crossing is None or transition is None:
        return None
    if crossing.verdict != "crossing" or transition.verdict != "transition":
        return None
    lag = transition.location - crossing.depth
    if transition.location_low > crossing.high:
        return f"The lens follows control by {number(lag)} depths; the two intervals do not meet."
    if transition.location_high < crossing.low:
        return f"The lens precedes control by {number(-lag)} depths; the two intervals do not meet."
    return "Their two intervals overlap, so which of the two comes first cannot be told."


def located(found: "Transition | Crossing") -> tuple[float, float, float] | None:
    """(low, at, high) of a switch that is there."""
    if found.verdict == "transition":
        return found.location_low, found.location, found.location_high  # type: ignore[union-attr]
    if found.verdict == "crossing":
        return found.low, found.depth, found.high  # type: ignore[union-attr]
    return None


def whereabouts(found: "Transition | Crossing", n_layers: int) -> str:
    """Where it is, short, or the reason why it is nowhere."""
    there = located(found)
    if there is None:
        return found.reason
    low, at, high = there
    return between(at, low, high, n_layers)
