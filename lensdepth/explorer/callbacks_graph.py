"""The circuit's graph: drawn in the background, its nodes to choose from, its file."""

import json
from collections.abc import Mapping
from typing import Any

from dash import Dash, Input, Output, State, ctx, no_update

from lensdepth.circuit import CircuitGraph
from lensdepth.circuit.neuronpedia import graph_json
from lensdepth.explorer import questions
from lensdepth.explorer.background import Background, end_of
from lensdepth.explorer.cards import graph_cards, graph_of
from lensdepth.explorer.errors import readable
from lensdepth.explorer.filling import (
    Filled,
    blank,
    card_outputs,
    failures,
    fill,
    no_cards,
    screen_of,
)
from lensdepth.explorer.links import kept
from lensdepth.explorer.menus import FROM_GRAPH
from lensdepth.explorer.panels import message
from lensdepth.explorer.settle import opened
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.telling.plain import Json

NOT_DRAWN = "Nothing has been measured for this pair yet: press “Draw the graph”."
ON_ITS_WAY = "The graph is on its way. You can go on working meanwhile."


def register(app: Dash, shelf: Shelf, background: Background) -> None:
    """Attach the callbacks."""
    ends = FROM_GRAPH

    @app.callback(
        output={
            "cards": card_outputs("graph"),
            "ends": {name: Output(name, "options", allow_duplicate=True) for name in ends},
            "job": Output("job", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-circuit", "data"), Input("done", "data"), State("job", "data"),
                State("tab", "data")],
        prevent_initial_call=True,
    )  # fmt: skip
    def graph(query: object, done: object, job: object, tab: object) -> Json:
        still: Json = {
            "cards": no_cards("graph"), "ends": dict.fromkeys(ends, no_update), "job": no_update,
        }  # fmt: skip
        if query is None:
            return still
        screen = screen_of(query, "circuit", shelf)
        still |= {"ends": _ends(screen, shelf)}
        shown = graph_cards(screen)
        if not shown:
            return still | {"cards": _only(message(NOT_DRAWN, kind="waiting"))}
        missing = background.missing(shown)
        filled = {
            e.name: fill(e, screen, shelf)
            for e in shown
            # One edge is measured quickly, but not while the graph waits for the model.
            if e not in missing and (e.slow or not missing)
        }
        if not missing:
            return still | {"cards": blank("graph", filled)}
        if ctx.triggered_id in (None, "ask-circuit"):
            filled.setdefault("graph", Filled(message=message(ON_ITS_WAY, kind="waiting")))
            begun = background.begin(screen, missing, tab)
            return still | {"cards": blank("graph", filled), "job": begun}
        end = end_of(done, job, query)
        if end is None:  # it is still at work, or another view's analysis has ended
            return still
        failed = failures(end, missing)
        if failed:
            return still | {"cards": blank("graph", filled | failed)}
        said = message(str(end.get("message") or NOT_DRAWN))
        filled.setdefault("graph", Filled(message=said))
        return still | {"cards": blank("graph", filled)}

    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Output("banner", "children", allow_duplicate=True),
        Input("graph-json", "n_clicks"),
        State("screen", "data"),
        prevent_initial_call=True,
    )
    def file(clicks: object, screen: object) -> tuple[Any, Any]:
        if not clicks or not screen:
            return no_update, no_update
        try:
            name, text = graph_file(opened(kept(screen, shelf.offers), shelf), shelf)
        except Exception as error:
            return no_update, message(readable(error))
        return {"content": text, "filename": name, "type": "application/json"}, []


def graph_file(screen: Screen, shelf: Shelf) -> tuple[str, str]:
    """The graph as it is pruned, for other viewers: name and text.

    Raises:
        ValueError: it has not been measured yet.
    """
    whole = _graph(screen, shelf)
    if whole is None:
        raise ValueError("Draw the graph first: there is nothing to download yet.")
    name = "lensdepth-graph"
    made = graph_json(whole.prune(keep=screen.kept), slug=name)
    if screen.note:
        made["metadata"]["info"]["description"] += f" Note: {screen.note}"
    return f"{name}.json", json.dumps(made)


def _graph(screen: Screen, shelf: Shelf) -> CircuitGraph | None:
    question = graph_of(screen)
    return questions.answer(question, shelf).value if questions.known(question, shelf) else None


def _ends(screen: Screen, shelf: Shelf) -> Mapping[str, Any]:
    """The nodes that an edge may lead from and to, and those that are chosen."""
    whole = _graph(screen, shelf)
    nodes = () if whole is None else whole.nodes
    up = [*nodes, screen.upstream]
    down = [*(n for n in nodes if not n.startswith("EMBED")), "LOGIT", screen.downstream]
    return {
        name: [{"label": one, "value": one} for one in dict.fromkeys(mine) if one]
        for name, mine in (("upstream", up), ("downstream", down))
    }


def _only(said: Any) -> dict[str, Json]:
    """The graph's card with a message, and nothing beside it."""
    return blank("graph", {"graph": Filled(message=said)})
