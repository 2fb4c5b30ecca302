"""Arguments of the wrong kind: one readable line, from every public function, before any work."""

import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
from beartype import BeartypeConf
from beartype.door import is_bearable

import lensdepth
from lensdepth import (
    Task,
)

LONGEST = 300
TOWER = BeartypeConf(is_pep484_tower=True)
"""A whole number is a number."""
ROOMS = [
    "ablation",
    "circuit",
    "claims",
    "geometry",
    "intervention",
    "lens",
    "locality",
    "patching",
    "replay",
    "report",
    "steering",
    "tasks",
    "transition",
]


def public_functions() -> Iterator[Callable[..., Any]]:
    """Every function that a user may call: public ones, those of the rooms, and methods."""
    things = [getattr(lensdepth, name) for name in lensdepth.__all__]
    for room in ROOMS:
        module = importlib.import_module(f"lensdepth.{room}")
        things += [getattr(module, name) for name in module.__all__]
    seen: set[int] = set()
    for thing in things:
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if inspect.isclass(thing):
            members = [(name, m) for name, m in vars(thing).items() if not name.startswith("_")]
            plain = [m.__func__ if isinstance(m, classmethod) else m for _, m in members]
            yield from (m for m in plain if inspect.isfunction(m) and parameters(m))
        elif inspect.isfunction(thing) and parameters(thing):
            yield thing


INTERNAL = {"DepthModel.adopt", "DepthModel.check_edit", "DepthModel.embedded",
            "DepthModel.token_text", "DepthModel.warn_once"}  # fmt: skip
"""Take anything, or are called by the library alone, in loops."""


def is_rest(function: Callable[..., Any], name: str) -> bool:
    one = inspect.signature(function).parameters[name]
    return one.kind is one.VAR_POSITIONAL


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """Name and annotation of each parameter that has one."""
    space = inspect.unwrap(function).__globals__
    found = {}
    for name, one in inspect.signature(function).parameters.items():
        if one.annotation is not one.empty and name not in ("self", "cls"):
            holder = types.SimpleNamespace(__annotations__={name: one.annotation})
            try:
                found[name] = get_type_hints(holder, globalns=space)[name]
            except NameError:
                found[name] = Any
    return found


class Stranger:
    """Prints a thousand characters of itself."""

    def __repr__(self) -> str:
        return "stranger\n" * 200


def hugging_face() -> Any:
    """Looks like a Hugging Face model: known by the name of a class it comes from."""
    base = type("PreTrainedModel", (torch.nn.Linear,), {})
    return type("LlamaForCausalLM", (base,), {})(2, 2)


WRONG: dict[str, Callable[[], Any]] = {
    "a stranger": Stranger,
    "a class": lambda: Task,
    "a mock": MagicMock,
    "a table": lambda: pd.DataFrame({"clean": ["a"]}),
    "a generator": lambda: (n for n in (1, 2)),
    "a mapping": lambda: {1: Stranger()},
    "nested lists": lambda: [[[Stranger()]]],
    "a list of strangers": lambda: [Stranger()],
    "objects": lambda: np.array([Stranger()], dtype=object),
    "a complex number": lambda: 1j,
    "a tensor of four axes": lambda: torch.zeros(1, 1, 1, 1),
    "bytes": lambda: b"months",
    "nothing": lambda: None,
    "text": lambda: "line\nbreak" * 40,
    "a number": lambda: 3,
    "a fraction": lambda: 1.5,
    "truth": lambda: True,
    "a Hugging Face model": hugging_face,
}
FUNCTIONS = [f for f in public_functions() if f.__qualname__ not in INTERNAL]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__qualname__)
def test_every_public_function_refuses_what_its_annotations_do(
    function: Callable[..., Any],
) -> None:
    # beartype says independently what fits. Nothing else is given: arguments that are needed are
    # missing too, so that nothing runs where a wrong one is not refused.
    called = function.__qualname__.removesuffix(".__init__")
    for name, kind in parameters(function).items():
        for what, make in WRONG.items():
            wrong = make()
            text_among_names = isinstance(wrong, str) and "Sequence[str" in str(kind)
            if kind is Any or is_bearable(wrong, kind, conf=TOWER) or text_among_names:
                continue
            with pytest.raises((TypeError, ValueError)) as caught:
                function(wrong) if is_rest(function, name) else function(**{name: wrong})
            line = str(caught.value)
            assert line.startswith(f"{called}: {name} must be "), f"{what}: {line}"
            assert "\n" not in line, what
            assert len(line) < LONGEST, f"{what}: {line}"
            assert "stranger" not in line
