"""Bare copies of a model's modules: the same weights, none of the hooks.

The engine runs and rewires these copies, never the model itself, so that there is nothing to put
back after an error or a Ctrl-C. Parameters are shared and take no memory; modules, buffers' names
and configurations are the copy's own.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class Unreplayable(Exception):
    """This model, or this edit, is beyond the engine; the plain hooks can still do it.

    Args:
        what: the reason, the same whenever it is the same.
        detail: numbers of the case.
    """

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(f"{what} {detail}".rstrip())
        self.what = what


def bare_copy(module: nn.Module, memo: dict[int, nn.Module]) -> nn.Module:
    """The module tree without hooks, in evaluation mode, TransformerLens's wrappers taken off.

    Args:
        module: any module; a TransformerBridge component stands for what it wraps.
        memo: copies by the `id` of their originals, to which this call adds. What is shared in
            the model is shared in the copy.
    Raises:
        Unreplayable: another library has replaced a module's `forward`.
    """
    original = unwrapped(module)
    if id(original) in memo:
        return memo[id(original)]
    placed = _is_placed(original)
    if "forward" in vars(original) and not placed:
        raise Unreplayable(f"the forward of its {type(original).__name__} has been replaced")
    clone = object.__new__(type(original))
    nn.Module.__init__(clone)
    memo[id(original)] = clone
    own = set(vars(clone))
    for name, value in vars(original).items():
        if name not in own and not (placed and name in _ACCELERATE):
            clone.__dict__[name] = value
    clone._parameters.update(original._parameters)
    clone._buffers.update(original._buffers)
    for name, child in original._modules.items():
        clone._modules[name] = None if child is None else bare_copy(child, memo)
    clone.training = False
    return clone


_ACCELERATE = ("forward", "_hf_hook", "_old_forward")
"""What accelerate sets in a module whose inputs it sends to the module's device."""


def _is_placed(module: nn.Module) -> bool:
    """Whether accelerate moves a module's inputs, and does nothing else to it.

    Raises:
        Unreplayable: its weights are elsewhere until it runs.
    """
    own = vars(module)
    if not all(name in own for name in _ACCELERATE):
        return False
    hooks = getattr(own["_hf_hook"], "hooks", (own["_hf_hook"],))
    if any(getattr(hook, "offload", False) for hook in hooks):
        raise Unreplayable("its weights are offloaded")
    return getattr(own["_old_forward"], "__func__", None) is type(module).forward


def with_devices(root: nn.Module, blocks: Sequence[nn.Module]) -> list[torch.device]:
    """Let the inputs of a bare copy's modules go to where the weights are; of each block, where.

    Args:
        root: the copy.
        blocks: in it.
    Raises:
        Unreplayable: a block lies on several devices, or its weights are nowhere yet.
    """
    found = []
    for block in blocks:
        devices = {weight.device for weight in (*block.parameters(), *block.buffers())}
        if len(devices) > 1 or torch.device("meta") in devices:
            raise Unreplayable("a block of it does not lie on one device")
        found += devices or {torch.device("cpu")}
    if len({*found, *(weight.device for weight in root.parameters())}) > 1:
        inside = {part for block in blocks for part in block.modules()}
        for module in root.modules():
            own = [*module._parameters.values(), *module._buffers.values()]
            weights = [weight for weight in own if weight is not None]
            if weights and module not in inside:
                module.register_forward_pre_hook(_sending(weights[0].device), with_kwargs=True)
        for block, device in zip(blocks, found, strict=True):
            block.register_forward_pre_hook(_sending(device), with_kwargs=True)
    return found


def _sending(device: torch.device) -> Callable[..., Any]:
    def there(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(device)
        return tuple(map(there, value)) if type(value) is tuple else value

    def send(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return there(args), {name: there(value) for name, value in kwargs.items()}

    return send


def with_fused_activations(root: nn.Module) -> None:
    """In a bare copy, let one kernel do what GPT-2's activation does in eight passes over memory.

    The same function: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), Hendrycks & Gimpel 2016.
    """
    for module in root.modules():
        for name, child in module._modules.items():
            if type(child).__name__ == "NewGELUActivation":
                module._modules[name] = nn.GELU(approximate="tanh")


def unwrapped(module: nn.Module) -> nn.Module:
    """The Hugging Face module behind any number of bridge components."""
    while isinstance(inner := module._modules.get("_original_component"), nn.Module):
        module = inner
    return module


def with_attention(root: nn.Module, implementation: str) -> None:
    """Let every module of a bare copy dispatch its attention to a registered function.

    Hugging Face modules look up the name in their configuration at each call; the copies get
    configurations of their own.
    """
    configs: dict[int, Any] = {}
    for module in root.modules():
        config = vars(module).get("config")
        if config is None or not hasattr(config, "_attn_implementation_internal"):
            continue
        if id(config) not in configs:
            configs[id(config)] = copy.copy(config)
            configs[id(config)]._attn_implementation_internal = implementation
        module.__dict__["config"] = configs[id(config)]


def first_tensor(output: Any) -> torch.Tensor:
    """What a module gives on: its output, or the first of several."""
    return output[0] if isinstance(output, tuple) else output
