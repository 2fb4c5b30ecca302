"""How many pairs or prompts there were, and why some were left out: as JSON and in words."""

from typing import TYPE_CHECKING

from lensdepth.telling.numbers import counted
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.tasks.task import Task


def noun(task: "Task") -> str:
    """What its rows are: `pair` or `prompt`."""
    return "pair" if task.has_pairs else "prompt"


def counts(task: "Task") -> Json:
    """The counts, under the keys that every summary has."""
    return {
        "drawn": task.n_drawn,
        "used": len(task),
        "multi_token": task.n_multi_token,
        "wrong": task.n_wrong,
    }


def left_out(task: "Task") -> str:
    """Why some of those drawn are not used; empty where all are."""
    reasons = (
        (task.n_multi_token, "with an answer of several tokens"),
        (task.n_wrong, "answered wrongly"),
    )
    return ", ".join(f"{n:,} {why}" for n, why in reasons if n)


def drawn(task: "Task") -> str:
    """`20 of 24 pairs of months; left out: 4 answered wrongly`."""
    out = f"; left out: {left_out(task)}" if left_out(task) else ""
    return f"{len(task):,} of {counted(task.n_drawn, noun(task))} of {task.name}{out}"
