"""Notebook 1: norms, what each block writes, attention to the first position."""

from typing import Any

import torch
from torch import Tensor

from lensdepth import polar
from lensdepth.teaching.exercise import Exercise, Mistake


def _states() -> list[tuple[Any, ...]]:
    """Residual states of two made-up models: [depth, batch, pos, d_model]."""
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(*shape, generator=generator),) for shape in ((4, 2, 3, 8), (6, 3, 2, 5))]


def _patterns() -> list[tuple[Any, ...]]:
    """Attention patterns [head, query, key], causal, with a taste for the first position."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for n_heads, n_pos in ((4, 5), (2, 7)):
        scores = torch.randn(n_heads, n_pos, n_pos, generator=generator)
        scores[..., 0] += 1
        made.append(
            (scores.masked_fill(~torch.ones(n_pos, n_pos).tril().bool(), -1e9).softmax(-1),)
        )
    return made


def _writes(resid: Tensor) -> Tensor:
    return resid[1:] - resid[:-1]


def _to_first(pattern: Tensor) -> Tensor:
    return pattern[:, 1:, 0].mean(-1)


EXERCISES: dict[str, Exercise] = {
    "01.norms": Exercise(
        asks="Write `norms_of(resid)`: from states `[depth, batch, pos, d_model]` to the Euclidean "
        "length of each, `[depth, batch, pos]`.",
        right=polar.norm,
        cases=_states,
        mistakes=(
            Mistake(
                "This is the squared length. One step is missing at the end.",
                lambda resid: resid.pow(2).sum(-1),
            ),
            Mistake(
                "This is the root of the *mean* square, what RMSNorm divides by. A length sums "
                "the squares.",
                lambda resid: resid.pow(2).mean(-1).sqrt(),
            ),
            Mistake(
                "This adds up absolute values, the length of a walk along the axes. The Euclidean "
                "length goes straight.",
                lambda resid: resid.abs().sum(-1),
            ),
            Mistake(
                "The norm is taken over the positions: numbers of different tokens are mixed. "
                "Which axis holds one state's coordinates?",
                lambda resid: resid.norm(dim=2),
            ),
            Mistake(
                "The norm is taken over the depths: one state a depth is what we want. Which axis "
                "holds one state's coordinates?",
                lambda resid: resid.norm(dim=0),
            ),
        ),
        well_done="A state has one length, whatever the number of its coordinates.",
    ),
    "01.writes": Exercise(
        asks="Write `writes(resid)`: what each block adds to the stream, "
        "`[layer, batch, pos, d_model]`, from states `[depth, batch, pos, d_model]`.",
        right=_writes,
        cases=_states,
        mistakes=(
            Mistake(
                "The sign is turned round: a block's write is what comes out *less* what went in.",
                lambda resid: resid[:-1] - resid[1:],
            ),
            Mistake(
                "These are states, not writes: what came out of each block holds all that went in.",
                lambda resid: resid[1:],
            ),
            Mistake(
                "This is all that was written since the embedding, not what each block wrote.",
                lambda resid: resid[1:] - resid[0],
            ),
            Mistake(
                "There is one row too many: depth zero is the embedding, and no block wrote it.",
                lambda resid: torch.cat([resid[:1], _writes(resid)]),
            ),
        ),
        well_done="Embedding plus all writes is the last state: nothing else touches the stream.",
    ),
    "01.to_first": Exercise(
        asks="Write `to_first_position(pattern)`: from a pattern `[head, query, key]` "
        "to each head's mean attention to the first position, over the queries that have a choice.",
        right=_to_first,
        cases=_patterns,
        mistakes=(
            Mistake(
                "The first query counts too, but it can look at nothing else than itself: its "
                "attention to the first position is 1 whatever the head does.",
                lambda pattern: pattern[:, :, 0].mean(-1),
            ),
            Mistake(
                "Queries and keys have changed places: this is where the *first* position looks.",
                lambda pattern: pattern[:, 0, 1:].mean(-1),
            ),
            Mistake(
                "This is the sum over the queries; a mean can be compared between prompts of "
                "different lengths.",
                lambda pattern: pattern[:, 1:, 0].sum(-1),
            ),
            Mistake(
                "This is the last query alone. All queries but the first one count.",
                lambda pattern: pattern[:, -1, 0],
            ),
        ),
        well_done="The first query is left out for the same reason for which geometry leaves out "
        "the first position.",
    ),
}
