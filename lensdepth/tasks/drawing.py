"""Built-in tasks for one model: in the form that it knows, drawn until enough pairs are kept."""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.tasks.answers import OnMultiToken, Unanswered, one_token_rows
from lensdepth.tasks.build import build_task
from lensdepth.tasks.catalogue import FEW_SHOT, PLAIN, make_rows, recipe_of
from lensdepth.tasks.joining import Joining
from lensdepth.tasks.keeping import PromptModel, is_kept
from lensdepth.tasks.locate import WORD, answer_tokens, token_ids
from lensdepth.tasks.recipe import Form
from lensdepth.tasks.rows import Row, listed
from lensdepth.tasks.task import Keep, Task
from lensdepth.tasks.words import EVERYDAY

MOST_TRIED = 10
"""Pairs tried for each one asked for, at most: what a model answers more rarely it does not know.
"""
LEAST_TRIED = 32
"""Pairs tried at a time, at least."""


def settle_form(
    name: str, form: Form, tokenizer: Any, template: str | Sequence[str] | None = None
) -> Form:
    """The form of a built-in task for a tokenizer: "plain" or "few-shot".

    Raises:
        ValueError: the task has no such form.
    """
    if form == "auto":
        if name not in FEW_SHOT or name not in PLAIN:
            return "plain" if name in PLAIN else "few-shot"
        wanted: Form = "few-shot" if knows_everyday_words(tokenizer) else "plain"
        other: Form = "plain" if wanted == "few-shot" else "few-shot"
        named = {template} if isinstance(template, str) else set(template or ())
        here, there = ({*recipe_of(name, f).templates, "all"} for f in (wanted, other))
        return other if named <= there and not named <= here else wanted
    if name not in (PLAIN if form == "plain" else FEW_SHOT):
        has_one = "few-shot" if form == "plain" else "plain"
        raise ValueError(f"load_task: task {shown(name)} has no form {form!r}; it is {has_one}.")
    return form


def knows_everyday_words(tokenizer: Any) -> bool:
    """Whether most of some everyday words are one token each, as for tokenizers of real text."""
    if tokenizer is None:
        return False
    found = answer_tokens(tokenizer, ["It is"] * len(EVERYDAY), EVERYDAY, "space")
    unknown = getattr(tokenizer, "unk_token_id", None)
    known = [token for token in found if isinstance(token, int) and token != unknown]
    return 2 * len(known) > len(EVERYDAY)


def known_templates(
    name: str, template: str | Sequence[str] | None, form: Form = "auto"
) -> tuple[str, ...]:
    """The wordings that are meant.

    Raises:
        ValueError: the task has none of that name in this form.
    """
    recipe = recipe_of(name, form)
    if template is None:
        return recipe.default or recipe.templates
    if template == "all":
        return recipe.templates
    chosen = (template,) if isinstance(template, str) else tuple(dict.fromkeys(template))
    wrong = [t for t in chosen if t not in recipe.templates]
    if not recipe.templates:
        raise ValueError(f"load_task: task {shown(name)} has one wording only; leave template out.")
    if wrong or not chosen:
        near = (
            difflib.get_close_matches(wrong[0], recipe.templates, n=2, cutoff=0.5) if wrong else []
        )
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        given = shown(wrong[0]) if wrong else "none"
        where = " in its few-shot form" if form == "few-shot" and name in PLAIN else ""
        raise ValueError(
            f"load_task: task {shown(name)} has no template {given}{where}. {hint}Templates: "
            f"{', '.join(recipe.templates)}; or 'all'."
        )
    return chosen


