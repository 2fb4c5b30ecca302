"""Captures that others made: a folder of `[prompt, depth, d_model]` arrays and a small JSON file.

    states.json         {"depths": [0, 4, 8], "prompts": ["two months ...", ...],
                         "model": "llama", "n_layers": 8, "labels": {"month": ["May", ...]}}
    part-0.npy, ...     or .safetensors with one tensor each, in the order of their names

Only `depths` and `prompts` are needed. `files` names the arrays in another order, `positions` the
position of each prompt's state, `tokens` the ids of its tokens. Arrays are of float16, float32 or
float64 (safetensors: bfloat16 as well), read a depth at a time and never unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.captures.index import Index, Shard
from lensdepth.devices import DTYPES
from lensdepth.finite import all_finite, first_row
from lensdepth.outside import outside, shown
from lensdepth.provenance import ModelInfo

STATES = "states.json"
_WHOLE = {"n_layers": 0, "d_vocab": 0, "n_heads": 0, "n_ctx": 0}
"""Numbers about the model that may be told, and what stands for those that are not."""


def is_foreign(shard: Shard) -> bool:
    """Whether others made it: of theirs no checksum is known."""
    return not shard.sums


def foreign_index(folder: Path, *, caller: str) -> Index | None:
    """The index of a folder that others made; None where there is no `states.json`.

    Raises:
        ValueError: it says too little, or other things than its arrays.
    """
    path = folder / STATES
    if not path.is_file():
        return None
    said = f"{caller}: {shown(str(path))}"
    with outside(f"{said} is no JSON"):
        told = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise ValueError(f"{said} must hold an object with depths and prompts.")
    prompts = _list(told, "prompts", str, said)
    depths = _list(told, "depths", int, said)
    if depths != sorted(set(depths)) or min(depths) < 0:
        raise ValueError(f"{said}: depths must ascend from 0 or more, got {shown(depths)}.")
    files = told.get("files")
    names = _list(told, "files", str, said) if files is not None else _arrays(folder)
    if not names:
        raise ValueError(f"{said} has no .npy or .safetensors file beside it.")
    shards, widths, kinds, first = [], set(), set(), 0
    for name in names:
        if Path(name).name != name:
            raise ValueError(f"{said}: files are names in the folder itself, got {shown(name)}.")
        shape, dtype = _shape(folder / name, caller=caller)
        if len(shape) != 3 or shape[1] != len(depths):
            raise ValueError(
                f"{caller}: {shown(str(folder / name))} must be [prompt, depth, d_model] with "
                f"{len(depths)} depths as states.json says, got shape {list(shape)}."
            )
        shards.append(Shard(file=name, first=first, stop=first + shape[0], sums={}))
        first += shape[0]
        widths.add(shape[2])
        kinds.add(dtype)
    if first != len(prompts) or len(widths) > 1:
        raise ValueError(
            f"{said} tells {len(prompts)} prompts; its arrays hold {first}, of d_model "
            f"{', '.join(map(str, sorted(widths)))}."
        )
    tokens = told.get("tokens") or [[0]] * first
    positions = told.get("positions") or [len(row) - 1 for row in tokens]
    if {len(tokens), len(positions)} != {first}:
        raise ValueError(f"{said}: tokens and positions need one entry a prompt, {first}.")
    with outside(f"{said}: tokens, positions or labels are not what they should be"):
        return Index(
            model=_model(told, folder, depths, widths.pop(), kinds.pop()),
            prompts=tuple(prompts),
            tokens=tuple(tuple(map(int, row)) for row in tokens),
            positions=tuple((int(position),) for position in positions),
            depths=tuple(depths),
            dtype="float32",
            side="clean",
            at_once=max(1, shards[0].stop),
            task=_task(told, prompts, tokens),
            shards=tuple(shards),
        )


def read_array(path: Path, shard: Shard, depth: int, *, caller: str) -> Float[Tensor, "p 1 d"]:
    """The states of one depth of an array, by its place on the axis; nothing else is read.

    Raises:
        ValueError: it cannot be read, or holds numbers that are none.
    """
    with outside(f"{caller}: {shown(str(path))} cannot be read"):
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            states = torch.from_numpy(np.array(array[:, depth]))
        else:
            with _safetensors(path) as file:
                (name,) = file.keys()
                states = file.get_slice(name)[:, depth]
    if not all_finite(states):
        raise ValueError(
            f"{caller}: {shown(str(path))} holds NaN or infinite numbers, the first of prompt "
            f"{shard.first + first_row(states)}."
        )
    return states.float()[:, None]


def _safetensors(path: Path) -> Any:
    from safetensors import safe_open

    return safe_open(path, "pt")


def _arrays(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir() if f.suffix in (".npy", ".safetensors"))


def _shape(path: Path, *, caller: str) -> tuple[tuple[int, ...], str]:
    """Shape and dtype, without reading any number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no array of floats.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{caller}: {shown(str(path))} is missing.")
    with outside(f"{caller}: {shown(str(path))} cannot be read"):
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            shape, dtype = array.shape, str(array.dtype)
        else:
            with _safetensors(path) as file:
                (name,) = file.keys()
                part = file.get_slice(name)
                shape = tuple(part.get_shape())
                dtype = {
                    "F16": "float16",
                    "BF16": "bfloat16",
                    "F32": "float32",
                    "F64": "float64",
                }.get(part.get_dtype(), str(part.get_dtype()))
    if dtype not in DTYPES:
        raise ValueError(
            f"{caller}: {shown(str(path))} must hold {', '.join(DTYPES)}, got {shown(dtype)}."
        )
    return shape, dtype


