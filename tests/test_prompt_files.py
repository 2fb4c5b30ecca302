"""Prompt files: every format gives the same rows, and every fault one clear line."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lensdepth.tasks.files import is_dataset_name, looks_like_path, read_rows

PAIRS = [
    {
        "clean": "Two months from January is",
        "corrupted": "Two months from May is",
        "target": "March",
        "foil": "July",
        "input": "January",
        "corrupted_input": "May",
        "group": "Monat für Monat, „so“",
        "beta": 2,
    },
    {
        "clean": "Three months from June is",
        "corrupted": "Three months from April is",
        "target": "September",
        "foil": "July",
        "input": None,
        "corrupted_input": None,
        "group": "b",
        "beta": 3,
    },
]


def write(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def message(path: str | Path, error: type[Exception] = ValueError) -> str:
    with pytest.raises(error) as caught:
        read_rows(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def write_pairs(path: Path, *, encoding: str = "utf-8", newline: str = "\n") -> Path:
    frame = pd.DataFrame(PAIRS)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
        return path
    if path.suffix == ".json":
        text = json.dumps(PAIRS, indent=1)
    elif path.suffix in (".jsonl", ".ndjson"):
        text = "\n".join(json.dumps(pair, ensure_ascii=False) for pair in PAIRS) + "\n"
    else:
        separator = {".tsv": "\t", ".csv": ","}[path.suffix]
        text = frame.to_csv(index=False, sep=separator)
    return write(path, text.replace("\n", newline), encoding=encoding)


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_formats_agree(tmp_path: Path, suffix: str, newline: str, encoding: str) -> None:
    rows = read_rows(write_pairs(tmp_path / f"p{suffix}", encoding=encoding, newline=newline))
    assert len(rows) == 2
    for row, pair in zip(rows, PAIRS, strict=True):
        for name in ("clean", "corrupted", "target", "foil", "input", "corrupted_input"):
            assert getattr(row, name) == pair[name]
        assert row.labels == {"group": pair["group"], "beta": pair["beta"]}
    first = {".json": "item 1", ".csv": "line 2", ".tsv": "line 2", ".parquet": "row 1"}
    assert rows[0].where == first.get(suffix, "line 1")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_recognised_by_the_header(tmp_path: Path, separator: str) -> None:
    cells = [["clean", "corrupted", "target", "foil"], ["a b c", "a d c", "x", "y"]]
    path = write(tmp_path / "p.csv", "\n".join(separator.join(row) for row in cells))
    row = read_rows(path)[0]
    assert (row.clean, row.corrupted, row.target, row.foil) == tuple(cells[1])


def test_plain_prompts(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", 'prompt,group\n"One, two",a\n\nThree,b\n')
    rows = read_rows(path)
    assert [(row.clean, row.labels["group"], row.where) for row in rows] == [
        ("One, two", "a", "line 2"),
        ("Three", "b", "line 4"),
    ]
    assert rows[0].corrupted is None
    assert rows[0].target is None
    assert rows[0].foil is None


def test_words_that_mean_nothing_elsewhere_are_words_here(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "clean,corrupted,target,foil\nNA is,null is,None,nan\n")
    row = read_rows(path)[0]
    assert (row.clean, row.corrupted, row.target, row.foil) == ("NA is", "null is", "None", "nan")


def test_only_plain_whole_numbers_become_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "prompt,a,b,c\nx,1,007,1\ny,-2,8,z\n")
    assert [row.labels for row in read_rows(path)] == [
        {"a": 1, "b": "007", "c": "1"},
        {"a": -2, "b": "8", "c": "z"},
    ]


def test_lists_in_labels_become_text(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", '{"prompt": "x", "odds": {"é": 0.5}, "more": [1]}\n')
    assert read_rows(path)[0].labels == {"odds": '{"é": 0.5}', "more": "[1]"}


def test_line_separators_inside_json_strings_do_not_end_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", '{"prompt": "a\u2028b"}\n{"prompt": 3}\n')
    assert "line 2: prompt must be text, got 3 (int)" in message(path)


def test_cells_over_several_lines_keep_the_count(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", 'prompt\n"one\ntwo"\n"three"\nfour,\n')
    assert "line 5: 2 cells, but the header has 1" in message(path)
    path = write(tmp_path / "q.csv", 'prompt,a\n"one\ntwo",1\nthree,2\n" ",1\n')
    assert "line 5: prompt is empty" in message(path)


HEADER = "clean,corrupted,target,foil\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("p.jsonl", "", "'p.jsonl' is empty"),
        ("p.csv", "\ufeff \n\n", "'p.csv' is empty"),
        ("p.csv", HEADER, "has no rows"),
        ("p.json", "[]", "has no rows"),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": "b"\n', "line 2: not JSON"),
        ("p.jsonl", '{"prompt": "a"}\n\n["b"]\n', "line 3: needed an object"),
        ("p.jsonl", '{"prompt": "a"}\n{"text": "b"}\n', "line 2: prompt is missing"),
        ("p.jsonl", '{"prompt": NaN}\n', "line 1: prompt is empty"),
        ("p.jsonl", '{"prompt": " "}\n', "line 1: prompt is empty"),
        ("p.json", '[{"prompt": "a"},\n{"prompt" "b"}]', "line 2: not JSON"),
        ("p.csv", HEADER + "a,b,c\n", "line 2: 3 cells, but the header has 4"),
        ("p.csv", HEADER + "a,b,c,d\na,b,,d\n", "line 3: target is empty"),
        ("p.csv", "prompt,prompt\na,b\n", "'prompt' stands there twice"),
        ("p.csv", 'prompt\n"a" b"\n', "line 2: not CSV"),
        ("p.csv", "clean,corrupted,target\na,b,c\n", "(foil missing); it has clean, corrupted"),
        ("p.csv", "text,label\na,b\n", "or prompt (plain prompts); it has text, label."),
        ("p.csv", "Prompt\na\n", "Write 'Prompt' as 'prompt'."),
        ("p.csv", "prompt,corrupted,target\na,b,c\n", "not half of each"),
        ("p.csv", 'prompt\n\na\n""\n', "line 4: prompt is empty"),
        ("p.csv", HEADER + "a,b,c,d\n  \n,,,\n", "line 4: clean is empty"),
        ("p.csv", HEADER + '"a,b,c,d\n', "not CSV"),
        ("p.csv", "prompt,clean\na,b\n", "(corrupted, target, foil missing)"),
        ("p.txt", "hello", "must end in one of .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .pq"),
        ("p.parquet", "hello", "is not a readable Parquet file"),
        (
            "p.jsonl",
            '{"prompt": "a"}\n' + "[" * 100_000,
            "line 2: not JSON: maximum recursion",
        ),
        ("p.jsonl", '{"prompt": "a", "n": ' + "9" * 5000 + "}", "line 1: not JSON"),
        (
            "p.jsonl",
            '{"prompt": "a", "prompt": "b"}',
            "line 1: the key 'prompt' stands there twice",
        ),
        (
            "p.jsonl",
            '{"prompt": "a", "prompt ": "b"}',
            "line 1: the key 'prompt' stands there twice",
        ),
        (
            "p.jsonl",
            '\n{"prompt": "b \\ud800 c"}',
            "line 2: 'prompt' holds '\\ud800'",
        ),
        ("p.csv", "prompt\na\n" + "b" * 140_000, "line 3: not CSV: Error: field larger than"),
        ("p.csv", "b" * 140_000, "the header is not CSV: Error: field larger than"),
        ("p.csv", "prompt\na\0b\n" + "c,d\n", "line 3: 2 cells"),
    ],
)
def test_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(name), text)
    assert expected in message(name)


def test_mixed_columns_name_the_line(tmp_path: Path) -> None:
    lines = [json.dumps(PAIRS[0]), json.dumps({"prompt": "One month from May is"})]
    path = write(tmp_path / "p.jsonl", "\n".join(lines))
    assert "line 2: clean is missing" in message(path)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "prompt\nfür\n", encoding="latin-1")
    assert "is not UTF-8 text (byte 8)" in message(path)
    assert "is not UTF-8" in message(write(tmp_path / "q.csv", "prompt\na\n", encoding="utf-16"))


def test_empty_and_numeric_cells_of_tables(tmp_path: Path) -> None:
    frame = pd.DataFrame(PAIRS)
    frame.loc[1, "target"] = None
    frame.to_parquet(tmp_path / "p.parquet")
    assert "row 2: target is empty" in message(tmp_path / "p.parquet")
    frame.assign(target=[3, 9]).to_parquet(tmp_path / "q.parquet")
    assert "row 1: target must be text, got 3 (int)" in message(tmp_path / "q.parquet")


def test_missing_files_offer_the_nearest(tmp_path: Path) -> None:
    write(tmp_path / "months.jsonl", "{}")
    near = message(tmp_path / "month.jsonl", FileNotFoundError)
    assert "does not exist. Is it months.jsonl?" in near
    assert "there is no folder" in message(tmp_path / "no" / "p.csv", FileNotFoundError)


def test_folders_of_parquet_files(tmp_path: Path) -> None:
    assert "holds no Parquet files" in message(tmp_path)
    (tmp_path / "data").mkdir()
    for i, pair in enumerate(PAIRS):
        pd.DataFrame([pair]).to_parquet(tmp_path / "data" / f"train-{i}.parquet")
    rows = read_rows(tmp_path)
    assert [row.target for row in rows] == ["March", "September"]
    assert rows[1].where == "train-1.parquet, row 1"


def test_whole_numbers_in_columns_with_gaps_stay_what_they_are(tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["a", "b", "c"], " n": [2**53 + 1, None, 3]}, dtype=object)
    frame.iloc[::-1].to_parquet(tmp_path / "p.parquet")  # with a column of row numbers
    labels = [row.labels for row in read_rows(tmp_path / "p.parquet")]
    assert labels == [{"n": 3}, {"n": None}, {"n": 2**53 + 1}]
    assert isinstance(labels[0]["n"], int)


def test_names_of_data_sets_and_of_files() -> None:
    assert is_dataset_name("owner/some-set.v2")
    assert is_dataset_name("owner/set:test")
    assert not is_dataset_name("owner/set.csv")
    assert not is_dataset_name("/a/b")
    assert not is_dataset_name("../a")
    assert not is_dataset_name("months")
    assert looks_like_path("x.csv")
    assert looks_like_path("a/b")
    assert not looks_like_path("months")


def fake_datasets(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    module, exceptions = ModuleType("datasets"), ModuleType("datasets.exceptions")
    exceptions.DatasetsError = type("DatasetsError", (Exception,), {})  # pyright: ignore
    module.load_dataset = load  # pyright: ignore[reportAttributeAccessIssue]
    module.exceptions = exceptions  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setitem(sys.modules, "datasets.exceptions", exceptions)


def test_hugging_face_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Split(list):
        def to_dict(self) -> dict[str, list[Any]]:
            return {key: [pair[key] for pair in self] for key in self[0]}

    fake_datasets(monkeypatch, lambda path: {"test": Split(PAIRS[:1]), "train": Split(PAIRS)})
    assert len(read_rows("owner/set")) == 2
    assert [row.target for row in read_rows("owner/set:test")] == ["March"]
    assert "has no split 'dev'; it has test, train" in message("owner/set:dev")


def test_data_sets_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: str) -> Any:
        raise ConnectionError("the Hub\ncannot be reached")

    fake_datasets(monkeypatch, load)
    assert "could not be read as a Hugging Face data set: the Hub" in message("owner/set")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "needs the package 'datasets'" in message("owner/set")
    assert message("owner/set").endswith("pip install 'lensdepth[datasets]'.")


def test_odd_files_are_refused_and_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.csv")
    assert "is a pipe or a device" in message(tmp_path / "p.csv")
    for name in ("x" * 10_000, "a\0b.csv", "/tmp/\x1b[2J\n.jsonl"):
        said = message(name, FileNotFoundError)
        assert said.isprintable()
        assert len(said) < 400


def test_a_table_with_one_column_twice(tmp_path: Path) -> None:
    table = pa.table([["a"], ["b"]], names=["prompt", "prompt"])
    pq.write_table(table, tmp_path / "p.parquet")
    assert "the column 'prompt' stands there twice" in message(tmp_path / "p.parquet")


def test_faults_are_ours_or_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise ZeroDivisionError("oops")

    path = write_pairs(tmp_path / "p.parquet")
    with monkeypatch.context() as patched:
        patched.setattr("lensdepth.tasks.records.check_columns", fail)
        with pytest.raises(ZeroDivisionError):
            read_rows(path)
    with monkeypatch.context() as patched:
        patched.setattr("pyarrow.parquet.ParquetFile.read", fail)
        assert "not a readable Parquet file: ZeroDivisionError: oops" in message(path)
    monkeypatch.setattr("json.loads", fail)
    lines = write_pairs(tmp_path / "p.jsonl")
    assert "line 1: not JSON: ZeroDivisionError: oops" in message(lines)


# ---------------------------------------------------------------- files as others publish them


BLIMP = {
    "sentence_good": "Who should Derek hug after shocking Richard?",
    "one_prefix_prefix": "Who should Derek hug after shocking",
    "one_prefix_word_good": "Richard",
    "one_prefix_word_bad": "?",
    "field": "syntax",
}
COUNTERFACT = {
    "case_id": 0,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1860"},
        "target_true": {"str": "French", "id": "Q150"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["a", "b"],
}


def test_one_prompt_a_row_with_its_answers_is_a_plain_prompt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = json.dumps(BLIMP) + "\n"
    (row,) = read_rows(write(tmp_path / "blimp.jsonl", text))
    assert (row.clean, row.corrupted) == ("Who should Derek hug after shocking", None)
    assert (row.labels["target"], row.labels["foil"]) == ("Richard", "?")
    assert row.labels["field"] == "syntax"
    (row,) = read_rows(write(tmp_path / "counterfact.json", json.dumps([COUNTERFACT], indent=1)))
    assert row.clean == "The mother tongue of Danielle Darrieux is"
    assert row.input == "Danielle Darrieux"
    wanted = {"target": "French", "foil": "English", "relation": "P103", "case_id": 0}
    assert wanted.items() <= row.labels.items()
    caplog.clear()
    path = write(tmp_path / "p.csv", "prompt,target\nThe capital of France is,Paris\n")
    assert read_rows(path)[0].labels == {"target": "Paris"}
    (said,) = [record.getMessage() for record in caplog.records]
    assert "p.csv" in said
    assert "plain prompts that have target for labels" in said
    assert "clean, corrupted, target, foil" in said


def test_pairs_as_others_publish_them(tmp_path: Path) -> None:
    eap = "clean,corrupted,correct_idx,incorrect_idx\na b,a c,5,7\n"
    row = read_rows(write(tmp_path / "eap.csv", eap))[0]
    assert (row.target, row.target_id, row.foil_id, row.labels) == (None, 5, 7, {})
    circuits = {"seq_len": 3, "prompts": [
        {"clean": "a b", "corrupt": "a c", "answers": [" x"], "wrong_answers": [" y"]},
        {"clean": "a d", "corrupt": "a e", "answers": [" z"], "wrong_answers": [" w"]},
    ]}  # fmt: skip
    rows = read_rows(write(tmp_path / "circuits.json", json.dumps(circuits)))
    assert [(r.clean, r.corrupted, r.target, r.foil) for r in rows] == [
        ("a b", "a c", " x", " y"), ("a d", "a e", " z", " w"),
    ]  # fmt: skip
    assert rows[1].where == "item 2 of 'prompts'"


def test_labels_that_are_called_so_stay_labels(tmp_path: Path) -> None:
    """Where our own columns are all there, no other name means anything."""
    cells = HEADER.strip() + ",correct_idx,corrupt\na b,a c,x,y,1,z\n"
    row = read_rows(write(tmp_path / "p.csv", cells))[0]
    assert (row.target, row.target_id, row.labels) == (
        "x",
        None,
        {"correct_idx": 1, "corrupt": "z"},
    )


@pytest.mark.parametrize("orient", ["list", "dict"])
def test_columns_in_one_object_are_a_table(tmp_path: Path, orient: Any) -> None:
    frame = pd.DataFrame(PAIRS)
    written = frame.to_dict(orient)
    rows = read_rows(write(tmp_path / "p.json", json.dumps(written)))
    assert [row.clean for row in rows] == frame.clean.tolist()
    assert rows[1].labels == {"group": "b", "beta": 3}


def test_one_row_may_stand_on_several_lines(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path / "p.json", json.dumps(PAIRS[0], indent=2)))
    assert (row.clean, row.where) == (PAIRS[0]["clean"], "item 1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [{"prompt": "x"}], "b": [{"prompt": "y"}]}', "2 lists of rows (a, b)"),
        ('{"prompt": ["x", "y"], "hue": ["red"]}', "differ in length (prompt: 2, hue: 1)"),
        ('[{"data": {"prompt": "x"}}]', "bring what 'data' holds up"),
        ('[{"clean": "a", "corrupted": "b", "target": 5, "foil": 6}]', "in the column target_id"),
        ('{"rows": [{"text": "x"}]}', "needs the columns clean, corrupted, target, foil (pairs)"),
        ('{"rows": [{"prompt": 3}]}', "item 1 of 'rows': prompt must be text"),
    ],
)
def test_what_json_holds_is_explained(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in message(write(tmp_path / "p.json", text))
