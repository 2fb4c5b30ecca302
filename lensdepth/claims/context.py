"""Which labels of a task tell of its context: not of the answer, and not of the last token."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy import ndarray as Array

from lensdepth.tasks.task import Task

OFTEN = 4
"""Pairs that share a label's value, for half of the pairs at least: else means say nothing."""


def context_labels(task: Task) -> dict[str, Int[Array, " pair"]]:
    """Labels of the clean prompts that a norm may tell as context, as numbers of their values.

    Their values repeat and leave the answer open, and they have no part in the last token: where
    every value goes with one last token only, or every last token with one value, the norm tells
    them because it is that token's.
    """
    columns = {name: task.labels[name].astype(str).tolist() for name in task.labels.columns}
    if task.inputs is not None:
        columns.setdefault("input", list(task.inputs))
    last, kept = last_tokens(task), {}
    for name, values in columns.items():
        if name.startswith("corrupted_"):
            continue
        kinds, index, counts = np.unique(values, return_inverse=True, return_counts=True)
        repeats = len(kinds) > 1 and counts[counts >= OFTEN].sum() >= len(values) / 2
        open_answer = not _settles(index.tolist(), task.target or ())
        fixed = len(set(last.tolist())) > 1 and (
            _settles(index.tolist(), last.tolist()) or _settles(last.tolist(), index.tolist())
        )
        twin = any(np.array_equal(index, other) for other in kept.values())
        if repeats and open_answer and not fixed and not twin:
            kept[name] = index
    return kept


def last_tokens(task: Task) -> Int[Array, " pair"]:
    """The clean prompts' last tokens, as numbers."""
    batch = task.clean_tokens
    tokens = batch.tokens.gather(1, batch.last[:, None])[:, 0].cpu().numpy()
    return np.unique(tokens, return_inverse=True)[1]


def _settles(these: Sequence[object], those: Sequence[object]) -> bool:
    """Whether each of these goes with one of those only."""
    return len(set(zip(these, those, strict=True))) == len(set(these)) if those else True
