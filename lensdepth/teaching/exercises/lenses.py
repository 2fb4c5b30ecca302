"""Notebook 2: the divergence, the rank, and where a lens has settled."""

from typing import Any

import torch

from lensdepth import metrics
from lensdepth.lens import LensProfile
from lensdepth.teaching.exercise import Exercise, Mistake


def _pairs_of_logits() -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (2 * torch.randn(n, 9, generator=generator), 2 * torch.randn(n, 9, generator=generator))
        for n in (1, 4)
    ]


def _logits_and_tokens() -> list[tuple[Any, ...]]:
    generator = torch.Generator().manual_seed(4)
    return [(torch.randn(11, generator=generator), token) for token in (0, 3, 7)]


def settled_depth(profile: LensProfile, threshold: float = 0.5) -> int:
    """The first depth from which on the lens names the final answer in at least this share."""
    share = profile.top1_agreement.nanmean((1, 2))
    below = (share < threshold).nonzero()
    return int(below[-1]) + 1 if len(below) else 0


def _first_hit(profile: LensProfile) -> int:
    share = profile.top1_agreement.nanmean((1, 2))
    return int((share >= 0.5).nonzero()[0])


EXERCISES: dict[str, Exercise] = {
    "02.kl": Exercise(
        asks="Write `kl_divergence(p_logits, q_logits)`: KL(p ‖ q) in nats of two distributions "
        "given as logits `[batch, d_vocab]`.",
        right=metrics.kl_divergence,
        cases=_pairs_of_logits,
        mistakes=(
            Mistake(
                "This is KL(q ‖ p). The divergence is not symmetric: the first distribution is "
                "the one that weighs.",
                lambda p, q: metrics.kl_divergence(q, p),
            ),
            Mistake(
                "This is right in bits. A nat is one unit of the natural logarithm.",
                lambda p, q: metrics.kl_divergence(p, q) / torch.tensor(2.0).log(),
            ),
            Mistake(
                "The terms are averaged over the vocabulary (`mean`); a divergence is their sum.",
                lambda p, q: metrics.kl_divergence(p, q) / p.shape[-1],
            ),
            Mistake(
                "The sign is turned round: a divergence is never negative.",
                lambda p, q: -metrics.kl_divergence(p, q),
            ),
            Mistake(
                "The logits' difference stands where the log-probabilities' belongs: logits are "
                "known up to a constant only, which each distribution has for itself.",
                lambda p, q: (p.softmax(-1) * (p - q)).sum(-1),
            ),
            Mistake(
                "This is the cross-entropy: KL takes p's own entropy off.",
                lambda p, q: metrics.kl_divergence(p, q) + metrics.entropy(p),
            ),
            Mistake(
                "All rows are mixed into one number. One divergence a row is asked for.",
                lambda p, q: metrics.kl_divergence(p, q).mean(),
            ),
        ),
        well_done="p weighs the terms: what q misses of p costs, what q has besides hardly does.",
    ),
    "02.rank": Exercise(
        asks="Write `rank(logits, token)`: how many tokens have a higher logit than this one; "
        "the most likely token has rank 0.",
        right=lambda logits, token: metrics.token_rank(logits, torch.tensor(token)),
        cases=_logits_and_tokens,
        mistakes=(
            Mistake(
                "Off by one: here the most likely token would have rank 1.",
                lambda logits, token: (logits >= logits[token]).sum(),
            ),
            Mistake(
                "This counts the tokens *below*.",
                lambda logits, token: (logits < logits[token]).sum(),
            ),
            Mistake(
                "This is the token that *has* that rank, not the rank that the token has: "
                "`argsort` gives tokens in order, which is the other way round.",
                lambda logits, token: logits.argsort(descending=True)[token],
            ),
        ),
        well_done="Ranks need no softmax: it keeps the order.",
    ),
    "02.settled": Exercise(
        asks="At which depth, of 0 … L, does the lens settle: the first one from which on, at "
        "every depth, it names the final answer for at least half of the prompts? "
        "`profile.top1_agreement` is `[depth, prompt, pos]`; its first row is depth 0.",
        right=settled_depth,
        needs=("profile",),
        mistakes=(
            Mistake(
                "Off by one: is this a block's number? Depth d is what *leaves* block d − 1.",
                lambda profile: settled_depth(profile) - 1,
            ),
            Mistake(
                "Off by one: at this depth it has settled already. Look one depth earlier.",
                lambda profile: settled_depth(profile) + 1,
            ),
            Mistake(
                "There the lens names the final answer for the first time, but it does not stay.",
                _first_hit,
            ),
        ),
        otherwise="Average the agreement over prompts and positions, and go down from the last "
        "depth as long as it stays at one half or more.",
        well_done="From there on the model, read through its own readout, would answer alike.",
    ),
}
