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
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from lensdepth.arguments import checked
from lensdepth.claims.hypothesis import (
    EDITS_OF,
    METRIC_NAMES,
    Condition,
    Hypothesis,
    InterventionKind,
    check_choice,
)
from lensdepth.claims.verdict import Expectation
from lensdepth.outside import cut, outside, shown, visible
from lensdepth.site import Stream
from lensdepth.sweep.choices import Scope
from lensdepth.sweep.roles import POSITION_NAMES

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
    if not os.path.isfile(file):  # which says no to names too long, and to pipes
        raise FileNotFoundError(f"hypotheses: there is no file {shown(file)}.")
    with outside(f"{_name(file)}: not a text in UTF-8"):
        text = file.read_bytes().decode("utf-8")  # TOML has no line that a lone "\r" ends
    with outside(f"{_name(file)}: no valid TOML"):
        read = tomllib.loads(text)
    lines = _lines(text)
    for key in read:
        if key != "hypothesis":
            raise ValueError(
                f"{_at(file, lines, key, (0, len(lines)))}: unknown key {shown(key)}; a file holds "
                f"[[hypothesis]] tables alone."
            )
    tables = read.get("hypothesis", [])
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{_name(file)}: there is no [[hypothesis]] table in it.")
    starts = [i for i, line in enumerate(lines) if HEADER.match(line)]
    starts = starts if len(starts) == len(tables) else [0] * len(tables)
    ends = [*starts[1:], len(lines)]
    found: list[Hypothesis] = []
    for table, start, end in zip(tables, starts, ends, strict=True):
        one = _hypothesis(file, lines, (start, max(end, start + 1)), table)
        if one.name in {other.name for other in found}:
            place = _at(file, lines, "name", (start, end))
            raise ValueError(f"{place}: there are two hypotheses named {shown(one.name)}.")
        found.append(one)
    return found


def line_of(path: str | Path, name: str, key: str = "name") -> str:
    """`FILE, line N` of a key of a hypothesis, for errors that come later."""
    file = Path(path)
    with outside(f"{_name(file)}: cannot be read again"):
        lines = _lines(file.read_bytes().decode("utf-8"))
    starts = [i for i, line in enumerate(lines) if HEADER.match(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        with outside(f"{_name(file)}, line {start + 1}: no valid TOML"):
            block = tomllib.loads("\n".join(lines[start:end]))
        if block["hypothesis"][0].get("name") == name:
            return _at(file, lines, key, (start, end))
    return _name(file)


def _hypothesis(file: Path, lines: list[str], block: tuple[int, int], table: Any) -> Hypothesis:
    def place(key: str) -> str:
        return _at(file, lines, key, block)

    if not isinstance(table, Mapping):
        raise ValueError(
            f"{place('')}: a hypothesis must be a table under [[hypothesis]], got {shown(table)}."
        )
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
            raise ValueError(f"{place(key)}: {key} must be {wanted}, got {shown(values[key])}.")
    for key, known in (("metric", METRIC_NAMES), ("expect", get_args(Expectation))):
        if key in values:
            _choose(key, values[key], known, place(key))
    if "by" in values:
        with outside(f"{place('by')}: by must be a number"):
            values["by"] = float(values["by"])
    if isinstance(values.get("depths"), list):
        values["depths"] = tuple(values["depths"])
    depths = values.get("depths", "all")
    numbers = depths if isinstance(depths, tuple) else () if isinstance(depths, str) else (depths,)
    if any(isinstance(one, bool) or not isinstance(one, int) for one in numbers):
        raise ValueError(
            f"{place('depths')}: depths must be a number, several or a text, got {shown(depths)}."
        )
    try:
        return Hypothesis(**values)
    except (TypeError, ValueError) as error:
        words = str(error).split(" ", 1)[0].rstrip(":,")
        raise ValueError(f"{place(words)}: {error}") from error


def _condition(table: Any, key: str, place: Any) -> Condition:
    if not isinstance(table, dict):
        raise ValueError(
            f"{place(key)}: {key} must be a table such as "
            f'{{ intervention = "ablate", edit = "norm" }}, got {shown(table)}.'
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
        "intervention": get_args(InterventionKind), "scope": get_args(Scope),
        "stream": get_args(Stream), "position": POSITION_NAMES,
    }  # fmt: skip
    for name, choices in known.items():
        if name in values:
            _choose(f"{key}: {name}", values[name], choices, place(key))
    if "edit" in values:
        kind = values["intervention"]
        _choose(f"{key}: edit of {kind}", values["edit"], EDITS_OF[kind], place(key))
    if "where" in values:
        if not isinstance(values["where"], dict) or not values["where"]:
            raise ValueError(
                f"{place('where')}: where must be a table of labels and values, "
                f"got {shown(values['where'])}."
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
            near = difflib.get_close_matches(cut(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}."
            raise ValueError(f"{place(key)}: unknown key {shown(key)}{hint}")


def _lines(text: str) -> list[str]:
    """Lines as TOML counts them: texts may hold other separators, such as U+2028."""
    return text.replace("\r\n", "\n").split("\n")


def _at(file: Path, lines: list[str], key: str, block: tuple[int, int]) -> str:
    """`FILE, line N`: where a key stands in a block of lines, or where the block begins."""
    wanted = re.compile(rf"(^|[\s{{,.\[]){re.escape(key)}\s*(=|\.|\])") if key else None
    for number in range(*block):
        if wanted is not None and wanted.search(lines[number]):
            return f"{_name(file)}, line {number + 1}"
    return f"{_name(file)}, line {block[0] + 1}"


def _name(file: Path) -> str:
    """A file's name in front of a line, as it can be shown."""
    return cut(visible(file.name))
