"""What a state may tell: a task's labels, where it stands, and what the model predicts.

`choose_reads` picks the states, `known_values` and `read` give each of them its labels, and
`usable` makes classes or numbers of these, or says why there is nothing to decode.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import metrics
from lensdepth.ablation.probes import ROUNDING, Kind
from lensdepth.model import DepthModel
from lensdepth.tasks.task import Task
from lensdepth.tokens import resolve_positions, told_apart

ReadPosition = Literal["prediction", "input", "all"] | int
"""An index counts from each prompt's start, a negative one from its end."""

MOST_CLASSES = 12
"""A column of numbers with more different values than this is decoded as a number."""
ALWAYS_NUMBERS = ("context_length", "position", "entropy", "target_log_prob", "top_log_prob")
READOUT_BATCH = 32
"""Prompts whose logits over the whole vocabulary exist at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reads:
    """The states to read, one a row; no two of them are the same state."""

    prompt: Int[Array, " sample"]
    """Index into the task's prompts."""
    position: Int[Array, " sample"]
    """From the prompt's start."""

    @property
    def n_prompts(self) -> int:
        return len(np.unique(self.prompt))


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """A label of every state that is read."""

    name: str
    kind: Kind
    values: Float[Array, " sample"]
    """Index of the class, or the number; NaN where the state is left out."""
    n_classes: int
    """0 for a number."""

    @property
    def used(self) -> Bool[Array, " sample"]:
        """States that are not left out."""
        return ~np.isnan(self.values)


def choose_reads(task: Task, position: ReadPosition, max_samples: int, seed: int) -> Reads:
    """Which states to read; at most so many, drawn at random.

    Prompts that begin alike share their states up to where they part, and a state that stood in
    training and in test would be recognised rather than decoded: it is read once, in the first
    prompt that has it.
    """
    batch = task.clean_tokens
    if position == "prediction":
        asked = [[at] for at in task.prediction_positions.tolist()]
    elif position == "input":
        assert task.input_positions is not None, "the caller has looked"
        asked = [[at] for at in task.input_positions.tolist()]
    elif isinstance(position, int):
        at = resolve_positions(batch, torch.full((len(task),), position))
        asked = at.tolist()
    else:
        # The first position is an attention sink.
        asked = [list(range(1, length)) for length in batch.lengths.tolist()]
    first: dict[tuple[int, ...], tuple[int, int]] = {}
    for prompt, positions in enumerate(asked):
        row = batch.row(prompt)
        for at in positions:
            first.setdefault(tuple(row[: at + 1]), (prompt, at))
    found = np.array(list(first.values()), dtype=int).reshape(-1, 2)
    kept = np.sort(np.random.default_rng(seed).permutation(len(found))[:max_samples])
    return Reads(prompt=found[kept, 0], position=found[kept, 1])


def known_values(model: DepthModel, task: Task, reads: Reads) -> dict[str, pd.Series]:
    """What is known of each state before any forward pass, by name.

    A column of labels named like another quantity is called `label_...`, as in `Task.to_frame`.
    """
    of_prompts: dict[str, pd.Series] = {}
    if task.input_positions is not None:
        rows = zip(range(len(task)), task.input_positions.tolist(), strict=True)
        texts = [model.token_text(task.clean_tokens.row(i)[at]) for i, at in rows]
        of_prompts["input_token"] = pd.Series(texts)
    if task.target is not None:
        of_prompts["target"] = pd.Series(told_apart(task.target))
    of_prompts["context_length"] = pd.Series(task.clean_tokens.lengths.tolist())
    reserved = {*of_prompts, "position", *predicted_names(task)}
    columns = {
        f"label_{name}" if name in reserved else str(name): values.reset_index(drop=True)
        for name, values in task.labels.items()
    }
    known = {
        name: values.iloc[reads.prompt].reset_index(drop=True)
        for name, values in {**columns, **of_prompts}.items()
    }
    return {**known, "position": pd.Series(reads.position)}


def predicted_names(task: Task) -> tuple[str, str]:
    """What is known only once the prompts were run."""
    return ("entropy", "target_log_prob" if task.has_pairs else "top_log_prob")


def read(
    model: DepthModel, task: Task, reads: Reads, batch_size: int | None
) -> tuple[Float[Tensor, "depth sample d_model"], dict[str, pd.Series]]:
    """The states, and for each of them what the model predicts at the end of its prompt."""
    prompts, row, counts = np.unique(reads.prompt, return_inverse=True, return_counts=True)
    # Which of its prompt's states each one is; reads come prompt by prompt.
    column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    positions = torch.full((len(prompts), int(counts.max()) + 1), -1)
    positions[row, column] = torch.from_numpy(reads.position)
    index = torch.from_numpy(prompts)
    resid = model.residual_stream(task.clean_tokens[index], positions, batch_size=batch_size).resid
    targets = None if task.target_ids is None else task.target_ids[index]
    predicted = _predicted(model, resid[-1, :, -1], targets)
    return resid[:, row, column], {
        name: pd.Series(values.double().numpy()[row]) for name, values in predicted.items()
    }


