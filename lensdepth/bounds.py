"""How much goes through a model at a time: the `batch_size` and `max_memory` of every analysis.

They hold in all that the call does, whatever that calls in its turn, and in its own context alone.
An analysis within another one, as a sweep of the claims, takes the outer one's where it has none.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from lensdepth.plain_runs import shared

F = TypeVar("F", bound=Callable[..., Any])


class Bounds(NamedTuple):
    """What is given; None leaves it to the library."""

    batch_size: int | None = None
    """Prompts in one forward pass."""
    max_memory: int | None = None
    """Bytes to plan with, in forward passes and in the replay of edited runs."""


NOTHING = Bounds()
_BOUNDS: ContextVar[Bounds] = ContextVar("bounds", default=NOTHING)


def bounds() -> Bounds:
    """Those that hold here."""
    return _BOUNDS.get()


@contextmanager
def within(batch_size: int | None, max_memory: int | None) -> Iterator[None]:
    """Round work that keeps to these bounds, and to those around it where one is None."""
    outer = _BOUNDS.get()
    given = Bounds(
        outer.batch_size if batch_size is None else batch_size,
        outer.max_memory if max_memory is None else max_memory,
    )
    token = _BOUNDS.set(given)
    try:
        yield
    finally:
        _BOUNDS.reset(token)


def bounded(function: F) -> F:
    """A function whose `batch_size` and `max_memory` hold in all that it does.

    Its parts share their plain runs (`lensdepth.plain_runs`).

    Raises:
        ValueError: when called: there is no working with so few bytes.
    """

    @functools.wraps(function)
    def entered(*args: Any, **kwargs: Any) -> Any:
        memory = kwargs.get("max_memory")
        if memory is not None and memory < 1:
            name = function.__name__
            raise ValueError(f"{name}: max_memory must be a number of bytes, got {memory}.")
        with within(kwargs.get("batch_size"), memory), shared():
            return function(*args, **kwargs)

    return entered  # type: ignore[return-value]
