"""An exercise: what is asked, what is right, and which mistakes have a hint of their own.

Answers are functions, which are tried on a few cases, or values, which are compared with what the
reader's own model and results give. Nothing right is stored, and no feedback holds it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

Mark = Literal["right", "not yet", "no answer"]
SIGNS: dict[Mark, str] = {"right": "✅", "not yet": "🔎", "no answer": "✏️"}
TOLERANCE = 1e-3
"""Relative, of the largest number: an answer in other arithmetic is right too."""


@dataclass(frozen=True)
class Mistake:
    """A typical wrong way, and the hint for whoever went it."""

    hint: str
    answer: Callable[..., Any]
    """From a case, or from the inputs, to the wrong answer."""


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise of the course."""

    asks: str
    right: Callable[..., Any]
    """From a case, or from the inputs, to the right answer."""
    mistakes: tuple[Mistake, ...] = ()
    cases: Callable[[], Sequence[tuple[Any, ...]]] | None = None
    """Arguments on which a function is tried; None where the answer is a value."""
    needs: tuple[str, ...] = ()
    """What `check` must be given beside the answer."""
    read: Callable[[Any], Any] = lambda answer: answer
    """How an answer is read before it is compared."""
    otherwise: str | Callable[[Any], str] = (
        "Compare it with the definition in this notebook, one step at a time."
    )
    """For what no hint fits, or a function of the answer that says it."""
    well_done: str = ""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What `check` says."""

    exercise: str
    verdict: Mark
    message: str

    @property
    def passed(self) -> bool:
        return self.verdict == "right"

    def _repr_markdown_(self) -> str:
        return f"{SIGNS[self.verdict]} **{self.exercise}: {self.verdict}.** {self.message}"

    def __repr__(self) -> str:
        return f"{self.exercise}: {self.verdict}. {self.message}"


def judge(name: str, exercise: Exercise, answer: Any, inputs: Mapping[str, Any]) -> Feedback:
    """Compare an answer with the right one and with the typical wrong ones.

    Args:
        name: of the exercise.
        exercise: what was asked.
        answer: a function or a value; None or `...` is no answer yet.
        inputs: what the exercise needs, by name.
    Raises:
        ValueError: an input is missing, or is not one of this exercise.
    """
    missing = [need for need in exercise.needs if need not in inputs]
    strange = [given for given in inputs if given not in exercise.needs]
    if missing or strange:
        needs = "".join(f", {need}={need}" for need in exercise.needs)
        raise ValueError(
            f"check: exercise {name!r} is checked by check({name!r}, answer{needs}); "
            f"{'missing' if missing else 'not asked for'}: {', '.join(missing or strange)}."
        )
    if answer is None or answer is ...:
        return Feedback(exercise=name, verdict="no answer", message=exercise.asks)
    if exercise.cases is None:
        cases: Sequence[tuple[Any, ...]] = [tuple(inputs[need] for need in exercise.needs)]
        answers = [exercise.read(answer)]
    elif not callable(answer):
        return Feedback(
            exercise=name,
            verdict="not yet",
            message=f"The answer is a function, which is tried on several inputs; this is a "
            f"{type(answer).__name__}. Hand over its name without brackets behind it.",
        )
    else:
        cases = [(*case, *(inputs[need] for need in exercise.needs)) for case in exercise.cases()]
        try:
            answers = [answer(*case) for case in exercise.cases()]
        except Exception as error:  # whatever a reader's code may raise is feedback, no crash
            return Feedback(
                exercise=name,
                verdict="not yet",
                message=f"Your function stopped with {type(error).__name__}: {error}",
            )
        if any(one is None or one is ... for one in answers):
            return Feedback(exercise=name, verdict="no answer", message=exercise.asks)
    right = [exercise.right(*case) for case in cases]
    if alike(answers, right):
        return Feedback(exercise=name, verdict="right", message=exercise.well_done)
    for mistake in exercise.mistakes:
        wrong = [mistake.answer(*case) for case in cases]
        # Where a mistake happens to give the right numbers, it is not what went wrong.
        if not alike(wrong, right) and alike(answers, wrong):
            return Feedback(exercise=name, verdict="not yet", message=mistake.hint)
    if callable(exercise.otherwise):
        message = exercise.otherwise(answer)
    else:
        message = _difference(answers[0], right[0]) or exercise.otherwise
    return Feedback(exercise=name, verdict="not yet", message=message)


def alike(answers: Iterable[Any], wanted: Iterable[Any]) -> bool:
    """Whether all answers are, up to rounding, what is wanted."""
    return all(_same(a, w) for a, w in zip(answers, wanted, strict=True))


def _same(answer: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(answer, str) and answer.strip().lower() == wanted.lower()
    given, right = _numbers(answer), _numbers(wanted)
    if given is None or right is None or given.shape != right.shape:
        return False
    scale = float(np.nanmax(np.abs(right), initial=0.0))
    return bool(
        np.allclose(given, right, rtol=0, atol=TOLERANCE * max(scale, 1e-6), equal_nan=True)
    )


def _numbers(value: Any) -> np.ndarray | None:
    """As an array of float64, or None where it holds no numbers."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().double().numpy()
    elif isinstance(value, list | tuple):
        value = [v.detach().cpu().double().numpy() if isinstance(v, Tensor) else v for v in value]
    elif isinstance(value, set | frozenset):
        value = sorted(value)
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return None


def _difference(answer: Any, wanted: Any) -> str:
    """What is wrong with the answer's kind or shape; empty where neither is."""
    if isinstance(wanted, str):
        return "" if isinstance(answer, str) else "The answer is a word, as a string."
    given, right = _numbers(answer), _numbers(wanted)
    if given is None:
        return f"The answer is made of numbers; this is a {type(answer).__name__}."
    if right is None or given.shape == right.shape:
        if right is not None and np.isnan(given).any() and not np.isnan(right).any():
            return "There are NaN in your answer: look for 0 / 0, or 0 times the log of 0."
        return ""
    shape = list(right.shape) or "a single number"
    return f"Your answer has the shape {list(given.shape)}; it should be {shape}."
