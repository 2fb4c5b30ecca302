"""Prompt files: pairs or plain prompts from JSONL, CSV, Parquet or a Hugging Face dataset.

Columns `clean, corrupted, target, foil`, optionally `input, corrupted_input`, or else one column
`prompt`; every other column is a label. Answers may be token ids too, in `target_id, foil_id`, with
or without their texts. Files of BLiMP, CounterFact, EAP and auto-circuit are read as published; one
prompt a row with its answers is a plain prompt, whose answers are labels.
Errors count lines as an editor does, from 1.
"""

import csv
import difflib
import io
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lensdepth.arguments.wording import came
from lensdepth.outside import LONGEST_NAME, cut, outside, shown, visible
from lensdepth.tasks.columns import (
    IDS,
    OPTIONAL,
    PAIR,
    RENAMED,
    check_columns,
    check_once,
    lacking,
    our_names,
)
from lensdepth.tasks.nested import nested_records
from lensdepth.tasks.records import Faults, Records, record_of, records_of_columns, rows_of, said
from lensdepth.tasks.rows import Row

LINES = (".jsonl", ".ndjson", ".json")
TABLES = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")
SUFFIXES = LINES + TABLES + PARQUET

NEEDS_DATASETS = "pip install 'lensdepth[datasets]'"
"""What brings the package that reads data sets."""
MOST_ENTRIES = 1000
"""Entries of a folder among which a mistyped name is looked for."""
BATCH = 16
"""Rows of a Parquet file of unknown size that are unpacked together."""
_ROWS = re.compile(r"__index_level_\d+__")
"""How pandas calls the column in which it keeps the numbers of rows."""


