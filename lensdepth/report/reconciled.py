"""What two parts of a report say that seem to contradict each other, and why both may hold.

Each analysis speaks for itself; a reader who holds two of them side by side should not have to find
out alone that they ask different things, or set different marks.
"""

from typing import TYPE_CHECKING

from lensdepth.claims.statements import claim_of
from lensdepth.lens.told import MEASURES
from lensdepth.telling.curves import estimate
from lensdepth.telling.numbers import Interval, number
from lensdepth.transition.change_point import ChangePoint
from lensdepth.transition.result import Transition

if TYPE_CHECKING:
    from lensdepth.report.measured import Measured

ADDITIVE = "C7 not additive"
"""The statement of the study's claims that the additivity gap is held against."""
BY_SWAPS = {"beats random", "norm does nothing"}
"""Statements of claim C5 on what the section on direction and norm shows."""
SIGMOID, CROSSING, CUT = (
    "logit lens, sigmoid",
    "patching, crossing",
    "lens and patching, one cut",
)
DEFINITIONS = {
    "logit lens, first choice settled": "from which depth on the readout's first choice stays",
    CROSSING: "where the answer stops following the input token's state and follows "
    "the last token's",
    "steering, crossing": "where added differences of mean states stop working at the input token "
    "and work at the last",
    "steering sustained, crossing": "the same, added again at every later depth",
}
"""Definition of the switch -> what it is the place of; that of the lens is said by its reading."""
BY_CONTRAST, BY_KL = MEASURES["contrast"].title, MEASURES["kl"].title
BY_READING = {
    BY_CONTRAST: "where the readout comes to tell the answers of a pair's two prompts apart "
    "(contrast of the answers)",
    BY_KL: "where the readout comes near the final distribution (KL)",
}
"""Reading in which a lens's switch is looked for -> what that is the place of."""
ASKS = {
    BY_CONTRAST: "whether the readout of the last token tells a pair's answers apart",
    BY_KL: "how far the readout of the last token is from the end",
}
"""The same -> what the lens asks with it."""
FOUND = ("transition", "crossing")
"""Verdicts that name a place."""


def additivity(findings: "Measured") -> str | None:
    """The gap of local and global effects beside the claim on it; None where they agree."""
    profile, claims = findings.locality, findings.claims
    if profile is None or claims is None:
        return None
    gap = estimate(profile.gap, profile.provenance.units)
    there = gap.known and not gap.low <= 0 <= gap.high
    try:
        found = claims.finding(ADDITIVE)
    except KeyError:
        return None
    if not there or found.effect is None or found.threshold is None or found.stands == "supported":
        return None
    share = Interval(
        value=found.effect,
        low=float("nan") if found.low is None else found.low,
        high=float("nan") if found.high is None else found.high,
    )
    against = (
        "which is less" if found.stands == "contradicted" else "which may lie on either side of it"
    )
    return (
        f"Whether there is a gap and whether it is large are two questions: the statement "
        f"\u201cnot additive\u201d of claim C7 asks for a gap of more than "
        f"{number(found.threshold)} of the whole, and finds {share}, {against}."
    )


def passing(findings: "Measured") -> str | None:
    """The crossing of steering beside the claim that it passes from input to output; None where
    they agree."""
    crossing, claims = findings.steering_crossing, findings.claims
    if crossing is None or claims is None or crossing.verdict == "crossing":
        return None
    if claims.verdict("C2") != "supported":
        return None
    return (
        "Claim C2 is supported all the same, and both hold: it asks how often steering works "
        "before and after the depths at which patching crosses, over all pairs; that it passes "
        "from the one position to the other at one depth is more, and is not shown."
    )


def carrying(findings: "Measured") -> str | None:
    """What direction and norm move beside the claim on them; None where they agree."""
    profile, claims = findings.ablation, findings.claims
    if profile is None or claims is None or claims.verdict("C5") != "contradicted":
        return None
    against = [one for one in claims.findings if claim_of(one.key) == "C5"]
    words = [one.key.split(" ", 1)[1] for one in against if one.stands == "contradicted"]
    if not words or BY_SWAPS & set(words):
        return None
    named = " and ".join("\u201c" + word + "\u201d" for word in words)
    return (
        f"Claim C5 asks for more than that: what contradicts it is "
        f"{'its statement' if len(words) == 1 else 'its statements'} {named}, and not what the "
        f"swaps of direction and norm move here."
    )


def definitions(findings: "Measured") -> list[str]:
    """What each definition of the switch is the place of, and why some find none."""
    found, places = findings.switches, dict(DEFINITIONS)
    lens, crossing, cut = (found.get(name) for name in (SIGMOID, CROSSING, CUT))
    for name, one in found.items():
        if isinstance(one, Transition):
            places[name] = BY_READING[one.name]
    if isinstance(cut, ChangePoint):
        curves = ", ".join("\u201c" + name + "\u201d" for name in cut.names)
        places[CUT] = f"the one cut that best parts all of these curves: {curves}"
    said = [
        "They are places of different things: "
        + "; ".join(f"{name}: {places[name]}" for name in found if name in places)
        + "."
    ]
    if getattr(crossing, "verdict", None) == "crossing" and len(found) > 1:
        said.append(
            "\u201cBefore\u201d and \u201cafter\u201d the crossing are by more than one depth, "
            "\u201cat the same depth\u201d is within one, by the whole interval; what is neither "
            "is not settled."
        )
    if not isinstance(lens, Transition) or crossing is None:
        return said
    by_lens, by_control = (getattr(one, "verdict", None) in FOUND for one in (lens, crossing))
    if by_control and not by_lens:
        said.append(
            f"Patching finds a place and the lens none, and both may hold. Patching asks which "
            f"token's state decides; the lens asks {ASKS[lens.name]}. Control can pass without the "
            f"readout being able to say the answer yet, and where it passes in the first blocks, "
            f"the lens has hardly a depth before it that a change could start from."
        )
    if by_lens and not by_control:
        said.append(
            "The lens finds a place and patching none, and both may hold: the readout can come to "
            "say the answer without control passing from the input token to the last one at any "
            "one depth, as when it rests at another token between, or is shared."
        )
    return said
