"""Each view's answers: asked of the library, drawn, or begun in the background."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update, set_props

from lensdepth.analyses import analysis
from lensdepth.bounds import within
from lensdepth.explorer import callbacks_graph, questions
from lensdepth.explorer.background import Background, end_of, ticket_of
from lensdepth.explorer.cards import Card, cards_of, crossing_of, token_map
from lensdepth.explorer.errors import readable
from lensdepth.explorer.filling import (
    PARTS,
    Filled,
    blank,
    card_outputs,
    failures,
    fill,
    no_cards,
    screen_of,
)
from lensdepth.explorer.jobs import JobReport, Jobs
from lensdepth.explorer.layout import CARDS
from lensdepth.explorer.links import kept
from lensdepth.explorer.panels import message, notices, table_of
from lensdepth.explorer.rows import pair_rows, written_texts
from lensdepth.explorer.scopes import outcome_of, said_of, scope_table
from lensdepth.explorer.session import ON_REQUEST
from lensdepth.explorer.settle import opened
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.outside import EXPECTED
from lensdepth.telling.plain import Json

ASKED = {
    "sweep": ("Nothing has been swept with these settings yet: press “Run the sweep”.",
              "The sweep is on its way."),
    "write": ("Nothing has been written yet: press “Let it write”.", "It is writing."),
    "pairs": ("These pairs have not been measured yet: press “Measure the pairs”.",
              "The pairs are being measured."),
}  # fmt: skip
"""Views that wait to be asked, and what stands there before and meanwhile."""


ZONE_PASS = 8
"""Prompts that go through together where the task's switch is looked for."""


def register(app: Dash, shelf: Shelf, jobs: Jobs) -> None:
    """Attach the callbacks of all views."""
    background = Background(shelf, jobs)
    _register_read(app, shelf, background)
    _register_poke(app, shelf)
    for view in ASKED:
        _register_asked(app, shelf, background, view)
    _register_table(app, shelf)
    for view in ("circuit", "compare"):
        _register_plain(app, shelf, view)
    callbacks_graph.register(app, shelf, background)
    _register_zone(app, shelf)
    _register_progress(app, jobs)


