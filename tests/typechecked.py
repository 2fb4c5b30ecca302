"""What checks types and shapes while the tests run: `--jaxtyping-packages` in pyproject.toml.

jaxtyping has each function that it decorates remember the shapes of a call, which takes far longer
than the check of the types. Imported before the package, this has it decorate those alone that name
a shape. Functions inside others are left alone: they are made anew at each call, and their checks
with them.
"""

from collections.abc import Callable
from inspect import isclass
from typing import Any

import jaxtyping
from beartype import beartype

_shaped = jaxtyping.jaxtyped


def outermost(made: Callable[..., Any]) -> Callable[..., Any]:
    """The check of one function."""
    return beartype(made)


def _checked(*made: Any, **options: Any) -> Any:
    """`jaxtyped`, where there are shapes to remember."""

    def decorate(one: Any) -> Any:
        if one == "context" or isclass(one):
            return _shaped(one, **options)
        if "<locals>" in one.__qualname__:
            return one
        # Names of types that are not there at run time are in quotes, which beartype would look up.
        named = repr([*one.__annotations__.values()])
        if "jaxtyping." in named or "'" in named:
            return _shaped(one, **options)
        return beartype(one)

    return decorate(*made) if made else decorate


jaxtyping.jaxtyped = _checked
