"""Each view's answers: asked of the library, drawn, or begun in the background."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dash import Dash, Input, Output, State, no_update

from lensdepth import prose
from lensdepth.explorer import questions
from lensdepth.explorer.errors import readable
from lensdepth.explorer.jobs import Jobs
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
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen, parse
from lensdepth.progress import Watcher

Json = dict[str, Any]
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
    """Slow exhibits: begun when asked for, once."""

    def __init__(self, shelf: Shelf, jobs: Jobs) -> None:
        self._shelf, self._jobs = shelf, jobs

    def ready(self, slow: Sequence[Exhibit]) -> bool:
        """Whether all answers are there."""
        return all(questions.known(exhibit.question, self._shelf) for exhibit in slow)

    def begin(self, screen: Screen, slow: Sequence[Exhibit], before: Json | None) -> Json:
        """A ticket for the answers; the page's earlier one is given back."""
        crossing = questions.crossing_of(screen)
        wanted = [exhibit.question for exhibit in slow]
        key = " ".join(questions.key_of(question, self._shelf) for question in wanted)

        def run(watcher: Watcher) -> None:
            failed = 0
            for question in wanted:
                try:
                    questions.answer(question, self._shelf, watcher)
                except ValueError:
                    # The card of this one will say so; what the others find is still wanted.
                    failed += 1
            if failed == len(wanted):
                questions.answer(wanted[0], self._shelf, watcher)
            if crossing is not None:
                questions.answer(crossing, self._shelf, watcher)

        ticket = self._jobs.start(key, run)
        self.give_back(before)
        return {"ticket": ticket, "key": key, "stages": len(wanted)}

    def give_back(self, job: Json | None) -> None:
        """Cancel what a page asked for earlier."""
        if isinstance(job, dict) and isinstance(job.get("ticket"), str):
            self._jobs.cancel(job["ticket"])


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
            "still": Output("tick", "disabled", allow_duplicate=True),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-read", "data"), Input("zone", "data"), Input("done", "data"),
                State("job", "data")],
        prevent_initial_call="initial_duplicate",
    )  # fmt: skip
    def read(query: str | None, zone: object, done: Json | None, job: Json | None) -> Json:
        if query is None:
            kept = dict.fromkeys(("job", "still", "outcome"), no_update)
            return {"cards": _no_cards("read"), **kept}
        screen = parse(query, shelf.offers)
        shown = questions.exhibits(screen)
        slow = [e for e in shown if e.slow and not questions.known(e.question, shelf)]
        if slow:
            if done and isinstance(job, dict) and done.get("failed") == job.get("ticket"):
                waiting = Filled(message=message(done["message"]))
                ticket = no_update
            else:
                waiting = Filled(message=message("Fitting a tuned lens …", kind="waiting"))
                ticket = background.begin(screen, slow, job)
            cards = blank("read", {"map": waiting})
            still = no_update if ticket is no_update else False
            return {"cards": cards, "job": ticket, "still": still, "outcome": no_update}
        filled = {exhibit.name: fill(exhibit, screen, shelf) for exhibit in shown}
        kept = dict.fromkeys(("job", "still", "outcome"), no_update)
        return {"cards": blank("read", filled), **kept}


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
    def poke(query: str) -> Json:
        screen = parse(query, shelf.offers)
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
    def pick(query: str | None, zone: object) -> Json:
        if query is None:
            return {"pick": dict.fromkeys(PARTS, no_update)}
        screen = parse(query, shelf.offers)
        return {"pick": fill(questions.token_map(screen), screen, shelf).outputs()}

    figures = ("predictions", "trajectory")

    @app.callback(
        output={name: outputs[name] for name in figures},
        inputs=[Input("ask-poke", "data")],
        prevent_initial_call=True,
    )
    def follow(query: str) -> Json:
        screen = parse(query, shelf.offers)
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
            "still": Output("tick", "disabled", allow_duplicate=True),
            "outcome": Output("outcome", "data", allow_duplicate=True),
        },
        inputs=[Input("ask-sweep", "data"), Input("done", "data"), State("job", "data")],
        prevent_initial_call="initial_duplicate",
    )
    def sweep(query: str | None, done: Json | None, job: Json | None) -> Json:
        if query is None:
            kept = dict.fromkeys(("said", "job", "still", "outcome"), no_update)
            return {"cards": _no_cards("sweep"), **kept}
        screen = parse(query, shelf.offers)
        shown = questions.exhibits(screen)
        over = isinstance(job, dict) and isinstance(done, dict) and done.get("over")
        finished = over == job.get("ticket") if isinstance(job, dict) and over else False
        if background.ready(shown) or finished:
            if finished and done and done.get("message"):
                return _said_only("sweep", message(done["message"]), None, query)
            filled = {exhibit.name: fill(exhibit, screen, shelf) for exhibit in shown}
            said = _sentences(screen, shown, shelf)
            return {
                "cards": blank("sweep", filled),
                "said": said,
                "job": None if finished else no_update,
                "still": no_update,
                "outcome": {"query": query, "text": said[0].children if said else ""},
            }
        if screen.run:
            ticket = background.begin(screen, shown, job)
            waiting = message("The sweep is on its way. You can go on working meanwhile.",
                              kind="waiting")  # fmt: skip
            return _said_only("sweep", waiting, ticket, query)
        background.give_back(job)
        hint = message("Nothing has been swept with these settings yet: press “Run the sweep”.",
                       kind="waiting")  # fmt: skip
        return _said_only("sweep", hint, None, query)


