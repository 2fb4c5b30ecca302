"""A task as JSON, and back: so that what is known of the prompts stands beside their states."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lensdepth.tasks.task import Task
from lensdepth.telling.plain import to_json
from lensdepth.tokens import TokenBatch, pad_tokens


def task_as_json(task: Task) -> dict[str, Any]:
    """Every field of a task as JSON has it; labels that it does not know become text."""
    told: dict[str, Any] = {}
    for field in fields(task):
        value = getattr(task, field.name)
        if isinstance(value, TokenBatch):
            value = [value.row(i) for i in range(len(value))]
        elif isinstance(value, Tensor):
            value = value.tolist()
        elif isinstance(value, pd.DataFrame):
            value = {str(name): list(map(_label, value[name].tolist())) for name in value}
        told[field.name] = to_json(value)
    return told


def _label(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def task_of_json(told: Mapping[str, Any]) -> Task:
    """The task that `task_as_json` told."""
    found: dict[str, Any] = {}
    for field in fields(Task):
        value = told[field.name]
        if field.name in ("clean_tokens", "corrupted_tokens"):
            value = None if value is None else pad_tokens(value, 0)
        elif field.name == "labels":
            value = pd.DataFrame(value, index=range(len(told["clean"])))
        elif isinstance(value, list):
            numbers = field.name.endswith(("_ids", "_positions"))
            value = torch.tensor(value) if numbers else tuple(value)
        found[field.name] = value
    return Task(**found)
