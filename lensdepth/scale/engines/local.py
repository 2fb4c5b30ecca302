"""In this process, one after the other: one model, one slice, and what is done is let go."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lensdepth.scale.work import Answer, Item, Worker


def run(worker: Worker, items: Sequence[Item], options: Mapping[str, Any]) -> Iterator[Answer]:
    """Do all items here, in their order."""
    for item in items:
        yield worker(item)
