"""Arguments of the wrong kind are refused on entry, in one line, by every public function alike.

`checked` reads a function's own annotations and holds what it is given against them:

    >>> patch_sweep(model, "months")
    TypeError: patch_sweep: pairs must be a Task, got the str 'months'; load_task('months', model)
    makes one.

What means the same is handed on as what was asked for: a TransformerLens model in the place of a
`DepthModel` wrapped (`adopt`), numbers of NumPy and torch as plain ones, arrays as lists or
tensors.
"""

import functools
import inspect
import numbers
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from typing import (
    Any,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
import torch
from torch import Tensor

from lensdepth.outside import cut, shown, visible

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_VALUE = 60
"""Most characters of a value in a message."""
LARGEST_SEED = 2**32 - 1
LEAST = {
    "seed": 0,
    "batch_size": 1,
    "max_memory": 1,
    "n_resamples": 1,
    "n_permutations": 1,
    "n_folds": 2,
    "n_steps": 1,
    "top_k": 1,
    "max_width": 1,
}
"""Smallest value of whole numbers that mean the same wherever they are asked for, by name."""
MOST = {"seed": LARGEST_SEED}
MADE_BY = {
    "AblationProfile": "ablation_sweep(model, task)",
    "AttentionPatterns": "attention_patterns(model, prompts)",
    "AttributionProfile": "attribute_logits(model, prompts)",
    "CircuitResult": "patch_components(model, task, components)",
    "ClaimTable": "evaluate_claims(model, task)",
    "Component": "parse_component(text, n_layers, n_heads)",
    "DecodingProfile": "decode_parts(model, task)",
    "DepthModel": "load_model({})",
    "DoseProfile": "dose_response(model, task)",
    "Finding": "evaluate_claims(model, task).finding(key)",
    "GeometryProfile": "geometry_profile(model, prompts)",
    "Hypothesis": "load_hypotheses(path)",
    "HypothesisTable": "evaluate_hypotheses(model, task, hypotheses)",
    "Intervention": "intervene(model, base, source, depth=d)",
    "LensProfile": "logit_lens(model, prompts)",
    "LocalityProfile": "compare_local_global(model, task)",
    "PatchProfile": "patch_sweep(model, task)",
    "Report": "build_report(model, task, out=folder)",
    "ResidualStream": "model.residual_stream(prompts)",
    "ShapleyProfile": "shapley_depths(model, task)",
    "SteeringProfile": "steering_sweep(model, task)",
    "Task": "load_task({}, model)",
    "TrajectoryProfile": "trajectory_response(model, task)",
    "TransferProfile": "transfer_matrix(model, task)",
    "Transition": "find_transition(profile)",
    "TunedLens": "fit_tuned_lens(model, prompts)",
    "WindowProfile": "patch_windows(model, task)",
}
"""Kind -> the call that makes one; {} stands for a name, the given one where a name was given."""
NAMES = {"DepthModel": "'calendar'", "Task": "'months'"}
HUGGING_FACE = (
    "save it and its tokenizer with save_pretrained(folder) and take load_model(folder), or wrap "
    "TransformerBridge.boot_transformers(name, hf_model=model)"
)


class Parameter(NamedTuple):
    """What one parameter of a function takes."""

    name: str
    kind: Any
    """Its annotation."""
    is_positional: bool


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with what it is given held against its annotations first.

    Annotations are read when it is first called. What Python itself refuses (an argument too many,
    none where one is needed) is left to Python.

    Raises:
        TypeError: on a call: an argument is of another kind than its annotation says.
        ValueError: on a call: a word or number that is not among the legal ones.
    """
    read: list[Parameter] = []

    @functools.wraps(function)
    def entered(*args: P.args, **kwargs: P.kwargs) -> R:
        parameters = read or _parameters(function)
        read[:] = parameters
        taken, named = list(args), dict(kwargs)
        for i, parameter in enumerate(parameters):
            if parameter.name in named:
                place, value = named, named[parameter.name]
                key: Any = parameter.name
            elif parameter.is_positional and i < len(taken):
                place, key, value = taken, i, taken[i]
            else:
                continue
            fitting = fit(value, parameter.kind)
            if fitting is MISFIT:
                given = dict(zip((p.name for p in parameters), taken, strict=False)) | named
                raise _refusal(function, parameters, parameter, given)
            _check_range(function, parameter.name, fitting)
            place[key] = fitting  # type: ignore[index]
        return function(*taken, **named)  # type: ignore[arg-type]

    return entered


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    space = getattr(inspect.unwrap(function), "__globals__", {})
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = parameter.annotation
        if kind is parameter.empty or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            kind = Any
        else:
            holder = types.SimpleNamespace(__annotations__={name: kind})
            try:
                kind = get_type_hints(holder, globalns=space)[name]
            except NameError:  # known to type checkers alone
                kind = Any
        is_positional = parameter.kind in (
            parameter.POSITIONAL_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        )
        found.append(Parameter(name, kind, is_positional))
    return found


class _Misfit:
    """What `fit` gives for a value that is of another kind."""


MISFIT = _Misfit()


def fit(value: Any, kind: Any) -> Any:
    """The value as its annotation asks for it, or MISFIT. An annotation of no known form fits all.

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
        found = [fit(value, part) for part in parts]
        # As it is wherever that fits, before anything is made of it.
        if any(one is value for one in found):
            return value
        return next((one for one in found if one is not MISFIT), MISFIT)
    if origin is Literal:
        return value if isinstance(value, str | int) and value in parts else MISFIT
    if kind in _NUMBERS:
        return _number(value, kind)
    if hasattr(kind, "array_type"):
        return _array(value, kind)
    if origin is Callable:
        return value if callable(value) else MISFIT
    if origin is tuple or origin in _SEQUENCES:
        return _sequence(value, origin, parts)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        fits = isinstance(value, Mapping) and all(
            fit(key, parts[0]) is not MISFIT and fit(one, parts[1]) is not MISFIT
            for key, one in value.items()
        )
        return value if fits else MISFIT
    if isinstance(kind, type):
        return _instance(value, kind)
    return value


_NUMBERS = {int: numbers.Integral, float: numbers.Real, bool: bool}
_SEQUENCES = (Sequence, list, Collection)


def _number(value: Any, kind: type) -> Any:
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()  # a plain number, whichever library counted it
    truth = isinstance(value, bool)
    return kind(value) if isinstance(value, _NUMBERS[kind]) and truth == (kind is bool) else MISFIT


def _array(value: Any, kind: Any) -> Any:
    """A tensor of as many axes, of numbers that may stand for those asked for."""
    if not issubclass(Tensor, kind.array_type):
        return value if isinstance(value, kind.array_type) else MISFIT
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.from_numpy(np.ascontiguousarray(value))
    if not isinstance(value, Tensor) or value.is_complex():
        return MISFIT
    n_axes = len(kind.dims)
    wrong = value.ndim != n_axes if kind.index_variadic is None else value.ndim < n_axes - 1
    wanted = _dtype_of(kind)
    if wrong or (wanted != "float" and value.is_floating_point()):
        return MISFIT
    if (value.dtype == torch.bool) != (wanted == "bool") and wanted != "float":
        return MISFIT
    return value if value.is_floating_point() or wanted != "float" else value.float()


def _dtype_of(kind: Any) -> Literal["bool", "int", "float"]:
    names = " ".join(kind.dtypes)
    return "float" if "float" in names else "int" if "int" in names else "bool"


def _sequence(value: Any, origin: Any, parts: tuple[Any, ...]) -> Any:
    """A list or tuple whose members fit; arrays, sets, columns and the like as a list."""
    if isinstance(value, str | bytes | Mapping | Iterator) or not isinstance(value, Collection):
        return MISFIT
    if isinstance(value, Tensor | np.ndarray):
        members: Sequence[Any] = value.tolist() if value.ndim else MISFIT  # type: ignore[assignment]
        if members is MISFIT:
            return MISFIT
    elif isinstance(value, Sequence):
        members = value
    elif isinstance(value, AbstractSet) or hasattr(value, "tolist"):
        members = list(value)
    else:
        return MISFIT  # a table's members, say, are its columns' names
    fixed = origin is tuple and not (len(parts) == 2 and parts[1] is Ellipsis)
    if fixed and len(members) != len(parts):
        return MISFIT
    wanted = parts if fixed else (parts[:1] or (Any,)) * len(members)
    found = [fit(one, kind) for one, kind in zip(members, wanted, strict=True)]
    if any(one is MISFIT for one in found):
        return MISFIT
    same = all(new is old for new, old in zip(found, members, strict=True))
    kept = members if same else found
    if origin is tuple:
        return tuple(kept)
    return list(kept) if origin is list or isinstance(members, range) else kept


def _instance(value: Any, kind: Any) -> Any:
    if getattr(kind, "_is_protocol", False):
        # What `hasattr` finds, a mock has of everything.
        missing = object()
        members = getattr(kind, "__protocol_attrs__", None) or _members(kind)
        fits = not isinstance(value, type) and all(
            inspect.getattr_static(value, name, missing) is not missing for name in members
        )
        return value if fits else MISFIT
    if kind is Path and isinstance(value, PurePath):
        return value
    # The class itself, not what an object says that it is.
    if issubclass(type(value), kind):
        return value
    adopt = getattr(kind, "adopt", None)
    adopted = None if adopt is None else adopt(value)
    return MISFIT if adopted is None else adopted


def _members(protocol: Any) -> set[str]:
    found: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base.__name__ != "Protocol":
            found |= set(vars(base).get("__annotations__", {}))
            found |= {name for name in vars(base) if not name.startswith("_")}
    return found


def _check_range(function: Callable[..., Any], name: str, value: Any) -> None:
    """Whole numbers whose name says where they may lie."""
    if name not in LEAST or not isinstance(value, int):
        return
    least, most = LEAST[name], MOST.get(name)
    if value < least:
        raise ValueError(
            f"{_called(function)}: {name} must be at least {least}, got {shown(value)}."
        )
    if most is not None and value > most:
        raise ValueError(f"{_called(function)}: {name} must be at most {most}, got {shown(value)}.")


def _refusal(
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    parameter: Parameter,
    given: Mapping[str, Any],
) -> Exception:
    """The one line for an argument that does not fit."""
    caller, name, value = _called(function), parameter.name, given[parameter.name]
    words = _words(parameter.kind)
    if isinstance(value, str) and words:
        return ValueError(
            f"{caller}: {name} must be one of {', '.join(words)}, got {shown(value)}."
        )
    hint = _hint(parameter.kind, value)
    for other in parameters:
        if (
            other.name in given
            and other is not parameter
            and other.kind is not Any
            and fit(value, other.kind) is not MISFIT
            and fit(given[other.name], parameter.kind) is not MISFIT
        ):
            order = ", ".join(one.name for one in parameters if one.is_positional)
            hint = f"; {name} and {other.name} are swapped: {function.__name__}({order})"
            break
    needed = " or ".join(filter(None, [", ".join(_parts(parameter.kind)[:-1]),
                                       _parts(parameter.kind)[-1]]))  # fmt: skip
    return TypeError(
        f"{caller}: {name} must be {needed}, got {_came(value, parameter.kind)}{hint}."
    )


def _called(function: Callable[..., Any]) -> str:
    """How the function is called: `patch_sweep`, `Task.select`, and a class by its own name."""
    return function.__qualname__.removesuffix(".__init__")


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _words(kind: Any) -> tuple[str, ...]:
    """The legal words where nothing but certain words is text here."""
    return tuple(
        word
        for part in _alternatives(kind)
        if get_origin(part) is Literal
        for word in get_args(part)
        if isinstance(word, str)
    )


def _parts(kind: Any) -> list[str]:
    """What an annotation asks for, in words, one for each alternative."""
    return list(dict.fromkeys(_said(part) for part in _alternatives(kind)))


def _said(kind: Any, *, many: bool = False) -> str:
    """In words, what one annotation asks for, or several of them."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_said(part, many=many) for part in parts)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if hasattr(kind, "array_type"):
        axes = ", ".join(str(kind.dim_str).split())
        whole = {"int": " of whole numbers", "bool": " of truth values"}.get(_dtype_of(kind), "")
        return f"tensors [{axes}]{whole}" if many else f"a tensor [{axes}]{whole}"
    if origin is Callable:
        return "functions" if many else "a function"
    if origin is tuple and not (len(parts) == 2 and parts[1] is Ellipsis):
        inner = " and ".join(_said(part) for part in parts)
        return f"tuples ({inner})" if many else f"a tuple ({inner})"
    if origin is tuple or origin in _SEQUENCES:
        inner = _said(parts[0], many=True) if parts else "anything"
        return f"lists of {inner}" if many else f"a list of {inner}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of names to {_said(parts[1], many=True)}"
    one, several = _PLAIN.get(kind, (None, None))
    if one is None:
        word = getattr(kind, "__name__", str(kind))
        if getattr(kind, "_is_protocol", False):
            word = "DepthModel"
        one, several = f"{_article(word)} {word}", f"{word}s"
    return str(several if many else one)


_PLAIN: dict[Any, tuple[str, str]] = {
    types.NoneType: ("None", "None"),
    None: ("None", "None"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "truth values"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}


def _article(word: str) -> str:
    return "an" if word[:1] in "AEIOUaeiou" else "a"


def _came(value: Any, kind: Any = None) -> str:
    """What was given, in a few words: never what a model or a tensor prints of itself."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {_name(value)}, not one of its instances"
    name = _name(type(value))
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"an {name} of {value.bit_length()} bits"
    if isinstance(value, bool | int | float | complex | str | bytes | PurePath):
        return f"the {name} {shown(value, LONGEST_VALUE)}"
    if isinstance(value, Tensor | np.ndarray):
        return f"a {name} {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if is_hugging_face(value):
        return f"the Hugging Face model {name}"
    if type(value) in (list, tuple):
        wrong = [
            one
            for part in _alternatives(kind)
            if get_origin(part) in (tuple, *_SEQUENCES)
            for one in value
            if fit(one, (get_args(part) or (Any,))[0]) is MISFIT
        ]
        if wrong and kind is not None:
            return f"a {name} that holds {_came(wrong[0])}"
        return f"a {name} of {len(value)}"
    return f"{_article(name)} {name}"


def _name(kind: type) -> str:
    return cut(visible(str(kind.__name__)), LONGEST_VALUE)


def is_hugging_face(value: Any) -> bool:
    """Whether it is a model of Hugging Face, which TransformerLens has not wrapped."""
    return "PreTrainedModel" in {base.__name__ for base in type(value).__mro__}


def _hint(kind: Any, value: Any) -> str:
    """What to do about it, where that is known."""
    names = [
        "DepthModel" if getattr(part, "_is_protocol", False) else getattr(part, "__name__", "")
        for part in _alternatives(kind)
    ]
    if is_hugging_face(value):
        return f"; {HUGGING_FACE}"
    for part in _alternatives(kind):
        if get_origin(part) in _SEQUENCES and value is not None:
            inner = get_args(part)[0]
            if fit(value, inner) is not MISFIT and not isinstance(value, Mapping):
                return "; put it into a list"
    for name in names:
        if name in MADE_BY:
            word = shown(str(value), LONGEST_VALUE) if isinstance(value, str | PurePath) else None
            return f"; {MADE_BY[name].format(word or NAMES.get(name))} makes one"
    return ""
