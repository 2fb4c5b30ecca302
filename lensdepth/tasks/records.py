"""Records, the rows of a table: from wherever they come, one set of checks makes a task of them.

What stands in files is read by `files`, what stands in memory by `memory`; from here on they are
one: the same columns, the same checks, the same errors.
"""

import json
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from lensdepth.arguments.wording import came
from lensdepth.outside import outside, shown
from lensdepth.tasks.columns import (
    IDS,
    check_columns,
    check_once,
    label_columns,
    lacking,
    our_names,
    our_record,
    prompt_column,
)
from lensdepth.tasks.rows import Row

log = logging.getLogger(__name__)

LONGEST_CELL = 40
"""Most characters of a cell in a message."""

PLAIN = (str, int, float, bool, type(None))

Records = list[tuple[str, dict[str, Any]]]
"""Each record with the words by which an error names it, such as "line 3"."""
Faults = list[str] | None
"""What takes the errors of all rows; None where the first of them is raised."""


@contextmanager
def said(faults: Faults) -> Iterator[None]:
    """Round what may be wrong with one row: its error is kept, where somebody wants all of them."""
    try:
        yield
    except ValueError as error:
        if faults is None:
            raise
        faults.append(str(error))


def record_of(given: Mapping[Any, Any], place: str) -> dict[str, Any]:
    """A record with its columns' names bare of spaces around them."""
    names = [str(key).strip() for key in given]
    twice, times = Counter(names).most_common(1)[0] if names else ("", 1)
    if times > 1:
        raise ValueError(f"{place}: the key {shown(twice)} stands there twice.")
    return dict(zip(names, given.values(), strict=True))


def records_of_columns(
    columns: Sequence[tuple[str, Sequence[Any]]],
    source: str,
    *,
    where: Callable[[int], str] = lambda i: f"row {i + 1}",
) -> Records:
    """Records of a table that is given column by column.

    Args:
        columns: names and cells.
        source: how errors name the table.
        where: how they name its rows, of which the first is 0.
    """
    names = [name.strip() for name, _ in columns]
    check_once(names, source)
    check_columns(our_names(names), source)
    rows = zip(*(cells for _, cells in columns), strict=True)
    return [(where(i), dict(zip(names, row, strict=True))) for i, row in enumerate(rows)]


def rows_of(records: Records, source: str, *, faults: Faults = None) -> list[Row]:
    """The rows of a task, once every cell that it needs is there and of the right kind.

    Args:
        records: all of pairs, or all of plain prompts.
        source: how errors name where they come from, such as "prompt file 'pairs.csv'".
        faults: takes what is wrong with each row, in place of an error over the first.
    Raises:
        ValueError: there are none, columns are missing, a cell is empty or no text, or holds half
            of a character; the message names source, row and column.
    """
    if not records:
        raise ValueError(f"{source} has no rows.")
    records = [(where, {k: _plain(v) for k, v in record.items()}) for where, record in records]
    for where, record in records:
        with said(faults):
            _check_unicode(record, f"{source}, {where}")
    columns = _columns(records)
    if lacking(columns):
        records = [(where, our_record(record)) for where, record in records]
        columns = _columns(records)
    nested = [key for key, value in records[0][1].items() if isinstance(value, Mapping)]
    check_columns(columns, source, nested=nested)
    prompts = prompt_column(columns)
    labels = label_columns(columns)
    if prompts is not None and (answers := [c for c in ("target", "foil") if c in labels]):
        log.warning(
            "%s: one prompt a row with its answer, read as plain prompts that have %s for labels; "
            "pairs have a second prompt, which foil answers: clean, corrupted, target, foil.",
            source,
            " and ".join(answers),
        )
    rows = []
    for where, record in records:
        with said(faults):
            rows.append(_row(record, source, where, prompts, labels))
    return rows


def _columns(records: Records) -> list[str]:
    return list(dict.fromkeys(key for _, record in records for key in record))


