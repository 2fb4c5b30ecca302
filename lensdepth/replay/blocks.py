"""A model's blocks, callable one by one on packed tokens, with their attention taken out.

`HuggingFaceBlocks` replays the modules that a TransformerBridge wraps, `HookedBlocks` those of a
HookedTransformer. Both run bare copies: projections, norms, position embeddings and MLPs are the
model's own code, and only the step from queries, keys and values to their mixture goes to the
`attend` that the caller sets. A token's position travels beside it, so tokens of any runs may
stand in one sequence.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lensdepth.hooks import StopPass
from lensdepth.model import DepthModel
from lensdepth.replay.attention import AttentionRule
from lensdepth.replay.copies import (
    Unreplayable,
    bare_copy,
    first_tensor,
    unwrapped,
    with_attention,
)

Attend = Callable[[int, Tensor, Tensor, Tensor, AttentionRule], Tensor]
"""(layer, q, k, v as `[token, head, d_head]`, rule) -> mixture `[token, head, d_value]`."""
Change = Callable[[Tensor], Tensor]
"""An activation, tokens flat along its last but one or two axes, to the one to go on with."""
IMPLEMENTATION = "lensdepth_replay"


class Blocks(ABC):
    """What the engine needs of a backend."""

    attend: Attend
    """What stands for attention from now on."""

    @abstractmethod
    def record(self, tokens: Int[Tensor, "batch pos"], seen: Callable[[int, Tensor], None]) -> None:
        """Run prompts from the embedding on; `seen` gets every depth with its states."""

    @abstractmethod
    def run(
        self, layer: int, x: Float[Tensor, "token d_model"], positions: Int[Tensor, " token"]
    ) -> Float[Tensor, "token d_model"]:
        """One block on packed tokens."""

    @abstractmethod
    def watch(self, hook: str, change: Change) -> None:
        """Let a function change the activation at a hook inside a block, from now on."""


def blocks_of(model: DepthModel) -> Blocks:
    """The blocks of a wrapped model.

    Raises:
        Unreplayable: with the reason, for an architecture whose blocks do not fit.
    """
    hooked = [name for name, point in model.hook_points.items() if point.fwd_hooks]
    if hooked:
        raise Unreplayable(f"functions are attached to its hooks, the first at {hooked[0]}")
    return HookedBlocks(model) if model.backend == "hooked" else HuggingFaceBlocks(model)


class HuggingFaceBlocks(Blocks):
    """The Hugging Face blocks under a TransformerBridge."""

    def __init__(self, model: DepthModel) -> None:
        self.attend: Attend = _unset
        self._bridge = model.model
        root = getattr(self._bridge, "original_model", None)
        if not isinstance(root, nn.Module):
            raise Unreplayable("its bridge holds no Hugging Face model")
        self._copies: dict[int, nn.Module] = {}
        self._root: Any = bare_copy(root, self._copies)
        _register()
        with_attention(self._root, IMPLEMENTATION)
        self._blocks: list[Any] = [self._copy_of(block) for block in self._bridge.blocks]
        self._calls: list[dict[str, Any]] = [{} for _ in self._blocks]
        self._carried: list[Tensor] = []
        self._attended = False
        for layer, block in enumerate(self._blocks):
            for module in block.modules():
                module.__dict__["lensdepth_attend"] = self._attend_at(layer)

    def _copy_of(self, component: nn.Module) -> nn.Module:
        original = unwrapped(component)
        if id(original) not in self._copies:
            raise Unreplayable(f"its {type(original).__name__} stands outside the model")
        return self._copies[id(original)]

    def _attend_at(self, layer: int) -> Attend:
        def attend(_: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule) -> Tensor:
            self._attended = True
            return self.attend(layer, q, k, v, rule)

        return attend

    def record(self, tokens: Int[Tensor, "batch pos"], seen: Callable[[int, Tensor], None]) -> None:
        """See `Blocks.record`; the blocks' other arguments are kept for `run`."""
        handles = []

        def entering(layer: int) -> Callable[..., None]:
            # The signature is the class's: a bound one would lack nothing but cost more.
            signature = inspect.signature(type(self._blocks[layer]).forward)

            def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                bound = signature.bind(module, *args, **kwargs).arguments
                bound.pop("self", None)
                given = dict(bound)
                for name, parameter in signature.parameters.items():
                    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                        given.update(given.pop(name, {}))
                seen(layer, given.pop("hidden_states"))
                self._calls[layer] = given

            return hook

        def leaving(module: nn.Module, args: Any, output: Any) -> None:
            seen(len(self._blocks), first_tensor(output))
            raise StopPass

        self._attended = False
        try:
            for layer, block in enumerate(self._blocks):
                handles.append(block.register_forward_pre_hook(entering(layer), with_kwargs=True))
            handles.append(self._blocks[-1].register_forward_hook(leaving))
            with suppress(StopPass):
                self._root(input_ids=tokens, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        if not self._attended:
            raise Unreplayable("its attention does not go through Hugging Face's interface")

    def run(
        self, layer: int, x: Float[Tensor, "token d_model"], positions: Int[Tensor, " token"]
    ) -> Float[Tensor, "token d_model"]:
        """See `Blocks.run`."""
        arguments = {
            name: _packed(name, value, positions) for name, value in self._calls[layer].items()
        }
        self._carried = []
        y = first_tensor(self._blocks[layer](x[None], **arguments))[0]
        return y + sum(self._carried) if self._carried else y

    def watch(self, hook: str, change: Change) -> None:
        """See `Blocks.watch`. What is changed at resid_mid goes on in the residual stream too."""
        component, incoming = self._owner(hook)
        module = self._copy_of(component)
        if not incoming:

            def after(_: nn.Module, args: Any, output: Any) -> Any:
                changed = change(first_tensor(output))
                return (changed, *output[1:]) if isinstance(output, tuple) else changed

            module.register_forward_hook(after)
            return

        n_heads = self._bridge.cfg.n_heads

        def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            if hook.endswith("hook_z"):
                changed = change(args[0].unflatten(-1, (n_heads, -1))).flatten(-2)
                return (changed, *args[1:])
            changed = change(args[0])
            if hook.endswith("hook_resid_mid"):
                # What reads resid_mid here is the MLP's branch alone.
                self._carried.append((changed - args[0])[0])
            return (changed, *args[1:])

        module.register_forward_pre_hook(before)

    def _owner(self, hook: str) -> tuple[nn.Module, bool]:
        point = self._bridge.hook_dict[hook]
        layer = int(hook.split(".")[1])
        for component in self._bridge.blocks[layer].modules():
            if getattr(component, "hook_in", None) is point:
                return component, True
            if getattr(component, "hook_out", None) is point:
                return component, False
        raise Unreplayable(f"its {hook} stands at no module of Hugging Face's")


def _packed(name: str, value: Any, positions: Int[Tensor, " token"]) -> Any:
    """One recorded argument of a block, for packed tokens."""
    if name in ("attention_mask", "past_key_values", "past_key_value", "layer_past"):
        return None
    if name in ("use_cache", "output_attentions", "output_router_logits"):
        return False
    if name == "position_embeddings" and isinstance(value, tuple):
        return tuple(part[0, positions][None] for part in value)
    if name == "position_ids" and isinstance(value, Tensor):
        return positions[None]
    if name == "cache_position" and isinstance(value, Tensor):
        return positions
    if isinstance(value, Tensor | tuple | list | dict) and value is not None:
        raise Unreplayable(f"its blocks take {name}, which is not known here")
    return value


def _hugging_face_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What Hugging Face's attention modules call in place of softmax attention."""
    # Windows are in the mask, dropout is off, and the rest says what the mask says already.
    silent = ("dropout", "sliding_window", "is_causal", "position_ids", "cache_position")
    silent += ("use_cache", "output_attentions", "scaling", "softcap", "s_aux")
    for name, given in options.items():
        if name not in silent and given not in (None, False):
            raise Unreplayable(f"its attention takes {name}, which is not known here")
    scale = options.get("scaling")
    rule = AttentionRule(
        scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
        softcap=options.get("softcap"),
        bias=None if attention_mask is None else _as_bias(attention_mask[0]),
        sinks=options.get("s_aux"),
    )
    batch, _, n_pos, _ = query.shape
    q, k, v = (part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    attend: Attend = module.lensdepth_attend  # type: ignore[assignment]
    return attend(-1, q, k, v, rule).unflatten(0, (batch, n_pos)), None


def _as_bias(mask: Float[Tensor, "#head pos pos"]) -> Tensor | None:
    """The mask as what is added to scores; None where it is plainly causal."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -torch.inf)
    # Hugging Face masks with the lowest finite number, which would not survive a sum in half
    # precision next to a large score.
    mask = mask.float().masked_fill(mask <= torch.finfo(mask.dtype).min / 2, -torch.inf)
    causal = torch.full_like(mask, -torch.inf).triu(1)
    return None if torch.equal(mask, causal) else mask


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(IMPLEMENTATION, _hugging_face_attention)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)


class HookedBlocks(Blocks):
    """The blocks of a HookedTransformer."""

    def __init__(self, model: DepthModel) -> None:
        self.attend: Attend = _unset
        self.positions: Int[Tensor, " token"] | None = None
        cfg = model.model.cfg
        self._model = model
        for flag in ("use_logn_attn", "use_dynamic_ntk_rope", "load_in_4bit"):
            if getattr(cfg, flag, False):
                raise Unreplayable(f"its configuration sets {flag}")
        if cfg.positional_embedding_type not in ("standard", "rotary", "alibi"):
            raise Unreplayable(f"its positions are {cfg.positional_embedding_type}")
        if getattr(cfg, "n_devices", 1) > 1:
            raise Unreplayable("it is spread over several devices")
        self._copies: dict[int, nn.Module] = {}
        self._blocks: list[Any] = [bare_copy(b, self._copies) for b in model.model.blocks]
        for layer, block in enumerate(self._blocks):
            kind = type(block.attn)
            replayed = type(f"Replayed{kind.__name__}", (_HookedAttention, kind), {})
            attn = object.__new__(replayed)
            attn.__dict__.update(vars(block.attn), lensdepth_blocks=self, lensdepth_layer=layer)
            block.attn = attn

    def record(self, tokens: Int[Tensor, "batch pos"], seen: Callable[[int, Tensor], None]) -> None:
        """See `Blocks.record`; the model itself makes the states of depth 0."""
        self.positions = None
        x = self._model.embedded(tokens)
        seen(0, x)
        for layer, block in enumerate(self._blocks):
            x = block(x)
            seen(layer + 1, x)

    def run(
        self, layer: int, x: Float[Tensor, "token d_model"], positions: Int[Tensor, " token"]
    ) -> Float[Tensor, "token d_model"]:
        """See `Blocks.run`."""
        self.positions = positions
        return self._blocks[layer](x[None])[0]

    def watch(self, hook: str, change: Change) -> None:
        """See `Blocks.watch`."""
        point = self._copies[id(self._model.hook_points[hook])]
        point.register_forward_hook(lambda module, args, output: change(output))


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
        return _as_bias(bias)


def _unset(layer: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule) -> Tensor:
    raise RuntimeError("replay: `attend` was not set before the blocks ran.")