def _predicted(
    model: DepthModel,
    last: Float[Tensor, "prompt d_model"],
    target_ids: Int[Tensor, " prompt"] | None,
) -> dict[str, Float[Tensor, " prompt"]]:
    """Entropy and log-probability, in nats, of the distributions that these states are read as.

    Args:
        model: whose final norm and unembedding read them.
        last: states at the prompts' ends, at depth L.
        target_ids: the answers; without them the log-probability is the most likely token's.
    """
    entropy, log_prob = [], []
    for start in range(0, len(last), READOUT_BATCH):
        rows = slice(start, start + READOUT_BATCH)
        log_probs = metrics.log_probs(model.readout(last[rows]))
        entropy.append(metrics.entropy(log_probs))
        top = log_probs.argmax(-1)
        token = top if target_ids is None else target_ids[rows]
        log_prob.append(metrics.token_log_prob(log_probs, token))
    name = "top_log_prob" if target_ids is None else "target_log_prob"
    return {"entropy": torch.cat(entropy), name: torch.cat(log_prob)}


def usable(
    values: Mapping[str, pd.Series], prompt: Int[Array, " sample"], n_folds: int
) -> tuple[list[Quantity], dict[str, str]]:
    """What of these can be decoded, and why the rest cannot.

    Text and truth values are classes, and so are columns of numbers with few different values
    where these have the prompts for it: a class needs as many as there are folds, or its states
    are left out of that label.
    """
    found: list[Quantity] = []
    skipped: dict[str, str] = {}
    for name, series in values.items():
        made = _quantity(name, series, prompt, n_folds)
        twin = None if isinstance(made, str) else next((q for q in found if _same(q, made)), None)
        if isinstance(made, str):
            skipped[name] = made
        elif twin is not None:
            skipped[name] = f"says the same as {twin.name}"
        else:
            found.append(made)
    return found, skipped


def _quantity(
    name: str, series: pd.Series, prompt: Int[Array, " sample"], n_folds: int
) -> Quantity | str:
    if name.startswith("corrupted_"):
        return "describes the corrupted prompt, which is not read"
    series = series.infer_objects()
    numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)
    if not numeric or (name not in ALWAYS_NUMBERS and series.nunique() <= MOST_CLASSES):
        classes = _classes(name, series, prompt, n_folds)
        if not numeric or isinstance(classes, Quantity):
            return classes
    return _number(name, series.to_numpy(dtype=float, na_value=np.nan), prompt, n_folds)


def _number(
    name: str, values: Float[Array, " sample"], prompt: Int[Array, " sample"], n_folds: int
) -> Quantity | str:
    values = np.where(np.isfinite(values), values, np.nan)
    there = values[~np.isnan(values)]
    n_prompts = len(np.unique(prompt[~np.isnan(values)]))
    if n_prompts < 2 * n_folds:
        return f"known for {n_prompts} prompts; {n_folds} folds need {2 * n_folds}"
    if np.ptp(there) <= ROUNDING * np.abs(there).max():
        return f"constant ({there[0]:.6g})"
    return Quantity(name=name, kind="number", values=values, n_classes=0)


def _classes(
    name: str, series: pd.Series, prompt: Int[Array, " sample"], n_folds: int
) -> Quantity | str:
    # Numbered as they come, so that labels which split the states alike get the same numbers.
    prompts_of = pd.Series(prompt).groupby(series.astype(str).to_numpy()).nunique()
    usual = series.notna() & series.astype(str).map(prompts_of).ge(n_folds)
    codes, names = pd.factorize(series.astype(str).where(usual))
    if series.nunique() < 2:
        return "constant" if series.nunique() else "empty"
    if len(names) < 2:
        return (
            f"{len(names)} of {series.nunique()} classes stand in {n_folds} prompts or more, as "
            f"many as there are folds; 2 are needed"
        )
    return Quantity(
        name=name,
        kind="class",
        values=np.where(codes < 0, np.nan, codes),
        n_classes=len(names),
    )


def _same(a: Quantity, b: Quantity) -> bool:
    """Whether two labels split the states alike, or differ by a constant."""
    if a.kind != b.kind or not (a.used == b.used).all():
        return False
    gap = (a.values - b.values)[a.used]
    return bool(np.ptp(gap) <= ROUNDING * np.nanmax(np.abs(a.values)))
