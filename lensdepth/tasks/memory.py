"""Pairs and prompts that stand in memory: lists of dicts and `Pair`, DataFrames, datasets.Dataset.

Columns, checks and errors are those of prompt files. Errors name rows by their place, counted from
0 as Python does: row 3 is `pairs[3]`, `frame.iloc[3]` or `dataset[3]`.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd
import pyarrow as pa
from typing_extensions import Protocol, runtime_checkable

from lensdepth.arguments.wording import came
from lensdepth.outside import outside, shown
from lensdepth.tasks.columns import OWN
from lensdepth.tasks.records import Records, record_of, records_of_columns, rows_of
from lensdepth.tasks.rows import Pair, Row

NAME = "pairs in memory"
"""What a task is called that is made of them."""


@runtime_checkable
class Table(Protocol):
    """What of a table of another library is asked for: datasets.Dataset, or one of Arrow."""

    def to_pandas(self) -> Any: ...


# Bare, so that a row that is none is refused by its number and not with the whole list.
InMemory = list | tuple | pd.DataFrame | Table
"""A list of dicts and `Pair`, or a table."""


def rows_in_memory(given: InMemory) -> list[Row]:
    """The rows of what is given in memory.

    Raises:
        TypeError: a row is neither dict nor `Pair`.
        ValueError: columns are missing, there are no rows, a cell is empty or no text, or a data
            set is streamed; the message names row and column.
    """
    if isinstance(given, tuple) and given and all(isinstance(row, Row) for row in given):
        return list(given)  # read of a file before; errors name their lines
    if isinstance(given, list | tuple):
        source = "load_task: the list of pairs"
        return rows_of(
            [(f"row {i}", _record(row, i, source)) for i, row in enumerate(given)], source
        )
    if isinstance(given, pd.DataFrame):
        return rows_of(_frame_records(given), "load_task: the DataFrame")
    return rows_of(_table_records(given), _source(given))


def pair_record(pair: Pair, place: str) -> dict[str, Any]:
    """A pair as a row of a table; what it leaves open is not there."""
    own = {f.name: getattr(pair, f.name) for f in fields(pair) if f.name != "labels"}
    labels = record_of(pair.labels, place)
    clash = sorted(OWN & labels.keys())
    if clash:
        raise ValueError(
            f"{place}: a label is called {shown(clash[0])}, as a column is; give it another name."
        )
    return {name: value for name, value in own.items() if value is not None} | labels


def _record(row: Any, i: int, source: str) -> dict[str, Any]:
    if isinstance(row, Pair):
        return pair_record(row, f"{source}, row {i}")
    if isinstance(row, Mapping):
        return record_of(row, f"{source}, row {i}")
    hint = "; a prompt alone is {'prompt': ...}" if isinstance(row, str) else ""
    raise TypeError(f"{source}, row {i}: needed a dict or a Pair, got {came(row)}{hint}.")


def _frame_records(frame: pd.DataFrame) -> Records:
    source = "load_task: the DataFrame"
    counted = frame.index.equals(pd.RangeIndex(len(frame)))
    with outside(f"{source} cannot be read"):
        columns = [(name, frame.iloc[:, i].tolist()) for i, name in enumerate(frame.columns)]
        # An index that has a name is a column; others only count.
        columns += [
            (name, frame.index.get_level_values(i).tolist())
            for i, name in enumerate(frame.index.names)
            if name is not None
        ]
        index = frame.index.tolist()

    def where(i: int) -> str:
        return f"row {i}" if counted else f"row {i} (index {shown(index[i], 40)})"

    return records_of_columns([(str(name), cells) for name, cells in columns], source, where=where)


def _table_records(table: Table) -> Records:
    source = _source(table)
    if not hasattr(table, "__len__"):
        raise ValueError(
            f"{source} is streamed and has no end that is known; give its first rows, "
            f"list(dataset.take(200)), or Dataset.from_list of them."
        )
    whole: Any = table
    with outside(f"{source} cannot be read as a table"):
        if hasattr(whole, "__arrow_c_stream__"):
            arrow = pa.table(whole)
            columns = [(key, arrow[i].to_pylist()) for i, key in enumerate(arrow.column_names)]
        elif type(whole).__module__.startswith("datasets."):
            columns = [(str(key), cells) for key, cells in whole.to_dict().items()]
        else:
            columns, whole = [], whole.to_pandas()
    if isinstance(whole, pd.DataFrame):
        return _frame_records(whole)
    return records_of_columns(columns, source, where=lambda i: f"row {i}")


def _source(table: Table) -> str:
    return f"load_task: the {type(table).__name__}"
