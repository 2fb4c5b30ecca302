"""Notebook 9: a hypothesis that can fail, and how many prompts it needs."""

import math
from typing import Any

from lensdepth.claims.hypothesis import Condition, Hypothesis
from lensdepth.teaching.exercise import Exercise, Mistake


def _plans() -> list[tuple[Any, ...]]:
    """Prompts of a pilot, half the width of its interval, and the half width that is wanted."""
    return [(40, 0.2, 0.1), (30, 0.12, 0.05), (64, 0.4, 0.1), (25, 0.1, 0.07)]


def _needed(n: int, half_width: float, wanted: float) -> int:
    # Less a crumb: 4.000000001 is 4 that was divided.
    return math.ceil(n * (half_width / wanted) ** 2 - 1e-9)


def _rises() -> list[tuple[Any, ...]]:
    """Efficacies of a pilot and of the test proper, by depth; other prompts in each."""
    return [
        ([0.1, 0.5, 0.9, 0.6], [0.0, 0.6, 0.7, 0.8]),
        ([0.2, 0.7, 0.3], [0.9, 0.4, 0.5]),
    ]


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def direction_against_control() -> Hypothesis:
    """What exercise 09.hypothesis asks for, apart from its name and family."""
    return Hypothesis(
        name="direction",
        first=Condition(intervention="ablate", edit="direction"),
        second=Condition(intervention="ablate", edit="random_direction"),
        metric="success",
        depths="late",
        by=0.3,
    )


def stated(given: Any) -> str:
    """What a hypothesis compares and expects, its name and family left out."""
    if not isinstance(given, Hypothesis):
        return f"a {type(given).__name__}"
    first, second = given.first, given.second
    return " / ".join(map(str, (first, second, given.metric, given.depths, given.expect, given.by)))


def what_is_off(given: Any) -> str:
    """The first thing in which a hypothesis differs from the one that was asked for."""
    if not isinstance(given, Hypothesis):
        return f"The answer is a `Hypothesis`, not a {type(given).__name__}."
    first, second = given.first, given.second
    steps = (
        (second is None, "Without `second` it is compared with no intervention at all, and any "
         "disturbance would pass. What is the matched control of a direction edit?"),
        (first.edit != "direction" or first.intervention != "ablate",
         "`first` is what is tested: `ablate`, with the edit that exchanges the direction alone."),
        (second is not None and second.edit == "norm",
         "The norm edit is another interesting rival, but no control: it does not turn the state. "
         "The control turns it as far, only elsewhere."),
        (second is not None and second.edit != "random_direction",
         "`second` is the control that turns a state by the same angle in a random direction."),
        (second is not None and _place(second) != _place(first),
         "The two conditions act at different places; then the place may explain the difference."),
        (given.metric != "success",
         "The sentence speaks of the share of pairs that give the source's answer. Which metric "
         "is that?"),
        (given.depths == "all",
         "Over all depths, early ones included, where no direction swap at the end can work, the "
         "mean says little. The sentence says where."),
        (given.depths != "late",
         "Depths picked by hand, after a look at the curves, are picked on the data that test "
         "them. One word lets other prompts choose them."),
        (given.expect != "greater", "Which of the two is expected to succeed *more* often?"),
        (given.by == 0, "Without a threshold the smallest difference counts, if there are prompts "
         "enough. The sentence names the least that matters."),
    )  # fmt: skip
    return next((hint for off, hint in steps if off), "Is the threshold the one in the sentence?")


def _place(condition: Condition) -> tuple[str, ...]:
    """By what it acts, and where."""
    return condition.intervention, condition.position, condition.scope, condition.stream


EXERCISES: dict[str, Exercise] = {
    "09.hypothesis": Exercise(
        asks="Write as a `Hypothesis`: “Late in depth, exchanging the direction alone at the "
        "prediction position brings about the source's answer in at least 30 percentage points "
        "more of the pairs than turning the state as far in a random direction.”",
        right=lambda: stated(direction_against_control()),
        read=stated,
        otherwise=what_is_off,
        well_done="It can fail: that is what makes it a hypothesis.",
    ),
    "09.prompts": Exercise(
        asks="Write `prompts_for(n, half_width, wanted)`: how many prompts shrink a 95 % interval "
        "from ± half_width, as found with n prompts, to ± wanted. A whole number.",
        right=_needed,
        cases=_plans,
        mistakes=(
            Mistake(
                "The width falls with the *root* of the number: half the width takes more than "
                "twice the prompts.",
                lambda n, half_width, wanted: math.ceil(n * half_width / wanted - 1e-9),
            ),
            Mistake(
                "The width falls with the *root* of the number: half the width takes more than "
                "twice the prompts. And prompts come whole.",
                lambda n, half_width, wanted: n * half_width / wanted,
            ),
            Mistake(
                "Prompts come whole, and one too few is too few.",
                lambda n, half_width, wanted: n * (half_width / wanted) ** 2,
            ),
            Mistake(
                "Rounded down: one too few is too few.",
                lambda n, half_width, wanted: math.floor(n * (half_width / wanted) ** 2),
            ),
            Mistake(
                "The ratio is upside down: a narrower interval takes *more* prompts.",
                lambda n, half_width, wanted: math.ceil(n * (wanted / half_width) ** 2),
            ),
            Mistake(
                "These come on top of the pilot's; the question is for all of them.",
                lambda n, half_width, wanted: _needed(n, half_width, wanted) - n,
            ),
        ),
        well_done="`prompts_needed` does this with Student's t, the threshold and the number of "
        "tests.",
    ),
    "09.honest": Exercise(
        asks="Write `honest_effect(pilot, test)`: choose the depth on the pilot's prompts, and "
        "return the effect there on the test's. Both are lists, one efficacy a depth.",
        right=lambda pilot, test: test[_best(pilot)],
        cases=_rises,
        mistakes=(
            Mistake(
                "The depth is chosen on the prompts that it is tested on: of several noisy numbers "
                "the largest is large by luck too.",
                lambda pilot, test: max(test),
            ),
            Mistake(
                "This is the pilot's number at its own best depth, the one that was chosen for "
                "being large. Look the depth up in the test.",
                lambda pilot, test: max(pilot),
            ),
            Mistake(
                "This is the depth itself; the effect there is asked for.",
                lambda pilot, test: _best(pilot),
            ),
        ),
        well_done='`depths="best"` in a hypothesis does this, with groups of prompts in turn.',
    ),
}
