"""The task of an untrained twin: the user's prompts, the twin's own first choices as answers."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from lensdepth.claims.context import context_labels
from lensdepth.model import DepthModel
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch, pad_tokens
from lensdepth.untrained import untrained

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
FEWEST = 8
"""Pairs that a twin is measured on by `in_a_twin`, at least."""
MOST_PAIRS = 60
"""Pairs that a twin is measured on, where the model itself has as many: its numbers need no more,
and cost as the model's own."""
OFTEN = 3
"""Prompts that have each answer and each input, where that can be: steering takes centroids of
other prompts than the two that it leads between."""
REWRITTEN = 4
"""Other inputs that each prompt is written with, at most, where the task's own pairs are too
few."""
AT_ONCE = 32
"""Prompts in one pass."""


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


@dataclass(frozen=True, kw_only=True)
class _Prompt:
    """One prompt that a twin is asked."""

    text: str
    input: str
    row: list[int]
    """Its tokens."""
    position: int
    """Of the input's last token."""
    pair: int
    """The pair of the task that it comes from."""

    @property
    def frame(self) -> str:
        """What is left without the input."""
        return self.text.replace(self.input, "\0")


def in_a_twin(
    model: DepthModel, task: Task, again: Callable[[DepthModel, Task], T], *, seed: int
) -> tuple[T | None, str]:
    """An analysis of an untrained twin on its own answers; or None, and why there is none.

    Args:
        model: whose twin it is.
        task: whose prompts the twin answers in its own way.
        again: the analysis of a model and a task.
        seed: of the twin's weights and of its pairs.
    """
    if task.inputs is None:
        return None, "There is no untrained twin: the task names no input to pair its answers by."
    try:
        twin = untrained(model, seed=seed)
        return again(twin, own_task(twin, task, seed=seed, fewest=FEWEST)), ""
    except ValueError as error:
        return None, f"There is no untrained twin: {error}."


def own_task(twin: DepthModel, task: Task, *, seed: int, fewest: int) -> Task:
    """The task's prompts with the twin's own first choices as answers, where these differ.

    An untrained model answers most pairs in one way only, so that prompts are also paired that
    differ in nothing but the input; and where these are too few, prompts are written with the
    inputs of others.

    Raises:
        ValueError: there are fewer than `fewest`.
    """
    prompts = _prompts_of(task)
    answers = _first_choices(twin, prompts)
    pairs = _paired(prompts, answers, len(task), seed, fewest)
    rounds = _rewritten(twin, prompts, len(task), seed)
    while len(pairs) < fewest and (more := next(rounds, None)) is not None:
        prompts, answers = [*prompts, *more], [*answers, *_first_choices(twin, more)]
        pairs = _paired(prompts, answers, len(task), seed, fewest)
    if len(pairs) < fewest:
        raise ValueError(
            f"it answers {len(pairs)} pairs of these prompts in two ways, and {fewest} are needed"
        )
    said = [twin.token_text(answer) for answer in answers]
    target, foil = (list(side) for side in zip(*pairs, strict=True))
    clean, corrupted = ([prompts[i] for i in side] for side in (target, foil))
    whose = [one.pair for one in clean]
    return replace(
        task,
        name=f"{task.name}, own answers",
        clean=tuple(one.text for one in clean),
        corrupted=tuple(one.text for one in corrupted),
        target=tuple(said[i] for i in target),
        foil=tuple(said[i] for i in foil),
        clean_tokens=_batch(clean),
        corrupted_tokens=_batch(corrupted),
        target_ids=torch.tensor([answers[i] for i in target]),
        foil_ids=torch.tensor([answers[i] for i in foil]),
        input_positions=torch.tensor([one.position for one in clean]),
        corrupted_input_positions=torch.tensor([one.position for one in corrupted]),
        inputs=tuple(one.input for one in clean),
        corrupted_inputs=tuple(one.input for one in corrupted),
        where=tuple(task.where[pair] for pair in whose),
        labels=_labels(task, clean),
        n_drawn=len(clean),
        n_multi_token=0,
        n_wrong=0,
    )


