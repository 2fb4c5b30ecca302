"""Notebook 6: a difference of centroids, whose prompts may make it, and where control passes."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.steering import SteeringProfile
from lensdepth.teaching.exercise import Exercise, Mistake


def _labelled() -> list[tuple[Any, ...]]:
    """States [prompt, d_model], their labels, and two labels: from the first to the second."""
    generator = torch.Generator().manual_seed(13)
    made = []
    for n, away, to in ((9, 0, 1), (14, 2, 0)):
        labels = torch.arange(n) % 3
        labels[-2:] = to
        made.append(
            (torch.randn(n, 5, generator=generator) + 2 * labels[:, None], labels, away, to)
        )
    return made


def _vector(
    states: Float[Tensor, "prompt d_model"], labels: Int[Tensor, " prompt"], away: int, to: int
) -> Float[Tensor, " d_model"]:
    return states[labels == to].mean(0) - states[labels == away].mean(0)


def _dealt() -> list[tuple[Any, ...]]:
    """Folds of prompts, and the numbers of a pair's two prompts."""
    return [
        (torch.tensor([0, 1, 2, 0, 1, 2, 3]), 0, 4),
        (torch.tensor([3, 3, 1, 0, 2, 0, 1, 2]), 7, 1),
    ]


def _allowed(folds: Int[Tensor, " prompt"], base: int, source: int) -> Bool[Tensor, " prompt"]:
    return (folds != folds[base]) & (folds != folds[source])


def _others(folds: Int[Tensor, " prompt"], base: int, source: int) -> Bool[Tensor, " prompt"]:
    number = torch.arange(len(folds))
    return (number != base) & (number != source)


def last_input_depth(profile: SteeringProfile) -> int:
    """The last depth at which steering at the input succeeds more often than at the end.

    -1 where there is none.
    """
    gap = profile.efficacy("input").mean(0) - profile.efficacy("prediction").mean(0)
    leads = (gap > 0).nonzero()
    return int(profile.depths[int(leads[-1])]) if len(leads) else -1


EXERCISES: dict[str, Exercise] = {
    "06.vector": Exercise(
        asks="Write `steering_vector(states, labels, away, to)`: the vector that leads from the "
        "centroid of label `away` to that of label `to`, for states `[prompt, d_model]`.",
        right=_vector,
        cases=_labelled,
        mistakes=(
            Mistake(
                "It points the other way: added to a state, it should lead *to* the second label.",
                lambda states, labels, away, to: _vector(states, labels, to, away),
            ),
            Mistake(
                "This is the centroid itself. Added to a state, it brings along all that prompts "
                "of every label share.",
                lambda states, labels, away, to: states[labels == to].mean(0),
            ),
            Mistake(
                "States are summed, not averaged: the label with more prompts pulls harder.",
                lambda states, labels, away, to: (
                    states[labels == to].sum(0) - states[labels == away].sum(0)
                ),
            ),
            Mistake(
                "The direction is right, the length is lost. How far the centroids lie apart is "
                "how strongly the model itself tells these labels apart.",
                lambda states, labels, away, to: polar.direction(_vector(states, labels, away, to)),
            ),
            Mistake(
                "This leads to the label from the mean of *all* prompts, not from the label that "
                "the prompt has.",
                lambda states, labels, away, to: states[labels == to].mean(0) - states.mean(0),
            ),
        ),
        well_done="All that both groups share is gone from the difference.",
    ),
    "06.allowed": Exercise(
        asks="Write `allowed(folds, base, source)`: True for the prompts whose states may go into "
        "the centroids with which the pair (base, source) is steered. `folds` is `[prompt]`.",
        right=_allowed,
        cases=_dealt,
        mistakes=(
            Mistake(
                "The pair's own two prompts are left out, but not those dealt into the same folds: "
                "a fold holds what must be tested together.",
                _others,
            ),
            Mistake(
                "Prompts of the source's fold are still in, and the source itself with them: it "
                "is the answer that steering should find.",
                lambda folds, base, source: folds != folds[base],
            ),
            Mistake(
                "Prompts of the base's fold are still in, and the base itself with them.",
                lambda folds, base, source: folds != folds[source],
            ),
            Mistake(
                "One fold is enough to be left out here; *both* must be.",
                lambda folds, base, source: (folds != folds[base]) | (folds != folds[source]),
            ),
            Mistake(
                "Turned round: these are the prompts to keep out.",
                lambda folds, base, source: ~_allowed(folds, base, source),
            ),
        ),
        well_done="What steers was learned from prompts that it is never tested on.",
    ),
    "06.last_input": Exercise(
        asks="What is the last depth, of 0 … L, at which steering at the input succeeds more often "
        "than steering at the prediction position? (-1 if there is none.)",
        right=last_input_depth,
        needs=("profile",),
        mistakes=(
            Mistake(
                "One too few: is that a block's number? Depth d is what leaves block d − 1.",
                lambda profile: last_input_depth(profile) - 1,
            ),
            Mistake(
                "One too many: there the prediction position already leads, or both do alike.",
                lambda profile: last_input_depth(profile) + 1,
            ),
        ),
        otherwise="`profile.efficacy(position)` is `[pair, depth]`: average over the pairs, "
        "subtract, and look for the last positive number; `profile.depths` says at which depth.",
        well_done="`find_crossing` puts the crossing between this depth and the next ones.",
    ),
}
