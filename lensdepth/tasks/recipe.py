"""What a built-in task is, before anything is drawn of it."""

from dataclasses import dataclass
from typing import Literal

from lensdepth.tasks.joining import Joined
from lensdepth.tasks.rows import Make

Form = Literal["auto", "plain", "few-shot"]
"""How a built-in task is put: `plain`, one sentence, as the bundled models learned it; `few-shot`,
behind a few examples that show what is asked, in words of every day. `auto`: few-shot where there
is such a form and the tokenizer is one of everyday text."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One built-in task, in one form."""

    description: str
    make: Make
    """(template names, number of pairs or None for all, generator) -> rows."""
    templates: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    """Templates used where none is named; empty: all of them."""
    joining: Joined = "space"
    """How the answers, which are words, follow the sentences."""

    @property
    def usual(self) -> tuple[str, ...]:
        """Templates used where none is named."""
        return self.default or self.templates
