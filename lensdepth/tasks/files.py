"""Prompt files: pairs or plain prompts from JSONL, CSV, Parquet or a Hugging Face dataset.

Columns `clean, corrupted, target, foil`, optionally `input, corrupted_input`, or else one column
`prompt`; every other column is a label. Answers may be token ids too, in `target_id, foil_id`, with
or without their texts. Errors count lines as an editor does, from 1.
"""

import csv
import difflib
import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lensdepth.tasks.rows import Row

PAIR = ("clean", "corrupted", "target", "foil")
OPTIONAL = ("input", "corrupted_input")
IDS = {"target": "target_id", "foil": "foil_id"}
LINES = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
SUFFIXES = LINES + TABLES + PARQUET
NEEDED = f"the columns {', '.join(PAIR)} (pairs) or prompt (plain prompts)"

Records = list[tuple[str, dict[str, Any]]]
"""Each record with the words by which an error names it, such as "line 3"."""


def read_rows(path: str | Path) -> list[Row]:
    """Read a prompt file, a folder of Parquet files, or a Hugging Face dataset ("owner/name").

    Raises:
        FileNotFoundError: there is no such file, with the nearest names in its folder.
        ValueError: it cannot be read as what its name says, lacks columns, is empty, or a cell is
            not text; the message names file, line and column.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        records = _folder_records(file)
    elif file.exists():
        records = _file_records(file)
    elif is_dataset_name(str(path)):
        records = _dataset_records(str(path))
    else:
        raise FileNotFoundError(_missing(file))
    return _to_rows(records, str(path))


def looks_like_path(name: str) -> bool:
    """Whether a name is meant as a file or data set rather than a task."""
    return (
        Path(name).suffix.lower() in SUFFIXES
        or any(c in name for c in "/\\~")
        or os.path.exists(name)  # and not Path.exists, which fails on very long names
    )


def is_dataset_name(name: str) -> bool:
    """Whether a name has the form "owner/name" or "owner/name:split" of a Hugging Face data set."""
    found = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:\w+)?", name)
    return found is not None and Path(name).suffix.lower() not in SUFFIXES


def _missing(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f"prompt file {str(file)!r}: there is no folder {str(folder)!r}."
    names = [p.name for p in folder.iterdir()]
    near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.6)
    hint = f" Is it {' or '.join(near)}?" if near else ""
    return f"prompt file {str(file)!r} does not exist.{hint}"


# Reading


def _file_records(file: Path) -> Records:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"prompt file {str(file)!r}: the name must end in one of {', '.join(SUFFIXES)}, "
            f"which says how to read it."
        )
    if suffix in PARQUET:
        return _parquet_records(file, str(file))
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"prompt file {str(file)!r} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    if not text.strip():
        raise ValueError(f"prompt file {str(file)!r} is empty.")
    if suffix in TABLES:
        return _table_records(text, str(file))
    if suffix == ".json" and text.lstrip().startswith("["):
        return _list_records(text, str(file))
    return _line_records(text, str(file))


def _line_records(text: str, name: str) -> Records:
    records = []
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"prompt file {name!r}, line {number}: not JSON ({error.msg}, column "
                f"{error.colno}). Each line is one object."
            ) from error
        records.append((f"line {number}", _as_record(record, f"{name!r}, line {number}")))
    return records


def _list_records(text: str, name: str) -> Records:
    try:
        listed = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"prompt file {name!r}, line {error.lineno}: not JSON ({error.msg})."
        ) from error
    return [
        (f"item {i}", _as_record(record, f"{name!r}, item {i}"))
        for i, record in enumerate(listed, start=1)
    ]


def _as_record(record: Any, place: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ValueError(
            f'prompt file {place}: needed an object such as {{"prompt": "..."}}, got '
            f"{_short(record)}."
        )
    return {key.strip(): value for key, value in record.items()}


def _table_records(text: str, name: str) -> Records:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    records: Records = []
    header: list[str] = []
    number = 1
    try:
        for cells in reader:
            where, number = f"line {number}", reader.line_num + 1
            if not cells or (len(cells) == 1 != len(header) and not cells[0].strip()):
                continue  # a blank line
            if not header:
                header = [cell.strip() for cell in cells]
                twice = sorted({c for c in header if header.count(c) > 1})
                if twice:
                    raise ValueError(
                        f"prompt file {name!r}: the column {twice[0]!r} stands there twice."
                    )
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"prompt file {name!r}, {where}: {len(cells)} cells, but the header has "
                    f"{len(header)}. Put quotation marks round a cell that holds the separator."
                )
            records.append((where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise ValueError(
            f"prompt file {name!r}, line {max(reader.line_num, 1)}: not CSV ({error})."
        ) from error
    _check_columns(header, name)
    return _numbers_as_numbers(records, header)


def _delimiter(text: str) -> str:
    """The separator under which the header shows the most columns that are known, or just most."""
    header = next(line for line in text.splitlines() if line.strip())

    def columns(separator: str) -> tuple[int, int]:
        cells = [c.strip() for c in next(csv.reader([header], delimiter=separator))]
        return sum(c in (*PAIR, *OPTIONAL, *IDS.values(), "prompt") for c in cells), len(cells)

    return max(",;\t|", key=columns)


def _numbers_as_numbers(records: Records, header: list[str]) -> Records:
    """Label columns that hold nothing but plain whole numbers become numbers."""
    whole = re.compile(r"0|-?[1-9]\d{0,15}")
    ids = IDS.values() if "clean" in header else ()
    for column in set(header) - {*PAIR, *ids, *OPTIONAL, "prompt"}:
        if all(whole.fullmatch(record[column]) for _, record in records):
            for _, record in records:
                record[column] = int(record[column])
    return records


def _parquet_records(file: Path, name: str) -> Records:
    try:
        frame = pd.read_parquet(file)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"prompt file {name!r} is not a readable Parquet file ({_first_line(error)})."
        ) from error
    return _frame_records(frame, name)


def _folder_records(folder: Path) -> Records:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PARQUET and p.is_file())
    if not files:
        raise ValueError(
            f"prompt folder {str(folder)!r} holds no Parquet files; name one file in it instead."
        )
    return [
        (f"{file.name}, {where}", record)
        for file in files
        for where, record in _parquet_records(file, str(file))
    ]


def _dataset_records(name: str) -> Records:
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise ValueError(
            f"{name!r} is not a file here, and reading it as a Hugging Face data set needs the "
            f"package 'datasets' (pip install datasets)."
        ) from error
    path, _, split = name.partition(":")
    try:
        found = datasets.load_dataset(path)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise ValueError(
            f"{name!r} is not a file here, and could not be read as a Hugging Face data set: "
            f"{_first_line(error)}"
        ) from error
    splits = {str(key): part for key, part in found.items()}
    split = split or ("train" if "train" in splits else next(iter(splits)))
    if split not in splits:
        raise ValueError(f"data set {path!r} has no split {split!r}; it has {', '.join(splits)}.")
    return _frame_records(pd.DataFrame(splits[split].to_dict()), name)


def _frame_records(frame: pd.DataFrame, name: str) -> Records:
    frame = frame.rename(columns=str)
    _check_columns(list(frame.columns), name)
    listed: Iterable[Mapping[Any, Any]] = frame.to_dict("records")
    return [(f"row {i}", _plain(record)) for i, record in enumerate(listed, start=1)]


def _plain(record: Mapping[Any, Any]) -> dict[str, Any]:
    """NumPy scalars and arrays as Python's own."""
    return {
        str(key): value.tolist() if hasattr(value, "tolist") else value
        for key, value in record.items()
    }


