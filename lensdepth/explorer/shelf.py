"""Loaded models, dropped files and found answers: nothing is loaded or computed twice.

Whoever clicks does not wait for a sweep to end: long work hands its model over between two of its
parts. Long work that waits, for a model or for what another thread is finding, can be cancelled.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lensdepth.explorer.state import Offers
from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.plain_runs import Store
from lensdepth.progress import Cancelled, Watcher, watch
from lensdepth.tasks.prompt_file import PromptFile

MOST_ANSWERS = 400
"""Answers that are kept; the one that was not asked for the longest goes first."""
MOST_NOTES = 5
MOST_FILES = 16
"""Prompt files that are kept; the one that was dropped the longest ago goes first."""
PATIENCE = 0.2
"""Seconds after which long work that waits looks whether it is still wanted."""


class Turn:
    """Who goes first with a model: clicks do, long work waits between two of its parts.

    This is about politeness alone; that threads do not disturb each other's passes is the model's
    own affair.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._held = False
        self._waiting = 0

    @contextmanager
    def first(self) -> Iterator[None]:
        """Hold the model as soon as it is free."""
        with self._free:
            self._waiting += 1
            try:
                self._free.wait_for(lambda: not self._held)
                self._held = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            self._release()

    @contextmanager
    def last(self, check: Callable[[], None] = lambda: None) -> Iterator[Callable[[], None]]:
        """Hold it when nobody else wants it; call what this gives wherever others may go first.

        Args:
            check: called now and then while waiting; what it raises ends the wait.
        """
        held = False

        def take() -> None:
            nonlocal held
            with self._free:
                while not self._free.wait_for(
                    lambda: not self._held and not self._waiting, PATIENCE
                ):
                    check()
                self._held = held = True

        def hand_over() -> None:
            nonlocal held
            with self._free:
                if not self._waiting:
                    return
            held = False
            self._release()
            take()

        try:
            take()
            yield hand_over
        finally:
            if held:
                self._release()

    def _release(self) -> None:
        with self._free:
            self._held = False
            self._free.notify_all()


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a question gave, and what the library said about it on the way."""

    value: Any
    notes: tuple[str, ...] = ()


class _Notes(logging.Handler):
    """Warnings of lensdepth, for the thread that they concern."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._heard = threading.local()

    @contextmanager
    def heard(self) -> Iterator[list[str]]:
        outer = getattr(self._heard, "notes", None)
        self._heard.notes = notes = []
        try:
            yield notes
        finally:
            self._heard.notes = outer

    def emit(self, record: logging.LogRecord) -> None:
        notes = getattr(self._heard, "notes", None)
        if notes is not None and len(notes) < MOST_NOTES:
            text = record.getMessage()
            if text not in notes:
                notes.append(text)


class Shelf:
    """Models by name and answers by question, for all pages at once.

    Args:
        offers: what may be loaded.
        load: makes a model from the arguments of an offer.
    """

    def __init__(self, offers: Offers, load: Callable[..., DepthModel] = load_model) -> None:
        self._offers = offers
        self._load = load
        self._lock = threading.Lock()
        self._models: dict[str, Future[DepthModel]] = {}
        self._turns = {name: Turn() for name in offers.models}
        self._answers: OrderedDict[str, Future[Answer]] = OrderedDict()
        self._runs: dict[str, tuple[object, Store]] = {}
        self._files: OrderedDict[str, PromptFile] = OrderedDict()
        self._notes = _Notes()
        logging.getLogger("lensdepth").addHandler(self._notes)

    def close(self) -> None:
        """Stop listening to the library's warnings."""
        logging.getLogger("lensdepth").removeHandler(self._notes)

    @property
    def offers(self) -> Offers:
        """What may be asked for: what the explorer was started with, and files that were dropped
        into its pages since."""
        with self._lock:
            if not self._files:
                return self._offers
            dropped = {
                name: {"name_or_path": file.rows, "name": file.name, "on_multi_token": "drop"}
                for name, file in self._files.items()
            }
        return replace(self._offers, tasks={**self._offers.tasks, **dropped})

    def keep(self, name: str, file: PromptFile) -> None:
        """Offer a prompt file as a task until others have taken its place."""
        with self._lock:
            self._files[name] = file
            self._files.move_to_end(name)
            while len(self._files) > MOST_FILES:
                self._files.popitem(last=False)

    def forget(self, name: str) -> None:
        """Offer a prompt file no more."""
        with self._lock:
            self._files.pop(name, None)

    def model(self, name: str) -> DepthModel:
        """A model by the name that it is offered under, loaded when first asked for.

        Raises:
            ValueError: it is not offered, or cannot be loaded; asking again tries again.
        """
        if name not in self._offers.models:
            raise ValueError(f"This explorer was not started with the model {name!r}.")
        return self._once(self._models, name, lambda: self._load(**self._offers.models[name]))

    def turn(self, name: str) -> Turn:
        """Who goes first with a model that is offered."""
        return self._turns[name]

    def runs(self, name: str, about: object) -> Store:
        """Plain runs of a model that clicks about the same prompts share; for who has its turn.

        Args:
            name: of the model.
            about: what tells the prompts; others let go what is kept.
        """
        before = self._runs.get(name)
        if before is None or before[0] != about:
            before = self._runs[name] = (about, Store())
        return before[1]

    def known(self, key: str) -> bool:
        """Whether a question has its answer already."""
        with self._lock:
            found = self._answers.get(key)
        return found is not None and found.done() and found.exception() is None

    def answer(
        self, key: str, find: Callable[[], Any], check: Callable[[], None] = lambda: None
    ) -> Answer:
        """The answer to a question: kept, awaited where another thread is finding it, or found.

        What fails is not kept.

        Args:
            key: of the question.
            find: finds it.
            check: called now and then while another thread is at it; what it raises ends the wait.
        """

        def noted() -> Answer:
            with self._notes.heard() as notes:
                value = find()
            return Answer(value=value, notes=tuple(notes))

        found = self._once(self._answers, key, noted, check)
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            done = [k for k, future in self._answers.items() if future.done()]
            for old in done[: max(0, len(self._answers) - MOST_ANSWERS)]:
                del self._answers[old]
        return found

    def _once(
        self,
        kept: Any,
        key: str,
        make: Callable[[], Any],
        check: Callable[[], None] = lambda: None,
    ) -> Any:
        while True:
            with self._lock:
                future = kept.get(key)
                mine = future is None
                if mine:
                    future = kept[key] = Future()
            if mine:
                try:
                    future.set_result(make())
                except BaseException as error:
                    with self._lock:
                        kept.pop(key, None)
                    future.set_exception(error)
            while not wait([future], PATIENCE).done:
                check()
            try:
                return future.result()
            except Cancelled:
                if mine:
                    raise
                # Somebody else gave up what is still wanted here: find it anew.


@contextmanager
def in_background(turn: Turn, watcher: Watcher) -> Iterator[None]:
    """Hold a model for long work that is watched, and hand it over between two parts."""
    with turn.last(lambda: watcher("waiting for the model", 0, 0)) as hand_over:

        def seen(what: str, done: int, total: int) -> None:
            watcher(what, done, total)
            hand_over()

        with watch(seen):
            yield
