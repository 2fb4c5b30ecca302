"""What a vector does to the pairs of a task: summary and sentences."""

import math
from typing import TYPE_CHECKING

from lensdepth.claims.estimate import Estimate
from lensdepth.confidence.told import interval
from lensdepth.confidence.verdict import FLIPS
from lensdepth.edits import unit_of
from lensdepth.telling.curves import Curve, estimate
from lensdepth.telling.names import answer_comes
from lensdepth.telling.numbers import Interval, change, counted, listed, number, percent
from lensdepth.telling.plain import Json, to_json
from lensdepth.telling.tokens import signed

if TYPE_CHECKING:
    from lensdepth.applied.profile import VectorResponse

MEASURES = {
    "flip": "first choices that change",
    "success": "the source's answer comes first",
    "kl": "KL(base ‖ edited), nats",
}
"""What stands by strength in tables and figures, and its name there."""
MOST_TEXTS = 3
"""First choices that are listed."""
WHERETO = {
    "towards": "the vector leads towards it",
    "away": "the vector leads away from it",
    "open": "whether the vector leads there is open",
}


def curves(result: "VectorResponse") -> list[Curve]:
    """None: strengths are no depths."""
    return []


def measured(result: "VectorResponse", metric: str, edit: str) -> list[Interval]:
    """A metric by strength, with its interval: of the vector, or of all turns."""
    at = result.outcome.of(metric)
    values = at[0] if edit == "vector" else at[1:].mean(0)
    share, floor = metric != "kl", result.outcome.floor_of(metric)
    units = result.provenance.units
    return [estimate(one, units, share=share, floor=floor) for one in values]


def unedited(result: "VectorResponse") -> Interval:
    """How often the source's answer comes first without the vector."""
    return estimate(result.outcome.unedited("base", "success"), result.provenance.units, share=True)


def summary(result: "VectorResponse") -> Json:
    """Verdicts by strength with what they rest on, and the first choices that come about."""
    edits = ("vector", "turn") if result.n_random else ("vector",)
    table = {name: {edit: measured(result, name, edit) for edit in edits} for name in MEASURES}
    doses = []
    for i, (strength, one) in enumerate(result.judged.items()):
        doses.append(
            {
                "strength": strength,
                "verdict": one.verdict,
                "reason": one.reason,
                "whereto": one.whereto,
                "flips_lead": interval(one.flips_lead),
                "gain": _shift(result, i, 0),
                "gain_lead": interval(one.gain_lead),
                "loss": -_shift(result, i, 1),
                **{n: {e: found[i] for e, found in of.items()} for n, of in table.items()},
                "said": [{"text": text, "pairs": n} for text, n in result.said(strength)],
            }
        )
    return to_json(
        {
            "edit": result.edit,
            "unit": unit_of(result.edit),
            "doses": doses,
            "base_success": unedited(result).value,
            "n_random": result.n_random,
            "n_pairs": result.outcome.n_pairs,
            "n_seen": int(result.seen.sum()),
        }
    )


def sentences(result: "VectorResponse") -> list[str]:
    """What the vector does at which strength, whereto, and on which prompts."""
    return [*_verdicts(result), _at(result), *_said(result), _whereto(result), *_seen(result)]


def _verdicts(result: "VectorResponse") -> list[str]:
    """What it does at each strength, where there are several."""
    by_verdict: dict[str, list[str]] = {}
    for strength, one in result.judged.items():
        by_verdict.setdefault(one.verdict, []).append(f"{strength:g}")
    words = {
        "more than a turn": "It changes first choices more than random turns as far",
        "as any turn": "It changes first choices as random turns as far do",
        "nothing": f"It changes fewer than {percent(FLIPS)} of first choices",
        "no control": "It changes first choices, and turns no state to hold against a random turn",
        "cannot tell": "What it does is open",
        "too few": "What it does cannot be told",
    }
    said = []
    for verdict, strengths in by_verdict.items():
        where = f"strength{'s' * (len(strengths) > 1)} {listed(strengths)}"
        reasons = {one.reason for one in result.judged.values() if one.verdict == verdict}
        why = f": {reasons.pop()}" if len(reasons) == 1 and reasons != {""} else ""
        said.append(f"{words[verdict]} at {where}{why}.")
    return said


def _at(result: "VectorResponse") -> str:
    """The numbers of one strength."""
    chief = result.chief
    at, one = result.strengths.index(chief), result.judged[chief]
    flips = measured(result, "flip", "vector")[at]
    said = f"At strength {chief:g} ({unit_of(result.edit)}) the first choice changes in "
    said += f"{flips.percent} of the pairs"
    if result.n_random:
        turned = measured(result, "flip", "turn")[at]
        said += f", under random turns as far in {turned.percent}"
        ahead = _against_turns(one.flips_lead)
        said += f": {ahead} of them" if ahead else ""
    kl = measured(result, "kl", "vector")[at]
    return f"{said}; KL(base ‖ edited) averages {kl} nats."


def _said(result: "VectorResponse") -> list[str]:
    """Which tokens come first where first choices change."""
    found = result.said(result.chief)
    if not found:
        return []
    n = sum(pairs for _, pairs in found)
    parts = [f"{signed(text)} ({pairs})" for text, pairs in found[:MOST_TEXTS]]
    more = len(found) - len(parts)
    parts += [counted(more, "other token")] if more else []
    return [f"Of {counted(n, 'changed first choice')} these come first instead: {listed(parts)}."]


def _shift(result: "VectorResponse", at: int, whose: int) -> Interval:
    """How far the logit of the source's answer (0) or of the base's (1) rises, in nats."""
    of = result.answers[whose]
    floor = result.outcome.floor_of(of)
    return estimate(result.change(of)[at], result.provenance.units, floor=floor)


def _against_turns(lead: Estimate) -> str:
    """How far the vector is ahead of turns; nothing where that is not known."""
    if math.isnan(lead.value):
        return ""
    return f"{change(lead.value)} ({number(lead.low)} to {number(lead.high)})"


def _whereto(result: "VectorResponse") -> str:
    at, one = result.strengths.index(result.chief), result.judged[result.chief]
    comes = answer_comes(result.provenance)
    success = measured(result, "success", "vector")[at].percent
    first = f"it {comes} in {success} of the pairs, without the vector in "
    first += unedited(result).percent
    said = f"The source's answer gains {_shift(result, at, 0)} nats"
    if result.n_random:
        ahead = _against_turns(one.gain_lead)
        said += f", {ahead} against turns" if ahead else ""
        first += f", under turns in {measured(result, 'success', 'turn')[at].percent}"
    lost = f"The base's answer loses {-_shift(result, at, 1)} nats."
    return f"{said}: {WHERETO[one.whereto]}; {first}. {lost}"


def _seen(result: "VectorResponse") -> list[str]:
    """How many of the prompts the vector was made from."""
    n, of = int(result.seen.sum()), len(result.seen)
    if not n:
        return []
    which = f"{'All' if n == of else n} of the edited prompts {'is' if n == 1 else 'are'}"
    return [
        f"{which} among those that the vector was made from; what it does to others is not seen "
        f"there."
    ]
