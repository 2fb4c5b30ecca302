"""What one edit did, in its three scopes side by side: a table, a sentence, a line of history."""

import math
from typing import Any

from dash import html

from lensdepth.edits import CONTROL
from lensdepth.explorer.notes import SCOPES
from lensdepth.intervention import Intervention
from lensdepth.telling.depths import edited_at
from lensdepth.telling.names import edit_name
from lensdepth.telling.numbers import change, number
from lensdepth.telling.tokens import signed

RANDOM = edit_name("random")
FACTS = (
    ("Transferred fraction", "transferred", "0 base, 1 source"),
    ("Target gain", "target_gain", "source's answer up"),
    ("Foil loss", "foil_loss", "base's answer down"),
    ("Logit difference", "effect", "its change in nats"),
    ("KL(base ‖ edited)", "kl", "nats"),
)
"""Label, column, and what it means, of each number of a scope."""
BY_CONSTRUCTION = (
    "sets the state that the answer is read from, so the answer follows by construction; look at "
    "what “Here” does, or edit another token."
)
NO_CONTROL = "No random control: this edit leaves the direction as it is, or is itself random."


def scope_table(found: Intervention, focus: str) -> list[Any]:
    """The effect of each scope in numbers, a column each, with its control below."""
    rows = _rows(found)
    marks = {scope: _class(scope, focus) for scope in found.scopes}
    table = html.Table(
        className="scope-table",
        children=[
            html.Caption("What the edit does in each scope", className="unseen"),
            html.Thead(
                html.Tr([
                    html.Td(f"below: {RANDOM}" if _controlled(found, rows) else "",
                            className="small"),
                    *(
                        html.Th(
                            scope="col", className=mark, title=f"The edit {SCOPES[scope][1]}",
                            children=[SCOPES[scope][0],
                                      html.Span(_where(found, scope), className="unit")],
                        )
                        for scope, mark in marks.items()
                    ),
                ])
            ),
            html.Tbody([_next_token(rows, marks), *_numbers(found, rows, marks)]),
        ],
    )  # fmt: skip
    return [table, *_remarks(found, rows)]


def _rows(found: Intervention) -> dict[Any, Any]:
    return found.to_frame().set_index("run").to_dict("index")


def _class(scope: str, focus: str) -> str:
    return f"scope-{scope}{' focused' if scope == focus else ''}"


def _where(found: Intervention, scope: str) -> str:
    depths = found.edited[found.index(scope)]
    return edited_at(depths[0], depths[-1], stream=found.stream)


def _next_token(rows: dict[Any, Any], marks: dict[str, str]) -> html.Tr:
    base = rows["base"]
    before = f"before: {signed(str(base['top1']))} {number(base['p_top1'])}"
    return html.Tr([
        html.Th(["Next token", html.Span(before, className="unit")], scope="row"),
        *(
            html.Td(className=mark, children=[
                html.B([html.Code(signed(str(rows[scope]["top1"]))),
                        f" {number(rows[scope]['p_top1'])}"]),
                html.Span("flipped" if rows[scope]["flip"] else "not flipped", className="control"),
            ])
            for scope, mark in marks.items()
        ),
    ])  # fmt: skip


def _numbers(found: Intervention, rows: dict[Any, Any], marks: dict[str, str]) -> list[html.Tr]:
    return [
        html.Tr([
            html.Th([label, html.Span(note, className="unit")], scope="row"),
            *(
                html.Td(className=mark, children=[
                    html.Strong(_effect(found, scope, column)),
                    *_control(found, rows, scope, column),
                ])
                for scope, mark in marks.items()
            ),
        ])
        for label, column, note in FACTS
    ]  # fmt: skip


def _control(found: Intervention, rows: dict[Any, Any], scope: str, column: str) -> list[Any]:
    if scope + CONTROL not in rows:
        return []
    heard = html.Span(f"{RANDOM} ", className="unseen")
    return [html.Span([heard, _effect(found, scope + CONTROL, column)], className="control")]


def _controlled(found: Intervention, rows: dict[Any, Any]) -> bool:
    return any(scope + CONTROL in rows for scope in found.scopes)


def _remarks(found: Intervention, rows: dict[Any, Any]) -> list[html.P]:
    said = []
    names = [f"“{SCOPES[scope][0]}”" for scope in found.scopes if scope in found.reads_edit]
    if names:
        said.append(f"{' and '.join(names)}: the edit {BY_CONSTRUCTION}")
    if not _controlled(found, rows):
        said.append(NO_CONTROL)
    return [html.P(text, className="small") for text in said]


def _effect(found: Intervention, run: str, effect: str) -> str:
    """One effect of a run; a change of the logit difference with its sign."""
    one = found.number(run, effect)
    return change(one.value) if effect == "effect" and not one.is_rounding else str(one)


def said_of(found: Intervention, focus: str) -> str:
    """The scope that is looked at closely, in one sentence."""
    said = f"{SCOPES[focus][0]}, {_where(found, focus)}: the next token {turn_of(found, focus)}"
    return f"{said}{transfer_of(found, focus)}; KL {found.number(focus, 'kl')} nats."


def turn_of(found: Intervention, run: str) -> str:
    """What becomes of the base's next token."""
    rows = _rows(found)
    base, row = rows["base"], rows[run]
    before, after = signed(str(base["top1"])), signed(str(row["top1"]))
    p_before, p_after = number(base["p_top1"]), number(row["p_top1"])
    if row["flip"]:
        return f"turns from {before} ({p_before}) into {after} ({p_after})"
    return f"stays {after} ({p_before} → {p_after})"


def transfer_of(found: Intervention, run: str) -> str:
    """The transferred fraction beside its control's; nothing where there is none."""
    if math.isnan(float(found.transferred[found.index(run)])):
        return ""
    said = f"; transferred fraction {found.number(run, 'transferred')}"
    if run + CONTROL in found.runs:
        said += f", {RANDOM} {found.number(run + CONTROL, 'transferred')}"
    return said


def outcome_of(found: Intervention, focus: str) -> str:
    """A poke in a few words, for the history."""
    row = _rows(found)[focus]
    said = f"{signed(str(row['top1']))} {number(row['p_top1'])}"
    if not math.isnan(row["transferred"]):
        said += f", transferred {found.number(focus, 'transferred')}"
    if not math.isnan(row["target_gain"]):
        gain, loss = (found.number(focus, name) for name in ("target_gain", "foil_loss"))
        said += f" (gain {gain}, loss {loss})"
    return f"{SCOPES[focus][0].lower()}: {said}, KL {found.number(focus, 'kl')} nats"
