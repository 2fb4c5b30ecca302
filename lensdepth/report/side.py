"""The section of a report that puts it beside another one."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lensdepth.analyses import analysis
from lensdepth.report.comparison import Difference, ReportComparison
from lensdepth.report.measured import Measured
from lensdepth.report.overview import MARKS
from lensdepth.report.sections import Exhibit
from lensdepth.telling.numbers import UNKNOWN

TITLES = {"lens": "Both lenses", "patch": "Patching of both", "ablation": "Swaps of both"}
NOTE = (
    "Both models' curves on one axis, from the embedding on the left to the state that the answer "
    "is read from on the right, whatever the number of blocks; the second is dashed. Bands are 95% "
    "intervals of each by itself: what differs, and how surely, says the table. Depths that count "
    "the same fraction are not the same block."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonPart:
    """Differences, curves and verdicts of two reports, or why there are none."""

    title: str = "Beside another report"
    absent: str | None = None
    names: tuple[str, str] = ("", "")
    gist: str = ""
    on: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exhibits: list[Exhibit] = field(default_factory=list)


def comparison_part(findings: Measured) -> ComparisonPart | None:
    """The section; None where no other report was asked for."""
    found = findings.comparison
    if found is None:
        why = findings.absent.get("comparison")
        return None if why is None else ComparisonPart(absent=why)
    places = [one.told(found.names) for one in found.differences if one.is_place]
    return ComparisonPart(
        title=f"{found.names[0]} beside {found.names[1]}",
        names=found.names,
        gist=places[0] if places else "No place along the depth is compared.",
        on=found.on,
        rows=[_row(one, found.names) for one in found.differences],
        verdicts=[
            {
                "claim": one.claim,
                "title": one.title,
                "both": [
                    {"verdict": verdict, "mark": MARKS.get(verdict, ""), "cells": effect.cells}
                    for verdict, effect in zip(one.verdicts, one.effects, strict=True)
                ],
                "settled": list(dict.fromkeys(filter(None, one.settled))),
            }
            for one in found.claims
        ],
        notes=notes_of(found),
        exhibits=[
            Exhibit(
                key=f"compared_{key}",
                title=TITLES[key],
                note=NOTE,
                caption=found.caption(key),
                figure=found.plot(key),
                frame=partial(found.curves_frame, key),
                number=number,
            )
            for number, key in enumerate(found.panels, start=1)
        ],
    )


def notes_of(found: ReportComparison) -> list[str]:
    """What to bear in mind of the tables."""
    *_, caveat = found.sentences
    said = [f"They were run with {found.mixed}."] if found.mixed else []
    said.append(caveat)
    if found.claims:
        said.append(
            "That a claim is supported in one report and not in the other does not say that they "
            "differ: each verdict is that of one report, and effects stand beside each other only "
            "where the same statement settles the claim in both."
        )
    return said


def _row(one: Difference, names: tuple[str, str]) -> dict[str, Any]:
    """One difference as a row of the table."""
    pairs = one.n_pairs if one.how == "independent" else one.n_pairs[:1]
    return {
        "says": one.says,
        "unit": "fraction of the depth" if one.is_place else analysis(one.analysis).title,
        "first": one.first.cells,
        "second": one.second.cells,
        "difference": one.difference.cells if one.verdict != "not in both" else (UNKNOWN, ""),
        "verdict": one.verdict_on(names),
        "reason": one.reason,
        "how": one.how,
        "pairs": " and ".join(f"{n:,}" for n in pairs),
    }
