"""Save and load frozen dataclasses of tensors and plain values.

A result is one safetensors file: tensors as tensors, everything else as JSON in the header, and
nothing pickled. The header names the format, the kind and the version of lensdepth, and holds a
SHA-256 of all that and of every tensor with its name, dtype and shape. Loading judges in this
order: no safetensors file; damaged; another kind; a newer format; fields of a newer or an older
version; a value that is not what its field says. Nothing that fails one of these is a result.

What the checksum is taken over is the same for all formats, so that damage is never taken for a
newer one. Files of lensdepth 0.1 have neither: they are read, with a warning.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from jaxtyping import AbstractArray, jaxtyped
from torch import Tensor

from lensdepth.outside import cut, outside, reason, shown, visible
from lensdepth.provenance import Provenance, installed_versions
from lensdepth.writing import whole_file

T = TypeVar("T")

FORMAT = 1
"""Raised when a file that an older lensdepth would misread is written."""
LARGEST_HEADER = 100_000_000
"""Bytes; the safetensors library reads no longer one, and writes it."""
_OF_FIRST = {"kind", "fields"}
"""All that the header of a file of lensdepth 0.1 holds."""

logger = logging.getLogger(__name__)


class Result:
    """A frozen dataclass of tensors and JSON values that goes into one safetensors file."""

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file.

        Raises:
            OSError: the file cannot be written.
            ValueError: a value is none that could be loaded again.
        """
        save_result(self, path)

    @classmethod
    def load(cls: type[T], path: str | Path) -> T:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError, OSError: there is no such file, or it cannot be read.
            ValueError: it is not a saved result, is damaged, of another kind or version.
        """
        return load_result(cls, path)


class ModelResult(Result):
    """One that was measured on one model."""

    provenance: Provenance

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers


def save_result(result: Any, path: str | Path) -> None:
    """Write a frozen dataclass of tensors and JSON values to one safetensors file.

    Raises:
        OSError: the file cannot be written.
        TypeError, ValueError: a value is none that could be loaded again.
    """
    from safetensors.torch import save_file

    kind = type(result)
    plain, tensors = _taken_apart(result)
    header = {
        "format": str(FORMAT),
        "kind": kind.__name__,
        "lensdepth": installed_versions()["lensdepth"],
        "fields": json.dumps(plain),
    }
    header["checksum"] = _checksum(header, tensors)
    said = f"{kind.__name__}.save: {shown(str(path))}"
    if len(json.dumps(header)) + 1000 * len(tensors) > LARGEST_HEADER:
        raise ValueError(
            f"{said} would hold {len(header['fields'])} characters beside its tensors, and could "
            f"not be read again; save the results of fewer prompts."
        )
    try:
        _restore(kind, _put_together(json.loads(header["fields"]), tensors), kind.__name__)
    except _Unfit as error:
        raise ValueError(f"{said} could not be loaded again: {error}.") from error
    with whole_file(path) as partial, outside("safetensors", kind=OSError):
        save_file(tensors, partial, header)


def _taken_apart(result: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The values of a record, and its tensors by field; of a record in it, by `field.field`."""
    plain, tensors, memory = {}, {}, set()
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().contiguous()
            # Fields may be views of the same numbers, which safetensors does not write.
            place = tensor.untyped_storage().data_ptr()
            tensors[field.name] = tensor.clone() if place in memory else tensor
            memory.add(place)
        elif is_dataclass(value) and not isinstance(value, type):
            plain[field.name], inner = _taken_apart(value)
            tensors |= {f"{field.name}.{name}": tensor for name, tensor in inner.items()}
        else:
            plain[field.name] = _plain(value)
    return plain, tensors


