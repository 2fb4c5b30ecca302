"""Whether a value is what an annotation asks for, and that value as the annotation asks for it.

What means the same is taken: a TransformerLens model in the place of a `DepthModel` is wrapped
(`adopt`), numbers of NumPy and torch become plain ones, arrays lists or tensors.
"""

import inspect
import numbers
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

SEQUENCES = (Sequence, list, Collection, Iterable)
NUMBERS = {int: numbers.Integral, float: numbers.Real, bool: bool}


class Misfit:
    """What `fit` gives for a value of another kind."""


MISFIT = Misfit()


def fit(value: Any, kind: Any) -> Any:
    """The value as its annotation asks for it, or MISFIT.

    An annotation of a form that is not known here fits everything.

    Args:
        value: what was given.
        kind: the annotation.
    """
    if kind is Any or kind is object:
        return value
    if kind is None or kind is types.NoneType:
        return None if value is None else MISFIT
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_of(value, kind)
    if origin is Literal:
        return value if isinstance(value, str) and value in parts else MISFIT
    if kind in NUMBERS:
        return _number(value, kind)
    if hasattr(kind, "array_type"):
        return _array(value, kind)
    if origin is Callable:
        return value if callable(value) else MISFIT
    if origin is Iterable and isinstance(value, Iterator):
        return value  # what it gives is not known before it is used
    if origin is tuple or origin in SEQUENCES:
        return _sequence(value, origin, parts)
    if is_mapping(kind):
        return value if isinstance(value, Mapping) and _entries_fit(value, parts) else MISFIT
    return _instance(value, kind) if isinstance(kind, type) else value


def alternatives(kind: Any) -> tuple[Any, ...]:
    """What a union is made of; of anything else itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def words(kind: Any) -> tuple[str, ...]:
    """The legal words, where an annotation names some."""
    literals = (part for part in alternatives(kind) if get_origin(part) is Literal)
    return tuple(word for part in literals for word in get_args(part) if isinstance(word, str))


def is_mapping(kind: Any) -> bool:
    """Whether an annotation is of a mapping."""
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def is_protocol(kind: Any) -> bool:
    """Whether anything with the right members will do."""
    return bool(getattr(kind, "_is_protocol", False))


def is_fixed(kind: Any) -> bool:
    """Whether an annotation is of a tuple of a certain length."""
    parts = get_args(kind)
    return get_origin(kind) is tuple and not (len(parts) == 2 and parts[1] is Ellipsis)


def number_kind(kind: Any) -> Literal["bool", "int", "float"]:
    """What a tensor of this annotation holds."""
    names = " ".join(kind.dtypes)
    return "float" if "float" in names else "int" if "int" in names else "bool"


def _any_of(value: Any, kind: Any) -> Any:
    parts = alternatives(kind)
    if isinstance(value, str) and words(kind) and any(map(_takes_texts, parts)):
        return value  # which words there are, beside lists of names, the function itself says
    found = [fit(value, part) for part in parts]
    # As it is wherever that fits, before anything is made of it.
    if any(one is value for one in found):
        return value
    return next((one for one in found if one is not MISFIT), MISFIT)


def _takes_texts(kind: Any) -> bool:
    """Whether it is of lists of texts, as which a text passes where nobody looks closely."""
    return get_origin(kind) in SEQUENCES and str in alternatives(get_args(kind)[0])


def _number(value: Any, kind: type) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()  # a plain number, whichever library counted it
    truth = isinstance(value, bool)
    return kind(value) if isinstance(value, NUMBERS[kind]) and truth == (kind is bool) else MISFIT


def _array(value: Any, kind: Any) -> Any:
    """An array with as many axes, of numbers that may stand for those asked for."""
    is_tensor = issubclass(Tensor, kind.array_type)
    if not isinstance(value, Tensor | np.ndarray) or _holds(value) is None:
        return MISFIT
    n_axes, varies = len(kind.dims), kind.index_variadic is not None
    if value.ndim < n_axes - varies or (value.ndim > n_axes and not varies):
        return MISFIT
    wanted, holds = number_kind(kind), _holds(value)
    if (wanted != holds and wanted != "float") or (isinstance(value, Tensor) and not is_tensor):
        return MISFIT
    if is_tensor and isinstance(value, np.ndarray):
        value = torch.from_numpy(np.array(value))
    if wanted == holds:
        return value
    return value.float() if isinstance(value, Tensor) else value.astype(float)


def _holds(value: Tensor | np.ndarray) -> Literal["bool", "int", "float"] | None:
    """What kind of numbers, if it holds such."""
    if isinstance(value, np.ndarray):
        letters = {"b": "bool", "i": "int", "u": "int", "f": "float"}
        return letters.get(value.dtype.kind)  # type: ignore[return-value]
    if value.is_floating_point():
        return "float"
    return None if value.is_complex() else "bool" if value.dtype == torch.bool else "int"


def _sequence(value: Any, origin: Any, parts: tuple[Any, ...]) -> Any:
    """A list or tuple whose members fit; arrays, sets, columns and the like as a list."""
    members = _members(value)
    fixed = origin is tuple and not (len(parts) == 2 and parts[1] is Ellipsis)
    if members is None or (fixed and len(members) != len(parts)):
        return MISFIT
    kinds = parts if fixed else (parts or (Any,))[:1] * len(members)
    found = [fit(one, kind) for one, kind in zip(members, kinds, strict=True)]
    if any(one is MISFIT for one in found):
        return MISFIT
    changed = any(new is not old for new, old in zip(found, members, strict=True))
    if origin in (tuple, list):
        return members if type(members) is origin and not changed else origin(found)
    return found if changed or not isinstance(value, Sequence) else value


def _members(value: Any) -> Sequence[Any] | None:
    """What is in a list, or in what may stand for one; None of what is no list."""
    if isinstance(value, str | bytes | Mapping | Iterator) or not isinstance(value, Collection):
        return None
    if isinstance(value, Tensor | np.ndarray):
        return value.tolist() if value.ndim else None
    if isinstance(value, Sequence):
        return value
    # A column, but not a table, whose members are its columns' names.
    listed = isinstance(value, AbstractSet | ValuesView) or hasattr(value, "tolist")
    return list(value) if listed else None


def _entries_fit(value: Mapping[Any, Any], parts: tuple[Any, ...]) -> bool:
    of_key, of_value = parts or (Any, Any)
    return all(
        fit(key, of_key) is not MISFIT and fit(one, of_value) is not MISFIT
        for key, one in value.items()
    )


def _instance(value: Any, kind: Any) -> Any:
    if is_protocol(kind):
        # Not by hasattr: a mock has everything.
        missing = object()
        lacks = (inspect.getattr_static(value, name, missing) for name in _required(kind))
        fits = not isinstance(value, type) and all(one is not missing for one in lacks)
        return value if fits else MISFIT
    if kind is Path and isinstance(value, PurePath):
        return value
    # By its class itself, not by what an object says of itself.
    if issubclass(type(value), kind):
        return value
    adopt = getattr(kind, "adopt", None)
    adopted = None if adopt is None else adopt(value)
    return MISFIT if adopted is None else adopted


def _required(protocol: Any) -> set[str]:
    """Names of what a protocol asks for."""
    bases = [base for base in protocol.__mro__ if is_protocol(base)]
    return {
        name
        for base in bases
        for name in (*vars(base).get("__annotations__", {}), *vars(base))
        if not name.startswith("_")
    }
