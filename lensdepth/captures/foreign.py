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
_NUMBERS = ("n_layers", "d_vocab", "n_heads", "n_ctx")
"""About the model; those that are not told are 0, and the depths tell the blocks."""


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
    tokens = _tokens(told, first, said)
    where = told.get("positions")
    positions = [len(row) - 1 for row in tokens]
    if where is not None:
        positions = _list(told, "positions", int, said)
        if len(positions) != first or min(positions) < 0:
            raise ValueError(f"{said}: positions must be {first} numbers from 0 on, one a prompt.")
    return Index(
        model=_model(told, folder, depths, widths.pop(), kinds.pop(), said),
        prompts=tuple(prompts),
        tokens=tuple(map(tuple, tokens)),
        positions=tuple((position,) for position in positions),
        depths=tuple(depths),
        dtype="float32",
        side="clean",
        at_once=max(1, shards[0].stop),
        task=_task(told, prompts, tokens, said),
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


def _tokens(told: Mapping[str, Any], n: int, said: str) -> list[list[int]]:
    """Of each prompt; where they are not told, one token a prompt stands for them."""
    found = told.get("tokens")
    if found is None:
        return [[0]] * n
    rows = found if isinstance(found, list) else []
    whole = len(rows) == n and all(
        isinstance(row, list) and row and all(type(one) is int and 0 <= one < 2**63 for one in row)
        for row in rows
    )
    if not whole:
        raise ValueError(f"{said}: tokens must be a list of ids for each of {n} prompts.")
    return rows


def _model(
    told: Mapping[str, Any], folder: Path, depths: list[int], d_model: int, dtype: str, said: str
) -> ModelInfo:
    numbers = {name: told.get(name, 0) for name in _NUMBERS}
    wrong = [name for name, value in numbers.items() if type(value) is not int or value < 0]
    if wrong:
        raise ValueError(
            f"{said}: {wrong[0]} must be a whole number, got {shown(numbers[wrong[0]])}."
        )
    numbers["n_layers"] = numbers["n_layers"] or depths[-1]
    if depths[-1] > numbers["n_layers"]:
        raise ValueError(
            f"{said}: depths go up to {depths[-1]}, beyond n_layers, {numbers['n_layers']}."
        )
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
        **numbers,
    )


def _task(
    told: Mapping[str, Any], prompts: list[str], tokens: list[list[int]], said: str
) -> dict[str, Any] | None:
    """Prompts by themselves with labels, as `task_of_json` reads them."""
    labels, n = told.get("labels"), len(prompts)
    if labels is None:
        return None
    if not isinstance(labels, dict):
        raise ValueError(f"{said}: labels must be lists by name, got {shown(labels)}.")
    for name, values in labels.items():
        plain = isinstance(values, list) and all(
            isinstance(one, str | int | float | bool | None) for one in values
        )
        if not plain or len(values) != n:
            raise ValueError(
                f"{said}: label {shown(name)} needs one text, number or truth value for each of "
                f"{n} prompts."
            )
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
