"""A task that the model at hand knows: the course's own where it can, another one where not."""

from collections.abc import Sequence

from lensdepth.model import DepthModel
from lensdepth.tasks import Task, list_tasks, load_task

TASKS = ("months", "ioi", "capitals", "opposites", "copy")
FEWEST = 12
"""Pairs with fewer than this draw no curve worth reading."""


def pick_task(
    model: DepthModel, names: Sequence[str] = TASKS, *, n: int = 100, seed: int = 0
) -> tuple[Task, str]:
    """The first of some tasks that the model answers, its pairs that come out right, and a note.

    A note in Markdown tells what was chosen and what was left out. Where the model knows none of
    them, it is the first one with all its pairs, and the note says so: notebooks go on, and what
    they then show is a model that forms no answer.

    Args:
        model: any wrapped model.
        names: tasks in the order of preference.
        n: pairs to draw.
        seed: of the draw.
    Raises:
        ValueError: no name is given, or one is not a task, or none of them has an answer that is
            one token for this model.
    """
    unknown = [name for name in names if name not in list_tasks()]
    if unknown or not names:
        raise ValueError(
            f"pick_task: names must be some of {', '.join(list_tasks())}, got {tuple(names)!r}."
        )
    passed_over: list[str] = []
    fallback: Task | None = None
    for name in names:
        try:
            task = load_task(name, model, n=n, seed=seed, on_multi_token="drop")
        except ValueError:
            passed_over.append(f"*{name}* (its answers are not single tokens here)")
            continue
        fallback = fallback or task
        try:
            kept = load_task(name, model, n=n, seed=seed, on_multi_token="drop", keep="correct")
        except ValueError:
            passed_over.append(f"*{name}* (none of {len(task)} pairs right)")
            continue
        if len(kept) < min(FEWEST, n):
            passed_over.append(f"*{name}* ({len(kept)} of {len(task)} pairs right)")
            continue
        return kept, " ".join(filter(None, [_told(model, kept, len(task)), _over(passed_over)]))
    if fallback is None:
        raise ValueError(
            f"pick_task: none of {', '.join(names)} has answers of one token for "
            f"{model.info.name!r}; use a prompt file (load_task(path, model))."
        )
    note = (
        f"**{model.info.name}** knows none of these tasks: {', '.join(passed_over)}. The notebook "
        f"goes on with all {len(fallback)} pairs of *{fallback.name}*, right or wrong. Read what "
        f"follows as a control: a model that forms no answer has no place where it forms it."
    )
    return fallback, note


def _told(model: DepthModel, task: Task, n_drawn: int) -> str:
    return (
        f"The task is *{task.name}*: “{task.clean[0]}” → “{task.target[0]}”, beside "  # type: ignore[index]
        f"“{task.corrupted[0]}” → “{task.foil[0]}”. **{model.info.name}** answers both prompts of "  # type: ignore[index]
        f"{len(task)} of {n_drawn} pairs rightly; those are used."
    )


def _over(passed_over: Sequence[str]) -> str:
    if not passed_over:
        return ""
    return (
        f"It does not know {', '.join(passed_over)}, so where the text speaks of that task, read "
        f"this one."
    )
