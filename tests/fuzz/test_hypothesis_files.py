"""Hypotheses in TOML: what is loaded is what tomllib finds in the same bytes, or it is refused."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.damage import changes, damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth import Condition, Hypothesis, load_hypotheses

FILE: dict[str, Any] = {
    "hypothesis": [
        {
            "name": "direction beats norm",
            "first": {"intervention": "ablate", "edit": "direction"},
            "second": {"intervention": "ablate", "edit": "norm", "scope": "local"},
            "metric": "transferred",
            "depths": ">= 7",
            "expect": "greater",
            "by": 0.2,
        },
        {
            "name": "two",
            "first": {"intervention": "patch", "position": "input", "where": {"beta": 2}},
            "depths": [1, 2],
            "family": "a",
        },
        {
            "name": "three",
            "first": {"intervention": "steer", "position": "input"},
            "depths": "late",
            "expect": "equivalent",
            "by": 1,
        },
    ]
}
NAMES = (
    "name", "first", "second", "metric", "depths", "expect", "by", "family", "intervention", "edit",
    "position", "scope", "stream", "where", "hypothesis", "bye",
)  # fmt: skip
WORDS = (
    "ablate", "patch", "steer", "norm", "direction", "full", "input", "prediction", "suffix", "kl",
    "resid_mid", "attn_out", "success", "less", "equivalent", "<= 3", "2..5", "5..2", "best", ">=",
    ">= 9999999999999999999999", "..", "-1",
)  # fmt: skip


def inline(value: Any) -> str:
    """A value in TOML; None, which it has not, as nothing at all."""
    if isinstance(value, dict):
        parts = (f"{key_of(key)} = {inline(inner)}" for key, inner in value.items())
        return "{ " + ", ".join(parts) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return "" if value is None else json.dumps(value)


def key_of(key: str) -> str:
    return key if re.fullmatch(r"\w+", key, re.ASCII) else json.dumps(key)


def as_toml(whole: Any) -> bytes:
    """A file of hypotheses as people write it, as far as the value is one."""
    if not isinstance(whole, dict):
        return inline(whole).encode()
    lines: list[str] = []
    for key, tables in whole.items():
        if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
            lines.insert(0, f"{key_of(key)} = {inline(tables)}")
            continue
        for one in tables:
            lines.append(f"[[{key_of(key)}]]")
            lines += [f"{key_of(name)} = {inline(value)}" for name, value in one.items()]
    return ("\n".join(lines) + "\n").encode()


GOOD = as_toml(FILE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hypotheses")


def says(one: Hypothesis, table: dict[str, Any]) -> bool:
    """Whether a hypothesis is what a table says, and by default what it does not say."""
    values = dict(table)
    conditions = {key: values.pop(key, None) for key in ("first", "second")}
    defaults = {"metric": "transferred", "depths": "all", "expect": "greater", "by": 0.0}
    expected = {**defaults, "family": "all", **values}
    if isinstance(expected["depths"], list):
        expected["depths"] = tuple(expected["depths"])
    return all(
        type(getattr(one, key)) is type(value) and getattr(one, key) == value
        for key, value in (expected | {"by": float(expected["by"])}).items()
    ) and all(is_condition(getattr(one, key), said) for key, said in conditions.items())


def is_condition(one: Condition | None, said: dict[str, Any] | None) -> bool:
    if one is None or said is None:
        return one is None and said is None
    expected: dict[str, Any] = {
        "edit": "full", "position": "prediction", "scope": "local", "stream": "resid_pre",
        "where": None, **said,
    }  # fmt: skip
    if expected["where"] is not None:
        expected["where"] = {label: str(value) for label, value in expected["where"].items()}
    return all(getattr(one, key) == value for key, value in expected.items())


def check(place: Path, data: bytes) -> None:
    file = place / "mine.toml"
    file.write_bytes(data)
    found = judged(lambda: load_hypotheses(file))
    if isinstance(found, Refused):
        return
    tables = tomllib.loads(data.decode())["hypothesis"]
    assert len(found) == len(tables)
    assert all(map(says, found, tables)), f"{found} is not what stands in {data!r}"


def test_undamaged_it_is_loaded(place: Path) -> None:
    check(place, GOOD)
    assert len(load_hypotheses(place / "mine.toml")) == 3


@given(injuries=wounds(GOOD))
@inputs(few=60, of_20_000=1000)
def test_damaged_bytes(place: Path, injuries: list[Any]) -> None:
    check(place, damaged(GOOD, injuries))


@given(injuries=changes(FILE, (*NAMES, *WORDS)))
@inputs(few=80, of_20_000=900)
def test_other_values(place: Path, injuries: list[Any]) -> None:
    check(place, as_toml(damaged(FILE, injuries)))


SPOTS = [found.span(1) for found in re.finditer(rb"= ([^\n,}]+)", GOOD)]
LITERALS = (
    *(json.dumps(word) for word in WORDS), "nan", "-inf", "1e400", "9" * 5000, "0x1f", "1_000",
    "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[]", "{}", "[1, 'a']", "[[1]]", "[1, 1]",
    "[true]", "[-1]", "[0, 1.0]", "{ a = { b = 1 } }", "'''\nx'''", '"\\u0000"', "'x' # y",
    "true", "1\n[[hypothesis]]", "1\nname = 'x'", "1\n[hypothesis.first]", "[" * 2000,
)  # fmt: skip


@given(spot=st.sampled_from(SPOTS), literal=st.sampled_from(LITERALS) | st.text(max_size=6))
@inputs(few=60, of_20_000=600)
def test_other_literals(place: Path, spot: tuple[int, int], literal: str) -> None:
    begin, end = spot
    check(place, GOOD[:begin] + literal.encode(errors="replace") + GOOD[end:])
