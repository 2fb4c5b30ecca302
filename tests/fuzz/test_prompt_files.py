"""Prompt files: what is read is what a plain reader finds in the same bytes, or it is refused."""

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzz.damage import as_json, changes, damaged, wounds
from fuzz.judge import Refused, inputs, judged
from lensdepth.model import DepthModel
from lensdepth.tasks import load_task
from lensdepth.tasks.files import read_rows
from lensdepth.tasks.memory import rows_in_memory
from lensdepth.tasks.rows import Row

PAIRS: list[dict[str, Any]] = [
    {
        "clean": f"Two months from {month} is",
        "corrupted": "Two months from May is",
        "target": answer,
        "foil": "July",
        "input": month,
        "corrupted_input": "May",
        "group": 'ü, "so"',
        "beta": i,
    }
    for i, (month, answer) in enumerate((("January", " March"), ("June", "August"), ("April", "x")))
]
FRAME = pd.DataFrame(PAIRS)
FILES = {
    ".jsonl": b"\n".join(map(as_json, PAIRS)),
    ".json": as_json(PAIRS),
    ".csv": FRAME.to_csv(index=False).encode(),
    ".tsv": FRAME.to_csv(index=False, sep="\t").encode(),
    ".parquet": FRAME.to_parquet(),
}
TEXTS = ("clean", "corrupted", "target", "foil", "input", "corrupted_input")
IDS = ("target_id", "foil_id")
COLUMNS = (*TEXTS, *IDS, "prompt")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


# Plain readers


def plain_json(text: str) -> list[dict[str, Any]]:
    """Records of JSON lines, or of one list."""
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, list):
        return whole
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [json.loads(line) for line in lines if line.strip()]


def plain_table(text: str, separator: str) -> list[list[str]]:
    """Cells by RFC 4180, sign by sign: quotes count where a cell begins, and are doubled inside."""
    rows: list[list[str]] = [[]]
    cell, state = "", "start"
    for sign in [*text, "\n"]:
        if state == "quoted":
            state = "closed" if sign == '"' else state
            cell += "" if sign == '"' else sign
        elif state == "closed" and sign == '"':
            state, cell = "quoted", cell + '"'
        elif state == "start" and sign == '"':
            state = "quoted"
        elif sign in (separator, "\n", "\r"):
            rows[-1].append(cell)
            cell, state = "", "start"
            if sign != separator:  # of two such signs the second ends an empty row, which is none
                rows.append([])
        elif state == "closed":
            raise ValueError("something stands behind a quoted cell")
        else:
            state, cell = "plain", cell + sign
    if state == "quoted":
        raise ValueError("a quoted cell does not end")
    return [row for row in rows if row not in ([], [""])]


def table_records(text: str, separator: str) -> list[dict[str, Any]]:
    header, *rows = plain_table(text, separator)
    if len(header) > 1:
        rows = [row for row in rows if len(row) > 1 or row[0].strip()]
    return [dict(zip(map(str.strip, header), row, strict=True)) for row in rows]


def possible_records(suffix: str, data: bytes) -> Iterable[list[dict[str, Any]]]:
    """What the file can mean; of tables, with each separator that its header can have."""
    if suffix == ".parquet":
        table = pq.read_table(pa.BufferReader(data))
        rows = table.select([n for n in table.column_names if not n.startswith("__index")])
        yield rows.to_pylist()
        return
    text = data.decode("utf-8-sig")
    if suffix in (".jsonl", ".json"):
        yield plain_json(text)
        return
    as_it_was = FILES[suffix].splitlines()[0] in data.splitlines()[:1]
    for separator in {".csv": ",", ".tsv": "\t"}[suffix] if as_it_was else ",;\t|":
        try:
            yield table_records(text, separator)
        except (ValueError, IndexError):
            continue


def holds(row: Row, record: dict[str, Any], *, table: bool, columns: set[str]) -> bool:
    """Whether a row says what a record says, and nothing else."""
    record = {str(key).strip(): value for key, value in record.items()}
    pairs = "clean" in columns
    said: dict[str, Any] = {name: getattr(row, name) for name in (*TEXTS, *IDS)}
    if not pairs:
        said["prompt"] = said.pop("clean")
    used = (*TEXTS, *IDS) if pairs else ("prompt", "input")
    for name, value in said.items():
        written = record.get(name) if name in used else None
        blank = " " if name in ("target", "foil") else None  # a line break is an answer
        if is_missing(written) or (isinstance(written, str) and not written.strip(blank)):
            written = None
        if name in IDS and written is not None:
            written = int(float(written)) if isinstance(written, str | float) else written
        if value != written or isinstance(value, bool):
            return False
    return row.labels.keys() == columns - set(used) and all(
        is_label(value, record.get(name), table=table) for name, value in row.labels.items()
    )


