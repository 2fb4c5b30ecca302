"""A prompt file that came in pieces of memory and not from a disk, as from a browser."""

from dataclasses import dataclass, replace
from typing import Any

from lensdepth.outside import shown
from lensdepth.tasks.columns import IDS, LABEL, OPTIONAL, PAIR
from lensdepth.tasks.files import Most, records_in
from lensdepth.tasks.records import PLAIN, rows_of
from lensdepth.tasks.rows import Row


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """What was read of one."""

    name: str
    rows: tuple[Row, ...]
    """Each with the line on which it stands; `load_task` takes them as pairs in memory."""


def read_bytes(data: bytes, name: str, *, most: Most) -> PromptFile:
    """Read a prompt file that is in memory, as `read_rows` reads one that is on disk.

    Labels that are neither text, number nor truth value become text.

    Args:
        data: its content.
        name: its name, whose ending says how to read it.
        most: a file that holds more is refused while it is read.
    Raises:
        ValueError: as for `read_rows`, with the same words.
    """
    rows = rows_of(records_in(data, name, most=most), f"prompt file {shown(name)}")
    return PromptFile(name=name, rows=tuple(map(_with_plain_labels, rows)))


def _with_plain_labels(row: Row) -> Row:
    plain = {
        label: value if isinstance(value, PLAIN) else str(value)
        for label, value in row.labels.items()
    }
    return replace(row, labels=plain)


def record(row: Row) -> dict[str, Any]:
    """A row as a dict, of which `load_task` makes the same pair or prompt."""
    if row.corrupted is None:
        own: dict[str, Any] = {"prompt": row.clean, "input": row.input}
    else:
        own = {name: getattr(row, name) for name in (*PAIR, *OPTIONAL, *IDS.values())}
    labels = {f"{LABEL}{k}" if k in own else k: v for k, v in row.labels.items()}
    return {name: value for name, value in own.items() if value is not None} | labels
