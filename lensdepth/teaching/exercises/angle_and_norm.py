"""Notebook 4: direction and norm exchanged, averaged, and where the outcome is settled before."""

from typing import Any

import torch
from torch import Tensor

from lensdepth import polar
from lensdepth.teaching.exercise import Exercise, Mistake


def _two_states() -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(8)
    return [
        (torch.randn(n, 6, generator=generator), 3 * torch.randn(n, 6, generator=generator))
        for n in (1, 5)
    ]


def _many_states() -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(9)
    made = []
    for n, d_model in ((6, 4), (12, 7)):
        states = torch.randn(n, d_model, generator=generator) + 1
        lengths = torch.rand(n, 1, generator=generator) * 9 + 0.5
        made.append((states * lengths,))
    return made


def _all_norms(base: Tensor, source: Tensor) -> Tensor:
    """The source's directions at the mean of the base's norms."""
    return polar.norm(base).mean() * polar.direction(source)


EXERCISES: dict[str, Exercise] = {
    "04.direction_swap": Exercise(
        asks="Write `direction_swap(base, source)`: the source's direction at the base's norm, for "
        "states `[batch, d_model]`.",
        right=polar.direction_swap,
        cases=_two_states,
        mistakes=(
            Mistake(
                "This keeps the direction and exchanges the norm: it is the norm swap.",
                polar.norm_swap,
            ),
            Mistake(
                "This is the source's whole state, its norm included.",
                lambda base, source: source,
            ),
            Mistake(
                "This is a unit vector: the base's norm is missing.",
                lambda base, source: polar.direction(source),
            ),
            Mistake(
                "All states get the same norm. Each has its own; `keepdim=True` keeps them apart.",
                _all_norms,
            ),
            Mistake(
                "The source is multiplied by the base's norm before its own was divided out.",
                lambda base, source: polar.norm(base).unsqueeze(-1) * source,
            ),
        ),
        well_done="What the edit changes is the angle alone, and the control must turn as far.",
    ),
    "04.mean_direction": Exercise(
        asks="Write `mean_direction(states)`: the mean direction of states `[sample, d_model]`, a "
        "unit vector in which each state counts alike, whatever its norm.",
        right=polar.spherical_mean,
        cases=_many_states,
        mistakes=(
            Mistake(
                "Long states count more than short ones here: take the directions first, then "
                "their mean.",
                lambda states: polar.direction(states.mean(0)),
            ),
            Mistake(
                "The mean of unit vectors is shorter than one, the more so the more they "
                "disagree. One step is missing.",
                lambda states: polar.direction(states).mean(0),
            ),
            Mistake("This is the mean of the states themselves.", lambda states: states.mean(0)),
        ),
        well_done="How short the mean was before the last step says how far the states agree.",
    ),
    "04.forced": Exercise(
        asks="At which depth, of 0 … L, is it settled before any measurement that a norm edit at "
        "the prediction position changes no answer? (A model without a final norm has none: answer "
        "-1.)",
        right=lambda model: -1 if model.info.normalization == "none" else model.n_layers,
        needs=("model",),
        mistakes=(
            Mistake(
                "That is the number of the last *block*. Which depth does it leave?",
                lambda model: model.n_layers - 1,
            ),
            Mistake(
                "Every block begins with a norm, but what it writes is added to the stream as it "
                "was, and there the stream's norm does count. What reads the stream last?",
                lambda model: 0,
            ),
            Mistake("This depth does not exist.", lambda model: model.n_layers + 1),
        ),
        otherwise="Ask what lies between that depth and the logits: where any block follows, the "
        "norm of the stream decides how much its write weighs.",
        well_done="A result at this depth is an identity. C5 and C6 are judged before it.",
    ),
}
