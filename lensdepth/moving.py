"""A TransformerLens model on another device or in another dtype, in place, as if loaded so.

What the configuration alone decides, such as the frequencies of rotary positions, keeps its
precision or is computed anew. A move that fails half way, for want of memory, is taken back.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch

from lensdepth.finite import advice
from lensdepth.outside import outside, shown
from lensdepth.turns import lock_of, owner_of

State = tuple[torch.device, torch.dtype, int]
_CASTS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""How often each model's weights were taken to another dtype, whichever wrapper did it."""


def state_of(model: Any) -> State:
    """Device, dtype, and how often that changed: another one means other numbers."""
    weight = next(model.parameters())
    return weight.device, weight.dtype, _CASTS.get(owner_of(model), 0)


def is_in(model: Any, dtype: torch.dtype) -> bool:
    """Whether every weight has this dtype."""
    return all(w.dtype == dtype for w in model.parameters() if w.is_floating_point())


def check_ordinary(model: Any, name: str, *, caller: str, what: str) -> None:
    """Refuse weights made in inference mode, which forbids some things for good.

    Args:
        model: of TransformerLens.
        name: what to call it.
        caller: of the public function.
        what: that nothing can do with such weights.
    Raises:
        ValueError: one of them was.
    """
    if any(weight.is_inference() for weight in model.parameters()):
        raise ValueError(
            f"{caller}: {name!r} was made inside torch.inference_mode(), so nothing can "
            f"{what}; make or load it outside."
        )


def move(model: Any, name: str, device: torch.device | None, dtype: torch.dtype | None) -> None:
    """Put a model on a device and its weights into a dtype, once passes at work have ended.

    Raises:
        ValueError: a weight is beyond the range of the dtype, or the model cannot be moved.
    """
    check_ordinary(model, name, caller="DepthModel.to", what="change its weights")
    if getattr(model.cfg, "n_devices", 1) > 1:
        raise ValueError("DepthModel.to: this model is spread over several devices; load anew.")
    with lock_of(model), torch.inference_mode(False), torch.no_grad():
        before_device, before_dtype, _ = state_of(model)
        if dtype:
            _check_range(model, dtype)
            owner = owner_of(model)
            _CASTS[owner] = _CASTS.get(owner, 0) + (not is_in(model, dtype))
        try:
            _put(model, name, device, dtype)
        except BaseException:
            _put(model, name, before_device, before_dtype if dtype else None)
            raise


def _check_range(model: Any, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and torch.finfo(weight.dtype).max > largest:
            size = float(weight.abs().amax()) if weight.numel() else 0.0
            if largest < size < float("inf"):
                raise ValueError(
                    f"DepthModel.to: weight {shown(name)} holds numbers as large as "
                    f"{size:.4g}. {advice(dtype)}"
                )


def _put(model: Any, name: str, device: torch.device | None, dtype: torch.dtype | None) -> None:
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    # Not cast: they are no weights, and come out of loading in a precision of their own.
    tables = [
        (module, key, buffer)
        for module in owner_of(model).modules()
        for key in module._non_persistent_buffers_set
        if (buffer := module._buffers.get(key)) is not None
    ]
    with outside(f"DepthModel.to: {shown(name)} cannot be taken to {device or dtype}"):
        if owner_of(model) is not model:
            owner_of(model).to(**where)  # which says no, if it cannot
        torch.nn.Module.to(model, **where)  # the model's own prints, and takes one of both
    for module, key, buffer in tables:
        module._buffers[key] = buffer.to(device)
    cfg = model.cfg
    cfg.device, cfg.dtype = str(device or state_of(model)[0]), dtype or cfg.dtype
    for module in model.modules():
        if dtype and hasattr(module, "rotary_sin") and not getattr(cfg, "use_dynamic_ntk_rope", 0):
            module._extend_rotary_embeddings(len(module.rotary_sin))
