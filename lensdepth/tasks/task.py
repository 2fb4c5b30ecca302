"""A task: prompts, mostly in pairs, with the token positions and answers analyses need.

Clean and corrupted differ in one place, the input position; the model answers target on the clean
prompt and foil on the corrupted one, read at the prediction position (each prompt's last token).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.tasks.joining import Joined, Joining
from lensdepth.tasks.locate import (
    answer_tokens,
    find_input,
    settle_joining,
    squeeze,
    token_at,
    token_ids,
    varying_span,
)
from lensdepth.tasks.rows import Row
from lensdepth.tokens import TokenBatch, has_double_bos, token_text

OnMultiToken = Literal["error", "drop"]
Keep = Literal["all", "correct"]

log = logging.getLogger(__name__)


@runtime_checkable
class PromptModel(Protocol):
    """What of a `DepthModel` a task needs."""

    tokenizer: Any
    n_ctx: int
    info: Any

    def tokenize(self, prompts: Any) -> TokenBatch: ...

    def logits(self, prompts: Any) -> Tensor: ...


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Prompts with their tokens, answers and positions; made by `load_task`."""

    name: str
    clean: tuple[str, ...]
    """The clean prompts, or the plain ones."""
    corrupted: tuple[str, ...] | None
    """None, like everything else about pairs, where there are plain prompts alone."""
    target: tuple[str, ...] | None
    """Answers to the clean prompts, as written; a token's own text where its id alone was given."""
    foil: tuple[str, ...] | None
    """Answers to the corrupted prompts, likewise."""
    joining: Joined | None
    """How answers follow where neither they nor the prompts tell: as written, or behind a space."""
    clean_tokens: TokenBatch
    corrupted_tokens: TokenBatch | None
    target_ids: Int[Tensor, " pair"] | None
    foil_ids: Int[Tensor, " pair"] | None
    input_positions: Int[Tensor, " pair"] | None
    """Last token of the part that varies in the clean prompts; None where none is known."""
    corrupted_input_positions: Int[Tensor, " pair"] | None
    inputs: tuple[str, ...] | None
    """The part that varies in the clean prompts, as text; None where none is known."""
    corrupted_inputs: tuple[str, ...] | None
    where: tuple[str, ...]
    """How an error names each pair: its line in a file, or its number when it was drawn."""
    labels: pd.DataFrame
    """One row per pair: alpha, beta, gamma, template, ... or a file's own label columns."""
    n_drawn: int
    """Pairs drawn or read, before any was left out."""
    n_multi_token: int
    """Pairs left out because an answer is not one token."""
    n_wrong: int
    """Pairs left out because the model answers one of the two prompts wrongly."""
    seed: int

    def __len__(self) -> int:
        return len(self.clean)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The clean (or plain) prompts."""
        return self.clean

    @property
    def has_pairs(self) -> bool:
        """Whether there are corrupted prompts, targets and foils."""
        return self.corrupted is not None

    @property
    def prediction_positions(self) -> Int[Tensor, " pair"]:
        """Last token of each clean prompt."""
        return self.clean_tokens.last

    @property
    def corrupted_prediction_positions(self) -> Int[Tensor, " pair"] | None:
        """Last token of each corrupted prompt."""
        return None if self.corrupted_tokens is None else self.corrupted_tokens.last

    def select(
        self, rows: int | slice | Sequence[int] | Sequence[bool] | np.ndarray | Tensor
    ) -> "Task":
        """The pairs of these rows, in this order; the counts stay those of the whole task.

        Args:
            rows: indices (negative ones count from the end), a mask with one truth value per pair,
                or a slice.
        Raises:
            ValueError: no row is left.
            IndexError: there is no such row.
        """
        if not isinstance(rows, slice):
            rows = rows.cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
            rows = rows if rows.size else np.zeros(0, dtype=int)
            if rows.ndim > 1 or rows.dtype.kind not in "biu":
                raise IndexError(
                    f"Task.select: rows are whole numbers or truth values, one after the other; "
                    f"got {rows.dtype} of shape {list(rows.shape)}."
                )
            if rows.dtype == bool and rows.shape != (len(self),):
                raise IndexError(
                    f"Task.select: a mask needs one truth value per pair, {len(self)}, "
                    f"got shape {list(rows.shape)}."
                )
            outside = [] if rows.dtype == bool else rows[(rows < -len(self)) | (rows >= len(self))]
            if len(np.atleast_1d(outside)):
                raise IndexError(
                    f"Task.select: there is no row {np.atleast_1d(outside)[0]}; {self.name!r} has "
                    f"rows 0...{len(self) - 1}."
                )
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        if not len(chosen):
            raise ValueError(f"Task.select: none of the {len(self)} rows of {self.name!r} is left.")
        index = torch.from_numpy(chosen)

        def texts(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(values[i] for i in chosen)

        def numbers(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[index]

        return replace(
            self,
            clean=tuple(self.clean[i] for i in chosen),
            corrupted=texts(self.corrupted),
            target=texts(self.target),
            foil=texts(self.foil),
            clean_tokens=self.clean_tokens[index],
            corrupted_tokens=None
            if self.corrupted_tokens is None
            else self.corrupted_tokens[index],
            target_ids=numbers(self.target_ids),
            foil_ids=numbers(self.foil_ids),
            input_positions=numbers(self.input_positions),
            corrupted_input_positions=numbers(self.corrupted_input_positions),
            inputs=texts(self.inputs),
            corrupted_inputs=texts(self.corrupted_inputs),
            where=tuple(self.where[i] for i in chosen),
            labels=self.labels.iloc[chosen].reset_index(drop=True),
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per pair; labels named like another column are called `label_...`."""
        columns = {
            "clean": self.clean,
            "corrupted": self.corrupted,
            "target": self.target,
            "foil": self.foil,
            "target_id": self.target_ids,
            "foil_id": self.foil_ids,
            "input_position": self.input_positions,
            "corrupted_input_position": self.corrupted_input_positions,
            "prediction_position": self.prediction_positions,
            "corrupted_prediction_position": self.corrupted_prediction_positions,
        }
        frame = pd.DataFrame(
            {
                name: values.tolist() if isinstance(values, Tensor) else list(values)
                for name, values in columns.items()
                if values is not None
            }
        )
        labels = self.labels.rename(
            columns={name: f"label_{name}" for name in self.labels.columns if name in columns}
        )
        frame = pd.concat([frame, labels], axis=1)
        frame.insert(0, "pair", range(len(self)))
        return frame


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
) -> Task:
    """Find the tokens of text rows for one model.

    Args:
        rows: all pairs, or all plain prompts.
        model: a `DepthModel`.
        name: what the task is called in results and errors.
        seed: kept in the task for provenance.
        on_multi_token: what to do about pairs with an answer that is not one token.
        keep: "correct" leaves only pairs of which the model answers both prompts rightly.
        joining: see `load_task`.
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
    if keep not in ("all", "correct"):
        raise ValueError(f"{caller}: keep must be 'all' or 'correct', got {keep!r}.")
    if joining not in ("auto", "literal", "space"):
        raise ValueError(
            f"{caller}: joining must be 'auto', 'literal' or 'space', got {joining!r}."
        )
    if not rows:
        raise ValueError(f"{caller}: there are no prompts.")
    pairs = rows[0].corrupted is not None
    if keep == "correct" and not pairs:
        raise ValueError(
            f"{caller}: keep='correct' needs answers to compare with; this task has plain prompts."
        )
    rows = [replace(row, where=row.where or f"row {i}") for i, row in enumerate(rows)]
    n_drawn = len(rows)
    _check_texts(rows, pairs, caller)
    _check_lengths(rows, model, caller)

    target_ids: list[int] = []
    foil_ids: list[int] = []
    joined: Joined | None = None
    if pairs:
        joined = joining_of(rows, model, caller) if joining == "auto" else joining
        rows, target_ids, foil_ids = _resolve_answers(rows, model, joined, on_multi_token, caller)
    n_multi_token = n_drawn - len(rows)

    clean = tuple(row.clean for row in rows)
    clean_tokens = model.tokenize(list(clean))
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
                raise ValueError(f"{caller}: {rows[i].where}: {error}.") from error
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
    )
    return _keep_correct(task, model, caller) if keep == "correct" else task


def _column(rows: Sequence[Row], name: str) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for row in rows)


def listed(items: Sequence[str], *, limit: int = 5) -> str:
    """The first few, and how many more there are, as errors name rows."""
    more = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {more} more" if more > 0 else "")


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


def is_empty(answer: str | None) -> bool:
    """Whether nothing is given as an answer; a line break is one."""
    return not (answer or "").strip(" ")


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
            ending = model.tokenizer.decode(given[-behind[0] :])
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


def joining_of(rows: Sequence[Row], model: PromptModel, caller: str) -> Joined:
    """How the answers of these rows follow; what is assumed with it is said."""
    sides = [(row.clean, row.target) for row in rows]
    sides += [(row.corrupted, row.foil) for row in rows]
    written = [(p, a) for p, a in sides if p is not None and a is not None and not is_empty(a)]
    return settle_joining(
        model.tokenizer,
        [prompt for prompt, _ in written],
        [answer for _, answer in written],
        caller=caller,
        remedy="write the space, or give joining='literal' or joining='space'",
    )


def _resolve_answers(
    rows: Sequence[Row],
    model: PromptModel,
    joining: Joined,
    on_multi_token: OnMultiToken,
    caller: str,
) -> tuple[list[Row], list[int], list[int]]:
    """Rows whose two answers are one token each, with these tokens."""
    rows = _with_ids(_with_ids(rows, model, "target", caller), model, "foil", caller)
    # Two tokens may well have one text: where ids are given, they are compared below.
    same = [
        row.where
        for row in rows
        if row.target_id is None and row.foil_id is None and row.target == row.foil
    ]
    if same:
        raise ValueError(
            f"{caller}: target and foil are the same answer in {listed(same)}; "
            f"clean and corrupted must have different answers."
        )
    targets = _answers(rows, model, joining, "clean", "target")
    foils = _answers(rows, model, joining, "corrupted", "foil")
    kept, target_ids, foil_ids = [], [], []
    wrong: dict[str, str] = {}
    for row, target, foil in zip(rows, targets, foils, strict=True):
        if isinstance(target, int) and isinstance(foil, int):
            kept.append(row)
            target_ids.append(target)
            foil_ids.append(foil)
        for answer, token in ((row.target, target), (row.foil, foil)):
            if isinstance(token, str) and answer is not None:
                wrong.setdefault(answer, f"{shown(answer, 60)} ({row.where}: {token})")
    n_wrong = len(rows) - len(kept)
    if n_wrong and on_multi_token == "error":
        raise ValueError(
            f"{caller}: answers must be one token, and {len(wrong)} of this task's are not for "
            f"this tokenizer, in {n_wrong} of {len(rows)} pairs: {listed(list(wrong.values()))}. "
            f"Choose other answers, or leave these pairs out with on_multi_token='drop'."
        )
    if not kept:
        raise ValueError(
            f"{caller}: no pair is left: each has an answer that is not one token for this "
            f"tokenizer, such as {listed(list(wrong.values()), limit=3)}."
        )
    alike = [row for row, a, b in zip(kept, target_ids, foil_ids, strict=True) if a == b]
    if alike:
        spelled = all(str(row.target).strip() == str(row.foil).strip() for row in alike)
        what = "answer" if spelled else "token for this tokenizer"
        raise ValueError(
            f"{caller}: target and foil are the same {what} in "
            f"{listed([row.where for row in alike])}."
        )
    return kept, target_ids, foil_ids


def _with_ids(rows: Sequence[Row], model: PromptModel, side: str, caller: str) -> list[Row]:
    """Rows in which each answer that is given as a token id has its text.

    Raises:
        ValueError: there is no such token, or the text that is given beside it is another.
    """
    if all(getattr(row, f"{side}_id") is None for row in rows):
        return list(rows)
    n_tokens: int = max(model.tokenizer.get_vocab().values()) + 1
    n_tokens = min(n_tokens, getattr(model, "d_vocab", n_tokens))
    found = []
    for row in rows:
        token, text = getattr(row, f"{side}_id"), getattr(row, side)
        if token is None:
            found.append(row)
            continue
        whole = isinstance(token, Integral) and not isinstance(token, bool)
        if not whole or not 0 <= int(token) < n_tokens:
            raise ValueError(
                f"{caller}: {row.where}: {side}_id must be a token from 0 to {n_tokens - 1}, "
                f"got {shown(token)}."
            )
        own = token_text(model.tokenizer, int(token))
        if is_empty(text):
            row = replace(row, **{side: own})
        elif squeeze(text) != squeeze(own):
            raise ValueError(
                f"{caller}: {row.where}: {side} is {shown(text)}, but {side}_id {token} is the "
                f"token {shown(own)}; leave one of the two out."
            )
        found.append(replace(row, **{f"{side}_id": int(token)}))
    return found


def _answers(
    rows: Sequence[Row], model: PromptModel, joining: Joined, prompt: str, answer: str
) -> list[int | str]:
    """The token of each answer, or why it is not one; what a row knows is not sought."""
    known: list[int | str | None] = list(_column(rows, f"{answer}_id"))
    sought = [i for i, token in enumerate(known) if token is None]
    found = answer_tokens(
        model.tokenizer,
        [getattr(rows[i], prompt) for i in sought],
        [getattr(rows[i], answer) for i in sought],
        joining,
    )
    places = dict(zip(sought, found, strict=True))
    return [places[i] if token is None else token for i, token in enumerate(known)]


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


@checked
def answered_rightly(task: Task, model: DepthModel | PromptModel) -> tuple[Tensor, Tensor]:
    """Whether the likeliest next token is target on clean, and foil on corrupted, by pair.

    Raises:
        ValueError: the task has plain prompts alone.
    """
    if task.corrupted_tokens is None:
        raise ValueError(
            f"answered_rightly: task {task.name!r} has plain prompts alone, and no answers."
        )
    right = []
    for tokens, answers in (
        (task.clean_tokens, task.target_ids),
        (task.corrupted_tokens, task.foil_ids),
    ):
        # In parts, so that the logits of all prompts over a large vocabulary never exist at once.
        top = torch.cat(
            [
                model.logits(tokens[slice(start, start + 32)])[:, -1].argmax(-1).cpu()
                for start in range(0, len(task), 32)
            ]
        )
        right.append(top == answers)
    return right[0], right[1]


def _keep_correct(task: Task, model: PromptModel, caller: str) -> Task:
    right = answered_rightly(task, model)
    both = right[0] & right[1]
    if not both.any():
        raise ValueError(
            f"{caller}: the model {model.info.name!r} answers none of the {len(task)} pairs "
            f"rightly (clean prompts {right[0].float().mean():.0%} right, corrupted ones "
            f"{right[1].float().mean():.0%}). Use keep='all', another task or another model."
        )
    return replace(task.select(both), n_wrong=int((~both).sum()))
