"""Norms with their scale frozen, and what a block's heads write: all linear, as one run has it.

A norm divides by a number that depends on its whole input. With that number held at what the run
has, the norm is linear but for its bias, and a sum of parts can be taken through it part by part.
Weights are read off what a norm does and not off its attributes, so that LayerNorm, RMSNorm and
Gemma's 1 + w are one case, on either backend.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth.model import DepthModel

PROBE = 100.0
"""Length of a probe's coordinates: so large that a norm's epsilon does not matter."""
LINEAR_TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest accepted difference between what a block's attention wrote and what its heads add up to,
as a share of the largest number written; 1e-4 in float32 and wider."""
Wide = Float[Tensor, "prompt d_model"]
"""Float64: sums of many parts that nearly cancel are taken in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frozen:
    """An affine map, diagonal but for centring, with a scale of its own for each prompt."""

    weight: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centred: bool
    """Whether the mean over coordinates is subtracted first."""
    scale: Float[Tensor, " prompt"]
    """What is divided by."""

    def __call__(self, states: Wide) -> Wide:
        """What the map makes of states."""
        return self.weight * _centred(states, self.centred) / self.scale[:, None] + self.bias

    def pull_back(self, direction: Wide) -> Wide:
        """The direction whose product with a part is `direction`'s with what becomes of it."""
        return _centred(self.weight * direction, self.centred) / self.scale[:, None]


def _centred(states: Tensor, centred: bool) -> Tensor:
    return states - states.mean(-1, keepdim=True) if centred else states


def freeze(norm: Callable[[Tensor], Tensor], states: Wide) -> Frozen:
    """A norm as it acts on these states.

    A norm is odd but for its bias; what it makes of a probe and of its reverse gives bias and
    weight. Whether it centres shows when the probe is shifted.

    Args:
        norm: from states `[state, d_model]` to as many, in float64.
        states: one a prompt.
    """
    probe = torch.full((states.shape[-1],), PROBE, dtype=states.dtype)
    probe[1::2] *= -1
    there, back, shifted = norm(torch.stack([probe, -probe, probe + PROBE]))
    bias = (there + back) / 2
    centred = bool((shifted - there).abs().max() <= 1e-2 * (there - bias).abs().max())
    flat = _centred(probe, centred)
    weight = (there - bias) * flat.square().mean().sqrt() / flat
    given, made = _centred(states, centred), norm(states) - bias
    scale = (weight * given).norm(dim=-1) / made.norm(dim=-1)
    return Frozen(weight=weight, bias=bias, centred=centred, scale=scale)


def as_function(model: DepthModel, module: Any) -> Callable[[Tensor], Tensor]:
    """A norm of the model on float64 states `[state, d_model]`, computed as the model does."""

    def norm(states: Tensor) -> Tensor:
        with torch.no_grad(), model.passes.at_work():
            given = states.to(device=model.device, dtype=model.dtype)[None]
            return module(given)[0].to(device="cpu", dtype=torch.float64)

    return norm


def final_norm(model: DepthModel, states: Wide) -> Frozen:
    """The norm in front of the unembedding, or the identity where there is none."""
    module = getattr(model.model, "ln_final", None)
    return _identity(states) if module is None else freeze(as_function(model, module), states)


def _identity(states: Wide, factor: float = 1.0) -> Frozen:
    ones = torch.ones(states.shape[-1], dtype=states.dtype)
    return Frozen(
        weight=factor * ones,
        bias=0 * ones,
        centred=False,
        scale=torch.ones(len(states), dtype=states.dtype),
    )


def output_weights(
    model: DepthModel, layer: int
) -> tuple[Float[Tensor, "head d_head d_model"], Float[Tensor, " d_model"]]:
    """W_O of each head and b_O of the block (zeros without one), float64."""
    attention = model.model.blocks[layer].attn
    weight, bias = attention.W_O, getattr(attention, "b_O", None)
    weight = weight.detach().cpu().double()
    empty = torch.zeros(weight.shape[-1], dtype=torch.float64)
    return weight, empty if bias is None else bias.detach().cpu().double()


def attention_write(model: DepthModel, layer: int, summed: Wide, written: Wide) -> Frozen:
    """What stands between the sum of a block's heads and what its attention adds to the stream.

    Nothing, a constant factor (Granite), or a norm (Gemma 2 and 3, OLMo 2), frozen.

    Args:
        model: any wrapped model.
        layer: the block.
        summed: z W_O over all heads, plus b_O.
        written: what the attention added.
    Raises:
        ValueError: it is none of these.
    """
    allowed = LINEAR_TOLERANCE.get(model.dtype, 1e-4) * written.abs().max()

    def fits(map_: Frozen) -> Bool[Tensor, ""]:
        return (map_(summed) - written).abs().max() <= allowed

    factor = float((summed * written).sum() / summed.square().sum().clamp_min(1e-30))
    found = _identity(summed, factor)
    if fits(found):
        return found if abs(factor - 1) > 1e-5 else _identity(summed)
    block = model.model.blocks[layer]
    # OLMo 2 has no norm in front of its attention; some versions call the one behind it ln1.
    for name in ("ln1_post", "ln1"):
        if (module := getattr(block, name, None)) is not None:
            found = freeze(as_function(model, module), summed)
            if fits(found):
                return found
    raise ValueError(
        f"attribute_logits: in block {layer} of {model.info.name!r} the heads do not add up to "
        f"what the attention writes, so this model cannot be split by head; use "
        f"patch_sweep(stream='attn_out')."
    )
