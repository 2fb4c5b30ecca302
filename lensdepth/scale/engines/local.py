"""In this process, one after the other: one model, one slice, and what is done is let go."""

from collections.abc import Mapping, Sequence
from typing import Any

from lensdepth.scale.work import Answers, Item, Worker


def run(worker: Worker, items: Sequence[Item], options: Mapping[str, Any]) -> Answers:
    """Do all items here, in their order."""
    for item in items:
        yield worker(item)
