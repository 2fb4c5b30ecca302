"""Slow cards, found in the background while the page goes on."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lensdepth.explorer import questions
from lensdepth.explorer.cards import Card, crossing_of
from lensdepth.explorer.errors import readable
from lensdepth.explorer.jobs import Jobs
from lensdepth.explorer.shelf import Shelf
from lensdepth.explorer.state import Screen
from lensdepth.outside import EXPECTED
from lensdepth.progress import Watcher
from lensdepth.telling.plain import Json

LONGEST_TAB = 40


class Background:
    """Slow cards: begun when asked for, once.

    What a page holds of its analysis is `job`, with a ticket, written where it begins; what it
    was told of the end is `done`, with the same ticket.
    """

    def __init__(self, shelf: Shelf, jobs: Jobs) -> None:
        self._shelf, self._jobs = shelf, jobs

    def missing(self, shown: Sequence[Card]) -> list[Card]:
        """Those that have to be found first."""
        return [e for e in shown if e.slow and not questions.known(e.question, self._shelf)]

    def begin(self, screen: Screen, slow: Sequence[Card], tab: object) -> Json:
        """A ticket for the answers, in place of the page's earlier one."""
        crossing = crossing_of(screen)
        key = " ".join(questions.key_of(card.question, self._shelf) for card in slow)

        def run(watcher: Watcher) -> dict[str, str]:
            failed = {}
            for i, card in enumerate(slow):
                part = f" ({i + 1} of {len(slow)})" if len(slow) > 1 else ""

                def seen(what: str, done: int, total: int, part: str = part) -> None:
                    watcher(what + part, done, total)

                try:
                    questions.answer(card.question, self._shelf, seen)
                except EXPECTED as error:
                    failed[card.name] = readable(error)
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
