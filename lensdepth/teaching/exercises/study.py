"""Notebook 7: a verdict from an interval, p-values of several claims, memory for large models."""

from typing import Any

import numpy as np

from lensdepth import stats
from lensdepth.teaching.exercise import Exercise, Mistake

Array = np.ndarray


def _intervals() -> list[tuple[Any, ...]]:
    """Intervals (low, high) and thresholds, of every kind."""
    return [(0.6, 0.9, 0.5), (0.05, 0.2, 0.5), (0.2, 0.8, 0.5), (-0.3, -0.1, 0.0), (0.1, 0.4, 0.2)]


def _verdict(low: float, high: float, threshold: float) -> str:
    if low > threshold:
        return "supported"
    return "contradicted" if high < threshold else "cannot tell"


def _p_values() -> list[tuple[Any, ...]]:
    return [
        (np.array([0.04, 0.001, 0.03, 0.2]),),
        (np.array([0.011, 0.012, 0.5, 0.02, 0.013]),),
        (np.array([0.6, 0.9]),),
    ]


def _unsorted_holm(p: Array) -> Array:
    """In sorted order, which is not the order of the claims."""
    return np.sort(stats.holm(p))


def _without_maximum(p: Array) -> Array:
    order = np.argsort(p)
    found = np.empty(len(p))
    found[order] = np.minimum(p[order] * (len(p) - np.arange(len(p))), 1)
    return found


def _uncapped(p: Array) -> Array:
    order = np.argsort(p)
    found = np.empty(len(p))
    found[order] = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return found


EXERCISES: dict[str, Exercise] = {
    "07.verdict": Exercise(
        asks="Write `verdict(low, high, threshold)` for a statement “the effect is larger than the "
        "threshold”: `'supported'`, `'contradicted'` or `'cannot tell'`, from its interval.",
        right=_verdict,
        cases=_intervals,
        mistakes=(
            Mistake(
                "This compares with zero. An effect may be surely there and still too small to "
                "matter.",
                lambda low, high, threshold: _verdict(low, high, 0.0),
            ),
            Mistake(
                "Whatever is not supported is called contradicted here. An interval on both sides "
                "of the threshold says neither.",
                lambda low, high, threshold: "supported" if low > threshold else "contradicted",
            ),
            Mistake(
                "Whatever is not supported is left open here. An interval that lies wholly below "
                "the threshold speaks against the statement.",
                lambda low, high, threshold: "supported" if low > threshold else "cannot tell",
            ),
            Mistake(
                "The estimate alone decides here (the middle of the interval): then nothing is "
                "ever uncertain.",
                lambda low, high, threshold: (
                    "supported" if (low + high) / 2 > threshold else "contradicted"
                ),
            ),
        ),
        otherwise="Try three intervals on paper: wholly above, wholly below, and across the "
        "threshold.",
        well_done="Three outcomes: without the second, no claim could ever fail.",
    ),
    "07.holm": Exercise(
        asks="Write `holm(p_values)`: p-values corrected for their number by Holm's method, in the "
        "order in which they came.",
        right=stats.holm,
        cases=_p_values,
        mistakes=(
            Mistake(
                "This is Bonferroni's correction: every p-value times the number of tests. Holm's "
                "takes fewer for each next larger one, and loses less.",
                lambda p: np.minimum(p * len(p), 1),
            ),
            Mistake(
                "The numbers are right, but in the order of their size. Give them back to their "
                "claims.",
                _unsorted_holm,
            ),
            Mistake(
                "A larger p-value must not become smaller than one before it: take the running "
                "maximum.",
                _without_maximum,
            ),
            Mistake("A p-value is never above one.", _uncapped),
            Mistake("Nothing is corrected here.", lambda p: p),
        ),
        well_done="Testing several claims at once, you are wrong about none of them in 95 of 100 "
        "such studies.",
    ),
    "07.memory": Exercise(
        asks="Write `weights_gib(n_parameters, bits)`: the memory of a model's weights in GiB, "
        "each of so many bits.",
        right=lambda n, bits: n * bits / 8 / 2**30,
        cases=lambda: [(7_000_000_000, 16), (1_500_000_000, 32)],
        mistakes=(
            Mistake(
                "These are gigabytes of 10⁹ bytes. A GiB has 2³⁰.",
                lambda n, bits: n * bits / 8 / 1e9,
            ),
            Mistake("A byte has eight bits.", lambda n, bits: n * bits / 2**30),
            Mistake(
                "Every weight is taken to have four bytes here, whatever `bits` says.",
                lambda n, bits: n * 4 / 2**30,
            ),
        ),
        well_done="States, keys and values come on top; the plan counts them too.",
    ),
}
