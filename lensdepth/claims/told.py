"""Verdicts in words: the cells of their tables, and what to bear in mind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lensdepth.telling.names import VERDICTS
from lensdepth.telling.numbers import UNKNOWN, Interval
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
        reason=found.reason,
    )


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
    return [f"{', '.join(claims)}: {reason}." for reason, claims in said.items()]


def verdict(table: "ClaimTable") -> str:
    """One sentence on all claims."""
    by_verdict: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for one in table.claims:
        by_verdict[one.verdict].append(one.claim)
    words = {
        "supported": ("is supported", "are supported"),
        "contradicted": ("is contradicted", "are contradicted"),
        "cannot tell": ("stays open", "stay open"),
    }
    parts = [
        f"{_listed(claims)} {words[verdict][len(claims) > 1]}"
        for verdict, claims in by_verdict.items()
        if claims
    ]
    return f"Of the study's seven claims, {'; '.join(parts)}."


def sentences(table: "ClaimTable") -> list[str]:
    """The verdict on all, then why claims stay open."""
    return [verdict(table), *reasons(table)]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