# Checking


def _check_columns(columns: list[str], name: str) -> None:
    missing = [c for c in PAIR if c not in columns and IDS.get(c) not in columns]
    if "prompt" in columns and not {*PAIR}.intersection(columns):
        return  # whatever else there is, is a label
    if not missing:
        return
    lacks = f" ({', '.join(missing)} missing)" if len(missing) < len(PAIR) else ""
    near = [c for c in columns if c != c.strip().lower() in (*missing, "prompt")]
    hint = f" Write {near[0]!r} as {near[0].strip().lower()!r}." if near else ""
    if "prompt" in columns:
        hint = " Pairs or plain prompts, not half of each."
    there = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    raise ValueError(f"prompt file {name!r} needs {NEEDED}{lacks}; it has {there or 'none'}.{hint}")


def _to_rows(records: Records, name: str) -> list[Row]:
    if not records:
        raise ValueError(f"prompt file {name!r} has no rows.")
    columns = list(dict.fromkeys(key for _, record in records for key in record))
    _check_columns(columns, name)
    pairs = "clean" in columns
    used = (*PAIR, *IDS.values(), *OPTIONAL) if pairs else ("prompt", "input")
    labels = [column for column in columns if column not in used]
    rows = []
    for where, record in records:
        place = f"prompt file {name!r}, {where}"
        ids = {c: _token(record, c, place) for c in IDS.values() if pairs}
        texts = {
            c: _text(record, c, place, optional=ids.get(IDS.get(c, "")) is not None)
            for c in (PAIR if pairs else ("prompt",))
        }
        parts = {c: _text(record, c, place, optional=True) for c in used if c in OPTIONAL}
        rows.append(
            Row(
                clean=texts["clean" if pairs else "prompt"] or "",
                corrupted=texts.get("corrupted"),
                target=texts.get("target"),
                foil=texts.get("foil"),
                input=parts.get("input"),
                corrupted_input=parts.get("corrupted_input"),
                target_id=ids.get("target_id"),
                foil_id=ids.get("foil_id"),
                labels={column: _label(record.get(column)) for column in labels},
                where=where,
            )
        )
    return rows


def _text(
    record: Mapping[str, Any], column: str, place: str, *, optional: bool = False
) -> str | None:
    value = record.get(column)
    if _is_missing(value):
        if optional:
            return None
        what = "is missing" if column not in record else "is empty"
        raise ValueError(f"{place}: {column} {what}.")
    if not isinstance(value, str):
        raise ValueError(
            f"{place}: {column} must be text, got {_short(value)} ({type(value).__name__})."
        )
    # A line break is an answer.
    if not (value.strip(" ") if column in IDS else value.strip()):
        if optional:
            return None
        raise ValueError(f"{place}: {column} is empty.")
    return value


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


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
        f"{place}: {column} must be the id of a token, a whole number from 0, got {_short(value)}."
    )


def _label(value: Any) -> object:
    """Lists and objects become JSON text, so that labels are plain cells of a table."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
