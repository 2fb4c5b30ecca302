"""Where rounding begins in the numbers of one intervention."""

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import metrics
from lensdepth.model import DepthModel
from lensdepth.sweep.floor import floor_of, last_digits
from lensdepth.tokens import TokenBatch

READ = ("logit_diff", "target_logit", "foil_logit", "kl")
"""Numbers that have a floor."""


def measure_floor(
    model: DepthModel,
    batch: TokenBatch,
    still: Float[Tensor, "run d_vocab"],
    base: Float[Tensor, "1 d_vocab"],
    target: int | None,
    foil: int,
) -> dict[str, float]:
    """How far the numbers of a prompt move when nothing is changed, see `lensdepth.sweep.floor`.

    Args:
        model: any wrapped model.
        batch: the base prompt.
        still: logits of runs in which states were put back as they were.
        base: logits of the base run, as it went through beside the others.
        target: token of the source's answer; None where there is none.
        foil: token of the base's.
    """
    alone = model.logits(batch)[:, 0]
    runs = torch.cat([still, alone, base, *last_digits(base, model.dtype)])
    unchanged = torch.stack([_read(one[None], base, target, foil) for one in runs], dim=1)
    own = _read(base, base, target, foil)
    return dict(zip(READ, floor_of(unchanged, own).tolist(), strict=True))


def _read(
    logits: Float[Tensor, "1 d_vocab"],
    base: Float[Tensor, "1 d_vocab"],
    target: int | None,
    foil: int,
) -> Float[Tensor, "metric 1"]:
    kl = metrics.kl_divergence(metrics.log_probs(base), metrics.log_probs(logits))
    if target is None or target == foil:
        return torch.stack([torch.full_like(kl, torch.nan)] * 3 + [kl])
    tokens = [torch.tensor([token]) for token in (target, foil)]
    answers = [metrics.answer_logit(logits, *order) for order in (tokens, tokens[::-1])]
    return torch.stack([logits[:, target] - logits[:, foil], *answers, kl])
