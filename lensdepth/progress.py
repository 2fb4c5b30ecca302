"""How far a long analysis is: a bar on a terminal, and a call to whoever watches.

    >>> with watch(lambda what, done, total: print(what, done, "of", total)):
    ...     patch_sweep(model, task)

What watches may raise `Cancelled`: the analysis ends between two parts of its work, with nothing
left behind, and the exception reaches the caller.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")
Watcher = Callable[[str, int, int], None]
"""(what is done, how many of its parts are done, how many there are)."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
_told: ContextVar[tuple[str, int, int]] = ContextVar("told")


class Cancelled(Exception):
    """Whoever watches an analysis does not want it any more."""


@contextmanager
def watch(watcher: Watcher) -> Iterator[None]:
    """Let a function know of every part that an analysis of this thread finishes; before the first
    it hears of "reading", one part, between plain passes."""
    token, told = _watcher.set(watcher), _told.set(("reading", 0, 1))
    try:
        yield
    finally:
        _watcher.reset(token)
        _told.reset(told)


@contextmanager
def unwatched() -> Iterator[None]:
    """Small work beside an analysis, which is no part of what is watched."""
    token = _watcher.set(None)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def counted(total: int, description: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of parts that have just been finished.

    Args:
        total: how many there are.
        description: shown with the bar.
    """
    done = 0
    _tell(description, 0, total)
    with tqdm(total=total, desc=description, disable=None, leave=False) as bar:

        def update(n: int) -> None:
            nonlocal done
            done += n
            bar.update(n)
            _tell(description, done, total)

        yield update


def let_in() -> None:
    """Between two passes of one part: who watches hears the same again, and may end the work."""
    if _watcher.get() is not None:
        _tell(*_told.get())


def _tell(what: str, done: int, total: int) -> None:
    watcher = _watcher.get()
    if watcher is not None:
        _told.set((what, done, total))
        watcher(what, done, total)


def one_by_one(things: Sequence[T], description: str) -> Iterator[T]:
    """The things, each of which is a part that is finished when the next is asked for."""
    with counted(len(things), description) as update:
        for thing in things:
            yield thing
            update(1)
