"""Verdicts in words: the cells of their tables, and what to bear in mind."""

from collections.abc import Sequence
from dataclasses import dataclass

from lensdepth.arguments import checked
from lensdepth.claims import ClaimTable, ClaimVerdict, Finding

SIGNS = {"greater": ">", "less": "<", "equivalent": "±"}


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


@checked
def finding_cells(found: Finding) -> FindingCells:
    """A finding, ready for a table."""
    effect = interval = "–"
    if found.effect is not None and found.low is not None and found.high is not None:
        effect, interval = f"{found.effect:.2f}", f"[{found.low:.2f}, {found.high:.2f}]"
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
        n=str(found.n) if found.n else "–",
        reason=found.reason,
    )


@checked
def corrected_p(p: float | None) -> str:
    """A p-value as the tables of verdicts show it."""
    if p is None:
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"


@checked
def settled_by(table: ClaimTable, one: ClaimVerdict) -> str:
    """The word of the statement that settles a claim; a dash where none has a number."""
    found = table.finding(one.decisive)
    return "–" if found.effect is None else one.decisive.split(" ", 1)[1]


@checked
def claim_reasons(table: ClaimTable) -> list[str]:
    """Why claims stay open, and which tests are weak."""
    said: dict[str, list[str]] = {}
    for one in table.claims:
        if one.reason:
            said.setdefault(one.reason, []).append(one.claim)
    return [f"{', '.join(claims)}: {reason}." for reason, claims in said.items()]


@checked
def claims_verdict(table: ClaimTable) -> str:
    """One sentence on all claims."""
    by_verdict: dict[str, list[str]] = {"supported": [], "contradicted": [], "cannot tell": []}
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


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
