"""Each view's answers: asked of the library, drawn, or begun in the background."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, no_update

from lensdepth import prose
from lensdepth.explorer import questions
from lensdepth.explorer.errors import readable
from lensdepth.explorer.jobs import Jobs, Report
from lensdepth.explorer.layout import CARDS
from lensdepth.explorer.panels import (
    as_json,
    click_of,
    figure_of,
    message,
    notices,
    numbers,
    outcome_of,
    scope_cards,
    table_of,
    with_answers,
    with_crossing,
    with_site,
    with_zone,
)
from lensdepth.explorer.questions import Exhibit
from lensdepth.explorer.settle import opened
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen, kept, parse
from lensdepth.outside import EXPECTED
from lensdepth.progress import Watcher

Json = dict[str, Any]
LONGEST_TAB = 40
NOT_SWEPT = "Nothing has been swept with these settings yet: press “Run the sweep”."
PARTS = ("figure", "message", "numbers", "hidden", "part_hidden", "title")


@dataclass(frozen=True, kw_only=True, eq=False)
class Filled:
    """What stands in a card."""

    figure: Json | None = None
    message: Any = None
    numbers: Any = None
    hidden: bool = False
    title: str | None = None
    """None leaves the card's own."""

    def outputs(self) -> Json:
        """By the names of a card's outputs."""
        return {
            "figure": self.figure,
            "message": self.message or [],
            "numbers": self.numbers,
            "hidden": self.hidden,
            "part_hidden": self.figure is None,
            "title": no_update if self.title is None else self.title,
        }


def screen_of(query: object, view: Any, shelf: Shelf) -> Screen:
    """What a view shows, whatever it was asked for."""
    return opened(replace(parse(query, shelf.offers), view=view), shelf)


def card_outputs(view: str) -> dict[str, dict[str, Output]]:
    """The outputs of a view's cards."""
    props = {
        "figure": ("figure", "data"), "message": ("message", "children"),
        "numbers": ("rows", "data"), "hidden": ("card", "hidden"),
        "part_hidden": ("figure-part", "hidden"), "title": ("title", "children"),
    }  # fmt: skip
    return {
        name: {part: Output({"type": kind, "name": name}, prop) for part, (kind, prop) in
               props.items()}
        for name in CARDS[view]
    }  # fmt: skip


def fill(exhibit: Exhibit, screen: Screen, shelf: Shelf) -> Filled:
    """A card with its answer, or with what went wrong."""
    try:
        found = questions.answer(exhibit.question, shelf)
        # Drawing takes as long as measuring: what was drawn once is kept as well.
        marks = _marks(exhibit, screen, shelf)
        key = f"{questions.key_of(exhibit.question, shelf)} {exhibit} {marks}"

        def draw() -> Filled:
            figure = figure_of(exhibit, found.value)
            _decorate(exhibit, figure, screen, shelf)
            return Filled(
                figure=as_json(figure, click_of(exhibit, found.value)),
                message=notices(found.notes),
                numbers=numbers(table_of(exhibit, found.value)),
                title=exhibit.title,
            )

        return shelf.answer(key, draw).value
    except Exception as error:
        return Filled(message=message(readable(error)), title=exhibit.title)


def _marks(exhibit: Exhibit, screen: Screen, shelf: Shelf) -> tuple[Any, ...]:
    """What is drawn over a figure and is not told by its question."""
    if exhibit.click != "cell":
        return ()
    zone = questions.known(questions.zone_of(screen), shelf)
    return zone, screen.stream, screen.depth, screen.last, screen.position, screen.to


def _decorate(exhibit: Exhibit, figure: Any, screen: Screen, shelf: Shelf) -> None:
    """Switches and chosen cells, drawn over a figure."""
    pair = next((q for q in exhibit.question.parts if q.function == "pair_task"), None)
    if pair is not None:
        with_answers(figure, questions.answer(pair, shelf).value)
    if exhibit.click == "cell":
        zone = questions.zone_of(screen)
        if questions.known(zone, shelf):
            found = questions.answer(zone, shelf).value
            with_zone(figure, found, found.n_units)
        with_site(figure, screen)
    crossing = questions.crossing_of(screen)
    if exhibit.click == "curve" and crossing is not None:
        with suppress(*EXPECTED):  # the sentences beside the curves say why there is none
            with_crossing(figure, questions.answer(crossing, shelf).value)


def blank(view: str, filled: Mapping[str, Filled]) -> dict[str, Json]:
    """Outputs of all cards of a view; those without an exhibit are hidden, warnings come once."""
    said: set[str] = set()
    cards = {}
    for name in CARDS[view]:
        card = filled.get(name, Filled(hidden=True))
        if isinstance(card.message, list):
            fresh = [note for note in card.message if note.children not in said]
            said |= {note.children for note in fresh}
            card = replace(card, message=fresh)
        cards[name] = card.outputs()
    return cards