def is_label(value: Any, written: Any, *, table: bool) -> bool:
    if is_missing(value) or is_missing(written):
        return is_missing(value) and is_missing(written)
    if isinstance(written, list | dict):
        return isinstance(value, str) and value == json.dumps(
            written, ensure_ascii=False, default=str
        )
    if table:
        return str(value) == written
    return value == written and isinstance(value, bool) == isinstance(written, bool)


def is_missing(value: Any) -> bool:
    return value in (None, pd.NaT) or value is pd.NA or (value != value) is True


def check(place: Path, suffix: str, data: bytes) -> None:
    """Read a file of this content, and hold what comes out against the plain readers."""
    file = place / f"p{suffix}"
    file.write_bytes(data)
    rows = judged(lambda: read_rows(file))
    if isinstance(rows, Refused):
        return
    table = suffix in (".csv", ".tsv")
    for records in possible_records(suffix, data):
        columns = {str(key).strip() for record in records for key in record}
        if len(rows) == len(records) and all(
            holds(row, record, table=table, columns=columns)
            for row, record in zip(rows, records, strict=True)
        ):
            return
    raise AssertionError(f"{rows} is not what stands in {data!r}")


# Damage


@pytest.mark.parametrize("suffix", list(FILES))
@given(data=st.data())
@inputs(few=15, of_20_000=700)
def test_damaged_bytes(place: Path, suffix: str, data: st.DataObject) -> None:
    injuries = data.draw(wounds(FILES[suffix]))
    check(place, suffix, damaged(FILES[suffix], injuries))


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@given(injuries=changes(PAIRS, COLUMNS))
@inputs(few=25, of_20_000=600)
def test_other_values(place: Path, suffix: str, injuries: list[Any]) -> None:
    records = damaged(PAIRS, injuries)
    if suffix == ".json" or not isinstance(records, list):
        check(place, suffix, as_json(records))
    else:
        check(place, suffix, b"\n".join(map(as_json, records)))


@given(injuries=changes(PAIRS, COLUMNS))
@inputs(few=25, of_20_000=200)
def test_records_in_memory_are_those_of_a_file(place: Path, injuries: list[Any]) -> None:
    records = damaged(PAIRS, injuries)
    assume(isinstance(records, list) and all(isinstance(record, dict) for record in records))
    file = place / "m.json"
    file.write_bytes(as_json(records))
    filed, held = judged(lambda: read_rows(file)), judged(lambda: rows_in_memory(records))
    if isinstance(filed, Refused) or isinstance(held, Refused):
        # The same line, but for where: items are counted from 1, rows from 0.
        source = r"(prompt file '.*?'|load_task: the list of pairs)(, (item|row) \d+)?"
        assert re.sub(source, "", str(filed), count=1) == re.sub(source, "", str(held), count=1)
        return
    assert [repr(replace(row, where="")) for row in filed] == [
        repr(replace(row, where="")) for row in held
    ]


CELLS = st.text(alphabet=',;|\t"\n\r a1\0é=\u2028', max_size=8) | st.sampled_from(
    ("1", "-2", "007", "1.0", "NA", "", " ", '"a"', '"a""b"', '"a\nb"', '"a" b', "a" * 140_000)
)
CELLS = CELLS | CELLS.map(lambda cell: '"' + cell.replace('"', '""') + '"')


@given(
    header=st.lists(st.sampled_from((*COLUMNS, "beta", " a ", '"b"', "", "Clean")), max_size=6)
    | st.just(["prompt", "group"])
    | st.just(["clean", "corrupted", "target", "foil", "beta"]),
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=6), min_size=1, max_size=4),
    even=st.sampled_from((True, True, True, False)),
    separator=st.sampled_from(",;\t|"),
    newline=st.sampled_from(("\n", "\r\n", "\r")),
)
@inputs(few=40, of_20_000=1400)
def test_tables_of_every_kind(
    place: Path, header: list[str], rows: list[list[str]], even: bool, separator: str, newline: str
) -> None:
    if even:
        rows = [(row * len(header))[: len(header)] for row in rows]
    text = newline.join(separator.join(row) for row in [header, *rows])
    check(place, ".csv", text.encode())


