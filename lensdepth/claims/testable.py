"""Whether the claims can be tested at all: on this model, and on which of the pairs."""

from jaxtyping import Bool
from torch import Tensor

from lensdepth.model import DepthModel
from lensdepth.tasks.keeping import answered_preferably, answered_rightly
from lensdepth.tasks.task import Task

FEWEST_PAIRS = 30
"""Pairs with fewer than this settle nothing: depths are chosen on about a third of them."""
LEAST_ACCURACY = 0.5
"""Share of the drawn pairs that the model must answer rightly: the claims are about how a
prediction is formed, and pairs that come out right by luck form none."""
FEWEST_LAYERS = 6
"""With fewer blocks there is no telling early from late, or sharp from gradual."""


def is_right(task: Task, model: DepthModel) -> Bool[Tensor, " pair"]:
    """The pairs that the claims are about: answered rightly, or preferably where they were kept by
    preference."""
    judge = answered_preferably if task.keep == "preferred" else answered_rightly
    clean, corrupted = judge(task, model)
    return clean & corrupted


def kept_share(task: Task) -> float:
    """Share of the drawn pairs that were not left out as wrong when the task was made."""
    drawn = task.n_drawn - task.n_multi_token
    # What is not even preferred is wrong.
    n_wrong = task.n_wrong + (task.n_unkept if task.keep == "preferred" else 0)
    return 1 - n_wrong / drawn if drawn > 0 else 1.0


def cannot_test(model: DepthModel, task: Task, n_right: int, accuracy: float) -> str | None:
    """Why nothing can be said of this model on this task, if so."""
    if task.input_positions is None or task.corrupted_input_positions is None:
        return "the task has no input position; add the columns input and corrupted_input"
    if model.n_layers < FEWEST_LAYERS:
        return (
            f"the model has {model.n_layers} blocks, and early, late and sharp mean something from "
            f"{FEWEST_LAYERS} on"
        )
    if accuracy < LEAST_ACCURACY:
        how = "prefers the right answers in" if task.keep == "preferred" else "answers"
        rightly = "" if task.keep == "preferred" else " rightly"
        return (
            f"the model {how} {accuracy:.0%} of the pairs{rightly}; the claims are about how it "
            f"forms its answers, and that needs {LEAST_ACCURACY:.0%}"
        )
    if n_right < FEWEST_PAIRS:
        rightly = "prefers" if task.keep == "preferred" else "answers rightly"
        return f"there are {n_right} pairs that it {rightly}, and {FEWEST_PAIRS} are needed"
    return None
