"""Notebook 8: direct attribution by hand, and what a step of a circuit must show."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.teaching.exercise import Exercise, Mistake


def _writes() -> list[tuple[Any, ...]]:
    """Writes of components [component, d_model], and unembedding columns of two answers."""
    generator = torch.Generator().manual_seed(14)
    return [
        (
            torch.randn(n, 6, generator=generator),
            torch.randn(6, generator=generator),
            torch.randn(6, generator=generator),
        )
        for n in (3, 5)
    ]


def _direct(
    writes: Float[Tensor, "component d_model"],
    target: Float[Tensor, " d_model"],
    foil: Float[Tensor, " d_model"],
) -> Float[Tensor, " component"]:
    """Under RMSNorm without a weight: every write is divided by the root mean square of the sum."""
    total = writes.sum(0)
    return writes @ (target - foil) / total.pow(2).mean().sqrt()


EXERCISES: dict[str, Exercise] = {
    "08.direct": Exercise(
        asks="Write `direct(writes, target, foil)`: what each write `[component, d_model]` gives "
        "to logit(target) − logit(foil), if the last state is the sum of the writes, the final "
        "norm divides it by its root mean square, and `target`, `foil` are columns of the "
        "unembedding.",
        right=_direct,
        cases=_writes,
        mistakes=(
            Mistake(
                "The final norm is missing: the state is divided before it is read.",
                lambda writes, target, foil: writes @ (target - foil),
            ),
            Mistake(
                "Every write is divided by its *own* size. The norm divides by that of the whole "
                "state, the same for all, or the parts would not sum to the logit difference.",
                lambda writes, target, foil: (
                    writes @ (target - foil) / writes.pow(2).mean(-1).sqrt()
                ),
            ),
            Mistake(
                "This is the target's logit alone. What separates it from the foil is the "
                "difference of the two columns.",
                lambda writes, target, foil: _direct(writes, target, torch.zeros_like(foil)),
            ),
            Mistake(
                "The sign is turned round: target less foil.",
                lambda writes, target, foil: _direct(writes, foil, target),
            ),
            Mistake(
                "This divides by the length of the state. The root *mean* square is smaller by the "
                "root of the number of coordinates.",
                lambda writes, target, foil: writes @ (target - foil) / writes.sum(0).norm(),
            ),
        ),
        well_done="The parts sum to the whole exactly, since the divisor is held fixed.",
    ),
}
