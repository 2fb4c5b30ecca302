"""What was asked in this tab, in order: its history, each question once with its notes.

A history comes from the browser, so that every entry is read as a link is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lensdepth.explorer import questions
from lensdepth.explorer.cards import Card, cards_of
from lensdepth.explorer.errors import readable
from lensdepth.explorer.links import LONGEST_QUERY, parse
from lensdepth.explorer.questions import Question
from lensdepth.explorer.script import Chapter
from lensdepth.explorer.settle import describe, opened
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.outside import EXPECTED
from lensdepth.telling.plain import Json

MOST_ENTRIES = 200
MOST_CHAPTERS = 60
"""Most questions of a session in one program; the newest ones."""
MOST_REASONS = 3
"""Most questions that were left out of which it is said why."""
ON_REQUEST = {"sweep": "run", "write": "writes", "pairs": "lists"}
"""Views that wait to be asked, and the field of the screen that says that they were."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """The questions of a tab, each once, in the order in which they were first asked."""

    chapters: tuple[Chapter, ...]
    models: tuple[str, ...]
    """Names of the models that they are about."""
    left_out: tuple[str, ...]
    """Why others are not among them, a sentence each."""

    @property
    def title(self) -> str:
        """What it is, and what it lacks."""
        n = len(self.chapters)
        said = [f"A session in {n} question{'s' * (n > 1)}, in the order in which they were asked."]
        said += self.left_out[:MOST_REASONS]
        more = len(self.left_out) - MOST_REASONS
        return " ".join([*said, *([f"So were {more} more."] * (more > 0))])


def entries_of(history: object, part: str = "entries") -> list[Json]:
    """The entries of a history, whatever the browser sent.

    Args:
        history: of a tab.
        part: `entries` are the steps that can be undone and redone, `asked` all that was asked.
    """
    entries = history.get(part) if isinstance(history, Mapping) else None
    if not isinstance(entries, list):
        return []
    return [
        {name: _text(entry.get(name, "")) for name in ("query", "label", "text", "note")}
        for entry in entries[-MOST_ENTRIES:]
        if isinstance(entry, Mapping) and isinstance(entry.get("query"), str)
    ]


def _text(value: object) -> str:
    """A text that fits into a page and a file."""
    return str(value)[:LONGEST_QUERY].encode(errors="replace").decode()


def about(screen: Screen) -> tuple[str, Question | None]:
    """What tells a screen's question from others: not what else is drawn beside its answer."""
    shown = cards_of(screen)
    return screen.view, shown[0].question if shown else None


def with_note(screen: Screen, before: object, history: object, shelf: Shelf) -> Screen:
    """A screen that asks another question than the one before, without that one's note.

    It has the note that was written when it was asked before, if there was one. A note that was
    changed at the same time is its own.

    Args:
        screen: settled.
        before: what the page says it showed.
        history: of the tab.
        shelf: of models.
    """
    query = before.get("query") if isinstance(before, Mapping) else None
    try:
        was = opened(parse(query, shelf.offers), shelf)
        if screen.note != was.note or about(screen) == about(was):
            return screen
    except EXPECTED:
        return screen
    return replace(screen, note=_earlier_note(screen, history, shelf))


def _earlier_note(screen: Screen, history: object, shelf: Shelf) -> str:
    for entry in reversed(entries_of(history)):
        if "&note=" not in entry["query"]:
            continue
        try:
            earlier = opened(parse(entry["query"], shelf.offers), shelf)
            if about(earlier) == about(screen):
                return earlier.note
        except EXPECTED:
            continue  # a task or model that is not here any more
    return ""


def session_of(history: object, shelf: Shelf) -> Session:
    """The questions of a history whose answers are known or can be found again.

    Raises:
        ValueError: there are none.
    """
    screens: dict[tuple[str, Question | None], list[Screen]] = {}
    left_out: list[str] = []
    for entry in entries_of(history, "asked"):
        try:
            screen = opened(parse(entry["query"], shelf.offers), shelf)
            shown = cards_of(screen)
        except EXPECTED as error:
            left_out.append(f"Left out is {_quoted(entry['label'])}: {readable(error)}")
            continue
        if shown and getattr(screen, ON_REQUEST.get(screen.view, ""), True):
            screens.setdefault(about(screen), []).append(screen)
    chapters: list[Chapter] = []
    models: dict[str, None] = {}
    for alike in reversed(screens.values()):
        if len(chapters) == MOST_CHAPTERS:
            left_out.append(f"Left out are questions before the last {MOST_CHAPTERS}.")
            break
        try:
            chapters.insert(0, _chapter(alike, shelf))
        except EXPECTED as error:
            left_out.append(f"Left out is {_quoted(describe(alike[-1]))}: {readable(error)}")
            continue
        for screen in alike:
            models |= dict.fromkeys(models_of(screen))
    if not chapters:
        said = "Nothing has been found in this tab yet: open another view first."
        raise ValueError(" ".join([said, *left_out[:1]]))
    return Session(chapters=tuple(chapters), models=tuple(models), left_out=tuple(left_out))


def models_of(screen: Screen) -> list[str]:
    """The models that a screen is about."""
    other = [screen.other_model] if screen.view == "compare" and screen.against == "model" else []
    return [screen.model, *other]


def _chapter(alike: list[Screen], shelf: Shelf) -> Chapter:
    """Screens that ask one question: every card that was answered, as it was drawn last.

    Raises:
        ValueError: none was.
    """
    cards: dict[tuple[str, Question], Card] = {}
    for screen in alike:
        cards |= {(card.name, card.question): card for card in cards_of(screen)}
    found, faults = [], []
    for card in cards.values():
        try:
            if not card.slow:
                questions.answer(card.question, shelf)
            elif not questions.known(card.question, shelf):
                raise ValueError("it was not found, or has been forgotten since.")
        except EXPECTED as error:
            faults.append(error)
        else:
            found.append(card)
    if not found:
        raise faults[0]
    notes = dict.fromkeys(screen.note for screen in alike if screen.note)
    return Chapter(title=describe(alike[-1]), cards=tuple(found), note="\n\n".join(notes))


def _quoted(label: str) -> str:
    return f"“{label}”"
