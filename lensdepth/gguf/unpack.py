"""From a GGUF file to a folder in Hugging Face format with plain float32 weights, made once.

Tensor by tensor: no more than a few are in memory at a time, however large the model. Every tensor
of the file goes into a weight of the model, and every weight of the model comes from one, or the
file is refused: whatever were left out would change what the model computes.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lensdepth.converted import About, digest, is_whole, keeping, place_of, size_of
from lensdepth.gguf.header import Header, Packed, read_header
from lensdepth.gguf.settings import ROTARY_TENSORS, configuration
from lensdepth.gguf.tokens import write_tokenizer
from lensdepth.outside import heading, outside, shown

logger = logging.getLogger(__name__)

AT_ONCE = 1 << 22
"""Numbers that are unpacked at a time."""
SHARD = 1 << 28
"""Bytes of weights in one file of the folder; a larger tensor has a file to itself."""
_BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
"""Files of a tokenizer that may lie beside a GGUF file, and then hold in place of its own."""
_EYES = ("v.", "mm.")
"""How tensors begin that are of eyes; a model of language goes without."""


def find_gguf(folder: Path, file: str | None = None) -> Path | None:
    """The GGUF file of a folder that holds no model in another form; None where there is none.

    Args:
        folder: to look in.
        file: the one to take, where there are several.
    Raises:
        ValueError: several of them, or not the one asked for.
    """
    there = sorted(path for path in folder.glob("*.gguf") if path.is_file())
    if file is not None:
        if not (folder / file).is_file():
            held = ", ".join(shown(path.name) for path in there[:5]) or "none"
            raise ValueError(
                f"load_model: there is no file {shown(file)} in {shown(str(folder))}; GGUF files "
                f"there: {held}."
            )
        return folder / file
    if not there or (folder / "config.json").is_file():
        return None
    models = [path for path in there if not path.name.lower().startswith("mmproj")] or there
    if len(models) > 1:
        raise ValueError(
            f"load_model: the folder {shown(str(folder))} holds {len(models)} GGUF files "
            f"({', '.join(shown(path.name) for path in models[:5])}); name one by "
            f"file={shown(models[0].name)}, or give its path."
        )
    return models[0]


def unpacked(
    path: Path,
    *,
    name: str | None = None,
    source: str = "",
    licence: str = "",
    notices: Mapping[str, bytes] | None = None,
    sha256: str | None = None,
) -> tuple[str, Path]:
    """Name and folder of the model in a GGUF file, unpacked now or when it was first loaded.

    Args:
        path: the file.
        name: what to call the model; None takes the file's name.
        source: where the file comes from.
        licence: of the model; "" takes what the file says.
        notices: files that must go with it, by their names.
        sha256: what the file's SHA-256 must be.
    Raises:
        ValueError: one line: the file is damaged, holds no model that is read, or the cache cannot
            be written.
    """
    name = name or path.name.removesuffix(".gguf")
    with outside(f"load_model: {shown(name)} cannot be read"):
        content = digest(path)
    if sha256 not in (None, content):
        raise ValueError(
            f"load_model: the file of {shown(name)} is not what it was: its SHA-256 is {content} "
            f"and must be {sha256}. Fetch it again."
        )
    beside = _tokenizer_beside(path)
    key = content
    if beside:
        parts = " ".join([content, *(f"{file.name} {digest(file)}" for file in beside)])
        key = hashlib.sha256(parts.encode()).hexdigest()
    place = place_of(name, key)
    if is_whole(place):
        return name, place
    header = read_header(path, name)
    about = About(
        name=name,
        source=source or path.name,
        sha256=content,
        quantization=header.quantization,
        licence=licence or str(header.metadata.get("general.license", "")),
    )
    with keeping(place, about) as folder:
        for file, text in (notices or {}).items():
            (folder / file).write_bytes(text)
        _write(header, folder, beside, name)
    logger.warning(
        "%s: unpacked from %s into plain float32 weights, once: %s MB in %s; 'lensdepth models "
        "--clean' removes it.",
        heading(name),
        header.quantization.partition(" ")[0],
        f"{size_of(place) / 1e6:,.0f}",
        place,
    )
    return name, place


def _tokenizer_beside(path: Path) -> list[Path]:
    """A tokenizer in the file's folder, which then holds in place of the file's own."""
    there = [path.parent / file for file in _BESIDE if (path.parent / file).is_file()]
    return there if (path.parent / "tokenizer.json") in there else []


def _write(header: Header, folder: Path, beside: list[Path], name: str) -> None:
    from transformers import AutoConfig

    data = np.memmap(header.path, mode="r", dtype=np.uint8)
    rotary = {
        key: numbers(data, header.tensors[key]).numpy()
        for key in ROTARY_TENSORS
        if key in header.tensors
    }
    settings = configuration(header, rotary, name)
    with outside(f"load_model: the GGUF file {shown(name)} makes no configuration"):
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        config.dtype = torch.float32
        model = _without_memory(config)
    wanted = _matched(header, model, name)
    config.architectures = [type(model).__name__]
    for file in beside:
        (folder / file.name).write_bytes(file.read_bytes())
    if not beside:
        write_tokenizer(header, folder, name)
    config.save_pretrained(folder)
    _write_weights(header, data, wanted, folder)


def _without_memory(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


def _matched(header: Header, model: Any, name: str) -> dict[str, str]:
    """For each weight of the model, the tensor of the file that it comes from.

    Raises:
        ValueError: one has no counterpart, or one of another shape.
    """
    import gguf

    said = f"load_model: the GGUF file {shown(name)}"
    kinds = {kind_name: kind for kind, kind_name in gguf.MODEL_ARCH_NAMES.items()}
    n_blocks = model.config.get_text_config().num_hidden_layers
    names = gguf.get_tensor_name_map(kinds[header.architecture], n_blocks)
    found: dict[str, str] = {}
    tied = bool(model.config.tie_word_embeddings)
    for key, weight in model.state_dict().items():
        if tied and key == "lm_head.weight":
            continue
        tensor = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if tensor is None or tensor not in header.tensors:
            raise ValueError(
                f"{said} lacks {shown(tensor or key)}, without which its architecture "
                f"{shown(header.architecture)} makes no model. Fetch it again, or take the model "
                f"in Hugging Face format."
            )
        shape = header.tensors[tensor].shape
        if _turned(header, tensor):
            shape = shape[::-1]
        if tuple(weight.shape) != shape:
            raise ValueError(
                f"{said} holds {shown(tensor)} in the shape {list(shape)}, and its own settings "
                f"make it {list(weight.shape)}. Fetch it again."
            )
        found[key] = tensor
    left = [
        key
        for key in header.tensors
        if key not in {*found.values(), *ROTARY_TENSORS} and not key.startswith(_EYES)
    ]
    if left:
        raise ValueError(
            f"{said} holds {shown(left[0])}{f' and {len(left) - 1} more' * (len(left) > 1)}, for "
            f"which {type(model).__name__} has no place. Take the model in Hugging Face format."
        )
    return found


def numbers(data: np.ndarray, tensor: Packed) -> Tensor:
    """A tensor of the file, unpacked to float32."""
    import gguf

    found = torch.empty(tensor.shape, dtype=torch.float32)
    rows = found.view(-1, tensor.shape[-1])
    raw = data[tensor.start : tensor.start + tensor.n_bytes].reshape(len(rows), -1)
    step = max(1, AT_ONCE // tensor.shape[-1])
    for first in range(0, len(rows), step):
        part = np.ascontiguousarray(raw[first : first + step])
        if tensor.kind == "F64":
            plain = part.view(np.float64)
        else:
            plain = gguf.dequantize(part, gguf.GGMLQuantizationType[tensor.kind])
        rows[first : first + step] = torch.from_numpy(np.array(plain, dtype=np.float32))
    return found


def _turned(header: Header, tensor: str) -> bool:
    """GPT-2's weights stand the other way round in transformers."""
    parts = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return header.architecture == "gpt2" and tensor.startswith("blk.") and tensor.endswith(parts)