def _list(told: Mapping[str, Any], name: str, kind: type, said: str) -> list[Any]:
    found = told.get(name)
    if not isinstance(found, list) or not found or any(type(one) is not kind for one in found):
        what = {str: "texts", int: "whole numbers"}[kind]
        raise ValueError(f"{said}: {name} must be a list of {what}, got {shown(found)}.")
    return found


def _model(
    told: Mapping[str, Any], folder: Path, depths: list[int], d_model: int, dtype: str
) -> ModelInfo:
    numbers = {name: int(told.get(name, other)) for name, other in _WHOLE.items()}
    return ModelInfo(
        name=str(told.get("model", folder.name)),
        architecture=str(told.get("architecture", "")),
        backend="bridge",  # states of Hugging Face's own blocks, which is what others have
        weights="raw",
        d_model=d_model,
        normalization=str(told.get("normalization", "")),
        dtype=dtype,
        device="",
        fingerprint=str(told.get("fingerprint", "")),
        n_layers=numbers["n_layers"] or depths[-1],
        d_vocab=numbers["d_vocab"],
        n_heads=numbers["n_heads"],
        n_ctx=numbers["n_ctx"],
    )


def _task(told: Mapping[str, Any], prompts: list[str], tokens: list[Any]) -> dict[str, Any] | None:
    """Prompts by themselves with labels, as `task_of_json` reads them."""
    labels = told.get("labels")
    if labels is None:
        return None
    n = len(prompts)
    wrong = [name for name, values in labels.items() if len(values) != n]
    if wrong:
        raise ValueError(f"label {wrong[0]!r} needs one value a prompt, {n}")
    absent = dict.fromkeys(
        ("corrupted", "target", "foil", "joining", "corrupted_tokens", "target_ids", "foil_ids",
         "input_positions", "corrupted_input_positions", "inputs", "corrupted_inputs",
         "unit_columns")
    )  # fmt: skip
    counts = dict.fromkeys(("n_multi_token", "n_wrong", "seed", "n_unkept", "n_alone"), 0)
    return {
        **absent, **counts, "name": str(told.get("task", "prompts")), "clean": prompts,
        "clean_tokens": tokens, "where": [f"prompt {i}" for i in range(n)], "labels": labels,
        "n_drawn": n, "keep": "all",
    }  # fmt: skip
