"""Notebook 11: what may be called sudden, over the checkpoints of a training."""

from typing import Any

import numpy as np
from numpy import ndarray as Array

from lensdepth.dynamics.null import explained
from lensdepth.teaching.exercise import Exercise, Mistake


def _paths() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(11)
    steps = 2.0 + 3 * (np.arange(9) > 3) + 0.2 * rng.normal(size=9)
    return [(path,) for path in (steps, np.linspace(1, 4, 8), rng.normal(size=12).cumsum())]


def _spread(path: Array) -> float:
    return float(((path - path.mean()) ** 2).sum())


def _least_left(path: Array, *, cuts: slice = slice(None)) -> float:
    each = [_spread(path[:k]) + _spread(path[k:]) for k in range(1, len(path))]
    return min(each[cuts])


def _known() -> list[tuple[Any, ...]]:
    """Steps, and whether there is a switch at each."""
    steps = np.array([0, 30, 100, 300, 1000, 3000, 8000])
    seen = ([0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0, 1])
    return [(steps, np.array(one, dtype=bool)) for one in seen]


def _for_good(steps: Array, seen: Array) -> int:
    missing = np.flatnonzero(~seen)
    return int(steps[missing[-1] + 1])


EXERCISES: dict[str, Exercise] = {
    "11.appears": Exercise(
        asks="Write `appears(steps, seen)`: the first step from which on the switch is seen at "
        "every checkpoint. `seen` is True or False for each step; at the last one it is True.",
        right=_for_good,
        cases=_known,
        mistakes=(
            Mistake(
                "There it is seen for the first time, and in one of the trainings it is lost again "
                "afterwards. Look for the last checkpoint without it.",
                lambda steps, seen: int(steps[np.flatnonzero(seen)[0]]),
            ),
            Mistake(
                "At this step it is not seen yet: it is the last one without. Take the next.",
                lambda steps, seen: int(steps[np.flatnonzero(~seen)[-1]]),
            ),
            Mistake(
                "This is the place in the list. What is its step?",
                lambda steps, seen: int(np.flatnonzero(~seen)[-1] + 1),
            ),
        ),
        well_done="When it came lies between that step and the one before: nobody looked between.",
    ),
    "11.explained": Exercise(
        asks="Write `best_cut(path)`: the share of a path's variance that its best cut in two "
        "explains: 1 less what is left (the sum of squares about the mean, before the cut and "
        "behind it) over the sum of squares about the mean of all.",
        right=lambda path: float(explained(np.asarray(path)[None])[0]),
        cases=_paths,
        mistakes=(
            Mistake(
                "This is what is left, as a share. What is explained is the rest.",
                lambda path: _least_left(path) / _spread(path),
            ),
            Mistake(
                "This always cuts in the middle. Try every place, and take the best.",
                lambda path: (
                    1
                    - (_spread(path[: len(path) // 2]) + _spread(path[len(path) // 2 :]))
                    / _spread(path)
                ),
            ),
            Mistake(
                "What is explained is there, and not as a share: divide by the whole.",
                lambda path: _spread(path) - _least_left(path),
            ),
            Mistake(
                "Squares are taken about 0 in the whole, and must be about its mean.",
                lambda path: 1 - _least_left(path) / float((path**2).sum()),
            ),
        ),
        well_done="A straight line has three quarters and a bit: a share says nothing by itself.",
    ),
}