def _prompts_of(task: Task) -> list[_Prompt]:
    """The clean prompts, and behind them the corrupted ones."""
    assert task.corrupted is not None
    assert task.corrupted_tokens is not None
    assert task.inputs is not None
    assert task.corrupted_inputs is not None
    assert task.input_positions is not None
    assert task.corrupted_input_positions is not None
    sides = (
        (task.clean, task.inputs, task.clean_tokens, task.input_positions),
        (task.corrupted, task.corrupted_inputs, task.corrupted_tokens,
         task.corrupted_input_positions),
    )  # fmt: skip
    return [
        _Prompt(text=text, input=word, row=tokens.row(i), position=int(positions[i]), pair=i)
        for texts, words, tokens, positions in sides
        for i, (text, word) in enumerate(zip(texts, words, strict=True))
    ]


def _rewritten(
    twin: DepthModel, prompts: Sequence[_Prompt], n: int, seed: int
) -> Iterator[list[_Prompt]]:
    """The first `n` prompts with the input of another one, then of yet another: where both are one
    token, which the tokenizer leaves one in its new place."""
    words = {
        one.input: one.row[one.position]
        for one in prompts
        if twin.token_text(one.row[one.position]).strip() == one.input.strip()
    }
    rng = np.random.default_rng(seed)
    others = [
        rng.permutation([word for word in words if word not in one.text]).tolist()
        for one in prompts[:n]
    ]
    for k in range(REWRITTEN):
        written: list[_Prompt] = []
        for one, there in zip(prompts[:n], others, strict=True):
            if one.input in words and k < len(there):
                known, word = words[one.input], there[k]
                row = [words[word] if token == known else token for token in one.row]
                text = one.text.replace(one.input, word)
                written.append(replace(one, text=text, input=word, row=row))
        if written:
            tokenized = twin.tokenize([one.text for one in written])
            yield [one for i, one in enumerate(written) if tokenized.row(i) == one.row]


def _paired(
    prompts: Sequence[_Prompt], answers: Sequence[int], n: int, seed: int, fewest: int
) -> list[tuple[int, int]]:
    """Pairs of prompts with two answers: the task's own `n`, and prompts of one frame, of which
    the first is no corrupted one."""
    texts, inputs = ([getattr(one, name) for one in prompts] for name in ("text", "input"))
    frames = defaultdict[str, list[int]](list)
    for i, one in enumerate(prompts):
        frames[one.frame].append(i)
    other = [
        (i, j)
        for i, one in enumerate(prompts)
        if not n <= i < 2 * n
        for j in frames[one.frame]
        if inputs[i] != inputs[j]
    ]
    apart = _answered_apart([*((i, n + i) for i in range(n)), *other], texts, answers, seed)
    return _chosen(apart, texts, [answers, inputs], fewest, min(MOST_PAIRS, max(n, fewest)))


def _labels(task: Task, clean: Sequence[_Prompt]) -> "pd.DataFrame":
    """What the prompts tell beside their answers; what names the input names the new one."""
    context = [name for name in context_labels(task) if name in task.labels.columns]
    labels = task.labels[context].iloc[[one.pair for one in clean]].reset_index(drop=True)
    assert task.inputs is not None
    given = [task.inputs[one.pair] for one in clean]
    for name in context:
        if (labels[name].astype(str) == given).all():
            labels[name] = [one.input for one in clean]
    return labels


def _batch(prompts: Sequence[_Prompt]) -> TokenBatch:
    return pad_tokens([one.row for one in prompts], pad_id=prompts[0].row[0])


def _first_choices(twin: DepthModel, prompts: Sequence[_Prompt]) -> list[int]:
    """Of so many at a time, so that all of them need not have one length."""
    found: list[int] = []
    for start in range(0, len(prompts), AT_ONCE):
        some = prompts[start : start + AT_ONCE]
        batch = _batch(some)
        # The input's states are asked for next, and are read in the same passes.
        at = torch.stack([torch.tensor([one.position for one in some]), batch.last], dim=1)
        found += twin.logits(batch, at)[:, -1].argmax(-1).tolist()
    return found


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
    most: int,
) -> list[tuple[int, int]]:
    """The first `most` in which no label is of too few prompts; without it, the first of all.

    Args:
        pairs: in the order in which they are taken.
        prompts: all of them; several may be one text.
        labels: of every prompt, one after the other.
        fewest: pairs that are left at least.
        most: pairs that are taken at most.
    """
    left = pairs
    # Too few are no better: other numbers without those of steering.
    while len(left) >= fewest:
        taken = left[:most]
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
    return pairs[:most]
