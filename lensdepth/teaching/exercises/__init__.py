"""The exercises of the course, by the number of their notebook, and `check`."""

import difflib
from typing import Any

from lensdepth.teaching.display import in_script, write_line
from lensdepth.teaching.exercise import Exercise, Feedback, judge
from lensdepth.teaching.exercises import (
    angle_and_norm,
    circuit,
    hypothesis,
    lenses,
    patching,
    real_model,
    residual_stream,
    steering,
    study,
    training,
    transition,
)

EXERCISES: dict[str, Exercise] = (
    residual_stream.EXERCISES
    | lenses.EXERCISES
    | transition.EXERCISES
    | angle_and_norm.EXERCISES
    | patching.EXERCISES
    | steering.EXERCISES
    | study.EXERCISES
    | circuit.EXERCISES
    | hypothesis.EXERCISES
    | real_model.EXERCISES
    | training.EXERCISES
)


def list_exercises() -> dict[str, str]:
    """Every exercise and what it asks."""
    return {name: exercise.asks for name, exercise in EXERCISES.items()}


def check(exercise: str, answer: Any, **inputs: Any) -> Feedback:
    """Whether an answer is right, and if not, what to think about; the answer is not given away.

    Args:
        exercise: its name, such as `"02.kl"`.
        answer: the reader's function, or value; None or `...` repeats the question.
        inputs: what some exercises are checked against, such as `model=model`; the notebook's
            cell names them.
    Returns:
        Feedback, which a notebook shows as a sentence and a script prints in a line; `.passed` is
        True where the answer is right.
    Raises:
        ValueError: there is no such exercise, or an input is missing or not asked for.
    Example:
        >>> check("02.kl", lambda p, q: 0.0).passed
        False
    """
    if exercise not in EXERCISES:
        near = difflib.get_close_matches(str(exercise), EXERCISES, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"check: there is no exercise {exercise!r}. {hint}Exercises: {', '.join(EXERCISES)}."
        )
    found = judge(exercise, EXERCISES[exercise], answer, inputs)
    if in_script():
        write_line(str(found))
    return found