def draw_task(
    name: str,
    model: DepthModel | PromptModel,
    *,
    n: int | None,
    seed: int,
    template: str | Sequence[str] | None,
    form: Form,
    on_multi_token: OnMultiToken,
    keep: Keep,
    joining: Joining,
    units: Sequence[str] | None,
    title: str | None,
    put: Callable[[list[Row]], list[Row]] | None = None,
) -> Task:
    """A built-in task for one model; arguments and errors of `load_task`.

    Of a few-shot task, words that are not one token cost their pairs and not the task: it is for
    every tokenizer.

    Args:
        put: rows as they are written -> as the model is to read them, such as in its chat template.
    """
    form = settle_form(name, form, model.tokenizer, template)
    templates = known_templates(name, template, form)
    both = name in PLAIN and name in FEW_SHOT
    own = f"{name} (few-shot)" if both and form == "few-shot" else name
    few_shot = form == "few-shot"

    def draw(again: int = 0) -> list[Row]:
        try:
            rows = make_rows(name, n=n, seed=seed, templates=templates, form=form, again=again)
        except ValueError as error:
            raise ValueError(f"task {shown(name)}: {error}") from error
        return rows if put is None else put(rows)

    rows = draw()
    if few_shot:
        _check_known(rows, model.tokenizer, f"task {shown(own)}")
    settings: dict[str, Any] = {
        "name": own if title is None else title,
        "seed": seed,
        "on_multi_token": "drop" if few_shot else on_multi_token,
        # Behind a template answers may follow otherwise than behind the task's own words.
        "joining": recipe_of(name, form).joining if joining == "auto" and not put else joining,
        "units": units,
    }
    task = build_task(rows, model, keep=keep, **settings)
    if n is None or len(task) >= n:
        return task
    return _topped_up(task, rows, draw, model, n, keep, settings)


def _topped_up(
    task: Task,
    rows: list[Row],
    draw: Callable[[int], list[Row]],
    model: DepthModel | PromptModel,
    n: int,
    keep: Keep,
    settings: dict[str, Any],
) -> Task:
    """Draws on until `n` pairs are kept, none is new, or too many have been tried."""
    first = set(task.where)
    kept = [row for row in rows if row.where in first]
    seen = {(row.clean, row.corrupted) for row in rows}
    tried, multi, out, again = len(rows), task.n_multi_token, task.n_wrong + task.n_unkept, 0
    while len(kept) < n and tried < MOST_TRIED * n:
        again += 1
        fresh = [row for row in draw(again) if (row.clean, row.corrupted) not in seen]
        if not fresh:
            break
        lacking = (n - len(kept)) * tried / len(kept)
        fresh = fresh[: max(LEAST_TRIED, math.ceil(lacking))]
        fresh = [replace(row, where=f"pair {tried + i}") for i, row in enumerate(fresh)]
        seen |= {(row.clean, row.corrupted) for row in fresh}
        judged = _judged(fresh, model, keep, settings)
        for row in fresh:
            if len(kept) == n:
                break
            tried += 1
            multi += row.where not in judged
            out += row.where in judged and not judged[row.where]
            kept += [row] if judged.get(row.where) else []
    whole = build_task(kept, model, **settings)
    left_out = {"n_wrong": out} if keep == "correct" else {"n_unkept": out}
    return replace(whole, keep=keep, n_drawn=tried, n_multi_token=multi, **left_out)


def _judged(
    rows: list[Row], model: DepthModel | PromptModel, keep: Keep, settings: dict[str, Any]
) -> dict[str, bool]:
    """Whether each row whose answers are one token is kept."""
    if settings["on_multi_token"] == "drop":
        rows = one_token_rows(rows, model.tokenizer, settings["joining"])
    if not rows:
        return {}
    part = build_task(rows, model, **settings)
    return dict(zip(part.where, is_kept(part, model, keep).tolist(), strict=True))


def _words_first(word: str) -> tuple[bool, str]:
    return not word.isalpha(), word


def _check_known(rows: Sequence[Row], tokenizer: Any, caller: str) -> None:
    """Refuse prompts of which a tokenizer does not know every word."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None:
        return
    texts = [text for row in rows for text in (row.clean, row.corrupted) if text is not None]
    unread = [
        text
        for text, ids in zip(texts, token_ids(tokenizer, texts, special=False), strict=True)
        if unknown in ids
    ]
    if not unread:
        return
    found = sorted({word for text in unread for word in WORD.findall(text)}, key=_words_first)
    lacking = [
        word
        for word, ids in zip(found, token_ids(tokenizer, found, special=False), strict=True)
        if unknown in ids
    ]
    raise Unanswered(
        f"{caller}: this model's tokenizer does not know "
        f"{listed([shown(w) for w in lacking]) or shown(unread[0], 60)}; few-shot tasks are for "
        f"models of everyday text. Choose a task with a plain form."
    )
