"""Verdicts and plans as tables in a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lensdepth.claims import told
from lensdepth.outside import visible
from lensdepth.telling.numbers import UNKNOWN, Interval, duration, number, p_text, percent

if TYPE_CHECKING:
    from lensdepth.claims import ClaimTable, HypothesisTable
    from lensdepth.claims.models import ModelsTable
    from lensdepth.claims.plan import Workload
    from lensdepth.claims.result import Finding
    from lensdepth.report import ReportPlan
    from lensdepth.scale.probe import SweepPlan

STYLES = {"supported": "bold green", "contradicted": "bold red", "cannot tell": "yellow"}
SHORT = {"supported": "yes", "contradicted": "no", "cannot tell": "?"}


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in columns:
        right = name in (
            "effect",
            "aim",
            "p",
            "prompts",
            "units",
            "needed",
            "edited runs",
            "pairs",
            "shards",
            "time",
            "memory",
        )
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    return table


def _effect(found: "Finding") -> str:
    cells = told.finding_cells(found)
    return f"{cells.effect} ({cells.interval})" if cells.interval else cells.effect


def _verdict(verdict: str) -> Text:
    return Text(verdict, style=STYLES[verdict])


def claims_table(table: "ClaimTable") -> Table:
    """One row a claim: its verdict and the statement that settles it."""
    shown = _table("claim", "", "verdict", "settled by", "effect", "aim", "twins", "p", "units")
    for one in table.claims:
        found = table.finding(one.decisive)
        cells = told.finding_cells(found)
        shown.add_row(
            one.claim, Text(one.title), _verdict(one.verdict), told.settled_by(table, one),
            _effect(found), cells.aim, cells.twins, p_text(one.p), cells.n,
        )  # fmt: skip
    return shown


def notes(table: "ClaimTable") -> list[str]:
    """What to bear in mind: why claims stay open, and what is weak."""
    return [
        *told.reasons(table),
        *told.by_architecture(table),
        "p: two-sided against the aim, corrected over the claims (Holm). Intervals: 95 %, over "
        "units (what is independent: input words, templates, prompts), uncorrected. twins: median "
        "and range of the number on untrained models of the same architecture. All statements: "
        "--json, --out FILE.csv; reasons: the documentation's page on claims.",
    ]


def hypotheses_table(table: "HypothesisTable", needed: Sequence[int | None]) -> Table:
    """One row a hypothesis."""
    shown = _table("hypothesis", "verdict", "effect", "aim", "p", "prompts", "needed")
    for one, found, n in zip(table.hypotheses, table.findings, needed, strict=True):
        cells = told.finding_cells(found)
        shown.add_row(
            Text(one.name), _verdict(one.verdict), _effect(found), cells.aim,
            p_text(one.p), cells.n, UNKNOWN if n is None else f"{n:,}",
        )  # fmt: skip
    return shown


def hypothesis_notes(table: "HypothesisTable") -> list[str]:
    """Each hypothesis in words, and what to bear in mind."""
    lines = [
        f"{one.key}: {one.says} ({one.unit})." + (f" Note: {one.reason}." if one.reason else "")
        for one in table.findings
    ]
    return [
        *lines,
        "p: two-sided against the aim, corrected over each family (Holm). needed: different "
        "prompts for 90 % power, were the effect as found; –: it does not pass the aim.",
    ]


def models_table(together: "ModelsTable") -> Table:
    """One row a model: where control passes, and a word for each claim."""
    claims = [one.claim for one in together.tables[0].claims]
    shown = _table("model", "blocks", "right", "passes at", "10-90 %", *claims)
    frame = together.to_frame()
    for name, rows in frame.groupby("model", sort=False):
        first = rows.iloc[0]
        words = [Text(SHORT[v], style=STYLES[v]) for v in rows.verdict]
        shown.add_row(
            Text(str(name)), str(first.n_layers), percent(first.accuracy),
            str(Interval(value=first.passes_at, low=first.passes_low, high=first.passes_high)),
            number(first.handover_width), *words,
        )  # fmt: skip
    return shown


def plan_table(plan: "Workload") -> Table:
    """One row a sweep."""
    shown = _table("sweep", "edited runs")
    for name, n in plan.sweeps:
        shown.add_row(Text(name), f"{n:,}")
    return shown


def report_plan_table(plan: "ReportPlan") -> Table:
    """One row a section."""
    shown = _table("section", "time", "edited runs", "memory")
    for row in plan.to_frame().itertuples():
        took = duration(float(row.seconds))  # type: ignore[arg-type]
        shown.add_row(Text(str(row.section)), took, f"{row.edited_runs:,}", size(row.bytes))  # type: ignore[arg-type]
    return shown


def sweep_plan_table(plan: "SweepPlan") -> Table:
    """One row a model, task and analysis."""
    shown = _table("model", "task", "analysis", "pairs", "shards", "edited runs", "time", "memory")
    for load in plan.loads:
        at = f"@{load.revision}" if load.revision else ""
        settings = ", ".join(f"{key} {value}" for key, value in load.settings.items())
        shown.add_row(
            Text(visible(f"{load.model}{at} {load.dtype}")),
            Text(visible(load.task)),
            Text(visible(f"{load.analysis} {settings}".strip())),
            f"{load.pairs:,}",
            f"{load.shards:,}",
            f"{load.runs:,}",
            UNKNOWN if load.seconds is None else duration(load.seconds),
            size(load.n_bytes),
        )
    return shown


def plan_sentences(plan: "Workload") -> list[str]:
    """Totals, time and memory."""
    return [
        f"{plan.edited_runs:,} edited runs and {plan.plain_runs:,} plain ones.",
        f"A forward pass takes {1000 * plan.seconds_per_prompt:.1f} ms a prompt here, so plain "
        f"hooks would take {duration(plan.most_seconds)}; replaying takes a third or less as a "
        f"rule.",
        f"Memory: weights {size(plan.weights_bytes)}, states kept at most "
        f"{size(plan.states_bytes)}.",
    ]


def size(n: int) -> str:
    """Bytes as `512 MiB` or `1.5 GiB`."""
    return f"{n / 2**20:,.0f} MiB" if n < 2**30 else f"{n / 2**30:.1f} GiB"
