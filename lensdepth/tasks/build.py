"""From rows to a task: every token and position that analyses need, found for one model."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pandas as pd
import torch
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.tasks.answers import OnMultiToken, is_empty, joining_of, resolve_answers
from lensdepth.tasks.chatting import offset
from lensdepth.tasks.joining import Joined, Joining
from lensdepth.tasks.keeping import PromptModel, kept_pairs
from lensdepth.tasks.locate import Span, decoded, find_input, token_at, token_ids, varying_span
from lensdepth.tasks.rows import Row, listed
from lensdepth.tasks.task import Keep, Task
from lensdepth.tokenizing import ENDS_IN_SPACE, ending_in_space
from lensdepth.tokens import TokenBatch, has_double_bos

log = logging.getLogger(__name__)


@checked
def build_task(
    rows: Sequence[Row],
    model: DepthModel | PromptModel,
    *,
    name: str,
    seed: int = 0,
    on_multi_token: OnMultiToken = "error",
    keep: Keep = "all",
    joining: Joining = "auto",
    units: Sequence[str] | None = None,
) -> Task:
    """Find the tokens of text rows for one model.

    Args:
        rows: all pairs, or all plain prompts.
        model: a `DepthModel`.
        name: what the task is called in results and errors.
        seed: kept in the task for provenance.
        on_multi_token: what to do about pairs with an answer that is not one token.
        keep: "correct" leaves only pairs of which the model answers both prompts rightly,
            "preferred" those of which it prefers each prompt's answer to the other's, "wrong"
            those that are not correct.
        joining: see `load_task`.
        units: see `load_task`.
    Raises:
        ValueError: a prompt is empty or too long, a pair has one and the same answer twice, answers
            are not one token or not the one that their id says, an input cannot be found, or no
            pair is left.
    """
    caller = f"task {shown(name)}"
    if on_multi_token not in ("error", "drop"):
        raise ValueError(
            f"{caller}: on_multi_token must be 'error' or 'drop', got {on_multi_token!r}."
        )
    if keep not in get_args(Keep):
        raise ValueError(
            f"{caller}: keep must be {', '.join(map(repr, get_args(Keep)))}, got {keep!r}."
        )
    if joining not in ("auto", "literal", "space"):
        raise ValueError(
            f"{caller}: joining must be 'auto', 'literal' or 'space', got {joining!r}."
        )
    if not rows:
        raise ValueError(f"{caller}: there are no prompts.")
    pairs = rows[0].corrupted is not None
    if keep != "all" and not pairs:
        raise ValueError(
            f"{caller}: keep={keep!r} needs answers to compare with; this task has plain prompts."
        )
    rows = [replace(row, where=row.where or f"row {i}") for i, row in enumerate(rows)]
    n_drawn = len(rows)
    _check_texts(rows, pairs, caller)
    _check_lengths(rows, model, caller)

    target_ids: list[int] = []
    foil_ids: list[int] = []
    joined: Joined | None = None
    if pairs:
        joined = joining_of(rows, model.tokenizer, caller) if joining == "auto" else joining
        rows, target_ids, foil_ids = resolve_answers(
            rows,
            model.tokenizer,
            joined,
            on_multi_token=on_multi_token,
            d_vocab=getattr(model, "d_vocab", None),
            caller=caller,
        )
    n_multi_token = n_drawn - len(rows)

    clean = tuple(row.clean for row in rows)
    clean_tokens = model.tokenize(list(clean))
    if not pairs and rows[0].said is None:  # of pairs, the answers' tokens tell
        spaced = [rows[i].where for i in ending_in_space(model, clean)]
        if spaced:
            log.warning("%s: the prompt %s: %s.", caller, ENDS_IN_SPACE, listed(spaced))
    _check_endings(rows, clean_tokens, model, caller)
    corrupted = corrupted_tokens = spans = None
    if pairs:
        corrupted = _column(rows, "corrupted")
        corrupted_tokens = model.tokenize(list(corrupted))
        _check_different(rows, clean_tokens, corrupted_tokens, caller)
    spans = _input_spans(rows, caller)

    def positions(texts: tuple[str, ...], tokens: TokenBatch, side: int) -> Tensor | None:
        if spans is None or spans[0][side] is None:
            return None
        found = []
        for i, text in enumerate(texts):
            try:
                found.append(token_at(model.tokenizer, text, tokens.row(i), spans[i][side]))
            except ValueError as error:
                said = str(error).rstrip(".")
                raise ValueError(f"{caller}: {rows[i].where}: {said}.") from error
        return torch.tensor(found)

    def varying(texts: tuple[str, ...] | None, side: int) -> tuple[str, ...] | None:
        if spans is None or texts is None or spans[0][side] is None:
            return None
        return tuple(text[slice(*span[side])] for text, span in zip(texts, spans, strict=True))

    task = Task(
        name=name,
        clean=clean,
        corrupted=corrupted,
        target=_column(rows, "target") if pairs else None,
        foil=_column(rows, "foil") if pairs else None,
        joining=joined,
        clean_tokens=clean_tokens,
        corrupted_tokens=corrupted_tokens,
        target_ids=torch.tensor(target_ids) if pairs else None,
        foil_ids=torch.tensor(foil_ids) if pairs else None,
        input_positions=positions(clean, clean_tokens, 0),
        corrupted_input_positions=(
            None
            if corrupted is None or corrupted_tokens is None
            else positions(corrupted, corrupted_tokens, 1)
        ),
        inputs=varying(clean, 0),
        corrupted_inputs=varying(corrupted, 1),
        where=_column(rows, "where"),
        labels=pd.DataFrame([row.labels for row in rows], index=range(len(rows))),
        n_drawn=n_drawn,
        n_multi_token=n_multi_token,
        n_wrong=0,
        seed=seed,
        unit_columns=None if units is None else tuple(units),
    )
    _check_units(task, caller)
    return task if keep == "all" else kept_pairs(task, model, keep, caller)


def _check_units(task: Task, caller: str) -> None:
    there = [*map(str, task.labels.columns), "prompt"]
    if task.inputs is not None:
        there.append("input")
    for name in task.unit_columns or ():
        if name not in there:
            raise ValueError(
                f"{caller}: units name labels, input or prompt by which pairs go together; there "
                f"is no {shown(name)}, there are {', '.join(there)}."
            )


def _column(rows: Sequence[Row], name: str) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for row in rows)


def _check_texts(rows: Sequence[Row], pairs: bool, caller: str) -> None:
    for row in rows:
        texts = {"clean": row.clean, "corrupted": row.corrupted} if pairs else {"prompt": row.clean}
        empty = [name for name, text in texts.items() if text is None or not text.strip()]
        if pairs:
            answers = (("target", row.target, row.target_id), ("foil", row.foil, row.foil_id))
            empty += [name for name, text, token in answers if token is None and is_empty(text)]
        if empty:
            raise ValueError(f"{caller}: {row.where}: {empty[0]} is empty.")
    if not pairs:
        return
    alike = [row.where for row in rows if row.clean == row.corrupted]
    if alike:
        raise ValueError(
            f"{caller}: clean and corrupted are the same prompt in {listed(alike)}; "
            f"a pair must differ somewhere."
        )


def _check_lengths(rows: Sequence[Row], model: PromptModel, caller: str) -> None:
    if model.tokenizer is None:
        raise ValueError(f"{caller}: this model has no tokenizer, and a task is text; give it one.")
    texts = [(row, text) for row in rows for text in (row.clean, row.corrupted) if text is not None]
    all_ids = token_ids(model.tokenizer, [text for _, text in texts])
    single_bos = not getattr(model, "double_bos", True)
    for (row, text), ids in zip(texts, all_ids, strict=True):
        if single_bos and has_double_bos(model.tokenizer, text, ids):
            ids = ids[1:]
        if not ids:
            raise ValueError(
                f"{caller}: {row.where}: {shown(text)} has no tokens for this tokenizer."
            )
        if len(ids) > model.n_ctx:
            raise ValueError(
                f"{caller}: {row.where}: the prompt {shown(text, 60)} has {len(ids)} tokens, and "
                f"the model's context holds {model.n_ctx}. Shorten it."
            )


def _check_endings(
    rows: Sequence[Row], tokens: TokenBatch, model: PromptModel, caller: str
) -> None:
    """The last token must be the prompt's own, or what is read there predicts no answer."""
    own = token_ids(model.tokenizer, [row.clean for row in rows], special=False)
    for i, (row, ids) in enumerate(zip(rows, own, strict=True)):
        given = tokens.row(i)
        behind = [
            k for k in range(1, len(given) - len(ids) + 1) if given[-k - len(ids) : -k] == ids
        ]
        if ids and given[-1] != ids[-1] and behind:
            ending = decoded(model.tokenizer, given[-behind[0] :])
            raise ValueError(
                f"{caller}: {row.where}: this tokenizer puts {shown(ending)} behind every prompt, "
                f"so the last token is not the prompt's own; turn that off, often by "
                f"add_eos_token=False."
            )


