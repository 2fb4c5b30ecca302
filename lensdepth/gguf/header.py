"""What a GGUF file says of itself: its metadata, and which tensors lie where, without their data.

The file is a header (keys with values, then names, shapes, types and offsets of tensors) and then
the data. Everything in it is held against the file's own length before it is believed, so that a
file that is cut short or damaged is told in one line, in no time and without memory.
"""

import mmap
import re
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from lensdepth.outside import outside, shown

MAGIC = b"GGUF"
MOST_DIMENSIONS = 4
LOADER = "load_model"
"""Who names itself in errors where nobody else does."""
NEEDS = "pip install 'lensdepth[gguf]'"
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_NUMBERS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
"""Types of values by their number in the file, as `struct` calls them."""
_STRING, _ARRAY = 8, 9
_KINDS = {
    "general.architecture": str,
    "general.type": str,
    "general.license": str,
    "general.file_type": int,
    "tokenizer.ggml.model": str,
    "tokenizer.ggml.pre": str,
    "tokenizer.ggml.tokens": list,
    "tokenizer.chat_template": str,
}
"""What is read here and elsewhere, and of which kind it must be."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One tensor of the file, as it lies there."""

    shape: tuple[int, ...]
    """As torch has it; the file writes it the other way round."""
    kind: str
    """How its numbers are packed: `F32`, `Q4_K` ..."""
    start: int
    """First byte of its data."""
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """A GGUF file but for its data."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Packed]

    @property
    def architecture(self) -> str:
        """As llama.cpp calls it: `llama`, `qwen2`, `gemma3` ..."""
        return str(self.metadata.get("general.architecture", ""))

    def of(self, key: str, default: Any = None) -> Any:
        """What is said under a key of the architecture."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def number(self, key: str) -> Any:
        """A number under a key of the architecture; None where there is none.

        Raises:
            ValueError: something else is there.
        """
        value = self.of(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise _damaged(self.path.name, f"{self.architecture}.{key} is {shown(value)}, no number")

    @property
    def quantization(self) -> str:
        """The file's own word for how it is packed, and how many tensors are of which type."""
        import gguf

        kinds = Counter(tensor.kind for tensor in self.tensors.values()).most_common()
        named = {int(kind): kind.name for kind in gguf.LlamaFileType}
        name = named.get(self.metadata.get("general.file_type", -1), "")
        name = name.removeprefix("MOSTLY_").removeprefix("ALL_")
        mix = ", ".join(f"{number} {kind}" for kind, number in kinds)
        return f"{name or kinds[0][0]} ({mix})"


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def check_package(name: str, caller: str = LOADER) -> None:
    """Refuse a GGUF file where nothing can unpack it.

    Raises:
        ValueError: gguf cannot be imported.
    """
    with outside(
        f"{caller}: {shown(name)} is a GGUF file, and reading it needs the package gguf",
        hint=f"{NEEDS}.",
    ):
        import gguf  # noqa: F401


def read_header(path: Path, name: str) -> Header:
    """The header of a GGUF file that holds a model whole.

    Raises:
        ValueError: one line: cut short or damaged, one part of several, no language model, or
            packed in a way that nothing here unpacks; and what to do.
    """
    header = read_any_header(path, name)
    _check_whole(header, name)
    return header


def read_any_header(path: Path, name: str, caller: str = LOADER) -> Header:
    """The header of a GGUF file, whatever it holds.

    Raises:
        ValueError: one line: cut short or damaged, or packed in a way that the installed gguf does
            not know.
    """
    check_package(name, caller)
    with outside(f"{caller}: {shown(name)} cannot be read"), path.open("rb") as file:
        size = path.stat().st_size
        if not size:
            raise _damaged(name, "it is empty", caller)
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with view:
        return _parse(_Reader(view, name, caller), path, size)


def _damaged(name: str, why: str, caller: str = LOADER) -> ValueError:
    return ValueError(
        f"{caller}: the GGUF file {shown(name)} is cut short or damaged: {why}. Fetch it again."
    )


class _Reader:
    """Values one after another, none beyond the file's end."""

    def __init__(self, view: mmap.mmap, name: str, caller: str) -> None:
        self.view, self.name, self.caller, self.at = view, name, caller, 0

    def damaged(self, why: str) -> ValueError:
        return _damaged(self.name, why, self.caller)

    def take(self, n: int) -> int:
        """Where the next `n` bytes begin."""
        if n > len(self.view) - self.at:
            raise self.damaged(f"its header goes on beyond its {len(self.view):,} bytes")
        self.at += n
        return self.at - n

    def number(self, code: str) -> Any:
        return struct.unpack_from(f"<{code}", self.view, self.take(struct.calcsize(code)))[0]

    def text(self) -> str:
        length = self.number("Q")
        start = self.take(length)
        # A vocabulary may hold halves of characters.
        return self.view[start : start + length].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        if kind != _ARRAY:
            raise self.damaged(f"a value has the type {kind}, which there is not")
        inner, length = self.number("I"), self.number("Q")
        if inner in _NUMBERS:
            code = _NUMBERS[inner]
            start = self.take(length * struct.calcsize(code))
            return list(struct.unpack_from(f"<{length}{code}", self.view, start))
        if inner != _STRING:
            raise self.damaged(f"a list holds values of the type {inner}")
        if length > len(self.view):
            raise self.damaged(f"a list has {length:,} entries")
        return [self.text() for _ in range(length)]


def _parse(read: _Reader, path: Path, size: int) -> Header:
    import gguf

    name = read.name
    start = read.take(4)
    if read.view[start : start + 4] != MAGIC:
        raise read.damaged("it does not begin as GGUF files do")
    version = read.number("I")
    if version not in (2, 3):
        wrong = "written for machines of the other byte order" if version > 2**16 else "too old"
        raise ValueError(
            f"{read.caller}: the GGUF file {shown(name)} is of version {version}, {wrong}; take "
            f"one of version 2 or 3 (convert_hf_to_gguf.py of llama.cpp writes them)."
        )
    n_tensors, n_values = read.number("Q"), read.number("Q")
    if max(n_tensors, n_values) > size:
        raise read.damaged(f"it claims {max(n_tensors, n_values):,} entries")
    metadata = {}
    for _ in range(n_values):
        key = read.text()
        metadata[key] = read.value(read.number("I"))
    infos = []
    for _ in range(n_tensors):
        key, n_dims = read.text(), read.number("I")
        if n_dims > MOST_DIMENSIONS:
            raise read.damaged(f"{shown(key)} has {n_dims} dimensions")
        shape = tuple(read.number("Q") for _ in range(n_dims))[::-1]
        infos.append((key, shape, read.number("I"), read.number("Q")))
    align = metadata.get("general.alignment", 32)
    if not isinstance(align, int) or not 1 <= align <= 2**20:
        raise read.damaged(f"its alignment is {shown(align)}")
    for key, kind in _KINDS.items():
        if key in metadata and not isinstance(metadata[key], kind):
            raise read.damaged(f"{key} is {shown(metadata[key])}")
    data = read.at + -read.at % align
    tensors: dict[str, Packed] = {}
    for key, shape, number, offset in infos:
        try:
            kind = gguf.GGMLQuantizationType(number)
        except ValueError as error:
            raise _unknown(name, key, f"type {number}", read.caller) from error
        block, n_bytes = gguf.GGML_QUANT_SIZES[kind]
        if not shape or not all(shape) or shape[-1] % block or key in tensors:
            raise read.damaged(f"{shown(key)} of shape {list(shape)} cannot be {kind.name}")
        held = prod(shape) // block * n_bytes
        if data + offset + held > size:
            raise read.damaged(f"{shown(key)} ends at byte {data + offset + held:,} of {size:,}")
        tensors[key] = Packed(shape=shape, kind=kind.name, start=data + offset, n_bytes=held)
    return Header(path=path, metadata=metadata, tensors=tensors)


def _unknown(name: str, key: str, kind: str, caller: str = LOADER) -> ValueError:
    return ValueError(
        f"{caller}: {shown(key)} of {shown(name)} is packed as {kind}, which the installed gguf "
        f"does not unpack; pip install -U gguf, or take another quantisation."
    )


def _check_whole(header: Header, name: str) -> None:
    """Refuse what is no whole language model.

    Raises:
        ValueError: with what it is, and what to do.
    """
    import gguf

    metadata, said = header.metadata, f"load_model: the GGUF file {shown(name)}"
    part = PART.search(header.path.name)
    parts = metadata.get("split.count") or (int(part[2]) if part else 1)
    if isinstance(parts, int) and parts > 1:
        first = header.path.name
        first = PART.sub(lambda m: f"-00001-of-{m[2]}.gguf", first) if part else first
        raise ValueError(
            f"{said} is one of {parts} parts; join them by llama.cpp's "
            f"'llama-gguf-split --merge {first} whole.gguf', and take load_model('whole.gguf')."
        )
    kind = metadata.get("general.type", "model")
    if kind == "adapter" or any(key.startswith("adapter.") for key in metadata):
        raise ValueError(
            f"{said} holds an adapter (LoRA) and no model; merge it into its base model by "
            f"llama.cpp's 'llama-export-lora', and load the file which that writes."
        )
    if kind == "mmproj" or header.architecture == "clip":
        raise ValueError(
            f"{said} holds a projector of images (mmproj) and no language model; give the file of "
            f"the language model, which lies beside it."
        )
    if kind not in ("model", "vocab"):
        raise ValueError(f"{said} holds {shown(kind)} and no model; give the file of a model.")
    if not header.architecture:
        raise _damaged(name, "it names no architecture")
    if "token_embd.weight" not in header.tensors:
        what = "a vocabulary alone" if not header.tensors else "no embedding of tokens"
        raise ValueError(f"{said} holds {what}; give the file that holds the weights as well.")
    for key, tensor in header.tensors.items():
        kind = gguf.GGMLQuantizationType[tensor.kind]
        block = np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8)
        try:
            if kind.name != "F64":
                gguf.dequantize(block, kind)
        except NotImplementedError as error:
            raise _unknown(name, key, tensor.kind) from error
