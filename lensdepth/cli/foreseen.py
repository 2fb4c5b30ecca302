"""What a report will take: said before a long one, and by `--dry-run` in place of it."""

from typing import TYPE_CHECKING, Any

from lensdepth.cli import session
from lensdepth.cli.console import note, working

if TYPE_CHECKING:
    from lensdepth.model import DepthModel
    from lensdepth.report import ReportPlan
    from lensdepth.tasks import Task

LONG = 60.0
"""Seconds above which it is said beforehand what a report will take."""
LEAST = 16
"""A report takes so many times a plain pass of all its prompts, or more."""
WORTH = 300.0
"""Seconds of that below which no plan is made unasked: making one takes half a minute on a model of
135M weights, and would keep the first page waiting."""


def plan_of(
    model: "DepthModel", pairs: "Task", options: dict[str, Any], *, always: bool
) -> "ReportPlan | None":
    """The plan of a report that may take long, or of any; a long one is said.

    Args:
        model: any wrapped model.
        pairs: what the report is on.
        options: as of `plan_report`.
        always: make one in any case, and say nothing.
    """
    from lensdepth.claims.plan import time_prompt
    from lensdepth.report import plan_report

    if not always:
        n_prompts = len(pairs) * (1 + pairs.has_pairs)
        if LEAST * n_prompts * time_prompt(model, pairs) < WORTH:
            return None
    with working("planning"):
        plan = plan_report(model, pairs, **options)
    if not always and plan.seconds > LONG:
        note(f"plan: {plan.told}")
    return plan


def show_plan(plan: "ReportPlan", model: "DepthModel", pairs: "Task", *, json: bool) -> None:
    """The plan as a table, or as one object."""
    from lensdepth.telling.plain import provenance_json

    if json:
        rows = session.records(plan.to_frame())
        summary = {"seconds": plan.seconds, "bytes": max(plan.n_bytes), "told": plan.told}
        return session.print_json(
            {"provenance": provenance_json(plan.provenance), "summary": summary, "rows": rows}
        )
    from lensdepth.cli import claim_tables, tables

    title = session.title("Plan of a report", model, pairs)
    tables.show(
        title, claim_tables.report_plan_table(plan), "", f"{plan.told[:1].upper()}{plan.told[1:]}."
    )