def _check_different(
    rows: Sequence[Row], clean: TokenBatch, corrupted: TokenBatch, caller: str
) -> None:
    alike = [row.where for i, row in enumerate(rows) if clean.row(i) == corrupted.row(i)]
    if alike:
        raise ValueError(
            f"{caller}: clean and corrupted are the same tokens for this tokenizer in "
            f"{listed(alike)}; the words that differ may be unknown to it."
        )


def _input_spans(rows: Sequence[Row], caller: str) -> list[tuple[Any, Any]] | None:
    """Where the varying part stands in each prompt, or None if some row does not tell."""
    spans = []
    for row in rows:
        try:
            spans.append(_row_spans(row))
        except ValueError as error:
            raise ValueError(f"{caller}: {row.where}: {error}.") from error
    unknown = [row.where for row, span in zip(rows, spans, strict=True) if span is None]
    if unknown:
        if rows[0].corrupted is not None or len(unknown) < len(rows):
            log.warning(
                "%s: input positions are unknown, since nothing tells which part varies in %s; "
                "name it in the columns input and corrupted_input.",
                caller,
                listed(unknown),
            )
        return None
    return [span for span in spans if span is not None]


def _row_spans(row: Row) -> tuple[Any, Any] | None:
    if row.said is not None:  # a template may hold the same words
        plain = replace(row, clean=row.said, corrupted=row.corrupted_said, said=None)
        spans, sides = _row_spans(plain), ((row.clean, row.said), (row.corrupted, plain.corrupted))
        if spans is None:
            return None
        first, second = (
            None if span is None or text is None or said is None else _moved(span, text, said)
            for span, (text, said) in zip(spans, sides, strict=True)
        )
        return first, second
    if row.corrupted is None:
        return None if row.input is None else (find_input(row.clean, row.input, None), None)
    clean, corrupted = (
        varying_span(row.clean, row.corrupted),
        varying_span(row.corrupted, row.clean),
    )
    if row.input is not None:
        clean = find_input(row.clean, row.input, row.corrupted)
    if row.corrupted_input is not None:
        corrupted = find_input(row.corrupted, row.corrupted_input, row.clean)
    return None if clean is None or corrupted is None else (clean, corrupted)


def _moved(span: Span, text: str, said: str) -> Span:
    by = offset(text, said)
    return span[0] + by, span[1] + by
