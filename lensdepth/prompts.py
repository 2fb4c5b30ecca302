"""What an analysis without pairs reads: a task, or prompts by themselves."""

from collections.abc import Sequence
from typing import Any

from lensdepth.model import DepthModel
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, TokenBatch
from lensdepth.units import clean_only, default_units


def gather_prompts(
    model: DepthModel, prompts: Task | Prompts
) -> tuple[Task | None, list[str], TokenBatch]:
    """The task if it is one, the prompts as text, and their tokens; ids stand for themselves."""
    if isinstance(prompts, Task):
        return prompts, list(prompts.clean), prompts.clean_tokens
    batch = model.tokenize(prompts)
    if isinstance(prompts, str):
        return None, [prompts], batch
    given = [None] * len(batch) if isinstance(prompts, TokenBatch) else prompts
    texts = [p if isinstance(p, str) else str(batch.row(i)) for i, p in enumerate(given)]
    return None, texts, batch


def origin_of(task: Task | None, texts: Sequence[str]) -> dict[str, Any]:
    """What the provenance of such an analysis says of what it read: for `make_provenance`."""
    if task is None:
        units = default_units(
            prompts=texts, corrupted=None, inputs=None, corrupted_inputs=None, labels={}
        )
        return {"task": "prompts", "prompts": texts, "units": units}
    units, labels = clean_only(task.units), clean_only(task.groupings)
    return {
        **task.origin, "prompts": texts, "corrupted": (), "units": units, "labels": labels,
    }  # fmt: skip
