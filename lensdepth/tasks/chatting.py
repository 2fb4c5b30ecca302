"""Rows of a task as what a user says to a chat model."""

from dataclasses import replace

from lensdepth.chat import ChatModel, as_chat
from lensdepth.tasks.rows import Row


def in_chat(rows: list[Row], model: ChatModel, system: str | None) -> list[Row]:
    """The same rows with every prompt in the model's chat template.

    An answer begins the assistant's turn: behind a line break it has no space in front.

    Raises:
        ValueError: see `as_chat`.
    """
    return [_row(row, model, system) for row in rows]


def _row(row: Row, model: ChatModel, system: str | None) -> Row:
    clean = as_chat(row.clean, model, system=system)
    corrupted = None if row.corrupted is None else as_chat(row.corrupted, model, system=system)
    return replace(
        row,
        clean=clean,
        corrupted=corrupted,
        target=_beginning(row.target, clean),
        foil=_beginning(row.foil, corrupted or clean),
        said=row.clean,
        corrupted_said=row.corrupted,
    )


def _beginning(answer: str | None, prompt: str) -> str | None:
    return answer.lstrip(" ") if answer is not None and prompt[-1:].isspace() else answer


def offset(text: str, said: str) -> int:
    """Where in a template's text what the user says begins."""
    plain = said if said in text else said.strip()  # some templates take the spaces off
    return text.rindex(plain) - said.index(plain)
