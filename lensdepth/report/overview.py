"""The first screen of a report: what was asked, what was found, how sure that is, what it cost."""

from dataclasses import dataclass
from typing import Any

from lensdepth.analyses import ANALYSES, analysis
from lensdepth.claims import told
from lensdepth.lens.told import on_right
from lensdepth.report.measured import Measured
from lensdepth.report.story import KeyNumber, headline
from lensdepth.sweep.told import control_pairs
from lensdepth.tasks.told import drawn, noun
from lensdepth.telling.numbers import counted, duration, tiny
from lensdepth.units import FEWEST_UNITS, count, named

MARKS = {"supported": "✓", "contradicted": "✗", "cannot tell": "?"}
"""Verdict -> its sign, for those who do not see colours."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview:
    """What a reader has seen without scrolling."""

    asked: str
    keys: list[KeyNumber]
    """Where control passes, and what carries it."""
    verdicts: list[dict[str, Any]]
    """One a claim; () where none was judged."""
    unjudged: str
    """Why not, then."""
    beside: list[str]
    """Where another report switches, if one stands beside it."""
    sure: list[str]
    """Pairs, units and controls."""
    missing: str
    """What was not measured."""
    cost: str


def overview(findings: Measured) -> Overview:
    """The same of one report."""
    table = findings.claims
    return Overview(
        asked=_asked(findings),
        keys=headline(findings),
        verdicts=[]
        if table is None
        else [
            {
                "claim": one.claim,
                "title": one.title,
                "verdict": one.verdict,
                "mark": MARKS[one.verdict],
                "cells": told.finding_cells(table.finding(one.decisive)),
            }
            for one in table.claims
        ],
        unjudged="" if table is not None else findings.absent["claims"],
        beside=_beside(findings),
        sure=_sure(findings),
        missing=_missing(findings),
        cost=_cost(findings),
    )


def _asked(findings: Measured) -> str:
    task, lens = findings.task, findings.lens
    where = (
        f"Where in its {counted(findings.n_layers, 'block')} does {lens.provenance.model.name} "
        f"stop reading and form its answer to {counted(len(task), noun(task))} of {task.name}, and "
        f"which part of the state carries it?"
    )
    if task.has_pairs:
        return where
    return (
        f"Where in its {counted(findings.n_layers, 'block')} can the prediction of "
        f"{lens.provenance.model.name} on {counted(len(task), noun(task))} of {task.name} be read, "
        f"and how do the states lie to one another?"
    )


def _beside(findings: Measured) -> list[str]:
    found = findings.comparison
    if found is None:
        return []
    places = [one for one in found.differences if one.is_place and one.verdict != "not in both"]
    said = [one.told(found.names) for one in places[:2]]
    return [*(said or ["No switch is located in both."]), f"{found.on[:1].upper()}{found.on[1:]}."]


def _sure(findings: Measured) -> list[str]:
    units, n = findings.lens.provenance.units, len(findings.task)
    n_units = count(units, n)
    enough = n_units >= FEWEST_UNITS
    intervals = "over which 95% intervals go" if enough else "too few for an interval"
    said = [
        f"{drawn(findings.task)}; {counted(n_units, 'independent unit')} ({named(units)}), "
        f"{intervals}."
    ]
    right = on_right(findings.lens)
    if right is not None:
        said.append(f"Target is the first choice on {right}.")
    patch = findings.patch
    if patch is not None:
        n_control = control_pairs(patch).get("control_pairs")
        with_controls = "" if n_control is None else f"Controls on {counted(n_control, 'pair')}; "
        error = patch.self_patch_error
        moves = f"no logit by more than {tiny(error)}" if error > 0 else "nothing"
        said.append(f"{with_controls}a run's own state, put back, changes {moves}.")
    if findings.claims is not None:
        said.append(f"{counted(findings.claims.n_twins, 'untrained twin')} beside the claims.")
    return said


def _missing(findings: Measured) -> str:
    """Sections without a result, depths that were left out, and what no single report can say."""
    said = [one.title for one in ANALYSES if findings.absent.get(one.key)]
    if findings.patch is not None:
        n, whole = len(findings.patch.depths), findings.n_layers + 1
        if n < whole:
            said.append(f"edits at {whole - n} of {whole} depths")
    said.append("other models, tasks and wordings")
    return "; ".join(said)


def _cost(findings: Measured) -> str:
    runs = "" if findings.runs is None else f"; {counted(findings.runs, 'edited run')}"
    model = findings.lens.provenance.model
    return f"{duration(sum(findings.seconds.values(), 0.0))} on {model.device}, {model.dtype}{runs}"


def shown_in(claim: str) -> tuple[str, str]:
    """Key and title of the section whose figure shows a claim."""
    return SHOWN_IN[claim], analysis(SHOWN_IN[claim]).title


SHOWN_IN = {
    "C1": "patch", "C2": "steering", "C3": "geometry", "C4": "geometry", "C5": "ablation",
    "C6": "decoding", "C7a": "locality", "C7b": "locality", "C7c": "locality",
}  # fmt: skip
"""Claim -> key of the section whose figure shows it."""