def _register_read(app: Dash, shelf: Shelf, background: Background) -> None:
    @app.callback(
        output={
            "cards": card_outputs("read"),
            "job": Output("job", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-read", "data"), Input("zone", "data"), Input("done", "data"),
                State("job", "data"), State("tab", "data")],
        prevent_initial_call=True,
    )  # fmt: skip
    def read(query: object, zone: object, done: object, job: object, tab: object) -> Json:
        if query is None:
            return {"cards": no_cards("read"), "job": no_update}
        screen = screen_of(query, "read", shelf)
        shown = cards_of(screen)
        missing = background.missing(shown)
        if not missing:
            filled = {card.name: fill(card, screen, shelf) for card in shown}
            return {"cards": blank("read", filled), "job": no_update}
        if _asked("ask-read"):
            waiting = message("Fitting a tuned lens …", kind="waiting")
            cards = blank("read", {"map": Filled(message=waiting)})
            return {"cards": cards, "job": background.begin(screen, missing, tab)}
        end = end_of(done, job, query)
        if end is None:  # it is still at work
            return {"cards": no_cards("read"), "job": no_update}
        said = end.get("message") or "The fit was cancelled; choose the tuned lens again."
        filled = failures(end, missing) or {"map": Filled(message=message(str(said)))}
        return {"cards": blank("read", filled), "job": no_update}


def _asked(name: str) -> bool:
    """Whether somebody asked, and not only an analysis ended."""
    triggered = {item["prop_id"].rpartition(".")[0] for item in ctx.triggered} - {""}
    return not triggered or name in triggered


def _register_poke(app: Dash, shelf: Shelf) -> None:
    """The numbers come first; the map and the figures need not be waited for."""
    outputs = card_outputs("poke")

    # They set `live` by themselves: a callback would wait for the poke that it asked for last.
    app.clientside_callback(
        ClientsideFunction("lensdepth", "slide"),
        Input("strength", "drag_value"),
        State("screen", "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("lensdepth", "poked"),
        Input("outcome", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        output={
            "scopes": Output("scopes", "children"),
            "said": Output("poke-said", "children"),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-poke", "data"), Input("live", "data")],
        prevent_initial_call=True,
    )
    def poke(query: object, live: object) -> Json:
        """Of the page, or of where its slider is held just now."""
        query = query if _asked("ask-poke") else live
        screen = screen_of(query, "poke", shelf)
        try:
            found = questions.answer(questions.intervention_of(screen), shelf)
            shown = [*scope_table(found.value, screen.focus), *notices(found.notes)]
            said, text = said_of(found.value, screen.focus), outcome_of(found.value, screen.focus)
        except Exception as error:
            shown, said, text = [message(readable(error))], "", "did not fit"
        return {"scopes": shown, "said": said, "outcome": {"query": query, "text": text}}

    @app.callback(
        output={"pick": outputs["pick"]},
        inputs=[Input("ask-poke", "data"), Input("zone", "data")],
        prevent_initial_call=True,
    )
    def pick(query: object, zone: object) -> Json:
        if query is None:
            return {"pick": dict.fromkeys(PARTS, no_update)}
        screen = screen_of(query, "poke", shelf)
        return {"pick": fill(_site_map(screen), screen, shelf).outputs()}

    figures = ("predictions", "trajectory")

    @app.callback(
        output={name: outputs[name] for name in figures},
        inputs=[Input("ask-poke", "data")],
        prevent_initial_call=True,
    )
    def follow(query: object) -> Json:
        screen = screen_of(query, "poke", shelf)
        try:
            questions.answer(questions.intervention_of(screen), shelf)
        except Exception:
            # The numbers' place says what is wrong; there is nothing to draw.
            return {name: Filled(hidden=True).outputs() for name in figures}
        return {e.name: fill(e, screen, shelf).outputs() for e in cards_of(screen)}


def _site_map(screen: Screen) -> Card:
    return replace(token_map(screen), title=f"Where to intervene: {screen.site}")


def _register_asked(app: Dash, shelf: Shelf, background: Background, view: str) -> None:
    """A view whose cards are found in the background once somebody asks."""
    not_yet, at_work = ASKED[view]

    @app.callback(
        output={
            "cards": card_outputs(view),
            "said": Output(f"{view}-said", "children"),
            "job": Output("job", "data", allow_duplicate=True),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input(f"ask-{view}", "data"), Input("done", "data"), State("job", "data"),
                State("tab", "data")],
        prevent_initial_call=True,
    )  # fmt: skip
    def show(query: object, done: object, job: object, tab: object) -> Json:
        still = dict.fromkeys(("said", "job", "outcome"), no_update)
        still = {"cards": no_cards(view), **still}
        if query is None:
            return still
        screen = screen_of(query, view, shelf)
        shown = cards_of(screen)
        missing = background.missing(shown)
        there = {e.name: fill(e, screen, shelf) for e in shown if e not in missing}
        if not missing:
            said = _sentences(screen, shown, shelf)
            text = said[0].children if said else ""
            outcome = {"query": query, "text": text}
            said = [*_beside(screen, shown, shelf), *said]
            return {**still, "cards": blank(view, there), "said": said, "outcome": outcome}
        if not _asked(f"ask-{view}"):
            end = end_of(done, job, query)
            if end is None:  # it is still at work, or another view's analysis has ended
                return still
            failed = failures(end, missing)
            if failed:
                return {**still, "cards": blank(view, there | failed), "said": []}
            said = message(str(end.get("message") or not_yet))
            return {**still, "cards": blank(view, there), "said": said}
        if getattr(screen, ON_REQUEST[view]):
            job = background.begin(screen, shown, tab)
            said = message(f"{at_work} You can go on working meanwhile.", kind="waiting")
            return {**still, "cards": blank(view, {}), "said": said, "job": job}
        said = message(not_yet, kind="waiting")
        still = {**still, "cards": blank(view, {}), "said": said}
        if isinstance(job, Mapping) and job.get("view") != view:
            return still  # another view's analysis goes on
        background.give_back(job)
        return {**still, "job": None}


def _sentences(screen: Screen, shown: Sequence[Card], shelf: Shelf) -> list[Any]:
    """What was found, in the words of the report."""
    first = shown[0]
    if not first.told:
        return []
    try:
        value = questions.answer(first.question, shelf).value
        crossing = crossing_of(screen)
        found = () if crossing is None else (questions.answer(crossing, shelf).value,)
        told = analysis(first.told)
        # The page asks for no crossing of sustained steering.
        padding = (None,) * (len(told.switches) - len(found))
        said = told.sentences(value, *found, *padding)
    except Exception as error:
        return [message(readable(error))]
    return [html.P(sentence) for sentence in said]


def _beside(screen: Screen, shown: Sequence[Card], shelf: Shelf) -> list[Any]:
    """What stands beside the words: of a written text the text itself."""
    if screen.view != "write":
        return []
    try:
        return [written_texts(questions.answer(shown[0].question, shelf).value)]
    except EXPECTED:
        return []  # its card says why


def _register_table(app: Dash, shelf: Shelf) -> None:
    @app.callback(Output("pair-table", "data"), Input("ask-pairs", "data"), Input("done", "data"))
    def table(query: object, done: object) -> Any:
        """The rows of the table of pairs, sorted, once they were measured."""
        if query is None:
            return no_update
        screen = screen_of(query, "pairs", shelf)
        (card,) = cards_of(screen)
        if not questions.known(card.question, shelf):
            return None
        try:
            found = questions.answer(card.question, shelf).value
        except EXPECTED:
            return None  # the card says why
        return pair_rows(table_of(card, found), found, screen)

    app.clientside_callback(
        ClientsideFunction("lensdepth", "pairs"),
        Output("pair-rows", "className"),
        Input("pair-table", "data"),
    )


def _register_plain(app: Dash, shelf: Shelf, view: str) -> None:
    """A view that is nothing but its cards."""

    @app.callback(
        output=card_outputs(view), inputs=[Input(f"ask-{view}", "data")], prevent_initial_call=True
    )
    def show(query: object) -> Json:
        if query is None:
            return no_cards(view)
        screen = screen_of(query, view, shelf)
        shown = [e for e in cards_of(screen) if e.name in CARDS[view]]
        filled = {e.name: fill(e, screen, shelf) for e in shown}
        if view == "circuit" and not screen.components:
            hint = "Pin heads and MLPs above, or click an MLP in the map, to patch them together."
            filled["components"] = Filled(message=message(hint, kind="waiting"))
        return blank(view, filled)


def _register_zone(app: Dash, shelf: Shelf) -> None:
    # Without an output: the page makes a map wait for every callback whose output it reads.
    @app.callback(Input("screen", "data"), State("zone", "data"))
    def zone(page: object, before: object) -> None:
        """The task's switch comes after the map, which need not wait for it or share the machine
        with it."""
        if not page:
            return
        screen = opened(kept(page, shelf.offers), shelf)
        if screen.view not in ("read", "poke"):
            return
        question = questions.zone_of(screen)
        try:
            key = questions.key_of(question, shelf)
            if key == before:
                return
            if screen.lens == "logit":
                for card in cards_of(screen) if screen.view == "read" else [_site_map(screen)]:
                    fill(card, screen, shelf)
            # In small passes, between which clicks have their turn.
            with within(ZONE_PASS, None):
                questions.answer(question, shelf, lambda *_: None)
        except EXPECTED:
            return  # the map does without; a short or wide profile has no switch
        set_props("zone", {"data": key})


def _register_progress(app: Dash, jobs: Jobs) -> None:
    @app.callback(Input("cancel", "n_clicks"), State("job", "data"), prevent_initial_call=True)
    def cancel(clicks: object, job: object) -> None:
        """At once, whatever view one looks at; the address and `done` follow by themselves."""
        ticket = ticket_of(job)
        if ticket is not None:
            jobs.cancel(ticket)

    app.clientside_callback(
        ClientsideFunction("lensdepth", "waits"),
        Output("tick", "max_intervals"),
        Output("job-strip", "hidden"),
        Input("job", "data"),
        Input("done", "data"),
    )
    app.clientside_callback(
        ClientsideFunction("lensdepth", "ask"),
        Output("poll", "data"),
        Input("tick", "n_intervals"),
        State("told", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("told", "data"),
        Output("job-text", "children"),
        Output("job-bar", "style"),
        Output("done", "data"),
        Output("banner", "children", allow_duplicate=True),
        Input("poll", "data"),
        State("job", "data"),
        State("screen", "data"),
        prevent_initial_call=True,
    )
    def progress(poll: object, job: object, screen: object) -> tuple[Any, ...]:
        ticket = ticket_of(job)
        if ticket is None or not isinstance(job, Mapping):
            return poll, WAITS, {}, no_update, no_update
        report = jobs.report(ticket)
        if not report.over:
            return poll, progress_text(report), {"width": f"{100 * report.share:.0f} %"}, *NO_NEWS
        done = {"ticket": ticket, "message": report.message, "failed": report.result}
        view = screen.get("view") if isinstance(screen, Mapping) else None
        # The view that asked says it by itself, but one may be looking at another.
        elsewhere = report.message and view != job.get("view")
        return poll, WAITS, {}, done, message(report.message) if elsewhere else no_update


WAITS = "Waiting for its turn …"
NO_NEWS = (no_update, no_update)


def progress_text(report: JobReport) -> str:
    """How far an analysis is, in words."""
    if report.status == "waiting":
        return WAITS
    counts = f": {report.done:,} of {report.total:,} runs" if report.total else ""
    return f"{report.what[:1].upper()}{report.what[1:]}{counts}, {report.seconds:.1f} s"