def _as_transformers(header: Header, tensor: str, weight: Tensor, config: Any) -> Tensor:
    """What llama.cpp changed about a weight when it wrote it, taken back."""
    kind = header.architecture
    if kind == "llama" and tensor.endswith(("attn_q.weight", "attn_q.bias")):
        return _by_halves(weight, config["heads"])
    if kind == "llama" and tensor.endswith(("attn_k.weight", "attn_k.bias")):
        return _by_halves(weight, config["kv_heads"])
    if kind in ("gemma2", "gemma3") and tensor.endswith("norm.weight"):
        return weight - 1  # Gemma's norms multiply by one more than their weight
    return weight.T.contiguous() if _turned(header, tensor) else weight


def _by_halves(weight: Tensor, n_heads: int) -> Tensor:
    """Numbers of a head that turn together: neighbours in llama.cpp, half a head apart here."""
    heads = weight.view(n_heads, -1, 2, *weight.shape[1:])
    return heads.transpose(1, 2).reshape(weight.shape)


def _weights(
    header: Header, data: np.ndarray, wanted: dict[str, str]
) -> Iterator[tuple[str, Tensor]]:
    heads = {
        "heads": header.of("attention.head_count"),
        "kv_heads": header.of("attention.head_count_kv") or header.of("attention.head_count"),
    }
    for key, tensor in wanted.items():
        plain = numbers(data, header.tensors[tensor])
        yield key, _as_transformers(header, tensor, plain, heads)


def _write_weights(header: Header, data: np.ndarray, wanted: dict[str, str], folder: Path) -> None:
    """Files of bounded size one after another, and the index that names them."""
    from safetensors.torch import save_file

    placed: dict[str, str] = {}
    held: dict[str, Tensor] = {}
    total = 0

    def write() -> None:
        file = f"model-{len(set(placed.values())) + 1:05}.safetensors"
        save_file(held, folder / file, {"format": "pt"})
        placed.update(dict.fromkeys(held, file))
        held.clear()

    for key, weight in _weights(header, data, wanted):
        if held and sum(w.nbytes for w in held.values()) + weight.nbytes > SHARD:
            write()
        held[key] = weight
        total += weight.nbytes
    write()
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
