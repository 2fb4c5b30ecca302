"""What the weight files of a folder hold: names and shapes, read without the weights.

Reach for this before a model is built: a configuration that its files cannot fill is refused here,
in no time and without memory. `loading.py` is what calls it.
"""

import copy
import json
import math
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lensdepth.outside import LONGEST_REASON, cut, outside, shown

ENTRIES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""What transformers reads of a folder: the first of these that is there."""
_WEIGHTS = re.compile(
    r"[^/]*\.(safetensors|gguf|ggml)"
    r"|(pytorch_model|model|tf_model|flax_model|consolidated)[^/]*\.(bin|pth?|h5|msgpack|ckpt)"
    r"|(model\.safetensors|pytorch_model\.bin)\.index\.json"
)
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_BLOCK = re.compile(r"(?:^|\.)(\d+)\.")
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
SCALES = (
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logits_scaling",
)
"""By these, or by their roots, something is divided."""
MOST = 2**31 - 1
"""No size of a model is larger."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One tensor of a file."""

    shape: tuple[int, ...]
    dtype: str
    """As the file calls it: `F32`, `BF16`, `U8` ...; of files of torch, torch's own name."""


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The files that a model's weights are read from, and what else looks like weights."""

    entry: str
    files: tuple[Path, ...]
    others: tuple[str, ...]
    """Names of files in the folder that look like weights and are not read."""


def find_weights(
    folder: Path, config: Any, name: str, *, partial: bool = False
) -> WeightFiles | None:
    """What transformers will read of a folder; None where it will find nothing.

    Args:
        partial: the folder is one of the hub's cache, where files may yet have to come.

    Raises:
        ValueError: an index that cannot be read, or that names files which are not there.
    """
    there = sorted(path.name for path in folder.iterdir() if path.is_file())
    shards = [file for file in there if _DISTRIBUTED.fullmatch(file)]
    asked = getattr(config, "transformers_weights", None)  # a configuration may name its file
    entry = asked if asked in there else next((e for e in ENTRIES if e in there), None)
    if shards:
        entry, read = shards[0], shards
    elif entry is None:
        return None
    else:
        read = _listed(folder / entry, name) if entry.endswith(".index.json") else [entry]
    absent = [file for file in read if not (folder / file).is_file()]
    if absent and partial:
        return None
    if absent:
        raise ValueError(
            f"load_model: {shown(entry)} of {shown(name)} names {shown(absent[0])}, which is "
            f"not there; copy the missing file into the folder."
        )
    used = {entry, *read}
    others = [f for f in there if _WEIGHTS.fullmatch(f) and f not in used and not is_adapter(f)]
    return WeightFiles(
        entry=entry, files=tuple(folder / file for file in read), others=tuple(others)
    )


def is_adapter(file: str) -> bool:
    """Whether a file of this name holds an adapter and no model."""
    return re.search(r"(^|[^a-z])(adapters?|lora)([^a-z]|$)", file.lower()) is not None


def _listed(index: Path, name: str) -> list[str]:
    """The files that an index names, each once."""
    with outside(f"load_model: {shown(index.name)} of {shown(name)} cannot be read"):
        listed = json.loads(index.read_text(encoding="utf-8"))
    files = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
        raise ValueError(
            f"load_model: {shown(index.name)} of {shown(name)} has no 'weight_map' of names."
        )
    return sorted(set(files.values()))


def read_stored(weights: WeightFiles, name: str) -> dict[str, Stored]:
    """Every tensor of the files by name.

    Raises:
        ValueError: a file cannot be read, or two of them hold a tensor of one name.
    """
    found: dict[str, Stored] = {}
    for file in weights.files:
        read = _safetensors if file.suffix == ".safetensors" else _torch_file
        for key, tensor in read(file, name).items():
            if key in found:
                raise ValueError(
                    f"load_model: two weight files of {shown(name)} hold {shown(key)}, the second "
                    f"of them {shown(file.name)}; leave one."
                )
            found[key] = tensor
    return found


def count_numbers(file: Path, name: str) -> int:
    """Numbers in a safetensors file, by its header alone."""
    return sum(math.prod(tensor.shape) for tensor in _safetensors(file, name).values())


def _safetensors(file: Path, name: str) -> dict[str, Stored]:
    from safetensors import safe_open

    with (
        outside(f"load_model: the weights of {shown(name)} cannot be read ({shown(file.name)})"),
        safe_open(file, framework="pt") as opened,
    ):
        slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
        return {
            key: Stored(shape=tuple(part.get_shape()), dtype=part.get_dtype())
            for key, part in slices.items()
        }


def _torch_file(file: Path, name: str) -> dict[str, Stored]:
    with outside(f"load_model: the weights of {shown(name)} cannot be read ({shown(file.name)})"):
        # On "meta" nothing but shapes is read; files from before torch 1.6 cannot be mapped.
        loaded = torch.load(
            file, map_location="meta", weights_only=True, mmap=zipfile.is_zipfile(file)
        )
    if not isinstance(loaded, dict):
        raise ValueError(
            f"load_model: the weights of {shown(name)} cannot be read: {shown(file.name)} holds a "
            f"{type(loaded).__name__} and no tensors by name."
        )
    return {
        str(key): Stored(shape=tuple(value.shape), dtype=str(value.dtype).removeprefix("torch."))
        for key, value in loaded.items()
        if isinstance(value, torch.Tensor)
    }


