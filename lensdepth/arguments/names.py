"""Names and places that things had once: taken until lensdepth 0.3, with a warning."""

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
WITHIN = ("lensdepth", "jaxtyping", "beartype")
"""Packages whose frames stand between a caller and the function called."""


def renamed(**names: str) -> Callable[[F], F]:
    """A function that takes arguments under old names too: `@renamed(pairs="task")`.

    Raises:
        TypeError: when called: with an old name and its new one.
    """

    def taking_both(function: F) -> F:
        @functools.wraps(function)
        def entered(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                new, name = names[old], function.__name__
                if new in kwargs:
                    raise TypeError(f"{name}: {old} is the old name of {new}; give one of them.")
                _warn(
                    f"{name}: the argument {old} is called {new}; the old name goes in lensdepth "
                    f"0.3."
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return entered  # type: ignore[return-value]

    return taking_both


def say_arrays_go(owner: str) -> None:
    """Warn that a profile's `of` was given an array, as until 0.3, in the place of a name."""
    _warn(
        f"{owner}.of: name what is wanted instead of giving an array, and labels by their axes: "
        f"of('success', position='input'); the old form goes in lensdepth 0.3."
    )


def say_moved(old: str, new: str) -> None:
    """Warn that a name was taken from where it stood until 0.3."""
    _warn(f"{old} is called {new}; the old name goes in lensdepth 0.3.")


def _warn(message: str) -> None:
    """Warn whoever called into the library, however many of its wrappers stand between."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in WITHIN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DeprecationWarning, stacklevel=level)
