"""From results to what a page shows: figures as JSON, numbers as tables, sentences.

Tokens and prompts become text nodes, never markup; Plotly's own texts were made inert where the
figures are drawn.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dash import html

from lensdepth.edits import CONTROL
from lensdepth.explorer.cards import Card
from lensdepth.explorer.notes import SCOPES
from lensdepth.explorer.state import Screen
from lensdepth.heatmaps import add_level, outline
from lensdepth.intervention import Intervention
from lensdepth.lens.figures import shown
from lensdepth.plotting import Zone, add_zone
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import between
from lensdepth.telling.names import edit_name, has_blocks
from lensdepth.telling.numbers import UNKNOWN, below, change, counted, number
from lensdepth.telling.plain import Json
from lensdepth.telling.tokens import signed
from lensdepth.transition import Crossing, Transition
from lensdepth.transition.told import read_by

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

MOST_ROWS = 40
"""Rows of a table on the page; a download has them all."""
RANDOM = edit_name("random")


def figure_of(card: Card, value: Any) -> "Figure":
    """What a card draws."""
    return getattr(value, card.draw)(**dict(card.draw_options))


def table_of(card: Card, value: Any) -> "pd.DataFrame":
    """What it tabulates."""
    return getattr(value, card.table)(**dict(card.table_options))


def as_json(figure: "Figure", click: Json | None = None) -> Json:
    """A figure for the page, and what a click in it means."""
    return {"figure": json.loads(figure.to_json() or "{}"), "click": click or {}}


def click_of(card: Card, value: Any) -> Json:
    """What the rows and columns of a figure are, for the page to make a site of a click."""
    if card.click == "cell":
        return {"kind": "cell"}
    if card.click == "map":
        return {"kind": "map", "rows": value.depths.tolist(), "columns": list(value.positions)}
    if card.click in ("curve", "pair", "node"):
        return {"kind": card.click}
    if card.click == "head":
        n_heads = value.provenance.model.n_heads
        rows = list(range(value.provenance.model.n_layers))
        columns: list[Any] = list(range(n_heads))
        if card.name == "attribution":
            columns += [None] * value.has_attn_bias + ["mlp"]
        return {"kind": "head", "rows": rows, "columns": columns}
    return {}


def with_zone(figure: "Figure", found: Transition | None, prompts: int) -> None:
    """The switch of the task's lens over a token map."""
    if found is None or found.verdict != "transition":
        return
    low, at, high = found.location_low, found.location, found.location_high
    where = between(at, low, high, found.n_layers)
    sample = f"{counted(prompts, 'prompt')} of the task"
    name = f"lens switches at {where}{read_by(found)}, {sample}"
    add_level(figure, Zone(name=name, low=low, at=at, high=high))


def with_crossing(figure: "Figure", found: Crossing | None) -> None:
    """The interval in which two curves cross."""
    if found is not None and found.verdict == "crossing":
        add_zone(figure, Zone(name="", low=found.low, at=found.depth, high=found.high))


def with_answers(figure: "Figure", pair: Task) -> None:
    """The answers themselves in place of `target` and `foil`, which change places with the base."""
    assert pair.target is not None
    assert pair.foil is not None
    names = {"target": shown(pair.target[0]), "foil": shown(pair.foil[0])}
    for trace in figure.select_traces():
        bar = getattr(trace, "colorbar", None)
        if bar is None:
            continue
        for word, name in names.items():
            if bar.ticktext:
                bar.ticktext = [
                    str(t).replace(f"towards {word}", f"towards {name}") for t in bar.ticktext
                ]
            if bar.title.text:
                bar.title.text = bar.title.text.replace(f"logit({word})", f"logit({name})")


def with_site(figure: "Figure", screen: Screen) -> None:
    """A frame round the chosen cells of a token map."""
    assert screen.at is not None
    last = screen.at if screen.last is None else screen.last + has_blocks(screen.stream)
    outline(
        figure,
        rows=(screen.at, last),
        columns=(screen.position, max(screen.to, screen.position)),
    )


def numbers(
    frame: "pd.DataFrame", floors: Mapping[str, float] | None = None, *, most: int = MOST_ROWS
) -> dict[str, Any]:
    """The first rows of a table as texts, which the page's script sets out.

    What is smaller than the floor of its column, if that has one, is written as below it. Cells
    are no components: Dash tells every component of every change, and with some thousands of them
    a click took seconds.
    """
    more = len(frame) - most
    sizes = [(floors or {}).get(str(name), 0.0) for name in frame.columns]
    return {
        "head": [str(name) for name in frame.columns],
        "rows": [
            [_cell(value, floor) for value, floor in zip(row, sizes, strict=True)]
            for row in frame.head(most).itertuples(index=False)
        ],
        "note": f"and {more:,} more rows; the downloads have them all." if more > 0 else "",
    }


