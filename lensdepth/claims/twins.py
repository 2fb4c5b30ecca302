"""The task of an untrained twin: the user's prompts, the twin's own first choices as answers."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import numpy as np
import torch

from lensdepth.claims.context import context_labels
from lensdepth.model import DepthModel
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch, pad_tokens

MOST_PAIRS = 60
"""Pairs that a twin is measured on: its numbers need no more, and cost as the model's own."""
OFTEN = 3
"""Prompts that have each answer and each input, where that can be: steering takes centroids of
other prompts than the two that it leads between."""


_unheard = ContextVar("unheard", default=False)


class _OfTwins(logging.Filter):
    """Keeps to itself what is said while `unheard` holds, in its own thread alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _unheard.get()


logging.getLogger("lensdepth.steering.sweep").addFilter(_OfTwins())


@contextmanager
def unheard() -> Iterator[None]:
    """Say nothing of the pairs that steering leaves out: those of a twin are nobody's prompts."""
    token = _unheard.set(True)
    try:
        yield
    finally:
        _unheard.reset(token)


def own_task(twin: DepthModel, task: Task, *, seed: int, fewest: int) -> Task:
    """The task's prompts with the twin's own first choices as answers, where these differ.

    An untrained model answers most pairs in one way only, so that prompts are also paired that
    differ in nothing but the input.

    Raises:
        ValueError: there are fewer than `fewest`.
    """
    assert task.corrupted is not None
    assert task.corrupted_tokens is not None
    assert task.inputs is not None
    assert task.corrupted_inputs is not None
    assert task.input_positions is not None
    assert task.corrupted_input_positions is not None
    n = len(task)
    prompts = (*task.clean, *task.corrupted)
    inputs = (*task.inputs, *task.corrupted_inputs)
    batches = (task.clean_tokens, task.corrupted_tokens)
    positions = torch.cat([task.input_positions, task.corrupted_input_positions])
    answers = torch.cat([_first_choices(twin, batch) for batch in batches]).tolist()
    frames = [text.replace(word, "\0") for text, word in zip(prompts, inputs, strict=True)]
    # Other prompts may stand in the corrupted one's place, if only the input differs.
    own = [(i, n + i) for i in range(n)]
    other = [
        (i, j)
        for i in range(n)
        for j in range(2 * n)
        if i != j and frames[i] == frames[j] and inputs[i] != inputs[j]
    ]
    apart = _answered_apart([*own, *other], prompts, answers, seed)
    pairs = _chosen(apart, prompts, [answers, inputs], fewest)
    if len(pairs) < fewest:
        raise ValueError(
            f"it answers {len(pairs)} pairs of these prompts in two ways, and {fewest} are needed"
        )
    clean, corrupted = (list(side) for side in zip(*pairs, strict=True))
    rows = [*(batches[0].row(i) for i in range(n)), *(batches[1].row(i) for i in range(n))]

    def texts(values: Sequence[str], at: Sequence[int]) -> tuple[str, ...]:
        return tuple(values[i] for i in at)

    def tokens(at: Sequence[int]) -> TokenBatch:
        return pad_tokens([rows[i] for i in at], pad_id=rows[0][0])

    said = [twin.token_text(answer) for answer in answers]
    context = [name for name in context_labels(task) if name in task.labels.columns]
    return replace(
        task,
        name=f"{task.name}, own answers",
        clean=texts(prompts, clean),
        corrupted=texts(prompts, corrupted),
        target=texts(said, clean),
        foil=texts(said, corrupted),
        clean_tokens=tokens(clean),
        corrupted_tokens=tokens(corrupted),
        target_ids=torch.tensor([answers[i] for i in clean]),
        foil_ids=torch.tensor([answers[i] for i in corrupted]),
        input_positions=positions[clean],
        corrupted_input_positions=positions[corrupted],
        inputs=texts(inputs, clean),
        corrupted_inputs=texts(inputs, corrupted),
        where=tuple(task.where[i] for i in clean),
        labels=task.labels[context].iloc[clean].reset_index(drop=True),
        n_drawn=len(clean),
        n_multi_token=0,
        n_wrong=0,
    )


def _first_choices(twin: DepthModel, batch: TokenBatch) -> torch.Tensor:
    parts = [batch[slice(start, start + 32)] for start in range(0, len(batch), 32)]
    return torch.cat([twin.logits(part)[:, -1].argmax(-1).cpu() for part in parts])


def _answered_apart(
    pairs: Sequence[tuple[int, int]], prompts: Sequence[str], answers: Sequence[int], seed: int
) -> list[tuple[int, int]]:
    """Those with two answers, each two prompts once, in an order of chance.

    Each clean prompt comes once before any comes again: what is measured on the clean prompts
    needs many different ones.
    """
    apart: dict[tuple[str, str], tuple[int, int]] = {}
    for i, j in pairs:
        if answers[i] != answers[j]:
            apart.setdefault((prompts[i], prompts[j]), (i, j))
    kept = list(apart.values())
    mixed = [kept[int(k)] for k in np.random.default_rng(seed).permutation(len(kept))]
    seen: Counter[str] = Counter()
    turn: list[tuple[int, tuple[int, int]]] = []
    for i, j in mixed:
        text = prompts[i]
        turn.append((seen[text], (i, j)))
        seen[text] += 1
    return [pair for _, pair in sorted(turn, key=lambda one: one[0])]


def _chosen(
    pairs: list[tuple[int, int]],
    prompts: Sequence[str],
    labels: Sequence[Sequence[object]],
    fewest: int,
) -> list[tuple[int, int]]:
    """The first MOST_PAIRS in which no label is of too few prompts; without it, the first of all.

    Args:
        pairs: in the order in which they are taken.
        prompts: all of them; several may be one text.
        labels: of every prompt, one after the other.
        fewest: pairs that are left at least.
    """
    left = pairs
    # Too few are no better: other numbers without those of steering.
    while len(left) >= fewest:
        taken = left[:MOST_PAIRS]
        different = {prompts[prompt]: prompt for pair in taken for prompt in pair}.values()
        counts = [Counter(label[prompt] for prompt in different) for label in labels]
        rare = {
            pair
            for pair in taken
            for prompt in pair
            for label, count in zip(labels, counts, strict=True)
            if count[label[prompt]] < OFTEN
        }
        if not rare:
            return taken
        left = [pair for pair in left if pair not in rare]
    return pairs[:MOST_PAIRS]
