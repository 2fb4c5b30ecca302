"""One file of a capture: the states of some prompts, a tensor a depth, each with its checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.outside import outside, shown
from lensdepth.writing import write_bytes


def checksum(states: Tensor) -> str:
    """SHA-256 of the numbers of a tensor, with its dtype and shape."""
    digest = hashlib.sha256(json.dumps([str(states.dtype), list(states.shape)]).encode())
    digest.update(states.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_shard(path: Path, states: Mapping[str, Tensor], identity: str) -> dict[str, str]:
    """Write a shard, whole or not at all; the checksums of its tensors.

    Args:
        path: of the file.
        states: `[prompt, pos, d_model]`, by tensor name.
        identity: of the capture that it belongs to.
    Raises:
        OSError: it cannot be written.
    """
    from safetensors.torch import save

    sums = {name: checksum(tensor) for name, tensor in states.items()}
    # In one entry: the library writes several in an order that changes from run to run.
    header = {"capture": json.dumps({"identity": identity, "sums": sums})}
    # Not by the library's own file, whose hidden one a killed run leaves behind.
    write_bytes(path, save(dict(states), header))
    return sums


def sums_of(path: Path, names: list[str], identity: str) -> dict[str, str] | None:
    """The checksums of a shard that is there, whole and of this capture; None of any other."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {})["capture"])
            sums: dict[str, str] = told["sums"]
            if told["identity"] != identity or [*sums] != names:
                return None
            whole = all(checksum(file.get_tensor(name)) == sums[name] for name in names)
    except Exception:  # whatever is wrong with it, it is not whole
        return None
    return sums if whole else None


def read_tensor(path: Path, name: str, known: str, *, caller: str) -> Float[Tensor, "prompt pos _"]:
    """The states of one depth of a shard, and nothing else of it; they are what was written.

    Args:
        path: of the file.
        name: of the tensor.
        known: its checksum.
        caller: of the public function.
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    from safetensors import safe_open

    said = f"{caller}: {shown(str(path))}"
    if not path.is_file():
        raise FileNotFoundError(f"{said} is missing; capture again, which makes it anew.")
    again = "capture again, which makes it anew"
    with (
        outside(f"{said} is damaged ({again}) or no safetensors file"),
        safe_open(path, "pt") as file,
    ):
        states = file.get_tensor(name)
    if checksum(states) != known:
        raise ValueError(f"{said} is damaged: {name} is not what was written; {again}.")
    return states