KINDS: tuple[tuple[Any, ...], ...] = (
    ("a", "b", "c"), ("a", None, "c"), (1, 2, 3), (1, None, 3), (2**53 + 1, None, 1),
    (2**63 - 1,) * 3, (1.5, None, float("nan")), (True, False, None), ([1, 2], [], None),
    ({"x": 1}, {"x": None}, None),
    (b"\xff", b"", None), (pd.Timestamp(0), None, pd.Timestamp(1)), (None, None, None),
    ("", " ", "\n"), ("=1", "\x1b", "é"), (["a", None], None, ["b"]), (pd.Timedelta(1), None, None),
)  # fmt: skip


@given(
    columns=st.dictionaries(
        st.sampled_from((*COLUMNS, *("beta", "group", " a", "", "b") * 5)),
        st.sampled_from(KINDS),
        max_size=4,
    ),
    index=st.booleans(),
)
@inputs(few=20, of_20_000=400)
def test_parquet_columns_of_every_kind(
    place: Path, columns: dict[str, tuple[Any, ...]], index: bool
) -> None:
    frame = FRAME.assign(**{name: pd.Series(kind, dtype=object) for name, kind in columns.items()})
    if index:  # which pandas puts into the file as a column like the others
        frame = frame.set_index("input")
    file = place / "p.parquet"
    try:
        frame.to_parquet(file)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        assume(False)
    check(place, ".parquet", file.read_bytes())


@given(
    injuries=changes(PAIRS, COLUMNS),
    suffix=st.sampled_from((".jsonl", ".csv")),
)
@inputs(few=15, of_20_000=300)
def test_tasks_of_damaged_files(
    place: Path, trained: DepthModel, injuries: list[Any], suffix: str
) -> None:
    """Behind the reader: answers, positions and labels of whatever it let pass."""
    file = place / f"t{suffix}"
    records = damaged(PAIRS, injuries)
    if suffix == ".csv":
        try:
            file.write_text(pd.DataFrame(records).to_csv(index=False), encoding="utf-8")
        except (ValueError, TypeError, AttributeError, OverflowError):
            assume(False)
    else:
        file.write_bytes(b"\n".join(map(as_json, records if isinstance(records, list) else [1])))
    task = judged(lambda: load_task(file, trained, n=None))
    if not isinstance(task, Refused):
        kept = judged(task.to_frame)
        assert not isinstance(kept, Refused)
        assert len(kept) == len(task)


# Round trips

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
QUIRKS = (
    '"', '""', ",", "\n", "\r", "\r\n", "a\nb", " March", "March ", "=1+1", "+x", "'x", "\t", "ü",
    "\u2028", "NA", "null", "nan", "None", "\ufeff", "\0", "-1x", "07", "1.0",
)  # fmt: skip
CELL = (TEXT | st.sampled_from(QUIRKS)).filter(lambda text: text.strip() != "")
ANSWER = (TEXT | st.sampled_from((*QUIRKS, " \n"))).filter(lambda text: text.strip(" ") != "")
# A table does not tell numbers from their digits.
LABEL = st.text(st.characters(codec="utf-8"), max_size=6).filter(
    lambda text: not re.fullmatch(r"0|-?[1-9]\d{0,15}", text)
)
ROW = st.fixed_dictionaries(
    {"clean": CELL, "corrupted": CELL, "target": ANSWER, "foil": ANSWER, "group": LABEL,
     "beta": st.integers(-(10**15), 10**15)}
)  # fmt: skip


@given(records=st.lists(ROW, min_size=1, max_size=4), suffix=st.sampled_from(list(FILES)))
@inputs(few=60, of_20_000=1000)
def test_what_is_written_is_read(place: Path, records: list[dict[str, Any]], suffix: str) -> None:
    file = place / f"w{suffix}"
    frame = pd.DataFrame(records)
    if suffix == ".parquet":
        frame.to_parquet(file)
    elif suffix == ".json":
        file.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    elif suffix == ".jsonl":
        lines = (json.dumps(record, ensure_ascii=False) for record in records)
        file.write_bytes("\n".join(lines).encode())
    else:
        separator = "\t" if suffix == ".tsv" else ","
        # Python's csv quotes no lone carriage return before 3.13, so everything is quoted.
        file.write_bytes(frame.to_csv(index=False, sep=separator, quoting=1).encode())
    rows = judged(lambda: read_rows(file))
    assert not isinstance(rows, Refused), rows
    read = [
        {"clean": r.clean, "corrupted": r.corrupted, "target": r.target, "foil": r.foil, **r.labels}
        for r in rows
    ]
    assert read == records