def _put_together(plain: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What `_taken_apart` took apart, records as dictionaries.

    Raises:
        _Unfit: a field is there twice, or is of a record that is not there.
    """
    whole = dict(plain)
    inner: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        record, dot, rest = name.partition(".")
        if not dot:
            if record in plain:
                raise _Unfit("its fields are no record, or are there twice")
            whole[record] = tensor
        else:
            inner.setdefault(record, {})[rest] = tensor
    for record, fields_of in inner.items():
        if not isinstance(plain.get(record), dict):
            raise _Unfit(f"it has numbers of {record!r}, and no such record")
        whole[record] = _put_together(plain[record], fields_of)
    return whole


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _checksum(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything that a file says, the checksum aside."""
    digest = hashlib.sha256(
        json.dumps({name: header[name] for name in sorted(header) if name != "checksum"}).encode()
    )
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def saved_kind(path: str | Path, *, caller: str) -> str:
    """The name of the class whose result a file holds, before anything else of it is judged.

    Raises:
        FileNotFoundError, OSError, ValueError: as for `load_result`.
    """
    from safetensors import safe_open

    said = f"{caller}: {shown(str(path))}"
    _check_there(path, caller)
    with (
        outside(f"{said} is not a safetensors file, or a damaged one"),
        safe_open(path, "pt") as file,
    ):
        header: dict[str, str] = file.metadata() or {}
    if "kind" not in header:
        raise ValueError(f"{said} holds no result of lensdepth.")
    return header["kind"]


def _check_there(path: str | Path, caller: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{caller}: there is no file {shown(str(path))}.")
    with outside(f"{caller}: {shown(str(path))} cannot be read", kind=OSError):
        open(path, "rb").close()


def load_result(kind: type[T], path: str | Path) -> T:
    """Read back what `save_result` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        ValueError: it is not a saved result, is damaged, of another kind, or of a version whose
            results have other fields.
    """
    from safetensors import safe_open

    said = f"{kind.__name__}.load: {shown(str(path))}"
    _check_there(path, f"{kind.__name__}.load")
    with (
        outside(f"{said} is not a safetensors file, or a damaged one"),
        safe_open(path, "pt") as file,
    ):
        header: dict[str, str] = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    _judge(kind, header, tensors, said=said)
    with outside(f"{said} is damaged: its fields are no JSON"):
        plain = json.loads(header["fields"])
    version = header.get("lensdepth", "0.1")
    try:
        if not isinstance(plain, dict):
            raise _Unfit("its fields are no record, or are there twice")
        return _restore(kind, _put_together(plain, tensors), kind.__name__)
    except _OtherFields as error:
        raise ValueError(f"{said} was written by lensdepth {version} {error}.") from error
    except _Unfit as error:
        raise ValueError(f"{said} holds no sound {kind.__name__}: {error}.") from error


def _judge(
    kind: type, header: Mapping[str, str], tensors: Mapping[str, Tensor], *, said: str
) -> None:
    """Refuse a file that is no result, is damaged, of another kind or of a newer format.

    Raises:
        ValueError: which of these it is.
    """
    is_first = header.keys() == _OF_FIRST
    if not is_first and not header.keys() & {"kind", "checksum"}:
        raise ValueError(f"{said} holds no result of lensdepth.")
    if not is_first and (
        not header.keys() >= {"format", "kind", "lensdepth", "fields", "checksum"}
        or header["checksum"] != _checksum(header, tensors)
    ):
        raise ValueError(
            f"{said} is damaged: it is not what was saved. Take another copy, or make it again."
        )
    if header["kind"] != kind.__name__:
        raise ValueError(f"{said} holds {shown(header['kind'])}; load it with that class.")
    if is_first:
        logger.warning(
            "%s was saved by lensdepth 0.1, which kept no checksum: damage to its numbers would "
            "not be seen.",
            said,
        )
    elif header["format"] != str(FORMAT):
        raise ValueError(
            f"{said} was written by lensdepth {header['lensdepth']} in format {header['format']}; "
            f"this one reads up to {FORMAT}. Update lensdepth."
        )


class _Unfit(Exception):
    """A value is not what its field says."""


class _OtherFields(Exception):
    """A record has the fields of another version."""


def _restore(hint: Any, value: Any, where: str) -> Any:
    """Undo what JSON does to nested dataclasses and tuples, and check every value on the way.

    Raises:
        _Unfit, _OtherFields
    """
    origin, arguments = get_origin(hint), get_args(hint)
    fits = False
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _restore_one_of(arguments, value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, dict):
            return _restore_record(hint, value, where)
    elif origin is tuple:
        if isinstance(value, list | tuple):
            if arguments[-1] is Ellipsis:
                arguments = arguments[:1] * len(value)
            if len(arguments) == len(value):
                each = enumerate(zip(arguments, value, strict=True))
                return tuple(_restore(kind, item, f"{where}[{i}]") for i, (kind, item) in each)
    elif origin in (list, Sequence):
        if isinstance(value, list):
            return [_restore(arguments[0], x, f"{where}[{i}]") for i, x in enumerate(value)]
    elif origin in (dict, Mapping):
        if isinstance(value, dict):
            return {
                _restore(arguments[0], key, where): _restore(arguments[1], x, f"{where}[{key!r}]")
                for key, x in value.items()
            }
    elif origin is Literal:
        fits = any(type(value) is type(one) and value == one for one in arguments)
    elif hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif isinstance(hint, type) and issubclass(hint, AbstractArray):
        if hint.array_type is np.ndarray and isinstance(value, list):
            value = _array(value)
        fits = isinstance(value, hint)
    elif hint in (int, str, bool, NoneType, Tensor):
        fits = type(value) is hint
    else:
        raise TypeError(f"{where}: {hint} is nothing that can be saved and checked.")
    if not fits:
        raise _Unfit(f"{where} must be {_named(hint)}, got {_described(value)}")
    return value


def _array(value: list[Any]) -> Any:
    """Numbers of a list as an array, or the list where they are none."""
    try:
        return np.array(value)
    except ValueError:
        return value


def _restore_one_of(hints: Sequence[Any], value: Any, where: str) -> Any:
    if value is None and NoneType in hints:
        return None
    rest = [hint for hint in hints if hint is not NoneType]
    for hint in rest[:-1]:
        try:
            return _restore(hint, value, where)
        except _Unfit:
            continue
    return _restore(rest[-1], value, where)


def _restore_record(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    own = installed_versions()["lensdepth"]
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise _OtherFields(
                f"with {where}.{cut(visible(name))}, which lensdepth {own} does not know: update "
                f"lensdepth"
            )
    for name, field in known.items():
        if name not in values and field.default is field.default_factory is MISSING:
            raise _OtherFields(
                f"without {where}.{name}, which lensdepth {own} needs: make it again, or load it "
                f"with that version"
            )
    hints = get_type_hints(kind)
    restored = {name: _restore(hints[name], x, f"{where}.{name}") for name, x in values.items()}
    arrays = [
        (name, hint, x)
        for name, x in restored.items()
        for hint in (get_args(hints[name]) or (hints[name],))
        if isinstance(x, Tensor) and isinstance(hint, type) and issubclass(hint, AbstractArray)
    ]
    with jaxtyped("context"):  # binds axes by name, from one field to the next
        for name, hint, x in arrays:
            if not isinstance(x, hint):
                raise _Unfit(
                    f"{where}.{name} is {_described(x)}, and no {hint.__name__} with the axes that "
                    f"other fields have"
                )
    try:
        return kind(**restored)
    except (TypeError, ValueError) as error:  # what the class asks of its values itself
        raise _Unfit(reason(error)) from error


def _named(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return shown(value)
