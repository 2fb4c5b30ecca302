"""Which token each answer of a task is: found from its text, or known by its id."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

from lensdepth.outside import outside, shown
from lensdepth.tasks.columns import IDS
from lensdepth.tasks.joining import Joined
from lensdepth.tasks.locate import answer_tokens, guess_joining, settle_joining, squeeze
from lensdepth.tasks.rows import Row, listed
from lensdepth.tokens import token_text

OnMultiToken = Literal["error", "drop"]


class Unanswered(ValueError):
    """A task that this model cannot do: its tokenizer lacks words, or it answers no pair."""


def is_empty(answer: str | None) -> bool:
    """Whether nothing is given as an answer; a line break is one."""
    return not (answer or "").strip(" ")


def joining_of(rows: Sequence[Row], tokenizer: Any, caller: str) -> Joined:
    """How the answers of these rows follow; what is assumed with it is said.

    Nothing is assumed where every answer has its id.
    """
    sides = [(row.clean, row.target) for row in rows]
    sides += [(row.corrupted, row.foil) for row in rows]
    written = [(p, a) for p, a in sides if p is not None and a is not None and not is_empty(a)]
    prompts, answers = [prompt for prompt, _ in written], [answer for _, answer in written]
    if all(row.target_id is not None and row.foil_id is not None for row in rows):
        return guess_joining(tokenizer, prompts, answers).joining
    return settle_joining(
        tokenizer,
        prompts,
        answers,
        caller=caller,
        remedy="write the space, or give joining='literal' or joining='space'",
    )


def resolve_answers(
    rows: Sequence[Row],
    tokenizer: Any,
    joining: Joined,
    *,
    on_multi_token: OnMultiToken,
    d_vocab: int | None,
    caller: str,
) -> tuple[list[Row], list[int], list[int]]:
    """Rows whose two answers are one token each, with these tokens.

    Args:
        rows: pairs.
        tokenizer: of the model.
        joining: how open answers follow.
        on_multi_token: what to do about pairs with an answer that is not one token.
        d_vocab: how many tokens the model has, if that is known.
        caller: how errors begin.
    """
    for side in IDS:
        rows = _with_ids(rows, tokenizer, side, d_vocab, caller)
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
    targets = _answers(rows, tokenizer, joining, "clean", "target")
    foils = _answers(rows, tokenizer, joining, "corrupted", "foil")
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
        raise Unanswered(
            f"{caller}: answers must be one token, and {len(wrong)} of this task's "
            f"{'is' if len(wrong) == 1 else 'are'} not for this tokenizer, in {n_wrong} of "
            f"{len(rows)} pairs: {listed(list(wrong.values()))}. Choose other "
            f"answers, or leave these pairs out with on_multi_token='drop'."
        )
    if not kept:
        raise Unanswered(
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


def _with_ids(
    rows: Sequence[Row], tokenizer: Any, side: str, d_vocab: int | None, caller: str
) -> list[Row]:
    """Rows in which each answer that is given as a token id has its text.

    Raises:
        ValueError: there is no such token, or the text that is given beside it is another.
    """
    if all(getattr(row, IDS[side]) is None for row in rows):
        return list(rows)
    with outside(f"{caller}: the tokenizer's vocabulary cannot be read"):
        n_tokens: int = max(tokenizer.get_vocab().values()) + 1
    n_tokens = n_tokens if d_vocab is None else min(n_tokens, d_vocab)
    found = []
    for row in rows:
        token, text = getattr(row, IDS[side]), getattr(row, side)
        if token is None:
            found.append(row)
            continue
        whole = isinstance(token, Integral) and not isinstance(token, bool)
        if not whole or not 0 <= int(token) < n_tokens:
            raise ValueError(
                f"{caller}: {row.where}: {side}_id must be a token from 0 to {n_tokens - 1}, "
                f"got {shown(token)}."
            )
        own = token_text(tokenizer, int(token))
        if is_empty(text):
            row = replace(row, **{side: own})
        elif squeeze(text) != squeeze(own):
            raise ValueError(
                f"{caller}: {row.where}: {side} is {shown(text)}, but {side}_id {token} is the "
                f"token {shown(own)}; leave one of the two out."
            )
        found.append(replace(row, **{IDS[side]: int(token)}))
    return found


def _answers(
    rows: Sequence[Row], tokenizer: Any, joining: Joined, prompt: str, answer: str
) -> list[int | str]:
    """The token of each answer, or why it is not one; what a row knows is not sought."""
    known: list[int | str | None] = [getattr(row, IDS[answer]) for row in rows]
    sought = [i for i, token in enumerate(known) if token is None]
    found = answer_tokens(
        tokenizer,
        [getattr(rows[i], prompt) for i in sought],
        [getattr(rows[i], answer) for i in sought],
        joining,
    )
    places = dict(zip(sought, found, strict=True))
    return [places[i] if token is None else token for i, token in enumerate(known)]


def one_token_rows(rows: Sequence[Row], tokenizer: Any, joining: Joined) -> list[Row]:
    """Those pairs whose two answers are one token each."""
    targets = _answers(rows, tokenizer, joining, "clean", "target")
    foils = _answers(rows, tokenizer, joining, "corrupted", "foil")
    both = zip(rows, targets, foils, strict=True)
    return [row for row, a, b in both if isinstance(a, int) and isinstance(b, int)]
