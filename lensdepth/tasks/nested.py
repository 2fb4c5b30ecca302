"""JSON files in which the rows stand inside one object: a list under some name, or columns."""

import json
from collections.abc import Mapping
from typing import Any

from lensdepth.outside import cut, shown, visible
from lensdepth.tasks.columns import lacking, our_names
from lensdepth.tasks.records import Records, record_of, records_of_columns


def nested_records(text: str, source: str) -> Records | None:
    """The rows in the one object that a text is; None where each of its lines is a row.

    `{"prompts": [{...}, ...]}`, columns as pandas writes them, and one row over several lines.

    Raises:
        ValueError: there are several lists of rows, or columns of different lengths.
    """
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    known = not lacking(our_names([key.strip() for key in value]))
    cells = {key: _cells(column) for key, column in value.items()}
    if known and all(column is not None for column in cells.values()):
        if len({len(column or ()) for column in cells.values()}) > 1:
            sizes = ", ".join(f"{key}: {len(column or ())}" for key, column in cells.items())
            raise ValueError(
                f"{source}: its columns differ in length ({cut(visible(sizes), 200)})."
            )
        return records_of_columns([(key, column or []) for key, column in cells.items()], source)
    lists = [
        key
        for key, rows in value.items()
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)
    ]
    if known or not lists:
        one_line = len(text.strip().splitlines()) == 1
        return None if one_line else [("item 1", record_of(value, f"{source}, item 1"))]
    if len(lists) > 1:
        raise ValueError(
            f"{source} is one object with {len(lists)} lists of rows "
            f"({cut(visible(', '.join(lists)), 200)}); write the one that is meant as a file."
        )
    of = f"of {shown(lists[0])}"
    return [
        (f"item {i} {of}", record_of(row, f"{source}, item {i} {of}"))
        for i, row in enumerate(value[lists[0]], start=1)
    ]


def _cells(column: Any) -> list[Any] | None:
    """The cells of a column as pandas writes it: a list, or an object from row to cell."""
    if isinstance(column, Mapping):
        return list(column.values())
    return column if isinstance(column, list) else None
