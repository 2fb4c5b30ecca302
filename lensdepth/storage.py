"""Save and load frozen dataclasses of tensors and plain values, and write files whole.

A result is one safetensors file: tensors as tensors, everything else as JSON in the header.
Nothing is pickled, and a file is either the old one or the new one, never half of either.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from torch import Tensor

T = TypeVar("T")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def save_result(result: Any, path: str | Path) -> None:
    """Write a frozen dataclass of tensors and JSON values to one safetensors file."""
    from safetensors.torch import save_file

    tensors, plain = {}, {}
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, Tensor):
            tensors[field.name] = value.detach().cpu().contiguous()
        else:
            plain[field.name] = _plain(value)
    header = {"kind": type(result).__name__, "fields": json.dumps(plain)}
    with whole_file(path) as partial:
        save_file(tensors, partial, header)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def load_result(kind: type[T], path: str | Path) -> T:
    """Read back what `save_result` wrote.

    Raises:
        ValueError: the file is not a saved result, or one of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{kind.__name__}.load: there is no file {str(path)!r}.")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{kind.__name__}.load: {str(path)!r} is not a safetensors file ({error})."
        ) from error
    if header.get("kind") != kind.__name__:
        raise ValueError(
            f"{kind.__name__}.load: {str(path)!r} holds {header.get('kind', 'no result')!r}; "
            f"load it with that class."
        )
    return _build(kind, {**json.loads(header["fields"]), **tensors})


def _build(kind: type[T], values: dict[str, Any]) -> T:
    hints = get_type_hints(kind)
    return kind(**{name: _restore(hints[name], value) for name, value in values.items()})


def _restore(hint: Any, value: Any) -> Any:
    """Undo what JSON does to nested dataclasses and tuples."""
    if isinstance(hint, UnionType):
        kinds = [h for h in get_args(hint) if h is not type(None)]
        return value if value is None or len(kinds) != 1 else _restore(kinds[0], value)
    if isinstance(value, dict) and is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value)
    if isinstance(value, list):
        arguments = get_args(hint)
        if get_origin(hint) is tuple and arguments:
            return tuple(_restore(arguments[0], item) for item in value)
    return value