class Background:
    """Slow exhibits: begun when asked for, once.

    What a page holds of its analysis is `job`, with a ticket, written where it begins; what it
    was told of the end is `done`, with the same ticket.
    """

    def __init__(self, shelf: Shelf, jobs: Jobs) -> None:
        self._shelf, self._jobs = shelf, jobs

    def missing(self, shown: Sequence[Exhibit]) -> list[Exhibit]:
        """Those that have to be found first."""
        return [e for e in shown if e.slow and not questions.known(e.question, self._shelf)]

    def begin(self, screen: Screen, slow: Sequence[Exhibit], tab: object) -> Json:
        """A ticket for the answers, in place of the page's earlier one."""
        crossing = questions.crossing_of(screen)
        key = " ".join(questions.key_of(exhibit.question, self._shelf) for exhibit in slow)

        def run(watcher: Watcher) -> dict[str, str]:
            failed = {}
            for i, exhibit in enumerate(slow):
                part = f" ({i + 1} of {len(slow)})" if len(slow) > 1 else ""

                def seen(what: str, done: int, total: int, part: str = part) -> None:
                    watcher(what + part, done, total)

                try:
                    questions.answer(exhibit.question, self._shelf, seen)
                except EXPECTED as error:
                    failed[exhibit.name] = readable(error)
                    if len(failed) == len(slow):
                        raise
                    # What the others find is still wanted.
            if crossing is not None and not failed:
                # Where it fails, the sentences beside the curves say why: they ask for it again.
                with suppress(*EXPECTED):
                    questions.answer(crossing, self._shelf, watcher)
            return failed

        page = tab if isinstance(tab, str) else ""
        ticket = self._jobs.start(key, run, page=page[:LONGEST_TAB])
        return {"ticket": ticket, "query": screen.query(), "view": screen.view}

    def give_back(self, job: object) -> None:
        """Cancel what a page asked for earlier."""
        ticket = ticket_of(job)
        if ticket is not None:
            self._jobs.cancel(ticket)


def ticket_of(job: object) -> str | None:
    """The ticket that a page holds, whatever it sent."""
    ticket = job.get("ticket") if isinstance(job, Mapping) else None
    return ticket if isinstance(ticket, str) else None


def end_of(done: object, job: object, query: object) -> Mapping[str, Any] | None:
    """What a page was told of the end of its analysis, if that was of what it shows now."""
    if not isinstance(done, Mapping) or not isinstance(job, Mapping) or job.get("query") != query:
        return None
    return done if ticket_of(done) is not None and ticket_of(done) == ticket_of(job) else None


def failures(done: Mapping[str, Any], shown: Sequence[Exhibit]) -> dict[str, Filled]:
    """Cards that say why they have nothing to show."""
    told = done.get("failed")
    said = told if isinstance(told, Mapping) else {}
    return {
        e.name: Filled(message=message(str(said[e.name])), title=e.title)
        for e in shown
        if e.name in said
    }


