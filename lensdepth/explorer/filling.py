"""What stands in a card: an answer drawn and tabulated, a message, or nothing yet."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from dash import Output, html, no_update

from lensdepth.analyses import analysis
from lensdepth.explorer import questions
from lensdepth.explorer.cards import Card, crossing_of
from lensdepth.explorer.errors import readable
from lensdepth.explorer.layout import CARDS
from lensdepth.explorer.links import parse
from lensdepth.explorer.panels import (
    as_json,
    click_of,
    figure_of,
    message,
    notices,
    numbers,
    table_of,
    with_answers,
    with_crossing,
    with_move,
    with_site,
    with_unknown,
    with_zone,
    zone_name,
)
from lensdepth.explorer.settle import is_of_task, opened
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.outside import EXPECTED
from lensdepth.sweep.told import column_floors
from lensdepth.telling.plain import Json
from lensdepth.transition import Transition

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


def fill(card: Card, screen: Screen, shelf: Shelf) -> Filled:
    """A card with its answer, or with what went wrong."""
    try:
        found = questions.answer(card.question, shelf)
        # Drawing takes as long as measuring: what was drawn once is kept as well.
        marks = _marks(card, screen, shelf)
        key = f"{questions.key_of(card.question, shelf)} {card} {marks}"

        def draw() -> Filled:
            figure = figure_of(card, found.value)
            _decorate(card, figure, screen, shelf)
            return Filled(
                figure=as_json(figure, click_of(card, found.value)),
                message=[
                    *notices(found.notes),
                    *_band(card, screen, shelf),
                    *_said(card, found.value),
                ],
                numbers=numbers(table_of(card, found.value), column_floors(found.value)),
                title=card.title,
            )

        return shelf.answer(key, draw).value
    except Exception as error:
        return Filled(message=message(readable(error)), title=card.title)


def _zone(card: Card, screen: Screen, shelf: Shelf) -> Transition | None:
    """The switch of the task's lens, once it is known, over a map of a prompt that it is about."""
    question = questions.zone_of(screen)
    if card.click != "cell" or not questions.known(question, shelf):
        return None
    found = questions.answer(question, shelf).value
    task = questions.answer(questions.task_of(screen, questions.ZONE_PROMPTS), shelf).value
    about = is_of_task(screen.prompt, task)
    about = about and not shelf.model(screen.model).unknown_words(screen.prompt)
    return found if about and zone_name(found) else None


def _band(card: Card, screen: Screen, shelf: Shelf) -> list[html.P]:
    """What the band over a map is; a page breaks the line where a figure cannot."""
    found = _zone(card, screen, shelf)
    return [] if found is None else [html.P(f"The {zone_name(found)}.", className="zone-note")]


def _said(card: Card, found: Any) -> list[html.P]:
    """What was found, in words, where it stands in the card itself."""
    if not card.says:
        return []
    return [html.P(sentence) for sentence in analysis(card.told).sentences(found)]


def _marks(card: Card, screen: Screen, shelf: Shelf) -> tuple[Any, ...]:
    """What is drawn over a figure and is not told by its question."""
    if card.click == "move":
        return (screen.giver, screen.from_depth, screen.from_position,
                screen.taker, screen.into_depth, screen.into_position)  # fmt: skip
    if card.click != "cell":
        return ()
    zone = _zone(card, screen, shelf) is not None
    return zone, screen.stream, screen.depth, screen.last, screen.position, screen.to


def _decorate(card: Card, figure: Any, screen: Screen, shelf: Shelf) -> None:
    """Switches and chosen cells, drawn over a figure."""
    pair = next((q for q in card.question.parts if q.function == "pair_task"), None)
    if pair is not None:
        with_answers(figure, questions.answer(pair, shelf).value)
    if card.draw == "plot_tokens":
        whose, prompt = card.question.arguments
        with_unknown(figure, shelf.model(whose.arguments[0]).unknown_words(prompt))
    if card.click == "cell":
        zone = _zone(card, screen, shelf)
        if zone is not None:
            with_zone(figure, zone)
        with_site(figure, screen)
    if card.click == "move":
        with_move(figure, screen, card.name.removesuffix("-map"))
    crossing = crossing_of(screen)
    if card.click == "curve" and crossing is not None:
        with suppress(*EXPECTED):  # the sentences beside the curves say why there is none
            with_crossing(figure, questions.answer(crossing, shelf).value)


def blank(view: str, filled: Mapping[str, Filled]) -> dict[str, Json]:
    """Outputs of all cards of a view; those with nothing to show are hidden, warnings come once."""
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


def no_cards(view: str) -> dict[str, Json]:
    """Outputs of all cards of a view that leave them as they are."""
    return {name: dict.fromkeys(PARTS, no_update) for name in CARDS[view]}


def failures(done: Mapping[str, Any], shown: Sequence[Card]) -> dict[str, Filled]:
    """Cards that say why they have nothing to show."""
    told = done.get("failed")
    said = told if isinstance(told, Mapping) else {}
    return {
        e.name: Filled(message=message(str(said[e.name])), title=e.title)
        for e in shown
        if e.name in said
    }
