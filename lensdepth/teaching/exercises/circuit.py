"""Notebook 8: direct attribution by hand, where heads look, how many of them are enough."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
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


def _patterns() -> list[tuple[Any, ...]]:
    """Patterns [prompt, head, query, key] with, for each prompt, where it looks from and to."""
    generator = torch.Generator().manual_seed(15)
    made = []
    for n_prompts, n_heads, n_pos in ((2, 3, 5), (4, 2, 6)):
        scores = 2 * torch.randn(n_prompts, n_heads, n_pos, n_pos, generator=generator)
        pattern = scores.masked_fill(~torch.ones(n_pos, n_pos).tril().bool(), -1e9).softmax(-1)
        query = n_pos - 1 - torch.arange(n_prompts) % 2
        key = 1 + torch.arange(n_prompts) % 2
        made.append((pattern, query, key))
    return made


def _look(
    pattern: Float[Tensor, "prompt head query key"],
    query: Int[Tensor, " prompt"],
    key: Int[Tensor, " prompt"],
) -> Float[Tensor, " head"]:
    return pattern[torch.arange(len(pattern)), :, query, key].mean(0)


def _enough(shares: Sequence[float]) -> int:
    return next((n for n, share in enumerate(shares, start=1) if share >= 0.8), -1)


EXERCISES: dict[str, Exercise] = {
    "08.direct": Exercise(
        asks="Write `direct_parts(writes, target, foil)`: what each write `[component, d_model]` "
        "gives to logit(target) − logit(foil), if the last state is the sum of the writes, the "
        "final norm divides it by its root mean square, and `target`, `foil` are columns of the "
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
    "08.look": Exercise(
        asks="Write `look(pattern, query, key)`: each head's mean attention over the prompts, from "
        "position `query[i]` to position `key[i]` of prompt i; the pattern is "
        "`[prompt, head, query, key]`.",
        right=_look,
        cases=_patterns,
        mistakes=(
            Mistake(
                "Query and key have changed places: the query is the position that looks.",
                lambda pattern, query, key: _look(pattern, key, query),
            ),
            Mistake(
                "The heads are averaged and the prompts kept; it should be the other way round.",
                lambda pattern, query, key: pattern[torch.arange(len(pattern)), :, query, key].mean(
                    1
                ),
            ),
            Mistake(
                "Every prompt is read at the positions of the first one. Each has its own.",
                lambda pattern, query, key: pattern[:, :, query[0], key[0]].mean(0),
            ),
            Mistake(
                "The last axis was read at the query and averaged over the keys: those sum to one.",
                lambda pattern, query, key: (
                    pattern[torch.arange(len(pattern)), :, query].mean(-1).mean(0)
                ),
            ),
        ),
        well_done="Attention says where a head looks, not what it takes from there, nor whether "
        "that is used.",
    ),
    "08.enough": Exercise(
        asks="How many of the heads, strongest first, are enough for four fifths of the way? "
        "`shares[0]` is the fraction transferred by the strongest one. (-1 if all are not enough.)",
        right=_enough,
        needs=("shares",),
        mistakes=(
            Mistake(
                "Off by one: `shares[0]` belongs to *one* head.",
                lambda shares: _enough(shares) - 1,
            ),
            Mistake(
                "One head more than needed: at this number it is more than enough, is it not "
                "already before?",
                lambda shares: _enough(shares) + 1,
            ),
        ),
        otherwise="Look for the first entry of `shares` that is at least 0.8, and count the heads.",
        well_done="Enough to move the answer; whether they are needed is another question.",
    ),
}
