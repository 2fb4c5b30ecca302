"""Tasks by name, from prompt files, and of pairs in memory.

>>> task = load_task("months", model, template=["from", "after"], keep="correct")
>>> len(task), task.n_wrong
(200, 0)
"""

import difflib
import logging
import random
from collections.abc import Sequence
from pathlib import Path

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.tasks import memory
from lensdepth.tasks.answers import OnMultiToken, joining_of
from lensdepth.tasks.build import build_task
from lensdepth.tasks.catalogue import FEW_SHOT, PLAIN, TASKS, make_rows
from lensdepth.tasks.chatting import in_chat
from lensdepth.tasks.drawing import draw_task, known_templates, settle_form
from lensdepth.tasks.files import looks_like_path, read_rows
from lensdepth.tasks.joining import Joining
from lensdepth.tasks.judging import PromptModel
from lensdepth.tasks.recipe import Form
from lensdepth.tasks.rows import Row
from lensdepth.tasks.task import Keep, Task

log = logging.getLogger(__name__)

_GIVEN = "these are pairs in memory"


def list_tasks() -> dict[str, str]:
    """The built-in tasks, each with an example."""
    return {name: recipe.description for name, recipe in TASKS.items()}


@checked
def list_templates(name: str, *, form: Form = "auto") -> tuple[str, ...]:
    """The names that `template` may have for a built-in task, in one form or ("auto") in any."""
    forms = (PLAIN, FEW_SHOT) if form == "auto" else (PLAIN if form == "plain" else FEW_SHOT,)
    known = _known_task(name)
    found = [recipes[known].templates for recipes in forms if known in recipes]
    return tuple(dict.fromkeys(template for templates in found for template in templates))


@checked
def list_forms(name: str) -> tuple[str, ...]:
    """The forms that a built-in task has: "plain", "few-shot" or both."""
    known = _known_task(name)
    recipes = (("plain", PLAIN), ("few-shot", FEW_SHOT))
    return tuple(form for form, there in recipes if known in there)


@checked
def load_task(
    name_or_path: str | Path | memory.InMemory,
    model: DepthModel | PromptModel,
    *,
    n: int | None = 200,
    seed: int = 0,
    template: str | Sequence[str] | None = None,
    form: Form = "auto",
    on_multi_token: OnMultiToken = "error",
    keep: Keep = "all",
    joining: Joining = "auto",
    units: Sequence[str] | None = None,
    name: str | None = None,
    chat: bool = False,
    system: str | None = None,
) -> Task:
    """Make a built-in task, or one of a prompt file or of pairs in memory, for one model.

    Args:
        name_or_path: a name out of `list_tasks()`; a JSONL, CSV or Parquet file; a folder of
            Parquet files; a Hugging Face data set, "owner/name" or "owner/name:split". Or pairs in
            memory, with the columns of such files: a list of dicts and `Pair`, a DataFrame, a
            datasets.Dataset, an Arrow table. Errors name their rows by place, from 0.
        model: a `DepthModel`.
        n: so many pairs, drawn at random, balanced over templates, start words, counts and the
            like. In place of pairs left out (`on_multi_token`, `keep`) others are drawn, until so
            many are kept, there are no more, or ten times as many have been tried. Of files and
            tables at most so many rows, in their order. None: all there are.
        seed: the same seed gives the same pairs.
        template: which wording of a built-in task: one name, several, or "all". None is the
            study's wording, or all of them where no single one stands out.
        form: how a built-in task is put: "plain", one sentence, as the bundled models learned it,
            or "few-shot", behind a few examples, as models of everyday text need it. "auto": the
            form that has the template named, else few-shot where the task has it and the tokenizer
            holds everyday words whole.
        on_multi_token: an answer that is not one token for this tokenizer is an error, or its pairs
            are dropped and counted in `n_multi_token`, as they always are of few-shot tasks.
        keep: by the model's own answers: "correct" keeps the pairs of which its first choice is
            target on the clean and foil on the corrupted prompt, and counts the others in
            `n_wrong`; "preferred" those with logit(target) > logit(foil) on the clean and the
            reverse on the corrupted prompt, where success then means preference as well; "wrong"
            those that are not correct. Both count the others in `n_unkept`.
        joining: how answers follow that are written without a space where one may belong ("...
            January is" and "March"): "literal" or behind a "space". "auto" knows it of the built-in
            tasks; in a file or table in which any answer begins with a space it is "literal", in
            another a space, unless that keeps most of them from being one token; and it says so.
            All other answers follow as they are written.
        units: by what pairs go together and are not independent: names of labels, "input" (the
            input words of both prompts) and "prompt"; an empty list: by nothing. None takes input
            words (prompts where there are none) and every label that repeats and has at least 5
            values; see `Task.units`.
        name: what the task is called in results and errors; None: the built-in task's name, the
            file's, or "pairs in memory".
        chat: put every prompt into the model's own chat template, as what the user says; the
            answer is then the first token that the assistant says, and positions are found in what
            the user said. Prompts of results are the whole text.
        system: with `chat`, what the model is told beforehand.
    Returns:
        Task, with its token positions for this model.
    Raises:
        ValueError: unknown task or template, a malformed file or table, answers of several tokens
            or other than their ids, a prompt beyond the context, or no pair left.
        TypeError: in a list, something that is neither dict nor `Pair`.
        FileNotFoundError: there is no such file.
    Example:
        >>> load_task("months", model, template="all", n=24)
        >>> load_task(frame[frame["beta"] < 3], model, n=None, name="short steps")
    """
    if system is not None and not chat:
        raise ValueError("load_task: system goes with chat=True, which puts it into the template.")
    own = str(name_or_path) if isinstance(name_or_path, str | Path) else memory.NAME
    if isinstance(name_or_path, str | Path) and not _is_file(name_or_path):
        _check_draw(n, None, name_or_path)
        return draw_task(
            _known_task(own),
            model,
            n=n,
            seed=seed,
            template=template,
            form=form,
            on_multi_token=on_multi_token,
            keep=keep,
            joining=joining,
            units=units,
            title=name,
            put=(lambda rows: in_chat(rows, model, system)) if chat else None,
        )
    _check_draw(n, template, name_or_path, form)
    if isinstance(name_or_path, str | Path):
        found, title = read_rows(name_or_path), own
        own = Path(own).name or own
    else:
        found, title = memory.rows_in_memory(name_or_path), name or own
    found = in_chat(found, model, system) if chat else found
    rows = _some(found, n, random.Random(seed), title)
    if joining == "auto" and len(rows) < len(found) and found[0].corrupted is not None:
        # Of all there is, so that it does not depend on the draw.
        joining = joining_of(found, model.tokenizer, f"task {shown(name or own)}")
    return build_task(
        rows,
        model,
        name=own if name is None else name,
        seed=seed,
        on_multi_token=on_multi_token,
        keep=keep,
        joining=joining,
        units=units,
    )