def check_sizes(config: Any, name: str) -> None:
    """Refuse a configuration whose sizes are no sizes, or whose scales are no scales.

    Raises:
        ValueError: one of them is not a whole number from 1 to `MOST`, or not a number above 0.
    """
    for part in _parts(config):
        for scale in SCALES:
            value: Any = getattr(part, scale, None)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value <= MOST):
                raise ValueError(
                    f"load_model: the config of {shown(name)} gives {_called(part, scale)} as "
                    f"{shown(value)}; it must be a number above 0."
                )
        for size in SIZES:
            value = getattr(part, size, None)
            # Some architectures give a size by block.
            each: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
            for one in each or [value]:
                whole = isinstance(one, int) and not isinstance(one, bool)
                if one is not None and not (whole and 1 <= one <= MOST):
                    raise ValueError(
                        f"load_model: the config of {shown(name)} gives {_called(part, size)} as "
                        f"{shown(value)}; it must be a whole number from 1 to {MOST:,}."
                    )


def check_blocks(config: Any, stored: Mapping[str, Stored], name: str) -> None:
    """Refuse a configuration of more blocks than the files hold.

    Raises:
        ValueError: with both numbers.
    """
    part = config.get_text_config()
    wanted, held = getattr(part, "num_hidden_layers", None), count_blocks(stored)
    if isinstance(wanted, int) and held and wanted > held:
        raise ValueError(
            f"load_model: the config of {shown(name)} gives {_called(part, 'num_hidden_layers')} "
            f"as {wanted:,}, its weights hold {held:,} blocks. One of the two belongs to another "
            f"model."
        )


def count_blocks(stored: Mapping[str, Stored]) -> int:
    """Blocks of the longest stack whose tensors are numbered; 0 where none are."""
    numbers = (_BLOCK.search(key) for key in stored)
    return max((int(found[1]) + 1 for found in numbers if found), default=0)


def check_shapes(config: Any, stored: Mapping[str, Stored], name: str) -> None:
    """Refuse a configuration whose shapes are not those of the files.

    The model is built without memory, for that; only where transformers has the architecture
    itself, since code from elsewhere may not bear it. Weights that are missing altogether are
    named when the others are read.

    Raises:
        ValueError: with both shapes, or both numbers, or the sizes cannot make a model at all.
    """
    import transformers

    said = f"load_model: the config of {shown(name)} makes no model"
    with outside(said), torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            copy.deepcopy(config), attn_implementation="eager"
        )
    asked = dict(model.named_parameters())
    wanted = sum(weight.numel() for weight in asked.values())
    held = sum(math.prod(tensor.shape) for tensor in stored.values())
    if wanted == held:  # transformers may reshape what it reads
        return
    for key, weight in asked.items():
        if key in stored and tuple(weight.shape) != stored[key].shape:
            raise ValueError(
                f"load_model: {shown(key)} of {shown(name)} has shape {list(weight.shape)} by its "
                f"config ({_sizes(config)}) and {list(stored[key].shape)} in its weight files. "
                f"One of the two belongs to another model."
            )
    if wanted > 2 * held:
        raise ValueError(
            f"load_model: the config of {shown(name)} asks for {wanted:,} numbers "
            f"({_sizes(config)}), its weight files hold {held:,}. One of the two belongs to "
            f"another model."
        )


def _sizes(config: Any) -> str:
    part = config.get_text_config()
    given = {_called(part, size): getattr(part, size, None) for size in SIZES}
    sizes = ", ".join(f"{key} {value}" for key, value in given.items() if value is not None)
    return cut(sizes, LONGEST_REASON)


def check_kinds(stored: Mapping[str, Stored], name: str) -> None:
    """Refuse weights that are no plain numbers, without a word on how to unpack them.

    transformers would take them for numbers: integers as they are, complex ones without their
    imaginary part.

    Raises:
        ValueError: weights in another type than a floating one of 8 bits or more.
    """
    packed = [
        key
        for key, tensor in stored.items()
        if key.endswith(("weight", "qweight", "weight_packed"))
        and not re.fullmatch(r"B?F(8_.*|16|32|64)|b?float(8_.*|16|32|64)", tensor.dtype)
    ]
    if packed:
        kinds = Counter(stored[key].dtype for key in packed)
        raise ValueError(
            f"load_model: {len(packed)} weights of {shown(name)} are stored as "
            f"{' and '.join(kinds)}, the first {shown(packed[0])}, and the config does not say how "
            f"to make plain numbers of them. Take the model in a floating type."
        )


def _parts(config: Any) -> list[Any]:
    """A configuration, and the one of its language model where that stands in it."""
    text = config.get_text_config()
    return [config] if text is config else [config, text]


def _called(config: Any, size: str) -> str:
    """What an architecture calls a size: GPT-2 says n_layer for num_hidden_layers."""
    return getattr(config, "attribute_map", {}).get(size, size)
