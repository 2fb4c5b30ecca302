"""What was needed, what came instead and what to do about it, in a few words each.

Never what a model or a tensor prints of itself. Classes of other libraries are known by name, so
that they need not be imported.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from torch import Tensor

from lensdepth.arguments.fit import (
    MISFIT,
    SEQUENCES,
    alternatives,
    fit,
    is_fixed,
    is_mapping,
    is_protocol,
    number_kind,
)
from lensdepth.outside import HUGGING_FACE, bases, cut, is_hugging_face, shown, visible

LONGEST_VALUE = 60
"""Most characters of a value in a message."""
LONGEST_KIND = 180
"""Most characters of what was needed."""
MADE_BY = {
    "Component": "parse_component(text, n_layers, n_heads)",
    "DepthModel": "load_model({})",
    "Hypothesis": "load_hypotheses(path)",
    "PatchProfile": "patch_sweep(model, task)",
    "Report": "build_report(model, task, out=folder)",
    "ResidualStream": "model.residual_stream(prompts)",
    "Task": "load_task({}, model)",
}
"""Kind -> the call that makes one; {} stands for a name, the given one where a name was given. A
result's class says it itself, as `MADE_BY`."""
NAMES = {"DepthModel": "'calendar'", "Task": "'months'"}
KNOWN_AS = {
    "Controlled": "PatchProfile or SteeringProfile",
    "PromptModel": "DepthModel",
    "Steered": "SteeringProfile",
    "Table": "Dataset",
}
"""What is asked for by its members, users know by a class that has them."""
TRANSFORMER_LENS = {"HookedTransformer", "TransformerBridge"}
PLAIN: dict[Any, tuple[str, str]] = {
    None: ("None", "None"),
    types.NoneType: ("None", "None"),
    Any: ("anything", "anything"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "truth values"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}
"""One and several of them."""


def needed(kind: Any) -> str:
    """What an annotation asks for."""
    *others, last = dict.fromkeys(_said(part) for part in alternatives(kind))
    return cut(f"{', '.join(others)} or {last}" if others else last, LONGEST_KIND)


def _said(kind: Any, *, many: bool = False) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_said(part, many=many) for part in parts)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if hasattr(kind, "array_type"):
        what = {"int": " of whole numbers", "bool": " of truth values"}.get(number_kind(kind), "")
        shape = f"[{', '.join(kind.dim_str.split())}]{what}"
        return f"tensors {shape}" if many else f"a tensor {shape}"
    if origin is Callable:
        return "functions" if many else "a function"
    if is_fixed(kind) and len(parts) == 2 and _said(parts[0]) == _said(parts[1]):
        members = _said(parts[0], many=True)
        return f"pairs of {members}" if many else f"a pair of {members}"
    if is_fixed(kind):
        members = " and ".join(_said(part) for part in parts)
        return f"tuples of {members}" if many else f"a tuple of {members}"
    if origin is tuple or origin in SEQUENCES:
        members = _said((parts or (Any,))[0], many=True)
        return f"lists of {members}" if many else f"a list of {members}"
    if is_mapping(kind):
        return f"a mapping of names to {_said((parts or (Any, Any))[1], many=True)}"
    if kind in PLAIN:
        return PLAIN[kind][many]
    name = _kind_name(kind)
    several = f"{name[:-2]}es" if name.endswith("sis") else f"{name}s"
    return several if many else _with_article(name)


def came(value: Any, kind: Any = None) -> str:
    """What was given, in place of what an annotation asks for."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {_name(value)}, not one of its instances"
    name = _name(type(value))
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"an {name} of {value.bit_length()} bits"
    if isinstance(value, np.generic) and not isinstance(value, str | bytes):
        value = value.item()
    if isinstance(value, bool | int | float | complex | str | bytes | PurePath):
        return f"the {name} {shown(value, LONGEST_VALUE)}"
    if isinstance(value, Tensor | np.ndarray):
        return f"a {name} {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if is_hugging_face(value):
        return f"the Hugging Face model {name}"
    held = [*value.values()] if type(value) is dict else value
    if type(held) in (list, tuple):
        wrong = misfits(value, kind)
        return f"a {name} that holds {_inside(wrong[0])}" if wrong else f"a {name} of {len(held)}"
    return _with_article(name)


def misfits(value: Sequence[Any] | Mapping[Any, Any], kind: Any) -> list[Any]:
    """Members that fit no list, or no mapping, that is asked for; all of them where none is."""
    table = isinstance(value, Mapping)
    inner = member_kinds(kind, of_mappings=table)
    members = list(value.values()) if isinstance(value, Mapping) else list(value)
    return [one for one in members if all(fit(one, each) is MISFIT for each in inner)]


def member_kinds(kind: Any, *, of_mappings: bool = False) -> list[Any]:
    """What the members of the lists, or the values of the mappings, that are asked for may be."""
    return [
        get_args(part)[-1 if of_mappings else 0]
        for part in alternatives(kind)
        if get_args(part)
        and get_origin(part) not in (Literal, Callable)
        and is_mapping(part) == of_mappings
    ]


def _inside(member: Any) -> str:
    """Told once, however deep it goes."""
    plain = type(member) in (list, tuple, dict)
    return _with_article(type(member).__name__) if plain else came(member)


def hint(kind: Any, value: Any) -> str:
    """What to do about it, after a semicolon; nothing where that is not known."""
    own = _own_kinds(kind)
    if list in alternatives(kind):
        if bases(value) & {"DatasetDict", "IterableDatasetDict"}:
            return f"; take one of its splits: {cut(visible(', '.join(map(str, value))))}"
        if isinstance(value, Mapping) and any(isinstance(one, list) for one in value.values()):
            return "; pandas.DataFrame(columns) makes one"
        if isinstance(value, Mapping) or "Pair" in bases(value):
            return "; put it into a list"
    if is_hugging_face(value) and {"DepthModel", "Path"} & set(own):
        return f"; {HUGGING_FACE}"
    for part in alternatives(kind):
        # Not of a tuple of a certain length: one member is none.
        if get_origin(part) in SEQUENCES and fit(value, get_args(part)[0]) is not MISFIT:
            return "; put it into a list"
    calls = {name: call for name in own if (call := MADE_BY.get(name))}
    calls |= {one.__name__: one.MADE_BY for one in _classes(kind) if hasattr(one, "MADE_BY")}
    for name, call in calls.items():
        word = shown(str(value), LONGEST_VALUE) if isinstance(value, str | PurePath) else None
        return f"; {call.format(word or NAMES.get(name))} makes one"
    return "; DepthModel(model) wraps it" if bases(value) & TRANSFORMER_LENS else ""


def _own_kinds(kind: Any) -> list[str]:
    """Names of the classes that an annotation speaks of."""
    if get_origin(kind) is Literal or not get_args(kind):
        return _kind_name(kind).split(" or ")
    return [name for part in get_args(kind) for name in _own_kinds(part)]


def _classes(kind: Any) -> list[Any]:
    """The classes themselves."""
    parts = () if get_origin(kind) is Literal else get_args(kind)
    inner = [one for part in parts for one in _classes(part)]
    return [kind, *inner] if isinstance(kind, type) else inner


def _kind_name(kind: Any) -> str:
    name = getattr(kind, "__name__", str(kind))
    return KNOWN_AS.get(name, name) if is_protocol(kind) else name


def _name(kind: type) -> str:
    return cut(visible(str(kind.__name__)), LONGEST_VALUE)


def _with_article(word: str) -> str:
    return f"{'an' if word[:1] in 'AEIOUaeiou' else 'a'} {word}"