def read_rows(path: str | Path, *, faults: Faults = None) -> list[Row]:
    """Read a prompt file, a folder of Parquet files, or a Hugging Face dataset ("owner/name").

    Args:
        path: of the file or folder, or the data set's name.
        faults: takes what is wrong with each line, in place of an error over the first.
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
        records = _file_records(file, name, faults)
    elif is_dataset_name(str(path)):
        records = _dataset_records(str(path))
    else:
        raise FileNotFoundError(_missing(file))
    if not records and faults:
        return []
    return rows_of(records, f"prompt file {name}", faults=faults)


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


@dataclass(frozen=True, kw_only=True)
class Most:
    """How much is read of a file from somebody unknown; None: however much there is."""

    rows: int | None = None
    bytes: int | None = None
    """Of a Parquet file once it is unpacked."""

    def check(self, n_rows: int, source: str) -> None:
        """Refuse what has more rows."""
        if self.rows is not None and n_rows > self.rows:
            raise ValueError(
                f"{source} has more than {self.rows:,} rows, which is the most that is read here."
            )

    def check_size(self, n_bytes: int, source: str) -> None:
        """Refuse what takes more memory."""
        if self.bytes is not None and n_bytes > self.bytes:
            raise ValueError(
                f"{source} takes more than {self.bytes >> 20} MiB when it is unpacked, which is "
                f"the most that is read here."
            )


ALL = Most()


def _file_records(file: Path, name: str, faults: Faults) -> Records:
    suffix = _suffix(file.name, name)
    if not os.path.isfile(file):
        raise ValueError(f"prompt file {name} is a pipe or a device; give a file.")
    if suffix in PARQUET:
        return _parquet_records(file, name)
    with outside(f"prompt file {name} cannot be read"):
        data = file.read_bytes()
    return _text_records(data, suffix, name, faults)


def records_in(data: bytes, file: str, *, most: Most) -> Records:
    """The records of a file that is in memory, of which nothing is written down.

    Raises:
        ValueError: as for `read_rows`, or there are more than are read.
    """
    name = shown(file)
    suffix = _suffix(file, name)
    if suffix in PARQUET:
        return _parquet_records(io.BytesIO(data), name, most)
    return _text_records(data, suffix, name, None, most)


def _suffix(file: str, name: str) -> str:
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(
            f"prompt file {name}: the name must end in one of {', '.join(SUFFIXES)}, "
            f"which says how to read it."
        )
    return suffix


def _text_records(data: bytes, suffix: str, name: str, faults: Faults, most: Most = ALL) -> Records:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"prompt file {name} is not UTF-8 text (byte {error.start}); save it as UTF-8."
        ) from error
    if not text.strip():
        raise ValueError(f"prompt file {name} is empty.")
    if suffix in TABLES:
        return _table_records(text, name, faults, most)
    if suffix == ".json" and text.lstrip().startswith("["):
        return _list_records(text, name, most)
    if suffix == ".json" and (nested := nested_records(text, f"prompt file {name}")) is not None:
        _parse(text, name, 1, "")  # which sees keys that stand there twice
        most.check(len(nested), f"prompt file {name}")
        return nested
    return _line_records(text, name, faults, most)


def _line_records(text: str, name: str, faults: Faults, most: Most) -> Records:
    records = []
    # Not splitlines(): JSON strings may hold other line separators, such as U+2028.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line.strip():
            most.check(len(records) + 1, f"prompt file {name}")
            with said(faults):
                record = _parse(line, name, number, " Each line is one object.")
                records.append(
                    (f"line {number}", _as_record(record, f"prompt file {name}, line {number}"))
                )
    return records


def _list_records(text: str, name: str, most: Most) -> Records:
    items = _parse(text, name, 1, "")
    most.check(len(items), f"prompt file {name}")
    return [
        (f"item {i}", _as_record(record, f"prompt file {name}, item {i}"))
        for i, record in enumerate(items, start=1)
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


def _as_record(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(
            f'{place}: needed an object such as {{"prompt": "..."}}, got {came(value)}.'
        )
    return record_of(value, place)


def _table_records(text: str, name: str, faults: Faults, most: Most) -> Records:
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
            check_once(header, f"prompt file {name}")
            continue
        most.check(len(records) + 1, f"prompt file {name}")
        with said(faults):
            if len(cells) != len(header):
                raise ValueError(
                    f"prompt file {name}, {where}: {len(cells)} cells, but the header has "
                    f"{len(header)}. Put quotation marks round a cell that holds the separator."
                )
            records.append((where, dict(zip(header, cells, strict=True))))
    check_columns(our_names(header), f"prompt file {name}")
    return _numbers_as_numbers(records, header)


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
    theirs = RENAMED if lacking(header) else ()
    for column in set(header) - {*PAIR, *ids, *OPTIONAL, *theirs, "prompt"}:
        if all(whole.fullmatch(record[column]) for _, record in records):
            for _, record in records:
                record[column] = int(record[column])
    return records


def _parquet_records(file: Path | io.BytesIO, name: str, most: Most = ALL) -> Records:
    with outside(f"prompt file {name} is not a readable Parquet file"):
        import pyarrow.parquet as pq

        # Not by pandas, which makes floats of whole numbers in a column with gaps.
        with pq.ParquetFile(file) as opened:
            most.check(opened.metadata.num_rows, f"prompt file {name}")
            table = opened.read() if most.bytes is None else _unpacked(opened, name, most)
        columns = [(key, table[i].to_pylist()) for i, key in enumerate(table.column_names)]
    columns = [column for column in columns if not _ROWS.fullmatch(column[0])]
    return records_of_columns(columns, f"prompt file {name}")


def _unpacked(opened: Any, name: str, most: Most) -> Any:
    """The whole table, part by part: a small file can hold one long text many times over."""
    import pyarrow as pa

    parts, size = [], 0
    for part in opened.iter_batches(batch_size=BATCH):
        size += part.nbytes
        most.check_size(size, f"prompt file {name}")
        parts.append(part)
    return pa.Table.from_batches(parts, schema=opened.schema_arrow)


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
        hint=f"{NEEDS_DATASETS}.",
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
    return records_of_columns(columns, f"prompt file {name}")
