"""The Hugging Face blocks under a TransformerBridge: the fast way on the bridge.

Bare copies of the blocks dispatch their attention to a function of ours by Hugging Face's own
attention interface. The bridge knows which module each TransformerLens hook stands at.
"""

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from lensdepth.hooks import StopPass
from lensdepth.interface import ReadModel
from lensdepth.replay.attention import AttentionRule, as_bias
from lensdepth.replay.blocks import Attend, Blocks, Change, unset
from lensdepth.replay.copies import (
    Unreplayable,
    bare_copy,
    first_tensor,
    unwrapped,
    with_attention,
    with_devices,
    with_fused_activations,
)
from lensdepth.site import is_z

IMPLEMENTATION = "lensdepth_replay"


class HuggingFaceBlocks(Blocks):
    """The Hugging Face blocks under a TransformerBridge."""

    def __init__(self, model: ReadModel) -> None:
        self.attend: Attend = unset
        self._bridge = model.passes.model
        root = getattr(self._bridge, "original_model", None)
        if not isinstance(root, nn.Module):
            raise Unreplayable("its bridge holds no Hugging Face model")
        self._copies: dict[int, nn.Module] = {}
        self._root: Any = bare_copy(root, self._copies)
        _register()
        with_attention(self._root, IMPLEMENTATION)
        with_fused_activations(self._root)
        self._blocks: list[Any] = [self._copy_of(block) for block in self._bridge.blocks]
        self._devices = with_devices(self._root, self._blocks)
        self._carried: list[Tensor] = []
        self._attended = False
        self._biases: dict[int, tuple[Tensor, Tensor | None]] = {}
        for layer, block in enumerate(self._blocks):
            attend = self._attend_at(layer)
            for module in block.modules():
                module.__dict__["lensdepth_attend"] = attend
                module.__dict__["lensdepth_biases"] = self._biases

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

    def record(
        self, tokens: Int[Tensor, "batch pos"], seen: Callable[[int, Tensor], None]
    ) -> list[dict[str, Any]]:
        """See `Blocks.record`: the blocks' other arguments."""
        handles = []
        calls: list[dict[str, Any]] = [{} for _ in self._blocks]

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
                calls[layer] = given

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
            self._biases.clear()
            for handle in handles:
                handle.remove()
        if not self._attended:
            raise Unreplayable("its attention does not go through Hugging Face's interface")
        return calls

    def run(
        self,
        layer: int,
        x: Float[Tensor, "token d_model"],
        positions: Int[Tensor, " token"],
        recorded: list[dict[str, Any]],
    ) -> Float[Tensor, "token d_model"]:
        """See `Blocks.run`."""
        arguments = {
            name: _packed(name, value, positions) for name, value in recorded[layer].items()
        }
        self._carried = []
        y = first_tensor(self._blocks[layer](x[None], **arguments))[0]
        return y + sum(self._carried) if self._carried else y

    def device_at(self, depth: int) -> torch.device:
        """See `Blocks.device_at`."""
        return self._devices[min(depth, len(self._devices) - 1)]

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
            if is_z(hook):
                changed = rearrange(
                    change(rearrange(args[0], "... (h d) -> ... h d", h=n_heads)),
                    "... h d -> ... (h d)",
                )
                return (changed, *args[1:])
            changed = change(args[0])
            if hook.endswith("hook_resid_mid"):
                # What reads resid_mid here is the MLP's branch alone.
                self._carried.append((changed - args[0]).flatten(0, -2))
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
        # A tensor cannot be asked whether it is one of two.
        if name not in silent and (isinstance(given, Tensor) or given not in (None, False)):
            raise Unreplayable(f"its attention takes {name}, which is not known here")
    scale = options.get("scaling")
    rule = AttentionRule(
        scale=query.shape[-1] ** -0.5 if scale is None else float(scale),
        softcap=options.get("softcap"),
        bias=_bias(attention_mask, module.lensdepth_biases),  # type: ignore[arg-type]
        sinks=options.get("s_aux"),
    )
    q, k, v = (rearrange(part, "p h t d -> (p t) h d") for part in (query, key, value))
    attend: Attend = module.lensdepth_attend  # type: ignore[assignment]
    return rearrange(attend(-1, q, k, v, rule), "(p t) h d -> p t h d", p=len(query)), None


def _bias(mask: Tensor | None, known: dict[int, tuple[Tensor, Tensor | None]]) -> Tensor | None:
    """What a mask adds to the scores; most blocks are given the same one."""
    if mask is None:
        return None
    if id(mask) not in known:
        known[id(mask)] = mask, as_bias(mask[0])  # with the mask, so that its number stays its own
    return known[id(mask)][1]


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(IMPLEMENTATION, _hugging_face_attention)
    AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
