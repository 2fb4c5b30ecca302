"""Arguments of the wrong kind are refused on entry, in one line, by every public function alike.

What a function is given is held against its own annotations before it runs; `fit` is that
comparison for one value, and `wording` says what was needed, what came instead and what to do.

>>> patch_sweep(model, "months")
TypeError: patch_sweep: task must be a Task, got the str 'months'; load_task('months', model)
makes one.
"""

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_origin, get_type_hints

from lensdepth.arguments.fit import MISFIT, alternatives, fit, words
from lensdepth.arguments.names import renamed as renamed
from lensdepth.arguments.names import say_arrays_go as say_arrays_go
from lensdepth.arguments.names import say_moved as say_moved
from lensdepth.arguments.wording import LONGEST_VALUE, came, hint, member_kinds, misfits, needed
from lensdepth.outside import shown
from lensdepth.provenance import LARGEST_SEED

F = TypeVar("F", bound=Callable[..., Any])

LEAST = {
    "seed": 0,
    "batch_size": 1,
    "n_resamples": 1,
    "n_permutations": 1,
    "n_steps": 1,
    "k": 1,
    "control_pairs": 1,
    "n_tests": 1,
    "n_layers": 1,
    "n_heads": 1,
    "batch_tokens": 1,
}
"""Smallest value of whole numbers that mean the same wherever they are asked for, by name."""
MOST = {"seed": LARGEST_SEED}


class Parameter(NamedTuple):
    """What one parameter of a function takes."""

    name: str
    kind: Any
    """Its annotation."""
    is_positional: bool
    """Whether it may go without its name."""
    is_rest: bool
    """Whether it takes all further values: each of them is of this kind."""


def checked(thing: F) -> F:
    """A function that holds what it is given against its annotations before it runs.

    Of a class, every public method of its own is. Annotations are read at the first call. What
    Python itself refuses (an argument too many, none where one is needed) is left to Python.

    Raises:
        TypeError: when called: an argument is of another kind than its annotation says.
        ValueError: when called: a word or number that is not among the legal ones.
    """
    if not isinstance(thing, type):
        return _checked(thing)  # type: ignore[return-value]
    for name, member in list(vars(thing).items()):
        if name.startswith("_"):
            continue
        if isinstance(member, classmethod):
            setattr(thing, name, classmethod(_checked(member.__func__)))
        elif inspect.isfunction(member):
            setattr(thing, name, _checked(member))
    return thing  # type: ignore[return-value]


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    parameters = functools.cache(lambda: _parameters(function))

    @functools.wraps(function)
    def entered(*args: Any, **kwargs: Any) -> Any:
        known = parameters()
        by_place = dict(zip((one.name for one in known if one.is_positional), args, strict=False))
        given = by_place | kwargs
        taken = {
            one.name: _taken(function, known, one, given) for one in known if one.name in given
        }
        places = [taken[name] for name in by_place]
        for one in known[len(by_place) : len(by_place) + 1]:
            if one.is_rest:
                rest = args[len(by_place) :]
                places += [_taken(function, known, one, given | {one.name: x}) for x in rest]
        # One too many is left for Python to refuse.
        places += args[len(places) :]
        named = {name: taken.get(name, value) for name, value in kwargs.items()}
        return function(*places, **named)

    return entered


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    space = inspect.unwrap(function).__globals__
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = Any
        if parameter.annotation is not parameter.empty:
            holder = types.SimpleNamespace(__annotations__={name: parameter.annotation})
            try:
                kind = get_type_hints(holder, globalns=space)[name]
            except NameError:
                kind = Any  # known to type checkers alone
        by_place = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        found.append(
            Parameter(
                name, kind, parameter.kind in by_place, parameter.kind == parameter.VAR_POSITIONAL
            )
        )
    return found


def _taken(
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    parameter: Parameter,
    given: Mapping[str, Any],
) -> Any:
    """One argument as its annotation asks for it."""
    value = fit(given[parameter.name], parameter.kind)
    if value is MISFIT:
        raise _refusal(function, parameters, parameter, given)
    name = parameter.name
    if name in LEAST and isinstance(value, int):
        least, most = LEAST[name], MOST.get(name, value)
        if not least <= value <= most:
            bound = f"least {least}" if value < least else f"most {most}"
            got = came(value) if value.bit_length() > 1000 else shown(value)
            raise ValueError(f"{called(function)}: {name} must be at {bound}, got {got}.")
    return value


def _refusal(
    function: Callable[..., Any],
    parameters: Sequence[Parameter],
    parameter: Parameter,
    given: Mapping[str, Any],
) -> Exception:
    """The one line for an argument that does not fit."""
    name, kind, value = parameter.name, parameter.kind, given[parameter.name]
    legal = words(kind)
    if isinstance(value, str) and legal:
        alone = all(get_origin(part) is Literal for part in alternatives(kind))
        wanted = f"one of {', '.join(legal)}" if alone else needed(kind)
        got = shown(value, LONGEST_VALUE)
        return ValueError(f"{called(function)}: {name} must be {wanted}, got {got}.")
    inner = [word for each in member_kinds(kind) for word in words(each)]
    if inner and isinstance(value, list | tuple):
        unknown = [one for one in misfits(value, kind) if isinstance(one, str)]
        if unknown:
            known = ", ".join(dict.fromkeys(inner))
            got = shown(unknown[0], LONGEST_VALUE)
            return ValueError(f"{called(function)}: {name} must be some of {known}, got {got}.")
    advice = hint(kind, value)
    for other in parameters:
        if (
            other.name in given
            and other.name != name
            and other.kind is not Any
            and fit(given[other.name], other.kind) is MISFIT
            and fit(value, other.kind) is not MISFIT
            and fit(given[other.name], kind) is not MISFIT
        ):
            order = ", ".join(one.name for one in parameters if one.is_positional)
            advice = f"; {name} and {other.name} are swapped: {function.__name__}({order})"
            break
    return TypeError(
        f"{called(function)}: {name} must be {needed(kind)}, got {came(value, kind)}{advice}."
    )


def option_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of all that a checked function takes."""
    return tuple(one.name for one in _parameters(function))


def option_faults(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with some options of a checked function before it is called, by name."""
    known = {one.name: one for one in _parameters(function)}
    found = {}
    for name in given.keys() & known.keys():
        try:
            _taken(function, list(known.values()), known[name], given)
        except (TypeError, ValueError) as error:
            found[name] = str(error)
    return found


def called(function: Callable[..., Any]) -> str:
    """What a function is called in messages: `patch_sweep`, `Task.select`, `DepthModel`."""
    return function.__qualname__.removesuffix(".__init__")