def _cell(value: Any, floor: float) -> str:
    if isinstance(value, str):
        return signed(value)
    if value is None:
        return UNKNOWN
    if isinstance(value, float):
        return below(floor) if 0 < abs(value) < floor else number(value)
    return str(value)


def message(text: str, *, kind: str = "error") -> html.Div:
    """A message in a card or above the page."""
    return html.Div(text, className=f"notice {kind}")


def notices(notes: Sequence[str]) -> list[html.Div]:
    """What the library warned of."""
    return [message(note, kind="warning") for note in notes]


def scope_cards(found: Intervention, focus: str) -> list[Any]:
    """The effect of each scope in numbers, side by side, with its control below."""
    frame = found.to_frame().set_index("run")
    return [_scope_card(found, frame, scope, scope == focus) for scope in found.scopes]


def _scope_card(found: Intervention, frame: "pd.DataFrame", scope: str, focused: bool) -> html.Div:
    name, where = SCOPES[scope]
    depths = found.edited[found.index(scope)]
    span = str(depths[0]) if len(depths) == 1 else f"{depths[0]}–{depths[-1]}"
    what = "block" if has_blocks(found.stream) else "depth"
    rows: dict[Any, Any] = frame.to_dict("index")
    row, base, control = rows[scope], rows["base"], rows.get(f"{scope}{CONTROL}")
    facts = [
        ("Transferred fraction", "transferred", "", "0 base, 1 source"),
        ("Target gain", "target_gain", "", "of it: source's answer up"),
        ("Foil loss", "foil_loss", "", "of it: base's answer down"),
        ("Change of logit difference", "effect", " nats", "towards the source is +"),
        ("KL(base ‖ edited)", "kl", " nats", "how much of the base prediction is gone"),
    ]
    return html.Div(
        className=f"scope scope-{scope}{' focused' if focused else ''}",
        children=[
            html.Div(className="scope-head", children=[
                html.H4(name), html.Span(f"{where} ({what} {span})", className="small"),
            ]),
            html.P(className="flip", children=[
                html.Code(signed(str(base["top1"]))), f" {number(base['p_top1'])}",
                html.Span(" → ", title="becomes"),
                html.Code(signed(str(row["top1"])), className="after"), f" {number(row['p_top1'])}",
                html.Span("flipped" if row["flip"] else "not flipped", className="tag"),
            ]),
            html.Dl([
                html.Div([
                    html.Dt([label, html.Span(note, className="unit")]),
                    html.Dd([
                        html.Strong(_effect(found, scope, column, unit)),
                        html.Span(
                            "" if control is None
                            else f"{RANDOM} {_effect(found, scope + CONTROL, column, unit)}",
                            className="control",
                        ),
                    ]),
                ])
                for label, column, unit, note in facts
            ]),
            *([html.P(
                "This scope also sets the state that the answer is read from, so the answer "
                "follows by construction; look at what “Here” does, or edit another token.",
                className="small",
            )] if scope in found.reads_edit else []),
            *([] if control is not None else [html.P(
                "No random control: this edit leaves the direction as it is, or is itself random.",
                className="small",
            )]),
        ],
    )  # fmt: skip


def _effect(found: Intervention, run: str, effect: str, unit: str) -> str:
    """One effect of a run with its unit; a change of the logit difference with its sign."""
    one = found.number(run, effect)
    text = change(one.value) if effect == "effect" and not one.is_rounding else str(one)
    return text if text == UNKNOWN else text + unit


def outcome_of(found: Intervention, focus: str) -> str:
    """A poke in a few words, for the history."""
    row: dict[Any, Any] = found.to_frame().set_index("run").to_dict("index")[focus]
    said = f"{signed(str(row['top1']))} {number(row['p_top1'])}"
    if not math.isnan(row["transferred"]):
        said += f", transferred {found.number(focus, 'transferred')}"
    if not math.isnan(row["target_gain"]):
        gain, loss = (found.number(focus, name) for name in ("target_gain", "foil_loss"))
        said += f" (gain {gain}, loss {loss})"
    return f"{SCOPES[focus][0].lower()}: {said}, KL {found.number(focus, 'kl')} nats"