def _row(
    record: Mapping[str, Any],
    source: str,
    where: str,
    prompts: str | None,
    labels: Mapping[str, str],
) -> Row:
    place = f"{source}, {where}"
    own = {name: _label(record.get(column), name, place) for column, name in labels.items()}
    if prompts is not None:
        return Row(
            clean=_text(record, prompts, place),
            input=_text_or_none(record, "input", place),
            labels=own,
            where=where,
        )
    clean, corrupted = (_text(record, column, place) for column in ("clean", "corrupted"))
    ids = {column: _token(record, column, place) for column in IDS.values()}
    answers = {
        side: _text(record, side, place)
        if ids[column] is None
        else _text_or_none(record, side, place)
        for side, column in IDS.items()
    }
    return Row(
        clean=clean,
        corrupted=corrupted,
        target=answers["target"],
        foil=answers["foil"],
        input=_text_or_none(record, "input", place),
        corrupted_input=_text_or_none(record, "corrupted_input", place),
        labels=own,
        target_id=ids["target_id"],
        foil_id=ids["foil_id"],
        where=where,
    )


# Cells


def _plain(value: Any) -> Any:
    """A cell as plain Python has it, whichever library it comes from."""
    if type(value) in PLAIN:  # nearly all of them
        return value
    if isinstance(value, np.datetime64 | np.timedelta64):
        value = pd.Series([value])[0]
    if isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0:
        return value.item()
    if isinstance(value, str) and type(value) is not str:
        return str.__str__(value)
    return None if value is pd.NA or value is pd.NaT else value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _check_unicode(record: Mapping[str, Any], place: str) -> None:
    """Refuse halves of UTF-16 pairs, which JSON can hold and no tokenizer takes."""
    for column, value in record.items():
        half = re.search("[\ud800-\udfff]", value) if isinstance(value, str) else None
        if half is not None:
            raise ValueError(
                f"{place}: {shown(column)} holds {half[0]!r}, half of a character, at place "
                f"{half.start() + 1}; write the whole one."
            )


def _text(record: Mapping[str, Any], column: str, place: str) -> str:
    text = _text_or_none(record, column, place)
    if text is None:
        what = "is missing" if column not in record else "is empty"
        raise ValueError(f"{place}: {column} {what}.")
    return text


def _text_or_none(record: Mapping[str, Any], column: str, place: str) -> str | None:
    value = record.get(column)
    if _is_missing(value):
        return None
    if not isinstance(value, str):
        by_id = column in IDS and isinstance(value, int) and not isinstance(value, bool)
        hint = f" Ids of tokens stand in the column {IDS[column]}." if by_id else ""
        raise ValueError(f"{place}: {column} must be text, got {_got(value)}.{hint}")
    # A line break is an answer.
    return value if (value.strip(" ") if column in IDS else value.strip()) else None


def _token(record: Mapping[str, Any], column: str, place: str) -> int | None:
    """A token id; tables write 5.0 in a column of numbers that has gaps."""
    value = record.get(column)
    if _is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.0)?", value.strip()):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError(
        f"{place}: {column} must be the id of a token, a whole number from 0, got {_got(value)}."
    )


def _label(value: Any, name: str, place: str) -> object:
    """Lists and objects become JSON text, so that labels are plain cells of a table."""
    if type(value) in PLAIN:
        return value
    value = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    if isinstance(value, list | tuple | dict):
        with outside(f"{place}: label {shown(name)} cannot be written as JSON"):
            return json.dumps(value, ensure_ascii=False, default=_for_json)
    try:
        hash(value)
    except TypeError as error:
        raise ValueError(
            f"{place}: label {shown(name)} must be a text, a number, a truth value or a date, got "
            f"{came(value)}."
        ) from error
    return value


def _for_json(value: Any) -> Any:
    plain = value.tolist() if isinstance(value, np.ndarray | Tensor) else _plain(value)
    return str(value) if plain is value else plain


def _got(value: Any) -> str:
    short = isinstance(value, str | float | bool | bytes)
    short = short or (isinstance(value, int) and value.bit_length() < 1000)
    return f"{shown(value, LONGEST_CELL)} ({type(value).__name__})" if short else came(value)
