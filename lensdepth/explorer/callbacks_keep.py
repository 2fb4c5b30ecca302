"""What a person takes along: tables, programs, notebooks, and the history of this tab."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import (
    ALL,
    MATCH,
    ClientsideFunction,
    Dash,
    Input,
    Output,
    State,
    ctx,
    dcc,
    html,
    no_update,
)

from lensdepth.explorer import questions, script
from lensdepth.explorer.cards import Card, cards_of, token_map
from lensdepth.explorer.errors import readable
from lensdepth.explorer.links import kept
from lensdepth.explorer.panels import message, table_of
from lensdepth.explorer.script import Chapter
from lensdepth.explorer.session import MOST_REASONS, entries_of, models_of, session_of
from lensdepth.explorer.settle import describe, opened
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.writing import csv_text


def register(app: Dash, shelf: Shelf) -> None:
    """Attach the callbacks."""
    _register_tables(app, shelf)
    _register_programs(app, shelf)
    _register_history(app)
    _register_page(app)


def shown_on(screen: Screen) -> tuple[Card, ...]:
    """Everything that a table can be had of."""
    shown = cards_of(screen)
    if screen.view != "poke":
        return shown
    return (replace(token_map(screen), name="pick", slow=False, click=""), *shown)


def table_file(screen: Screen, name: str, kind: str, shelf: Shelf) -> tuple[str, bytes]:
    """A table of the screen as a file: its name and its bytes.

    Raises:
        ValueError: there is no such table, or it is not found yet.
    """
    if kind not in ("csv", "parquet"):
        raise ValueError(f"Tables are CSV or Parquet, not {kind!r}.")
    named = {card.name: card for card in shown_on(screen)}
    if name not in named:
        raise ValueError("This view has no such table.")
    card = named[name]
    if card.slow and not questions.known(card.question, shelf):
        raise ValueError("There is nothing to download yet: press this view's button first.")
    frame = table_of(card, questions.answer(card.question, shelf).value)
    if screen.note:
        frame = frame.assign(note=screen.note)
    content = csv_text(frame).encode() if kind == "csv" else frame.to_parquet(index=False)
    return f"lensdepth-{screen.view}-{name}.{kind}", content


def program_file(screen: Screen, kind: str, shelf: Shelf) -> tuple[str, str]:
    """What the screen shows as a program or notebook: name and text."""
    chapter = Chapter(title=describe(screen), cards=cards_of(screen), note=screen.note)
    text = _made(kind)(
        [chapter], shelf.offers, fingerprints=_fingerprints(models_of(screen), shelf)
    )
    return f"lensdepth-{screen.view}.{_ending(kind)}", text


def session_file(history: object, kind: str, shelf: Shelf) -> tuple[str, str, list[str]]:
    """Everything that was asked in a tab as one program or notebook: name, text, what it lacks.

    Raises:
        ValueError: nothing was found yet.
    """
    session = session_of(history, shelf)
    text = _made(kind)(
        session.chapters,
        shelf.offers,
        fingerprints=_fingerprints(session.models, shelf),
        title=session.title,
    )
    return f"lensdepth-session.{_ending(kind)}", text, list(session.left_out)


def _made(kind: str) -> Any:
    return script.notebook if kind == "notebook" else script.program


def _ending(kind: str) -> str:
    return "ipynb" if kind == "notebook" else "py"


def _fingerprints(models: Sequence[str], shelf: Shelf) -> dict[str, str]:
    return {name: shelf.model(name).info.fingerprint for name in models if name}


def _register_tables(app: Dash, shelf: Shelf) -> None:
    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Output("banner", "children", allow_duplicate=True),
        Input({"type": "table", "name": ALL, "kind": ALL}, "n_clicks"),
        State("screen", "data"),
        prevent_initial_call=True,
    )
    def table(clicks: list[object], screen: object) -> tuple[Any, Any]:
        asked = ctx.triggered_id
        if not any(clicks) or not screen or not isinstance(asked, Mapping):
            return no_update, no_update
        try:
            shown = opened(kept(screen, shelf.offers), shelf)
            name, content = table_file(shown, str(asked["name"]), str(asked["kind"]), shelf)
        except Exception as error:
            return no_update, message(readable(error))
        return dcc.send_bytes(content, name), []


def _register_programs(app: Dash, shelf: Shelf) -> None:
    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Output("banner", "children", allow_duplicate=True),
        Input("script", "n_clicks"),
        Input("notebook", "n_clicks"),
        State("screen", "data"),
        State("history", "data"),
        prevent_initial_call=True,
    )
    def take(
        scripts: object, notebooks: object, screen: object, history: object
    ) -> tuple[Any, Any]:
        if not screen:
            return no_update, no_update
        try:
            shown = _last_shown(screen, history, shelf)
            name, text = program_file(shown, str(ctx.triggered_id), shelf)
        except Exception as error:
            return no_update, message(readable(error))
        return {"content": text, "filename": name, "type": "text/plain"}, []

    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Output("session-said", "children"),
        Input("session-script", "n_clicks"),
        Input("session-notebook", "n_clicks"),
        State("history", "data"),
        prevent_initial_call=True,
    )
    def whole(scripts: object, notebooks: object, history: object) -> tuple[Any, Any]:
        kind = str(ctx.triggered_id).removeprefix("session-")
        try:
            name, text, left_out = session_file(history, kind, shelf)
        except Exception as error:
            return no_update, message(readable(error))
        content = {"content": text, "filename": name, "type": "text/plain"}
        return content, [message(said, kind="warning") for said in left_out[:MOST_REASONS]]


def _last_shown(screen: object, history: object, shelf: Shelf) -> Screen:
    """The screen, or on Keep the one before it."""
    shown = opened(kept(screen, shelf.offers), shelf)
    entries = entries_of(history)
    while shown.view == "keep" and entries:
        shown = opened(kept(entries.pop(), shelf.offers), shelf)
    if shown.view == "keep":
        raise ValueError("Nothing has been looked at yet in this tab: open another view first.")
    return shown


def _register_history(app: Dash) -> None:
    app.clientside_callback(
        ClientsideFunction("lensdepth", "remember"),
        Output("history", "data"),
        Output("url", "search", allow_duplicate=True),
        Output("noted", "data"),
        Input("screen", "data"),
        Input("outcome", "data"),
        Input("undo", "n_clicks"),
        Input("redo", "n_clicks"),
        Input("history-clear", "n_clicks"),
        State("history", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("history-list", "children"),
        Output("undo", "disabled"),
        Output("redo", "disabled"),
        Input("history", "data"),
    )
    def listed(history: object) -> tuple[Any, bool, bool]:
        entries = entries_of(history)
        at = history.get("at") if isinstance(history, Mapping) else None
        at = at if isinstance(at, int) else -1
        items = [
            html.Li(
                [
                    dcc.Link(entry["label"], href=f"/{entry['query']}", refresh=False),
                    html.Span(entry["text"], className="small"),
                    *([html.Span(entry["note"], className="noted")] if entry["note"] else []),
                ],
                className="here" if i == at else "",
            )
            for i, entry in enumerate(entries)
        ]
        return items[::-1], at <= 0, at >= len(entries) - 1

    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Input("history-csv", "n_clicks"),
        State("history", "data"),
        prevent_initial_call=True,
    )
    def as_csv(clicks: object, history: object) -> Any:
        import pandas as pd

        frame = pd.DataFrame(entries_of(history), columns=["label", "text", "note", "query"])
        return dcc.send_string(csv_text(frame), "lensdepth-history.csv")


def _register_page(app: Dash) -> None:
    """What the browser does by itself: colours, clicks, downloads of figures, links."""
    app.clientside_callback(
        ClientsideFunction("lensdepth", "draw"),
        Output({"type": "graph", "name": MATCH}, "figure"),
        Output({"type": "graph", "name": MATCH}, "style"),
        Input({"type": "figure", "name": MATCH}, "data"),
        State("dark", "data"),
        State({"type": "figure", "name": MATCH}, "id"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("lensdepth", "noted"),
        Output("note-text", "value"),
        Output("note-start", "children"),
        Input("note", "value"),
    )
    app.clientside_callback(
        ClientsideFunction("lensdepth", "numbers"),
        Output({"type": "numbers", "name": MATCH}, "className"),
        Input({"type": "rows", "name": MATCH}, "data"),
        State({"type": "rows", "name": MATCH}, "id"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("lensdepth", "click"),
        Output("site", "data"),
        Input({"type": "graph", "name": ALL}, "clickData"),
        State({"type": "figure", "name": ALL}, "data"),
        State({"type": "figure", "name": ALL}, "id"),
        prevent_initial_call=True,
    )
