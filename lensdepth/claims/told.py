"""Verdicts in words: the cells of their tables, and what to bear in mind."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lensdepth.claims.architecture import FEWEST_DRAWS
from lensdepth.claims.statements import ORIGINS, claim_of
from lensdepth.telling.names import VERDICTS
from lensdepth.telling.numbers import UNKNOWN, Interval, counted, listed, number
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.claims.result import ClaimTable, ClaimVerdict, Finding

SIGNS = {"greater": ">", "less": "<", "equivalent": "±"}


def summary(table: "ClaimTable") -> Json:
    """Each claim's verdict, with the numbers of the statement that settles it."""
    rows = []
    for one in table.claims:
        found = table.finding(one.decisive)
        rows.append(
            {
                "claim": one.claim,
                "title": one.title,
                "verdict": one.verdict,
                "effect": found.effect,
                "low": found.low,
                "high": found.high,
                "p": one.p,
                "decisive": one.decisive,
                "unit": found.unit,
                "threshold": found.threshold,
                "n": found.n,
                "origin": found.origin,
                "n_twins": found.twin.n,
                "twin_median": found.twin.median,
                "twin_low": found.twin.low,
                "twin_high": found.twin.high,
                "twin_passing": found.twin.share,
                "by_architecture": found.twin.by_architecture,
                "reason": one.reason,
            }
        )
    return to_json(
        {
            "claims": rows,
            "accuracy": table.accuracy,
            "n_pairs": table.n_pairs,
            "n_prompts": table.n_prompts,
            "located": table.located,
            "handover": table.handover.tolist(),
            "n_twins": table.n_twins,
            "twins_note": table.twins_note,
        }
    )


@dataclass(frozen=True, kw_only=True)
class FindingCells:
    """One statement's numbers as texts; a dash where there is none."""

    key: str
    says: str
    effect: str
    interval: str
    aim: str
    unit: str
    n: str
    origin: str
    """Whose statement it is."""
    twins: str
    """Median and range of the number on untrained twins."""
    architecture: str
    """Whether it is by architecture; empty where it is not."""
    reason: str


def finding_cells(found: "Finding") -> FindingCells:
    """A finding, ready for a table."""
    effect, interval = UNKNOWN, ""
    if found.effect is not None and found.low is not None and found.high is not None:
        effect, interval = Interval(value=found.effect, low=found.low, high=found.high).cells
    aim = ""
    if found.expect is not None and found.threshold is not None:
        aim = f"{SIGNS[found.expect]} {found.threshold:g}"
    return FindingCells(
        key=found.key,
        says=found.says,
        effect=effect,
        interval=interval,
        aim=aim,
        unit=found.unit,
        n=str(found.n) if found.n else UNKNOWN,
        origin="" if found.origin is None else ORIGINS[found.origin],
        twins=_twins(found),
        architecture=_architecture(found),
        reason=_beside_reason(found),
    )


def _twins(found: "Finding") -> str:
    """What untrained twins give: the median, and the range of those that have a number."""
    twin = found.twin
    if twin.n == 0:
        return UNKNOWN
    if twin.median is None or twin.low is None or twin.high is None:
        return "no number"
    median, between = Interval(value=twin.median, low=twin.low, high=twin.high).cells
    return f"{median} ({between})" if between else median


def _architecture(found: "Finding") -> str:
    """What follows from the twins."""
    if not found.twin.by_architecture:
        return ""
    return "by architecture" if found.twin.says_nothing else "by architecture, but beyond the twins"


def _beside_reason(found: "Finding") -> str:
    """What to bear in mind, and how the number moves with the deal of prompts into groups."""
    if found.deals_low is None or found.deals_high is None:
        return found.reason
    low, high = (number(x) for x in (found.deals_low, found.deals_high))
    deals = f"mean over deals of the prompts into groups, which give {low} to {high}"
    return f"{found.reason}; {deals}" if found.reason else deals


def settled_by(table: "ClaimTable", one: "ClaimVerdict") -> str:
    """The word of the statement that settles a claim; a dash where none has a number."""
    found = table.finding(one.decisive)
    return UNKNOWN if found.effect is None else one.decisive.split(" ", 1)[1]


def reasons(table: "ClaimTable") -> list[str]:
    """Why claims stay open, and which tests are weak."""
    said: dict[str, list[str]] = {}
    for one in table.claims:
        if one.reason:
            said.setdefault(one.reason, []).append(one.claim)
    every = len(table.claims)
    return [
        f"{'All claims' if len(claims) == every else ', '.join(claims)}: {reason}."
        for reason, claims in said.items()
    ]


def by_architecture(table: "ClaimTable") -> list[str]:
    """Which statements untrained twins pass as well, and why there are no twins."""
    lines = []
    if table.twins_note:
        without = "; statements are judged without them" * (table.n_twins == 0)
        lines.append(f"{table.twins_note[0].upper()}{table.twins_note[1:]}{without}.")
    elif not table.n_twins and any(one.effect is not None for one in table.findings):
        lines.append(
            "No untrained twins stand beside these numbers, so that what is by architecture is not "
            "known."
        )
    few = [
        one.key
        for one in table.findings
        if 0 < len(one.twin.values) < FEWEST_DRAWS and not one.twin.by_architecture
    ]
    if few:
        lines.append(
            f"That these are not by architecture rests on fewer than {FEWEST_DRAWS} twins that "
            f"have a number, which is too few to tell: {', '.join(few)}."
        )
    flat = [one for one in table.findings if one.twin.by_architecture]
    if flat:
        named: dict[str, list[str]] = {}
        for one in flat:
            named.setdefault(claim_of(one.key), []).append(one.key.split(" ", 1)[1])
        each = "; ".join(f"{claim} {', '.join(words)}" for claim, words in named.items())
        lines.append(
            f"By architecture, and so of no weight by themselves, since of "
            f"{counted(table.n_twins, 'untrained twin')} of the model, on these prompts with their "
            f"own answers, one passes, or more than one in twenty would: {each}."
        )
    return lines


def verdict(table: "ClaimTable") -> str:
    """One sentence on all claims: those that are settled with what they say, and, since one
    statement is enough to contradict a claim of several, which it is."""
    by_verdict: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for one in table.claims:
        told = one.claim if one.verdict == "cannot tell" else f"{one.claim} ({one.title})"
        by_verdict[one.verdict].append(told)
    against = [one for one in table.claims if one.verdict == "contradicted"]
    by = listed([f"\u201c{settled_by(table, one)}\u201d" for one in against])
    statements = "its statement" if len(against) == 1 else "their statements"
    words = {
        "supported": ("is supported", "are supported"),
        "contradicted": ("is contradicted", "are contradicted"),
        "cannot tell": ("stays open", "stay open"),
    }
    parts = [
        f"{listed(claims)} {words[verdict][len(claims) > 1]}"
        + (f", by {statements} {by}" if verdict == "contradicted" else "")
        for verdict, claims in by_verdict.items()
        if claims
    ]
    return f"Of the study's claims, {'; '.join(parts)}."


def sentences(table: "ClaimTable") -> list[str]:
    """The verdict on all, then why claims stay open, and what is by architecture."""
    return [verdict(table), *reasons(table), *by_architecture(table)]