def draw_rows(
    name_or_path: str | Path,
    *,
    n: int | None = 200,
    seed: int = 0,
    template: str | Sequence[str] | None = None,
    form: Form = "auto",
) -> list[Row]:
    """The rows of a task before any tokenizer sees them; arguments and errors of `load_task`.

    With `form="auto"` it is the plain one, where the task has that and the template.
    """
    name = str(name_or_path)
    if _is_file(name_or_path):
        _check_draw(n, template, name_or_path, form)
        return _some(read_rows(name), n, random.Random(seed), name)
    _check_draw(n, None, name_or_path)
    form = settle_form(_known_task(name), form, None, template)
    templates = known_templates(name, template, form)
    try:
        return make_rows(name, n=n, seed=seed, templates=templates, form=form)
    except ValueError as error:
        raise ValueError(f"task {shown(name)}: {error}") from error


def _check_draw(
    n: int | None, template: str | Sequence[str] | None, given: object, form: Form = "auto"
) -> None:
    if n is not None and n < 1:
        raise ValueError(f"load_task: n must be at least 1, or None for all, got {n}.")
    if template is not None or form != "auto":
        what = f"{shown(str(given))} is a file" if isinstance(given, str | Path) else _GIVEN
        chooses = "form chooses how" if template is None else "template chooses a wording of"
        is_put = " is put" if template is None else ""
        raise ValueError(f"load_task: {chooses} a built-in task{is_put}; {what}.")


def _is_file(name_or_path: str | Path) -> bool:
    name = str(name_or_path)
    return isinstance(name_or_path, Path) or (name not in TASKS and looks_like_path(name))


def _some(rows: list[Row], n: int | None, rng: random.Random, name: str) -> list[Row]:
    if n is None or n >= len(rows):
        return rows
    log.warning("%s: %d of its %d rows are used; n=None takes all.", name, n, len(rows))
    return [rows[i] for i in sorted(rng.sample(range(len(rows)), n))]


def _known_task(name: str) -> str:
    if name in TASKS:
        return name
    near = difflib.get_close_matches(name.lower(), TASKS, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f"load_task: there is no task {shown(name)}. {hint}Tasks: {', '.join(TASKS)}; "
        f"or the path of a prompt file (.jsonl, .csv, .parquet)."
    )
