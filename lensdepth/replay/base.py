"""The unedited run of some prompts, and what of it the replay needs."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.replay.attention import AttentionRule, Group
from lensdepth.replay.blocks import Blocks
from lensdepth.replay.fused import Attending, spans_of


@dataclass(kw_only=True, eq=False)
class BaseRun:
    """What is kept of the unedited run, by depth or by layer, in the model's dtype."""

    first_layer: int
    """Keys and values are kept from here on."""

    resid: dict[int, Float[Tensor, "prompt pos d_model"]] = field(default_factory=dict)
    keys: dict[int, Float[Tensor, "prompt pos kv_head d_head"]] = field(default_factory=dict)
    """With their position in them, as attention uses them."""
    values: dict[int, Float[Tensor, "prompt pos kv_head d_value"]] = field(default_factory=dict)
    rules: dict[int, AttentionRule] = field(default_factory=dict)
    recorded: Any = None
    """What the blocks need to know of it, see `Blocks.record`."""

    def has(self, depths: Collection[int], first_layer: int) -> bool:
        """Whether `record` would keep nothing else."""
        return self.first_layer <= first_layer and set(depths) <= self.resid.keys()

    @property
    def n_bytes(self) -> int:
        kept = [*self.resid.values(), *self.keys.values(), *self.values.values()]
        return sum(states.numel() * states.element_size() for states in kept)


def record(
    blocks: Blocks,
    tokens: Int[Tensor, "prompt pos"],
    *,
    depths: Collection[int],
    first_layer: int,
) -> BaseRun:
    """Run the prompts once.

    Args:
        blocks: of the model.
        tokens: right padded, on the model's device.
        depths: whose residual states to keep.
        first_layer: keys and values are kept from here on.
    """
    n_prompts, n_pos = tokens.shape
    everything = rearrange(torch.arange(n_prompts * n_pos), "(p t) -> p 1 t", p=n_prompts)
    whole = Group(
        start=0,
        stop=n_pos,
        prompts=torch.arange(n_prompts),
        keys=everything,
        queries=everything,
        positions=None,
    )
    starts = torch.zeros_like(whole.prompts)
    attending = Attending(lambda: [whole], lambda: spans_of(whole.prompts, starts, starts + n_pos))
    base = BaseRun(first_layer=first_layer)

    def attention(layer: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule) -> Tensor:
        base.rules[layer] = rule
        if layer >= first_layer:
            base.keys[layer] = rearrange(k, "(p t) h d -> p t h d", p=n_prompts)
            base.values[layer] = rearrange(v, "(p t) h d -> p t h d", p=n_prompts)
        return attending.attend(q, k, v, None, None, rule)

    def seen(depth: int, x: Tensor) -> None:
        if depth in depths:
            base.resid[depth] = x

    blocks.attend = attention
    base.recorded = blocks.record(tokens, seen)
    return base
