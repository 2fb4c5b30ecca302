"""The blocks of a HookedTransformer, with positions and attention from outside."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lensdepth.interface import ReadModel
from lensdepth.reading import embedded
from lensdepth.replay.attention import AttentionRule, as_bias
from lensdepth.replay.blocks import Attend, Blocks, Change, unset
from lensdepth.replay.copies import Unreplayable, bare_copy


class HookedBlocks(Blocks):
    """The blocks of a HookedTransformer."""

    def __init__(self, model: ReadModel) -> None:
        self.attend: Attend = unset
        self.positions: Int[Tensor, " token"] | None = None
        cfg = model.passes.model.cfg
        self._model = model
        for flag in ("use_logn_attn", "use_dynamic_ntk_rope", "load_in_4bit"):
            if getattr(cfg, flag, False):
                raise Unreplayable(f"its configuration sets {flag}")
        if cfg.positional_embedding_type not in ("standard", "rotary", "alibi"):
            raise Unreplayable(f"its positions are {cfg.positional_embedding_type}")
        if getattr(cfg, "n_devices", 1) > 1:
            raise Unreplayable("it is spread over several devices")
        self._copies: dict[int, nn.Module] = {}
        self._blocks: list[Any] = [bare_copy(b, self._copies) for b in model.passes.model.blocks]
        for layer, block in enumerate(self._blocks):
            kind = type(block.attn)
            replayed = type(f"Replayed{kind.__name__}", (_HookedAttention, kind), {})
            attn: Any = object.__new__(replayed)
            own = {"lensdepth_blocks": self, "lensdepth_layer": layer}
            attn.__dict__.update({**vars(block.attn), **own})
            block.attn = attn

    def record(self, tokens: Int[Tensor, "batch pos"], seen: Callable[[int, Tensor], None]) -> None:
        """See `Blocks.record`; the model itself makes the states of depth 0, and tokens and
        positions are all that its blocks need."""
        self.positions = None
        x = embedded(self._model, tokens)
        seen(0, x)
        for layer, block in enumerate(self._blocks):
            x = block(x)
            seen(layer + 1, x)

    def run(
        self,
        layer: int,
        x: Float[Tensor, "token d_model"],
        positions: Int[Tensor, " token"],
        recorded: Any = None,
    ) -> Float[Tensor, "token d_model"]:
        """See `Blocks.run`."""
        self.positions = positions
        return self._blocks[layer](x[None])[0]

    def device_at(self, depth: int) -> torch.device:
        """See `Blocks.device_at`: one spread over several devices is refused."""
        return self._model.passes.device

    def watch(self, hook: str, change: Change) -> None:
        """See `Blocks.watch`."""
        point = self._copies[id(self._model.passes.hook_points[hook])]

        def after(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            return change(output)

        point.register_forward_hook(after)


class _HookedAttention:
    """Mixed into the copies' attention: positions from outside, scores and mixture to `attend`."""

    def apply_rotary(self: Any, x: Tensor, past_kv_pos_offset: int = 0, *_: Any) -> Tensor:
        positions = self.lensdepth_blocks.positions
        if positions is None:
            return super().apply_rotary(x)  # type: ignore[misc]
        cos, sin = self.rotary_cos, self.rotary_sin
        try:
            self.rotary_cos, self.rotary_sin = cos[positions], sin[positions]
            return super().apply_rotary(x)  # type: ignore[misc]
        finally:
            self.rotary_cos, self.rotary_sin = cos, sin

    def calculate_attention_scores(self: Any, q: Tensor, k: Tensor) -> Tensor:
        self.__dict__["lensdepth_qk"] = q, k
        return q.new_zeros(1, q.shape[2], 1, 1)  # stands in: nothing reads it

    def apply_causal_mask(self: Any, attn_scores: Tensor, *_: Any) -> Tensor:
        return attn_scores

    def calculate_z_scores(self: Any, v: Tensor, pattern: Tensor) -> Tensor:
        q, k = self.__dict__.pop("lensdepth_qk")
        blocks = self.lensdepth_blocks
        batch, n_pos = q.shape[:2]
        cap = self.cfg.attn_scores_soft_cap
        rule = AttentionRule(
            scale=1 / float(self.attn_scale),
            softcap=cap if cap > 0 else None,
            bias=None if blocks.positions is not None else self._lensdepth_bias(n_pos, q),
            sinks=self.sinks if getattr(self.cfg, "use_attention_sinks", False) else None,
        )
        flat = (part.flatten(0, 1) for part in (q, k, v))
        z = blocks.attend(self.lensdepth_layer, *flat, rule)
        return self.hook_z(z.unflatten(0, (batch, n_pos)))

    def _lensdepth_bias(self: Any, n_pos: int, like: Tensor) -> Tensor | None:
        masked = super().apply_causal_mask(like.new_zeros(1, 1, n_pos, n_pos))  # type: ignore[misc]
        bias = masked[0].float()
        if self.cfg.positional_embedding_type == "alibi":
            return bias + self.create_alibi_bias(self.cfg.n_heads, n_pos, like.device)
        return as_bias(bias)
