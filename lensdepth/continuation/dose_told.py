"""What a held edit does to a text by its strength: summary and sentences."""

import math
from typing import TYPE_CHECKING

from lensdepth.continuation.dose_profile import FLOOR
from lensdepth.edits import unit_of
from lensdepth.telling.names import edit_name
from lensdepth.telling.numbers import below, counted, listed, number
from lensdepth.telling.plain import Json, to_json
from lensdepth.telling.tokens import signed

if TYPE_CHECKING:
    from lensdepth.continuation.dose_profile import ContinuationDose
    from lensdepth.telling.curves import Curve


def curves(result: "ContinuationDose") -> list["Curve"]:
    """None: strengths are no depths."""
    return []


def nats(kl: float) -> str:
    """A mean KL, in words where it is rounding."""
    return f"{below(FLOOR)} nats" if kl < FLOOR else f"{number(kl)} nats"


def token_name(point: float) -> str:
    """A divergence point in a cell: its number, or that the text is the base's."""
    return "none" if math.isnan(point) else f"{point:.0f}"


def summary(result: "ContinuationDose") -> Json:
    """The verdict, and texts, divergence points and KL of each strength and run."""
    by_strength = []
    for i, strength in enumerate(result.strengths):
        by_strength.append(
            {
                "strength": strength,
                "runs": {
                    run: {
                        "text": result.texts[i][j],
                        "divergence": result.divergence[i, j].item(),
                        "kl": result.mean_kl[i, j].item(),
                        "forced_kl": result.forced_kl[i, j].tolist(),
                    }
                    for j, run in enumerate(result.runs)
                },
            }
        )
    return to_json(
        {
            "verdict": result.verdict,
            "judged": result.judged,
            "edit": result.edit,
            "unit": unit_of(result.edit),
            "base_text": result.base_text,
            "n_tokens": len(result.base_tokens),
            "n_random": result.n_random,
            "floor": FLOOR,
            "doses": by_strength,
        }
    )


def sentences(result: "ContinuationDose") -> list[str]:
    """From which strength on the text is another, how far predictions move, and the verdict."""
    return [_parting(result), _divergence(result), *_judged(result), _alone(result)]


def _parting(result: "ContinuationDose") -> str:
    """At which strengths the text is another."""
    points = result.divergence[:, 0].tolist()
    other = [i for i, point in enumerate(points) if not math.isnan(point)]
    said = f"The base's text has {counted(len(result.base_tokens), 'token')}. With the edit "
    said += f"({edit_name(result.edit)}) held on "
    if not other:
        return f"{said}it is the same text at every strength."
    first = other[0]
    strengths = [f"{result.strengths[i]:g}" for i in other]
    at = int(points[first])
    base, edited = (
        signed(result.text(int(row[at]))) if at < len(row) and int(row[at]) >= 0 else "its end"
        for row in (result.base_tokens, result.tokens[first, 0])
    )
    which = "strength" if len(other) == 1 else "strengths"
    return (
        f"{said}it is another at {which} {listed(strengths)}, of {len(points)} "
        f"({unit_of(result.edit)}); at {strengths[0]} from token {at} on: {base} → {edited}."
    )


def _divergence(result: "ContinuationDose") -> str:
    """KL at each strength."""
    rows = [
        f"{nats(kl)} at {strength:g}"
        for strength, kl in zip(result.strengths, result.mean_kl[:, 0].tolist(), strict=True)
    ]
    return f"Along the base's own tokens KL(base ‖ edited) averages {listed(rows)}."


def _judged(result: "ContinuationDose") -> list[str]:
    """The verdict, with what it rests on."""
    if result.verdict == "nothing":
        return [f"That is rounding at every strength ({below(FLOOR)} nats): nothing is done."]
    if not result.n_random:
        why = "is a random turn itself" if result.edit == "random" else "turns no state"
        return [f"The edit {why}, so that there is no random turn to judge it by."]
    at = result.strengths.index(result.judged)
    kl, points = result.mean_kl[at, 1:].tolist(), result.divergence[at, 1:].tolist()
    turns = (
        f"states turned as far at random ({counted(result.n_random, 'direction')}) give "
        f"{nats(sum(kl) / len(kl))} on average"
    )
    if result.n_random > 1:
        turns += f", {number(min(kl))} to {number(max(kl))}"
    parted = [int(point) for point in points if not math.isnan(point)]
    turns += f", and another text in {len(parted)} of {result.n_random}"
    if parted:
        turns += f" (from token {min(parted)} on at the earliest)"
    anywhere = not result.divergence.isnan().all()
    which = "the smallest at which any text is another" if anywhere else "the largest"
    more = result.verdict == "more than a turn"
    return [
        f"At strength {result.judged:g}, {which}, {turns}: the edit moves predictions "
        f"{'more' if more else 'no more'} than a turn. How far is not whereto: that the texts say."
    ]


def _alone(result: "ContinuationDose") -> str:
    said = "The tokens of one text go together: these numbers are of this text, and have no "
    if not result.n_random or result.verdict == "nothing":
        return f"{said}interval."
    return (
        f"{said}interval, nor does the verdict speak of others; an edit that is no different from "
        f"its {counted(result.n_random, 'turn')} would be ahead in at most 1 of "
        f"{result.n_random + 1} texts."
    )
