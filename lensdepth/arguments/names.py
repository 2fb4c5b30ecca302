"""Names that arguments had once: taken until lensdepth 0.3, with a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


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
                warnings.warn(
                    f"{name}: the argument {old} is called {new}; the old name goes in lensdepth "
                    f"0.3.",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return entered  # type: ignore[return-value]

    return taking_both
