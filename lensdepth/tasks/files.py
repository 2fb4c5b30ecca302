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
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lensdepth.outside import LONGEST_NAME, cut, outside, shown, visible
from lensdepth.tasks.rows import Row

PAIR = ("clean", "corrupted", "target", "foil")
OPTIONAL = ("input", "corrupted_input")
IDS = {"target": "target_id", "foil": "foil_id"}
LINES = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
SUFFIXES = LINES + TABLES + PARQUET
NEEDED = f"the columns {', '.join(PAIR)} (pairs) or prompt (plain prompts)"

MOST_ENTRIES = 1000
"""Entries of a folder among which a mistyped name is looked for."""
_ROWS = re.compile(r"__index_level_\d+__")
"""How pandas calls the column in which it keeps the numbers of rows."""

Records = list[tuple[str, dict[str, Any]]]
"""Each record with the words by which an error names it, such as "line 3"."""


def read_rows(path: str | Path) -> list[Row]:
    """Read a prompt file, a folder of Parquet files, or a Hugging Face dataset ("owner/name").

    Raises:
        FileNotFoundError: there is no such file, with the nearest names in its folder.
        ValueError: it cannot be read as what its name says, lacks columns, is empty, or a cell is
            not text; the message names file, line and column.
    """
    name = shown(str(path))
    file = Path(os.path.expanduser(path))
    # os.path says no where Path raises: names too long, or with a NUL.
    if os.path.isdir(file):
        records = _folder_records(file, name)
    elif os.path.exists(file):
        records = _file_records(file, name)
    elif is_dataset_name(str(path)):
        records = _dataset_records(str(path))
    else:
        raise FileNotFoundError(_missing(file))
    _check_unicode(records, name)
    return _to_rows(records, name)


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
    folder, said = file.parent, f"prompt file {shown(file)}"
    if not os.path.isdir(folder):
        return f"{said}: there is no folder {shown(folder)}."
    with outside(f"{said} does not exist, and its folder cannot be read"):
        names = [entry.name for entry in islice(os.scandir(folder), MOST_ENTRIES)]
    wanted = file.name if len(file.name) <= LONGEST_NAME else ""
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    hint = f" Is it {' or '.join(cut(visible(name)) for name in near)}?" if near else ""
    return f"{said} does not exist.{hint}"


# Reading


def _file_records(file: Path, name: str) -> Records:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"prompt file {name}: the name must end in one of {', '.join(SUFFIXES)}, "
            f"which says how to read it."
        )
    if not os.path.isfile(file):
        raise ValueError(f"prompt file {name} is a pipe or a device; give a file.")
    if suffix in PARQUET:
        return _parquet_records(file, name)
    with outside(f"prompt file {name} cannot be read"):
        data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"prompt file {name} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    if not text.strip():
        raise ValueError(f"prompt file {name} is empty.")
    if suffix in TABLES:
        return _table_records(text, name)
    if suffix == ".json" and text.lstrip().startswith("["):
        return _list_records(text, name)
    return _line_records(text, name)


def _line_records(text: str, name: str) -> Records:
    records = []
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line.strip():
            record = _parse(line, name, number, " Each line is one object.")
            records.append((f"line {number}", _as_record(record, f"{name}, line {number}")))
    return records


def _list_records(text: str, name: str) -> Records:
    return [
        (f"item {i}", _as_record(record, f"{name}, item {i}"))
        for i, record in enumerate(_parse(text, name, 1, ""), start=1)
    ]


def _parse(text: str, name: str, first: int, hint: str) -> Any:
    """The JSON of a text that begins at this line of a file."""
    fault, twice = None, None

    def pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        found = dict(pairs)
        if len(found) < len(pairs):  # JSON would keep the last one
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        return found

    with outside(f"prompt file {name}, line {first}: not JSON", hint=hint.strip()):
        try:
            value = json.loads(text, object_pairs_hook=pairs_once)
        except json.JSONDecodeError as error:
            fault, value = error, None
    if fault is not None:
        raise ValueError(
            f"prompt file {name}, line {first + fault.lineno - 1}: not JSON ({fault.msg}, column "
            f"{fault.colno}).{hint}"
        ) from fault
    if twice is not None:
        raise ValueError(
            f"prompt file {name}, line {first}: the key {shown(twice)} stands there twice."
        )
    return value


