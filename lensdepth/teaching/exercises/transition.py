"""Notebook 3: where two curves cross, how sure that is, and whether it could be chance."""

from typing import Any

import numpy as np

from lensdepth import stats
from lensdepth.teaching.exercise import Exercise, Mistake

Array = np.ndarray


def _curves() -> list[tuple[Any, ...]]:
    """Pairs of curves over depth: the first falls, the second rises, and they cross once."""
    rng = np.random.default_rng(5)
    made = []
    for n, at in ((8, 2.3), (11, 6.8), (6, 3.45)):
        depth = np.arange(n)
        falls = 1 / (1 + np.exp((depth - at) / 0.8))
        made.append((falls + 0.02 * rng.random(n), 1 - falls + 0.02 * rng.random(n)))
    return made


def _crossing(first: Array, second: Array) -> float:
    gap = first - second
    before = int((gap > 0).nonzero()[0][-1])
    return float(before + gap[before] / (gap[before] - gap[before + 1]))


def _samples() -> list[tuple[Any, ...]]:
    """One number a prompt, and draws of prompts with replacement."""
    rng = np.random.default_rng(6)
    return [(rng.exponential(size=n), rng.integers(n, size=(400, n))) for n in (20, 35)]


def _interval(values: Array, draws: Array) -> Array:
    return np.percentile(values[draws].mean(1), [2.5, 97.5])


def _nulls() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(7)
    return [(float(observed), rng.normal(size=199)) for observed in (0.4, 1.6, 9.0)]


EXERCISES: dict[str, Exercise] = {
    "03.crossing": Exercise(
        asks="Write `crossing_depth(first, second)`: the depth, a fraction mostly, at which two "
        "curves meet, between the last depth at which the first leads and the next one. Their "
        "first numbers are of depth 0.",
        right=_crossing,
        cases=_curves,
        mistakes=(
            Mistake(
                "This is the last depth at which the first curve leads. They meet between it and "
                "the next one: draw a straight line through the difference of the curves.",
                lambda first, second: int((first > second).nonzero()[0][-1]),
            ),
            Mistake(
                "This is the first depth at which the second curve leads; they met before.",
                lambda first, second: int((first > second).nonzero()[0][-1]) + 1,
            ),
            Mistake(
                "This is always half-way. The larger the difference before, beside that after, the "
                "later they meet.",
                lambda first, second: int((first > second).nonzero()[0][-1]) + 0.5,
            ),
            Mistake(
                "The fraction is that of the way from the far end: turn the weights round.",
                lambda first, second: (
                    2 * int((first > second).nonzero()[0][-1]) + 1 - _crossing(first, second)
                ),
            ),
            Mistake(
                "This is only the fraction of a step: add the depth at which the step begins.",
                lambda first, second: _crossing(first, second) % 1,
            ),
        ),
        well_done="`find_crossing` does the same, and minds ties and curves that meet twice.",
    ),
    "03.interval": Exercise(
        asks="Write `interval(values, draws)`: the 2.5 % and 97.5 % percentiles of the mean over "
        "resampled prompts. `values` is `[prompt]`; each row of `draws` is one resample, as "
        "indices of prompts.",
        right=_interval,
        cases=_samples,
        mistakes=(
            Mistake(
                "These are percentiles of single prompts. What is uncertain is the *mean*: take it "
                "in each resample first.",
                lambda values, draws: np.percentile(values[draws], [2.5, 97.5]),
            ),
            Mistake(
                "These are percentiles of the prompts as they are: nothing was resampled.",
                lambda values, draws: np.percentile(values, [2.5, 97.5]),
            ),
            Mistake(
                "The mean is taken over the resamples, so that each *place* in a resample has a "
                "mean. Take it over the prompts in a resample.",
                lambda values, draws: np.percentile(values[draws].mean(0), [2.5, 97.5]),
            ),
            Mistake(
                "This is a 90 % interval: five per cent are cut off at each end.",
                lambda values, draws: np.percentile(values[draws].mean(1), [5, 95]),
            ),
        ),
        well_done="The prompt is what is resampled, since numbers of one prompt hang together.",
    ),
    "03.p_value": Exercise(
        asks="Write `p_value(observed, null)`: how often chance alone does as well, where large "
        "numbers speak against chance and the data themselves count as one of the permutations.",
        right=lambda observed, null: stats.permutation_p(observed, null),
        cases=_nulls,
        mistakes=(
            Mistake(
                "So p can be 0, which no finite number of permutations can show. The data's own "
                "order is a permutation too: count it, above and below the line.",
                lambda observed, null: (null >= observed).mean(),
            ),
            Mistake(
                "This is how often chance does *worse*.",
                lambda observed, null: (null < observed).mean(),
            ),
            Mistake(
                "This is how often chance does *worse*, the data counted.",
                lambda observed, null: (1 + (null < observed).sum()) / (1 + len(null)),
            ),
            Mistake(
                "The data are counted above the line but not below it.",
                lambda observed, null: (1 + (null >= observed).sum()) / len(null),
            ),
        ),
        well_done="With this many permutations p has a smallest value; more permutations lower it.",
    ),
}
