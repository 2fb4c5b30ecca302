"""What prompts hold besides what they lead to, as distances between them (claim C6)."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy import ndarray as Array

from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch

RESERVED = ("js", "hellinger", "input_token", "context_length")
"""A label column of such a name gets `label_` before it."""


def context_distances(
    token_text: Callable[[int], str],
    task: Task | None,
    batch: TokenBatch,
    sample: Int[Array, " sample"],
) -> dict[str, Float[Array, "sample sample"]]:
    """Distance of every pair of prompts in each label that the sample has, by its name.

    The task's labels, the input token, and the number of tokens. 0 or 1 for text and truth values,
    the absolute difference for numbers. Labels of the corrupted prompts, with gaps, that are the
    same for all, or that part the prompts just as an earlier one does are left out.

    Args:
        token_text: what a token stands for.
        task: None of prompts by themselves.
        batch: the prompts.
        sample: those that are compared.
    """
    found: dict[str, Float[Array, "sample sample"]] = {}
    for name, values in _labels(token_text, task, batch).items():
        column = values.iloc[sample].infer_objects()
        if name.startswith("corrupted_") or column.isna().any() or column.nunique() < 2:
            continue
        distance = label_distance(column)
        if not any(np.array_equal(distance, other) for other in found.values()):
            found[name] = distance
    return found


def label_distance(values: pd.Series) -> Float[Array, "sample sample"]:
    """0 or 1 for text and truth values; absolute difference for numbers."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float)
        return np.abs(numbers[:, None] - numbers[None])
    codes = pd.factorize(values.astype(str))[0]
    return (codes[:, None] != codes[None]).astype(float)


def _labels(
    token_text: Callable[[int], str], task: Task | None, batch: TokenBatch
) -> dict[str, pd.Series]:
    found: dict[str, pd.Series] = {}
    if task is not None:
        for name, values in task.labels.items():
            found[f"label_{name}" if name in RESERVED else str(name)] = values
        if task.input_positions is not None:
            rows = zip(range(len(task)), task.input_positions.tolist(), strict=True)
            tokens = [token_text(batch.row(i)[at]) for i, at in rows]
            found["input_token"] = pd.Series(tokens)
    found["context_length"] = pd.Series(batch.lengths.tolist())
    return found