def _said_only(view: str, said: Any, job: Any, query: str) -> Json:
    # The clock runs while there is something to wait for; it finds out by itself when it is over.
    return {
        "cards": blank(view, {}),
        "said": said,
        "job": job,
        "still": no_update if job is None else False,
        "outcome": no_update,
    }


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
    def show(query: str | None) -> Json:
        if query is None:
            return _no_cards(view)
        screen = parse(query, shelf.offers)
        filled = {e.name: fill(e, screen, shelf) for e in questions.exhibits(screen)}
        if view == "circuit" and not screen.components:
            hint = "Pin heads and MLPs above, or click an MLP in the map, to patch them together."
            filled["components"] = Filled(message=message(hint, kind="waiting"))
        return blank(view, filled)


def _no_cards(view: str) -> dict[str, Json]:
    return {name: dict.fromkeys(PARTS, no_update) for name in CARDS[view]}


def _register_zone(app: Dash, shelf: Shelf) -> None:
    @app.callback(Output("zone", "data"), Input("screen", "data"), State("zone", "data"))
    def zone(screen: Json | None, before: str | None) -> Any:
        """The task's switch comes after the map, which need not wait for it."""
        if not screen or screen.get("view") not in ("read", "poke"):
            return no_update
        question = questions.zone_of(parse(screen["query"], shelf.offers))
        try:
            key = questions.key_of(question, shelf)
            if key == before:
                return no_update
            questions.answer(question, shelf, lambda *_: None)
        except Exception:
            return no_update  # the map does without; a short or wide profile has no switch
        return key


def _register_progress(app: Dash, jobs: Jobs) -> None:
    @app.callback(
        Output("job", "data", allow_duplicate=True),
        Input("cancel", "n_clicks"),
        State("job", "data"),
        prevent_initial_call=True,
    )
    def cancel(clicks: object, job: Json | None) -> None:
        """At once, whatever view one looks at; the address follows by itself."""
        if isinstance(job, dict) and isinstance(job.get("ticket"), str):
            jobs.cancel(job["ticket"])

    @app.callback(
        Output("tick", "disabled", allow_duplicate=True),
        Output("job-strip", "hidden"),
        Output("job-text", "children"),
        Output("job-bar", "style"),
        Output("done", "data"),
        Input("tick", "n_intervals"),
        State("job", "data"),
        prevent_initial_call=True,
    )
    def progress(n: object, job: Json | None) -> tuple[Any, ...]:
        if not isinstance(job, dict) or not isinstance(job.get("ticket"), str):
            return True, True, "", {}, no_update
        report = jobs.report(job["ticket"])
        if report.over:
            failed = report.message if report.status == "failed" else ""
            done = {"over": job["ticket"], "message": failed}
            if failed:
                done["failed"] = job["ticket"]
            return True, True, "", {}, done
        share = f"{100 * report.share:.0f} %"
        text = "Waiting for its turn …"
        if report.status == "running":
            several = 1 < job["stages"] >= report.stage
            part = f" ({report.stage} of {job['stages']})" if several else ""
            counts = f": {report.done:,} of {report.total:,} runs" if report.total else ""
            text = f"{report.what.capitalize()}{part}{counts}, {report.seconds:.1f} s"
        return False, False, text, {"width": share}, no_update
