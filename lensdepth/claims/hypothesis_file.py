"""Hypotheses from a TOML file; whatever is wrong in it is named with its line.

[[hypothesis]]
name = "direction beats norm"
first = { intervention = "ablate", edit = "direction" }
second = { intervention = "ablate", edit = "norm" }
metric = "transferred"
depths = ">= 7"
expect = "greater"
by = 0.2
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from lensdepth.arguments import checked
from lensdepth.claims.hypothesis import (
    Condition,
    Hypothesis,
    Intervention,
    Metric,
    check_choice,
)
from lensdepth.claims.verdict import Expectation
from lensdepth.hooks import Stream
from lensdepth.roles import POSITION_NAMES, Scope

HEADER = re.compile(r"^\s*\[\[\s*hypothesis\s*\]\]")


@checked
def load_hypotheses(path: str | Path) -> list[Hypothesis]:
    """Read and check a file of hypotheses; nothing is run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no TOML, an unknown key, a value that cannot be, or two of one name; with the
            line.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"hypotheses: there is no file {str(file)!r}.")
    try:
        text = file.read_text(encoding="utf-8")
        read = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name}: not a text in UTF-8 ({error.reason}).") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file.name}: no valid TOML: {error}.") from error
    lines = text.splitlines()
    for key in read:
        if key != "hypothesis":
            raise ValueError(
                f"{_at(file, lines, key, (0, len(lines)))}: unknown key {key!r}; a file holds "
                f"[[hypothesis]] tables alone."
            )
    tables = read.get("hypothesis", [])
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{file.name}: there is no [[hypothesis]] table in it.")
    starts = [i for i, line in enumerate(lines) if HEADER.match(line)]
    starts = starts if len(starts) == len(tables) else [0] * len(tables)
    ends = [*starts[1:], len(lines)]
    found: list[Hypothesis] = []
    for table, start, end in zip(tables, starts, ends, strict=True):
        one = _hypothesis(file, lines, (start, max(end, start + 1)), table)
        if one.name in {other.name for other in found}:
            place = _at(file, lines, "name", (start, end))
            raise ValueError(f"{place}: there are two hypotheses named {one.name!r}.")
        found.append(one)
    return found


def line_of(path: str | Path, name: str, key: str = "name") -> str:
    """`FILE, line N` of a key of a hypothesis, for errors that come later."""
    file = Path(path)
    lines = file.read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if HEADER.match(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        block = "\n".join(lines[start:end])
        if tomllib.loads(block)["hypothesis"][0].get("name") == name:
            return _at(file, lines, key, (start, end))
    return file.name


def _hypothesis(
    file: Path, lines: list[str], block: tuple[int, int], table: Mapping[str, Any]
) -> Hypothesis:
    def place(key: str) -> str:
        return _at(file, lines, key, block)

    _check_keys(table, [f.name for f in fields(Hypothesis)], place)
    for key in ("name", "first"):
        if key not in table:
            raise ValueError(f"{place('')}: {key!r} is missing.")
    values: dict[str, Any] = dict(table)
    for key in ("first", "second"):
        if key in values:
            values[key] = _condition(values[key], key, place)
    for key, kinds in (("name", str), ("family", str), ("by", (int, float))):
        if key in values and (isinstance(values[key], bool) or not isinstance(values[key], kinds)):
            wanted = "a text" if kinds is str else "a number"
            raise ValueError(f"{place(key)}: {key} must be {wanted}, got {values[key]!r}.")
    for key, known in (("metric", get_args(Metric)), ("expect", get_args(Expectation))):
        if key in values:
            _choose(key, values[key], known, place(key))
    if "by" in values:
        values["by"] = float(values["by"])
    if isinstance(values.get("depths"), list):
        values["depths"] = tuple(values["depths"])
    try:
        return Hypothesis(**values)
    except (TypeError, ValueError) as error:
        words = str(error).split(" ", 1)[0].rstrip(":,")
        raise ValueError(f"{place(words)}: {error}") from error


def _condition(table: Any, key: str, place: Any) -> Condition:
    if not isinstance(table, dict):
        raise ValueError(
            f"{place(key)}: {key} must be a table such as "
            f'{{ intervention = "ablate", edit = "norm" }}, got {table!r}.'
        )
    _check_keys(
        table,
        [f.name for f in fields(Condition)],
        lambda name: place(
            name,
        ),
    )
    if "intervention" not in table:
        raise ValueError(f"{place(key)}: {key} has no 'intervention'.")
    values = dict(table)
    known = {
        "intervention": get_args(Intervention), "scope": get_args(Scope),
        "stream": get_args(Stream), "position": POSITION_NAMES,
    }  # fmt: skip
    for name, choices in known.items():
        if name in values:
            _choose(f"{key}: {name}", values[name], choices, place(key))
    if "where" in values:
        if not isinstance(values["where"], dict) or not values["where"]:
            raise ValueError(
                f"{place('where')}: where must be a table of labels and values, "
                f"got {values['where']!r}."
            )
        values["where"] = {label: str(value) for label, value in values["where"].items()}
    try:
        return Condition(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place(key)}: {key}: {error}") from error


def _choose(what: str, given: Any, known: tuple[Any, ...], place: str) -> None:
    try:
        check_choice(what, given, known)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _check_keys(table: Mapping[str, Any], known: Collection[str], place: Any) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}."
            raise ValueError(f"{place(key)}: unknown key {key!r}{hint}")


def _at(file: Path, lines: list[str], key: str, block: tuple[int, int]) -> str:
    """`FILE, line N`: where a key stands in a block of lines, or where the block begins."""
    wanted = re.compile(rf"(^|[\s{{,.\[]){re.escape(key)}\s*(=|\.|\])") if key else None
    for number in range(*block):
        if wanted is not None and wanted.search(lines[number]):
            return f"{file.name}, line {number + 1}"
    return f"{file.name}, line {block[0] + 1}"
