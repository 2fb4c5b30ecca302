"""Notebook 10: blocks between depths, positions that decide together, a lag of two switches."""

from typing import Any

import numpy as np

from lensdepth.teaching.exercise import Exercise, Mistake


def _between() -> list[tuple[Any, ...]]:
    return [(20, 22), (0, 3), (7, 8)]


def _successes() -> list[tuple[Any, ...]]:
    """Outcomes of patching at the input and at the last token, [pair, depth]: 0 or 1."""
    return [
        (
            np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0.0]]),
            np.array([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1.0]]),
        ),
        (
            np.array([[1, 1, 1, 1], [1, 1, 0, 0.0]]),
            np.array([[0, 1, 1, 1], [0, 1, 1, 1.0]]),
        ),
    ]


def _switches() -> list[tuple[Any, ...]]:
    """Depths at which pairs switch, of control and of the lens; NaN where a pair does not."""
    none = np.nan
    return [
        (np.array([20.5, 20.5, none, 23.5, 19.5, none]), np.array([23.5, 24, 9, none, 20.5, none])),
        (np.array([3.5, 6.5, 5.5, none]), np.array([8.5, 7, 5.5, 1])),
    ]


EXERCISES: dict[str, Exercise] = {
    "10.blocks": Exercise(
        asks="Write `blocks_between(low, high)`: the numbers of the blocks that run between depth "
        "`low` and depth `high`, as a list. Depth d leaves block d − 1.",
        right=lambda low, high: list(range(low, high)),
        cases=_between,
        mistakes=(
            Mistake(
                "These are the *depths* that come after the first one. Which block leads from a "
                "depth to the next?",
                lambda low, high: list(range(low + 1, high + 1)),
            ),
            Mistake(
                "One block too many: the state of the second depth is what the last block in "
                "between left behind, so that this depth's own number is not among them.",
                lambda low, high: list(range(low, high + 1)),
            ),
            Mistake(
                "One block is missing, the one that reads the state of the first depth.",
                lambda low, high: list(range(low + 1, high)),
            ),
        ),
        well_done="There are as many blocks between two depths as depths from the one to the "
        "other; their numbers begin with that of the first depth.",
    ),
    "10.both": Exercise(
        asks="Write `both_decide(first, second)`: at how many depths of each pair both positions "
        "give the source's answer, from outcomes `[pair, depth]` that are 0 or 1.",
        right=lambda first, second: (first * second).sum(1),
        cases=_successes,
        mistakes=(
            Mistake(
                "These are the depths at which *either* position does.",
                lambda first, second: np.maximum(first, second).sum(1),
            ),
            Mistake(
                "These are the depths at which *neither* does: a gap, which is the opposite case.",
                lambda first, second: ((1 - first) * (1 - second)).sum(1),
            ),
            Mistake(
                "This is one number a depth. Which axis has the pairs?",
                lambda first, second: (first * second).sum(0),
            ),
            Mistake(
                "This is the share of the depths; their number is asked for.",
                lambda first, second: (first * second).mean(1),
            ),
        ),
        well_done="A pair with several such depths has no one switch, whatever the mean says.",
    ),
    "10.lag": Exercise(
        asks="Write `median_lag(control, lens)`: the median of how many depths the lens switches "
        "after control, over the pairs that have both; NaN where a pair has no one switch.",
        right=lambda control, lens: np.nanmedian(lens - control),
        cases=_switches,
        mistakes=(
            Mistake(
                "These are medians of different pairs, one less the other. Take the difference of "
                "each pair first, then the median.",
                lambda control, lens: np.nanmedian(lens) - np.nanmedian(control),
            ),
            Mistake(
                "The sign is turned round: positive where the lens comes *after* control.",
                lambda control, lens: np.nanmedian(control - lens),
            ),
            Mistake(
                "Pairs without a switch count as if they switched at depth 0. Leave them out.",
                lambda control, lens: np.median(np.nan_to_num(lens) - np.nan_to_num(control)),
            ),
            Mistake(
                "This is the mean, which one pair far off can move at will.",
                lambda control, lens: np.nanmean(lens - control),
            ),
        ),
        well_done="`compare_order` does this, with an interval, and says in how many pairs which "
        "of the two comes first.",
    ),
}
