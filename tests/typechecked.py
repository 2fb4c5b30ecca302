"""What checks types and shapes while the tests run: `--jaxtyping-packages` in pyproject.toml."""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def outermost(made: Callable[..., Any]) -> Callable[..., Any]:
    """Checks functions of modules and classes. Those inside others are made anew at each call, and
    their checks with them, which took a fifth of the tests' time."""
    return made if "<locals>" in made.__qualname__ else beartype(made)
