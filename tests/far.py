"""Devices that this machine does not have: tensors that say where they are, computed on the CPU.

A `Far` tensor holds an ordinary one and says that it lies on `far:0` or `far:1`. Within `far()`
every operation is held to what separate devices allow: tensors of two of them never meet, and those
of the CPU meet none but as single numbers. What would make the host wait for a device is noted.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

backend_registration._setup_privateuseone_for_python_backend("far")
FAR = (torch.device("far", 0), torch.device("far", 1))
CPU = torch.device("cpu")
WAITS = ("_local_scalar_dense", "equal", "nonzero", "_unique2", "unique_dim", "masked_select",
         "unique_consecutive", "is_nonzero")  # fmt: skip
"""Operations whose result the host must know before it goes on."""


class Far(Tensor):
    """A tensor on a device that is not there."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor, device: torch.device) -> "Far":
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=device,
            requires_grad=False,
        )
        made.near = near
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Far({self.near}, {self.device})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {}, [])


class _Mode(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # in inference mode these come whole, and are made of others
                return func.decompose(*args, **(kwargs or {}))
        return _run(func, args, kwargs or {}, self.waits)


@contextmanager
def far() -> Iterator[list[str]]:
    """Devices that are not there work in the block; what waits for one is noted in the list."""
    mode = _Mode()
    with mode:
        yield mode.waits


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], waits: list[str]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [x for x in flat if isinstance(x, Tensor)]
    name = func._schema.name.removeprefix("aten::")
    asked = kwargs.get("device")
    here = {x.device for x in tensors if isinstance(x, Far)}
    indices = name in ("index", "index_put_", "index_put", "_index_put_impl_")
    if name not in ("copy_", "_to_copy"):
        met = here | {x.device for x in tensors if not isinstance(x, Far) and x.ndim}
        if indices:  # those of the CPU are sent, for which the host waits
            met = {tensors[0].device, *here}
            near = [x for x in tensors[1:] if not isinstance(x, Far) and x.ndim]
            if here and near:
                waits.append(f"{name} by the CPU's indices")
        if len(met) > 1:
            raise RuntimeError(f"{name}: tensors on {' and '.join(sorted(map(str, met)))} meet")
    masks = indices and any(isinstance(x, Far) and x.dtype == torch.bool for x in tensors[1:])
    if here and (name in WAITS or masks):
        waits.append(name)
    if here and asked is not None and torch.device(asked) == CPU:
        waits.append("to the CPU")
    where = torch.device(asked) if asked is not None else next(iter(here), CPU)
    if "device" in kwargs:
        kwargs = {**kwargs, "device": CPU if asked is not None else None}
    outer = {id(x.near): x for x in tensors if isinstance(x, Far)}

    def inner(x: Any) -> Any:
        return x.near if isinstance(x, Far) else x

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, Far):
            return x
        if id(x) in outer and name[-1] == "_":
            return outer[id(x)]
        if name == "copy_":
            return args[0]
        return Far(x, where) if where != CPU else x

    found = func(*tree_map(inner, args), **tree_map(inner, kwargs))
    if name == "_to_copy" and any(found is y for y in map(inner, tensors)):
        found = found.clone()
    return tree_map(back, found)


def put(module: nn.Module, device: torch.device) -> None:
    """Weights and buffers of a module, and of all in it, on such a device."""
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for name, tensor in kept.items():
                if tensor is not None and not isinstance(tensor, Far):
                    there: Any = Far(tensor.detach(), device)
                    is_weight = isinstance(tensor, nn.Parameter)
                    kept[name] = nn.Parameter(there, requires_grad=False) if is_weight else there


def spread(model: Any, first: int) -> None:
    """A bridge of Llama's architecture on two such devices, as accelerate would put it there.

    Args:
        model: a wrapped bridge; it is changed.
        first: so many blocks lie on the first device, with the embedding.
    """
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    from lensdepth.replay.copies import unwrapped

    root = model.model.original_model
    where = {root.model.embed_tokens: FAR[0], root.model.rotary_emb: FAR[0]}
    where |= {root.model.norm: FAR[1], root.lm_head: FAR[1]}
    where |= {block: FAR[i >= first] for i, block in enumerate(root.model.layers)}
    for module, device in where.items():
        put(module, device)
        add_hook_to_module(unwrapped(module), AlignDevicesHook(execution_device=device))


def main() -> None:
    """What a model on two devices gives beside the same one on the CPU, as one line of JSON."""
    from lensdepth import load_model, load_task, logit_lens, patch_sweep, polar
    from lensdepth.hooks import SiteEdit
    from lensdepth.replay import chunk, replay_measure
    from lensdepth.site import site_hook

    chunk.RAGGED.add("far")  # as on a GPU
    near, apart = (load_model("tiny", backend="bridge") for _ in range(2))
    task = load_task("months", near, n=12)
    batch, n_layers = task.clean_tokens, near.n_layers
    off: dict[str, float] = {}
    streams = ("resid_pre", "resid_mid", "attn_out", "mlp_out", "z")
    source = near.residual_stream(task.corrupted_tokens).resid[:, :, 0]  # type: ignore[arg-type]
    sets = [
        [
            SiteEdit(
                hook=site_hook(stream, layer),  # type: ignore[arg-type]
                positions=torch.full((len(batch),), position),
                edit=polar.full_swap,
                source=source[layer],
            )
            for layer in layers
        ]
        for stream in streams
        for layers in (*([layer] for layer in range(n_layers)), range(n_layers))
        for position in (2, 4)
    ]
    columns = torch.stack([task.target_ids, task.foil_ids], dim=1)  # type: ignore[list-item]

    def measured(model: Any, engine: Any) -> Tensor:
        return replay_measure(
            model, batch, sets, lambda x, _: {"x": x[:, 0] - x[:, 1]}, columns=columns,
            engine=engine,
        )["x"]  # fmt: skip

    def differ(a: Tensor, b: Tensor) -> float:
        """The largest difference, as a share of the largest number: logit_diff goes up to 36."""
        return float((a - b).abs().nan_to_num().max() / b.abs().nan_to_num().max())

    with far() as waits:
        spread(apart, first=2)
        devices = sorted({str(weight.device) for weight in apart.model.parameters()})
        off["states"] = differ(
            apart.residual_stream(batch, "all").resid, near.residual_stream(batch, "all").resid
        )
        off["logits"] = differ(apart.logits(batch), near.logits(batch))
        off["lens"] = differ(logit_lens(apart, task).kl, logit_lens(near, task).kl)
        for engine in ("hooks", "replay"):
            off[engine] = differ(measured(apart, engine), measured(near, engine))
        del waits[:]
        measured(apart, "replay")
        seen = {name: waits.count(name) for name in waits}
        sweeps = [patch_sweep(model, task, engine="replay") for model in (apart, near)]
        off["sweep"] = differ(*(sweep.outcome.values for sweep in sweeps))
    found = {"devices": devices, "off": off, "waits": seen, "runs": len(sets)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