def register(app: Dash, shelf: Shelf, jobs: Jobs) -> None:
    """Attach the callbacks of all views."""
    background = Background(shelf, jobs)
    _register_read(app, shelf, background)
    _register_poke(app, shelf)
    _register_sweep(app, shelf, background)
    for view in ("circuit", "compare"):
        _register_plain(app, shelf, view)
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
        prevent_initial_call="initial_duplicate",
    )  # fmt: skip
    def read(query: object, zone: object, done: object, job: object, tab: object) -> Json:
        if query is None:
            return {"cards": _no_cards("read"), "job": no_update}
        screen = screen_of(query, "read", shelf)
        shown = questions.exhibits(screen)
        missing = background.missing(shown)
        if not missing:
            filled = {exhibit.name: fill(exhibit, screen, shelf) for exhibit in shown}
            return {"cards": blank("read", filled), "job": no_update}
        if _asked("ask-read"):
            waiting = message("Fitting a tuned lens …", kind="waiting")
            cards = blank("read", {"map": Filled(message=waiting)})
            return {"cards": cards, "job": background.begin(screen, missing, tab)}
        end = end_of(done, job, query)
        if end is None:  # it is still at work
            return {"cards": _no_cards("read"), "job": no_update}
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

    @app.callback(
        output={
            "scopes": Output("scopes", "children"),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-poke", "data")],
        prevent_initial_call=True,
    )
    def poke(query: object) -> Json:
        screen = screen_of(query, "poke", shelf)
        try:
            found = questions.answer(questions.intervention_of(screen), shelf)
            shown = [*notices(found.notes), *scope_cards(found.value, screen.focus)]
            said = outcome_of(found.value, screen.focus)
        except Exception as error:
            shown, said = [message(readable(error))], "did not fit"
        return {"scopes": shown, "outcome": {"query": query, "text": said}}

    @app.callback(
        output={"pick": outputs["pick"]},
        inputs=[Input("ask-poke", "data"), Input("zone", "data")],
        prevent_initial_call=True,
    )
    def pick(query: object, zone: object) -> Json:
        if query is None:
            return {"pick": dict.fromkeys(PARTS, no_update)}
        screen = screen_of(query, "poke", shelf)
        return {"pick": fill(questions.token_map(screen), screen, shelf).outputs()}

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
        return {e.name: fill(e, screen, shelf).outputs() for e in questions.exhibits(screen)}


def _register_sweep(app: Dash, shelf: Shelf, background: Background) -> None:
    @app.callback(
        output={
            "cards": card_outputs("sweep"),
            "said": Output("sweep-said", "children"),
            "job": Output("job", "data", allow_duplicate=True),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-sweep", "data"), Input("done", "data"), State("job", "data"),
                State("tab", "data")],
        prevent_initial_call="initial_duplicate",
    )  # fmt: skip
    def sweep(query: object, done: object, job: object, tab: object) -> Json:
        still = dict.fromkeys(("said", "job", "outcome"), no_update)
        still = {"cards": _no_cards("sweep"), **still}
        if query is None:
            return still
        screen = screen_of(query, "sweep", shelf)
        shown = questions.exhibits(screen)
        missing = background.missing(shown)
        there = {e.name: fill(e, screen, shelf) for e in shown if e not in missing}
        if not missing:
            said = _sentences(screen, shown, shelf)
            text = said[0].children if said else ""
            outcome = {"query": query, "text": text}
            return {**still, "cards": blank("sweep", there), "said": said, "outcome": outcome}
        if not _asked("ask-sweep"):
            end = end_of(done, job, query)
            if end is None:  # it is still at work, or another view's analysis has ended
                return still
            failed = failures(end, missing)
            if failed:
                return {**still, "cards": blank("sweep", there | failed), "said": []}
            said = message(str(end.get("message") or NOT_SWEPT))
            return {**still, "cards": blank("sweep", there), "said": said}
        if screen.run:
            job = background.begin(screen, shown, tab)
            said = message("The sweep is on its way. You can go on working meanwhile.",
                           kind="waiting")  # fmt: skip
            return {**still, "cards": blank("sweep", {}), "said": said, "job": job}
        background.give_back(job)
        said = message(NOT_SWEPT, kind="waiting")
        return {**still, "cards": blank("sweep", {}), "said": said, "job": None}


def _sentences(screen: Screen, shown: Sequence[Exhibit], shelf: Shelf) -> list[Any]:
    """What was found, in the words of the report."""
    from dash import html

    first = shown[0]
    try:
        value = questions.answer(first.question, shelf).value
        crossing = questions.crossing_of(screen)
        found = None if crossing is None else questions.answer(crossing, shelf).value
        if screen.sweep == "ablate":
            said = prose.ablation_sentences(value)
        elif screen.sweep == "steer":
            said = prose.steering_sentences(value, found, None)
        elif first.name == "patch":
            said = prose.patch_sentences(value, found)
        else:
            said = []
    except Exception as error:
        return [message(readable(error))]
    return [html.P(sentence) for sentence in said]


def _register_plain(app: Dash, shelf: Shelf, view: str) -> None:
    """A view that is nothing but its cards."""

    @app.callback(output=card_outputs(view), inputs=[Input(f"ask-{view}", "data")])
    def show(query: object) -> Json:
        if query is None:
            return _no_cards(view)
        screen = screen_of(query, view, shelf)
        filled = {e.name: fill(e, screen, shelf) for e in questions.exhibits(screen)}
        if view == "circuit" and not screen.components:
            hint = "Pin heads and MLPs above, or click an MLP in the map, to patch them together."
            filled["components"] = Filled(message=message(hint, kind="waiting"))
        return blank(view, filled)


def _no_cards(view: str) -> dict[str, Json]:
    return {name: dict.fromkeys(PARTS, no_update) for name in CARDS[view]}


def _register_zone(app: Dash, shelf: Shelf) -> None:
    @app.callback(Output("zone", "data"), Input("screen", "data"), State("zone", "data"))
    def zone(page: object, before: object) -> Any:
        """The task's switch comes after the map, which need not wait for it."""
        if not page:
            return no_update
        screen = opened(kept(page, shelf.offers), shelf)
        if screen.view not in ("read", "poke"):
            return no_update
        question = questions.zone_of(screen)
        try:
            key = questions.key_of(question, shelf)
            if key == before:
                return no_update
            questions.answer(question, shelf, lambda *_: None)
        except EXPECTED:
            return no_update  # the map does without; a short or wide profile has no switch
        return key


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


def progress_text(report: Report) -> str:
    """How far an analysis is, in words."""
    if report.status == "waiting":
        return WAITS
    counts = f": {report.done:,} of {report.total:,} runs" if report.total else ""
    return f"{report.what[:1].upper()}{report.what[1:]}{counts}, {report.seconds:.1f} s"