def _as_record(record: Any, place: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise ValueError(
            f'prompt file {place}: needed an object such as {{"prompt": "..."}}, got '
            f"{_short(record)}."
        )
    stripped = {key.strip(): value for key, value in record.items()}
    if len(stripped) < len(record):
        twice = Counter(key.strip() for key in record).most_common(1)[0][0]
        raise ValueError(f"prompt file {place}: the key {shown(twice)} stands there twice.")
    return stripped


def _table_records(text: str, name: str) -> Records:
    separator = _delimiter(text, name)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records: Records = []
    header: list[str] = []
    while True:
        where = f"line {reader.line_num + 1}"
        with outside(f"prompt file {name}, {where}: not CSV"):
            cells = next(reader, None)
        if cells is None:
            break
        if not cells or (len(cells) == 1 != len(header) and not cells[0].strip()):
            continue  # a blank line
        if not header:
            header = [cell.strip() for cell in cells]
            _check_once(header, name)
            continue
        if len(cells) != len(header):
            raise ValueError(
                f"prompt file {name}, {where}: {len(cells)} cells, but the header has "
                f"{len(header)}. Put quotation marks round a cell that holds the separator."
            )
        records.append((where, dict(zip(header, cells, strict=True))))
    _check_columns(header, name)
    return _numbers_as_numbers(records, header)


def _check_once(header: list[str], name: str) -> None:
    twice = sorted(c for c, n in Counter(header).items() if n > 1)
    if twice:
        raise ValueError(f"prompt file {name}: the column {shown(twice[0])} stands there twice.")


def _delimiter(text: str, name: str) -> str:
    """The separator under which the header shows the most columns that are known, or just most."""
    header = next(line for line in text.splitlines() if line.strip())

    def columns(separator: str) -> tuple[int, int]:
        with outside(f"prompt file {name}: the header is not CSV"):
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
    with outside(f"prompt file {name} is not a readable Parquet file"):
        import pyarrow.parquet as pq

        # Not by pandas, which makes floats of whole numbers in a column with gaps.
        with pq.ParquetFile(file) as opened:
            table = opened.read()
        columns = [(key, table[i].to_pylist()) for i, key in enumerate(table.column_names)]
    return _column_records([column for column in columns if not _ROWS.fullmatch(column[0])], name)


def _folder_records(folder: Path, name: str) -> Records:
    with outside(f"prompt folder {name} cannot be read"):
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PARQUET and p.is_file())
    if not files:
        raise ValueError(
            f"prompt folder {name} holds no Parquet files; name one file in it instead."
        )
    return [
        (f"{cut(visible(file.name))}, {where}", record)
        for file in files
        for where, record in _parquet_records(file, shown(str(file)))
    ]


def _dataset_records(given: str) -> Records:
    name = shown(given)
    with outside(
        f"{name} is not a file here, and reading it as a Hugging Face data set needs the "
        f"package 'datasets'",
        hint="pip install datasets.",
    ):
        import datasets
    path, _, split = given.partition(":")
    with outside(f"{name} is not a file here, and could not be read as a Hugging Face data set"):
        splits = {str(key): part for key, part in datasets.load_dataset(path).items()}
    split = split or ("train" if "train" in splits else next(iter(splits), ""))
    if split not in splits:
        there = ", ".join(splits) or "none"
        raise ValueError(f"data set {shown(path)} has no split {shown(split)}; it has {there}.")
    with outside(f"the data set {name} cannot be read as a table"):
        read: Any = splits[split].to_dict()  # in one piece, no iterator over several
        columns = [(str(key), list(column)) for key, column in read.items()]
    return _column_records(columns, name)


def _column_records(columns: Sequence[tuple[str, list[Any]]], name: str) -> Records:
    keys = [key.strip() for key, _ in columns]
    _check_once(keys, name)
    _check_columns(keys, name)
    rows = zip(*(column for _, column in columns), strict=True)
    return [(f"row {i}", dict(zip(keys, row, strict=True))) for i, row in enumerate(rows, start=1)]


# Checking


def _check_unicode(records: Records, name: str) -> None:
    """Refuse halves of UTF-16 pairs, which JSON can hold and no tokenizer takes."""
    for where, record in records:
        for column, value in record.items():
            half = re.search("[\ud800-\udfff]", value) if isinstance(value, str) else None
            if half is not None:
                raise ValueError(
                    f"prompt file {name}, {where}: {shown(column)} holds {half[0]!r}, half of a "
                    f"character, at place {half.start() + 1}; write the whole one."
                )


def _check_columns(columns: list[str], name: str) -> None:
    missing = [c for c in PAIR if c not in columns and IDS.get(c) not in columns]
    if "prompt" in columns and not {*PAIR}.intersection(columns):
        return  # whatever else there is, is a label
    if not missing:
        return
    lacks = f" ({', '.join(missing)} missing)" if len(missing) < len(PAIR) else ""
    near = [c for c in columns if c != c.strip().lower() in (*missing, "prompt")]
    hint = f" Write {shown(near[0])} as {near[0].strip().lower()!r}." if near else ""
    if "prompt" in columns:
        hint = " Pairs or plain prompts, not half of each."
    there = cut(visible(", ".join(columns[:20])), 300) + (", ..." if len(columns) > 20 else "")
    raise ValueError(f"prompt file {name} needs {NEEDED}{lacks}; it has {there or 'none'}.{hint}")


def _to_rows(records: Records, name: str) -> list[Row]:
    if not records:
        raise ValueError(f"prompt file {name} has no rows.")
    columns = list(dict.fromkeys(key for _, record in records for key in record))
    _check_columns(columns, name)
    pairs = "clean" in columns
    used = (*PAIR, *IDS.values(), *OPTIONAL) if pairs else ("prompt", "input")
    labels = [column for column in columns if column not in used]
    rows = []
    for where, record in records:
        place = f"prompt file {name}, {where}"
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
    return value is None or (isinstance(value, float) and math.isnan(value))


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
    return cut(repr(value), 40)
