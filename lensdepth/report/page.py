"""The page itself: overview, contents, verdicts, sections and provenance, set by the template."""

from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lensdepth.analyses import analysis
from lensdepth.claims import told
from lensdepth.colours import DARK, PALETTE
from lensdepth.report import facts, figures
from lensdepth.report.captions import caption
from lensdepth.report.measured import Measured
from lensdepth.report.overview import MARKS, overview, shown_in
from lensdepth.report.sections import Exhibit, numbered, sections
from lensdepth.report.side import comparison_part
from lensdepth.report.story import opening, together
from lensdepth.telling.depths import MEANING
from lensdepth.telling.numbers import p_text


@dataclass(frozen=True, kw_only=True, eq=False)
class ClaimsPart:
    """The study's claims, with which the page opens, or why they are not judged."""

    title: str = analysis("claims").title
    question: str = analysis("claims").question
    absent: str | None = None
    verdict: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """One a claim: its verdict and the statement that settles it."""
    reasons: list[str] = field(default_factory=list)
    statements: list[told.FindingCells] = field(default_factory=list)
    exhibit: Exhibit | None = None


def claims_part(findings: Measured, *, number: int = 1) -> ClaimsPart:
    """The verdicts as the page shows them.

    Args:
        findings: of a report.
        number: of their figure.
    """
    table = findings.claims
    if table is None:
        return ClaimsPart(absent=findings.absent["claims"])
    drawn = any(one.effect is not None for one in table.findings)
    return ClaimsPart(
        verdict=told.verdict(table),
        rows=[
            {
                "claim": one.claim,
                "title": one.title,
                "verdict": one.verdict,
                "mark": MARKS[one.verdict],
                "settled": told.settled_by(table, one),
                "shown": shown_in(one.claim),
                "p": p_text(one.p),
                "cells": told.finding_cells(table.finding(one.decisive)),
            }
            for one in table.claims
        ],
        reasons=[*told.reasons(table), *told.by_architecture(table)],
        statements=[told.finding_cells(one) for one in table.findings],
        exhibit=Exhibit(
            key="claims",
            title="Every statement beside its threshold",
            note=analysis("claims").note,
            caption=caption(findings, "claims"),
            figure=table.plot(),
            frame=table.to_frame,
            number=number,
        )
        if drawn
        else None,
    )


def render(findings: Measured, *, tables_folder: str) -> str:
    """The whole page as one HTML text."""
    environment = Environment(
        loader=PackageLoader("lensdepth.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    provenance = findings.lens.provenance
    beside = comparison_part(findings)
    before = 0 if beside is None else len(beside.exhibits)
    claims = claims_part(findings, number=before + 1)
    return environment.get_template("page.html").render(
        title=f"{provenance.model.name} on {findings.task.name}",
        lead=opening(
            model=provenance.model.name,
            task=findings.task.name,
            lens=findings.lens,
            patch=findings.patch,
            order=findings.order,
            **together(findings),
        ),
        overview=overview(findings),
        facts=facts.facts(findings),
        notices=facts.notices(findings),
        beside=beside,
        claims=claims,
        sections=numbered(sections(findings), after=before + (claims.exhibit is not None)),
        settings=facts.settings(findings),
        pairs=facts.first_pairs(findings),
        tables_folder=tables_folder,
        versions=provenance.versions,
        created=provenance.created,
        meaning=MEANING,
        colours=PALETTE,
        dark=DARK,
        css=Markup(_asset(environment, "page.css")),
        script=Markup(_asset(environment, "page.js")),
        page_settings=Markup(figures.page_settings()),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),
    )


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
