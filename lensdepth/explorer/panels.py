"""From results to what a page shows: figures as JSON, numbers as tables, sentences.

Tokens and prompts become text nodes, never markup; Plotly's own texts were made inert where the
figures are drawn.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dash import html

from lensdepth.explorer.cards import Card
from lensdepth.explorer.state import Screen
from lensdepth.heatmaps import add_level, outline
from lensdepth.lens.figures import CHARACTERS, shown
from lensdepth.plotting import Zone, add_zone, layout_of
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import between
from lensdepth.telling.names import has_blocks
from lensdepth.telling.numbers import UNKNOWN, below, counted, number
from lensdepth.telling.plain import Json
from lensdepth.telling.tokens import signed
from lensdepth.transition import Crossing, Transition
from lensdepth.transition.told import read_by

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

MOST_ROWS = 40
"""Rows of a table on the page; a download has them all."""


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
    if card.click in ("curve", "pair", "node", "move"):
        return {"kind": card.click}
    if card.click == "head":
        n_heads = value.provenance.model.n_heads
        rows = list(range(value.provenance.model.n_layers))
        columns: list[Any] = list(range(n_heads))
        if card.name == "attribution":
            columns += [None] * value.has_attn_bias + ["mlp"]
        return {"kind": "head", "rows": rows, "columns": columns}
    return {}


def zone_name(found: Transition | None) -> str:
    """The switch of the task's lens in words; nothing where there is none."""
    if found is None or found.verdict != "transition":
        return ""
    low, at, high = found.location_low, found.location, found.location_high
    where = between(at, low, high, found.n_layers)
    sample = f"{counted(found.n_pairs, 'prompt')} of the task"
    return f"lens switches at {where}{read_by(found)}, {sample}"


def with_zone(figure: "Figure", found: Transition) -> None:
    """The switch of the task's lens over a token map."""
    low, at, high = found.location_low, found.location, found.location_high
    add_level(figure, Zone(name=zone_name(found), low=low, at=at, high=high))


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


def with_move(figure: "Figure", screen: Screen, prompt: str) -> None:
    """Frames in a prompt's map: solid where a state is taken, dashed where it is put."""
    assert screen.from_depth is not None
    assert screen.into_depth is not None
    for whose, depth, position, dash in (
        (screen.giver, screen.from_depth, screen.from_position, "solid"),
        (screen.taker, screen.into_depth, screen.into_position, "dot"),
    ):
        if whose == prompt:
            outline(figure, rows=(depth, depth), columns=(position, position), dash=dash)


def with_unknown(figure: "Figure", unknown: Mapping[int, str]) -> None:
    """The words themselves, under a sign, at columns of tokens that stand for unknown ones."""
    labels = list(layout_of(figure).xaxis.ticktext)
    for place, word in unknown.items():
        below = labels[place].partition("<br>")[2]
        labels[place] = f"<b>⚠ {shown(word, CHARACTERS)}</b><br>{below}"
    layout_of(figure).xaxis.ticktext = labels


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
