"""Where noise ends: how far a model's states are from its own in another batch, and a tolerance.

A distance is |x - y| / max(|x|, |y|) of two states; of two writes it is in shares of the longer of
the two states that they lead to.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.model import DepthModel
from lensdepth.parting.reading import read_run
from lensdepth.plain_runs import anew
from lensdepth.sweep.floor import MARGIN, floor_of, last_digits
from lensdepth.tokens import TokenBatch, pad_tokens

STEPS = 12
"""Of the coarser dtype's last digit: so far apart are two writes that may be nothing but rounding.
Of the same component from the same state up to 5.5 were seen on both backends in float32, and up to
5.0 of float32 against bfloat16 (tiny random Llama, GPT-2 and Gemma 3, six prompts; SmolLM2, three);
this is a little more than twice."""
PROMPTS = 8
"""That are run by themselves as well."""


def distance(
    x: Float[Tensor, "*shape d_model"],
    y: Float[Tensor, "*shape d_model"],
    *,
    beside: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, "*shape"]:
    """|x - y| over the longer of the two, or of the two beside; 0 where they are equal."""
    whole = torch.maximum(*map(polar.norm, beside or (x, y)))
    apart = polar.norm(x - y)
    return torch.where(apart > 0, apart / whole, 0.0)


def stated_tolerance(model_a: DepthModel, model_b: DepthModel) -> float:
    """`STEPS` last digits of the coarser of the two dtypes; states are read in float32."""
    dtypes = (model_a.dtype, model_b.dtype, torch.float32)
    return STEPS * max(torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point)


def own_noise(
    model: DepthModel, batch: TokenBatch, logits: Float[Tensor, "batch d_vocab"]
) -> tuple[float, float]:
    """How far a model is from itself in another batch: the largest distance, and the floor of KL.

    Each of a few prompts is run by itself and among the others; one prompt alone beside a copy.

    Args:
        model: any wrapped model.
        batch: the prompts.
        logits: at their last tokens, of a run of them all.
    """
    n = min(PROMPTS, len(batch))
    few = batch[slice(0, n)]
    together = few if n > 1 else pad_tokens([few.row(0)] * 2, 0)
    most, alone = 0.0, []
    with anew():
        among = read_run(model, together, together.last[:, None])
        for i in range(n):
            one = few[slice(i, i + 1)]
            run = read_run(model, one, one.last[:, None])
            moved = distance(run.states, among.states[:, i : i + 1])
            most = max(most, float(moved.max()))
            alone.append(model.logits(one)[0, 0])
    own = logits[:n]
    runs = [torch.stack(alone), *last_digits(own, model.dtype)]
    moved = torch.stack([metrics.kl_divergence(own, one) for one in runs])
    return most, float(floor_of(moved[None], torch.zeros(1, n, dtype=torch.float32)))


def floor_above(measured: float, tolerance: float) -> float:
    """What is further apart than that is no noise."""
    return max(MARGIN * measured, tolerance)
