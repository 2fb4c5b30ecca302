# pyright: reportArgumentType=false
"""Pairs in memory: every kind of table gives the same task, and every fault names its row."""

import json
import logging
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from lensdepth import Pair, load_task, pair_task
from lensdepth.model import DepthModel
from lensdepth.tasks import Task, build_task, list_tasks
from lensdepth.tasks.columns import OWN, label_column, label_columns
from lensdepth.tasks.files import read_rows
from lensdepth.tasks.locate import find_input, varying_span
from lensdepth.tasks.memory import InMemory, rows_in_memory
from lensdepth.tasks.rows import Row
from lensdepth.tokens import TokenBatch

FIRST = {
    "clean": "Two months from January is",
    "corrupted": "Two months from May is",
    "target": "March",
    "foil": "July",
}
SECOND = {
    "clean": "Two months from June is",
    "corrupted": "Two months from April is",
    "target": "August",
    "foil": "June",
}
RECORDS = [FIRST | {"group": "a", "beta": 2}, SECOND | {"group": "b", "beta": 3}]
LABELS = [{"group": "a", "beta": 2}, {"group": "b", "beta": 3}]
FRAME = pd.DataFrame(RECORDS)
DATASET = datasets.Dataset.from_list(RECORDS)
"""For positions by hand: <bos> Two months from January is, so that the fifth token varies."""


def message(call: Callable[..., Any], *args: Any, **options: Any) -> str:
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*args, **options)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


def without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


# What is taken

SOURCES: dict[str, InMemory] = {
    "dicts": RECORDS,
    "pairs": [Pair(**FIRST, labels=LABELS[0]), Pair(**SECOND, labels=LABELS[1])],
    "dict and pair": [RECORDS[0], Pair(**SECOND, labels=LABELS[1])],
    "pair and dict": (Pair(**FIRST, labels=LABELS[0]), RECORDS[1]),
    "other mappings": [MappingProxyType(RECORDS[0]), OrderedDict(RECORDS[1])],
    "spaces around names": [{f" {k} ": v for k, v in record.items()} for record in RECORDS],
    "frame": FRAME,
    "filtered frame": pd.concat([FRAME, FRAME]).reset_index(drop=True).iloc[[2, 1]],
    "frame counted by words": FRAME.set_axis(["x", "y"]),
    "frame with an index twice": FRAME.set_axis([7, 7]),
    "frame of objects": FRAME.astype(object),
    "frame of categories": FRAME.astype("category"),
    "frame of strings": FRAME.astype(dict.fromkeys([*FIRST, "group"], "string[python]")),
    "frame of Arrow's strings": FRAME.astype(dict.fromkeys([*FIRST, "group"], "string[pyarrow]")),
    "frame of Arrow": FRAME.convert_dtypes(dtype_backend="pyarrow"),
    "frame with a named index": FRAME.set_index("beta"),
    "frame with two named indices": FRAME.set_index(["clean", "beta"]),
    "data set": DATASET,
    "part of a data set": datasets.concatenate_datasets([DATASET, DATASET]).select([2, 1]),
    "data set of tensors": DATASET.with_format("torch"),
    "rows of a data set": list(DATASET.with_format("numpy")),
    "rows of a stream": list(DATASET.to_iterable_dataset().take(2)),
    "Arrow": pa.Table.from_pylist(RECORDS),
    "Arrow's dictionaries": pa.table(FRAME.astype({"group": "category"})),
    "numbers of NumPy": [RECORDS[0] | {"beta": np.int64(2)}, RECORDS[1] | {"beta": np.int8(3)}],
    "numbers of torch": [r | {"beta": torch.tensor(r["beta"])} for r in RECORDS],
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_rows(name: str) -> None:
    rows = rows_in_memory(SOURCES[name])
    for row, given, labels in zip(rows, (FIRST, SECOND), LABELS, strict=True):
        assert {key: getattr(row, key) for key in given} == given
        assert row.labels == labels
        assert {type(value) for value in row.labels.values()} == {str, int}
        assert row.input is row.corrupted_input is row.target_id is row.foil_id is None


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_task(name: str, trained: DepthModel) -> None:
    task = load_task(SOURCES[name], trained)
    assert task.name == "pairs in memory"
    assert (task.clean, task.foil) == ((FIRST["clean"], SECOND["clean"]), ("July", "June"))
    assert task.input_positions is not None
    assert task.input_positions.tolist() == [4, 4]
    assert task.labels.to_dict("list") in (
        {"group": ["a", "b"], "beta": [2, 3]},
        {"beta": [2, 3], "group": ["a", "b"]},
    )


def test_files_and_memory_are_one(tmp_path: Path) -> None:
    records = [
        RECORDS[0] | {"input": "January", "corrupted_input": "May", "odds": {"x": 0.5}, "w": 1.5},
        RECORDS[1] | {"input": None, "corrupted_input": None, "odds": None, "w": None},
    ]
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    from_file = read_rows(file)
    pairs = [
        Pair(**{k: r[k] for k in FIRST}, input=r["input"], corrupted_input=r["corrupted_input"],
             labels={k: r[k] for k in ("group", "beta", "odds", "w")})
        for r in records
    ]  # fmt: skip
    for given in (records, pairs, pa.Table.from_pylist(records)):
        read = rows_in_memory(given)
        assert [row.where for row in read] == ["row 0", "row 1"]
        for mine, theirs in zip(read, from_file, strict=True):
            for field in fields(Row):
                if field.name != "where":
                    assert getattr(mine, field.name) == getattr(theirs, field.name)


def test_plain_prompts(trained: DepthModel) -> None:
    prompts, parts = [FIRST["clean"], SECOND["clean"]], ["January", "June"]
    given = (
        [{"prompt": prompt, "input": part} for prompt, part in zip(prompts, parts, strict=True)],
        pd.DataFrame({"prompt": prompts, "input": parts}),
        datasets.Dataset.from_dict({"prompt": prompts, "input": parts}),
    )
    for source in given:
        task = load_task(source, trained)
        assert task.prompts == tuple(prompts)
        assert not task.has_pairs
        assert task.input_positions is not None
        assert task.input_positions.tolist() == [4, 4]


def test_options_mean_what_they_mean_for_files(
    trained: DepthModel, caplog: pytest.LogCaptureFixture
) -> None:
    named = load_task(RECORDS, trained, name="mine")
    assert named.name == "mine"
    assert load_task("months", trained, n=2, name="other").name == "other"
    with caplog.at_level(logging.WARNING):
        one = load_task(FRAME, trained, n=1, seed=4, name="mine")
    assert "mine: 1 of its 2 rows are used; n=None takes all" in caplog.text
    assert (len(one), one.seed) == (1, 4)
    assert one.where == (f"row {list(FRAME['clean']).index(one.clean[0])}",)
    many = [FIRST | {"beta": i} for i in range(300)]
    some = list(load_task(many, trained).labels["beta"])
    assert len(some) == 200
    assert some == sorted(some)
    assert list(load_task(many, trained, n=None).labels["beta"]) == list(range(300))
    dropped = load_task([FIRST, SECOND | {"foil": "Zzz"}], trained, on_multi_token="drop")
    assert (dropped.clean, dropped.n_multi_token) == ((FIRST["clean"],), 1)
    text = message(load_task, RECORDS, trained, template="from")
    assert text.endswith(
        "template chooses a wording of a built-in task; these are pairs in memory."
    )
    same = [FIRST, SECOND | {"corrupted": SECOND["clean"]}]
    assert message(load_task, same, trained, name="mine").startswith(
        "task 'mine': clean and corrupted are the same prompt in row 1; "
    )


@pytest.mark.parametrize("kind", [np.int64, np.uint16, float, str, torch.tensor])
def test_answers_may_be_token_ids(kind: Any, trained: DepthModel) -> None:
    march, july = trained.tokenizer.convert_tokens_to_ids(["March", "July"])
    bare = {key: FIRST[key] for key in ("clean", "corrupted")}
    ids = bare | {"target_id": kind(march), "foil_id": kind(july)}
    assert load_task([ids], trained).target == ("March",)
    # Some by id, some as text.
    mixed = [ids | {"foil": "July"}, SECOND]
    for given in (mixed, pd.DataFrame(mixed)):
        task = load_task(given, trained)
        assert task.target == ("March", "August")
        assert task.target_ids is not None
        assert task.target_ids.tolist()[0] == march
    wrong = mixed[0] | {"target_id": kind(july)}
    assert "row 1: foil_id must be" in message(rows_in_memory, [FIRST, ids | {"foil_id": -1}])
    assert "row 0: target is 'March', but target_id" in message(
        load_task, [wrong | {"target": "March"}], trained
    )


def test_cells_of_labels_are_plain() -> None:
    given = {
        "whole": np.int32(3), "part": np.float32(0.5), "truth": np.bool_(True), "none": None,
        "text": np.str_("x"), "gap": float("nan"), "na": pd.NA, "nat": pd.NaT,
        "day": date(2026, 2, 4), "time": np.datetime64("2026-02-04T00:00:00", "ns"),
        "list": [np.int64(1), None],
        "array": np.arange(3), "tensor": torch.eye(2), "tuple": (1, "é"),
        "dict": {"a": np.float32(1)},
    }  # fmt: skip
    labels = rows_in_memory([FIRST | given])[0].labels
    gap = labels.pop("gap")
    assert isinstance(gap, float)
    assert gap != gap
    assert labels == {
        "whole": 3, "part": 0.5, "truth": True, "text": "x", "none": None, "na": None, "nat": None,
        "day": date(2026, 2, 4), "time": pd.Timestamp("2026-02-04"), "list": "[1, null]",
        "array": "[0, 1, 2]", "tensor": "[[1.0, 0.0], [0.0, 1.0]]", "tuple": '[1, "é"]',
        "dict": '{"a": 1.0}',
    }  # fmt: skip
    assert [type(labels[name]) for name in ("whole", "part", "truth", "text")] == [
        int, float, bool, str,
    ]  # fmt: skip


# What is refused

LIST, TABLE = "load_task: the list of pairs", "load_task: the DataFrame"
POINT = namedtuple("POINT", ["clean", "corrupted"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], f"{LIST} has no rows."),
        ((), f"{LIST} has no rows."),
        (FRAME.iloc[:0], f"{TABLE} has no rows."),
        (DATASET.select([]), "load_task: the Dataset has no rows."),
        (pd.DataFrame(), f"{TABLE} needs the columns clean, corrupted, target, foil (pairs) or"),
        ([FIRST, 3], f"{LIST}, row 1: needed a dict or a Pair, got the int 3."),
        ([FIRST, None], f"{LIST}, row 1: needed a dict or a Pair, got None."),
        (["x", FIRST], "row 0: needed a dict or a Pair, got the str 'x'; a prompt alone is {"),
        ([FIRST, [FIRST]], "row 1: needed a dict or a Pair, got a list"),
        ([pd.Series(FIRST)], "row 0: needed a dict or a Pair, got a Series."),
        ([POINT("a", "b")], "row 0: needed a dict or a Pair, got a POINT."),
        ([Pair], "row 0: needed a dict or a Pair, got the class Pair, not one of its instances."),
        ([without(FIRST, "foil")], f"{LIST} needs the columns"),
        ([without(FIRST, "foil")], "(foil missing); it has clean, corrupted, target."),
        (FRAME.drop(columns="corrupted"), "(corrupted missing); it has clean, target, foil, group"),
        (FRAME.rename(columns={"foil": "Foil"}), "Write 'Foil' as 'foil'."),
        (FRAME.rename(columns={"clean": "prompt"}), "Pairs or plain prompts, not half of each."),
        (pd.DataFrame(FRAME.to_numpy()), "it has 0, 1, 2, 3, 4, 5."),
        (pd.concat({"all": FRAME}, axis=1), "it has ('all', 'clean'), ('all', 'corrupted'),"),
        ([FIRST, without(SECOND, "foil")], f"{LIST}, row 1: foil is missing."),
        ([FIRST, {"prompt": "a"}], f"{LIST}, row 1: clean is missing."),
        ([{"prompt": "a"}, Pair(**SECOND)], f"{LIST}, row 0: clean is missing."),
        ([FIRST, Pair(clean="a", corrupted="b", target="c")], f"{LIST}, row 1: foil is missing."),
        ([FIRST, SECOND | {"foil": None}], "row 1: foil is empty."),
        ([FIRST, SECOND | {"foil": float("nan")}], "row 1: foil is empty."),
        ([FIRST, SECOND | {"clean": np.float32("nan")}], "row 1: clean is empty."),
        ([FIRST, SECOND | {"clean": pd.NA}], "row 1: clean is empty."),
        ([FIRST, SECOND | {"clean": " \n"}], "row 1: clean is empty."),
        ([FIRST, SECOND | {"target": 3}], "row 1: target must be text, got 3 (int)."),
        ([FIRST, SECOND | {"target": np.int8(3)}], "row 1: target must be text, got 3 (int)."),
        ([FIRST, SECOND | {"target": 10**5000}], "row 1: target must be text, got an int of 16610"),
        ([FIRST, SECOND | {"clean": b"\n"}], "row 1: clean must be text, got b'\\n' (bytes)."),
        ([FIRST, SECOND | {"clean": ["a"]}], "row 1: clean must be text, got a list that holds"),
        ([FIRST, SECOND | {"clean": torch.eye(2)}], "row 1: clean must be text, got a Tensor [2,"),
        ([FIRST, SECOND | {"input": 5}], "row 1: input must be text, got 5 (int)."),
        ([FIRST, SECOND | {"clean": "a\ud800"}], "row 1: 'clean' holds '\\ud800'"),
        ([FIRST | {"target_id": np.bool_(True)}], "row 0: target_id must be the id of a token, a"),
        ([FIRST | {"target_id": 1.5}], "row 0: target_id must be the id of a token, a whole"),
        ([FIRST, SECOND | {"clean ": "x"}], "row 1: the key 'clean' stands there twice."),
        ([FIRST | {1: "x", "1": "y"}], "row 0: the key '1' stands there twice."),
        ([Pair(**FIRST, labels={"foil": "x"})], "row 0: a label is called 'foil', as a column is;"),
        ([Pair(**FIRST, labels={"a": 1, "a ": 2})], "row 0: the key 'a' stands there twice."),
        (pd.concat([FRAME, FRAME[["beta"]]], axis=1), f"{TABLE}: the column 'beta' stands there"),
        (FRAME.rename_axis("clean"), f"{TABLE}: the column 'clean' stands there twice."),
        (FRAME.assign(foil=["July", None]), f"{TABLE}, row 1: foil is empty."),
        (FRAME.assign(foil=[3, "x"]), f"{TABLE}, row 0: foil must be text, got 3 (int)."),
        (FRAME.assign(foil=[None, "x"]).astype("category"), f"{TABLE}, row 0: foil is empty."),
        (FRAME.assign(foil=pd.array(["x", None], dtype="string")), "row 1: foil is empty."),
        (FRAME.assign(foil=["x", None]).set_axis([8, "k"]), "row 1 (index 'k'): foil is empty."),
        (FRAME.set_axis([1, 0]).assign(foil=[None, "x"]), "row 0 (index 1): foil is empty."),
        (datasets.Dataset.from_list([FIRST, SECOND | {"foil": None}]), "row 1: foil is empty."),
        (pa.table([["a"], ["b"]], names=["prompt", "prompt"]), "Table: the column 'prompt' stands"),
        ([FIRST | {"x": {1, 2}}], "row 0: label 'x' must be a text, a number, a truth value or a"),
        ([FIRST | {"x": FRAME}], "truth value or a date, got a DataFrame."),
        ([FIRST | {"x": {(1, 2): 3}}], "row 0: label 'x' cannot be written as JSON: TypeError:"),
    ],
)  # fmt: skip
def test_faults_name_their_row(given: Any, said: str) -> None:
    assert said in message(rows_in_memory, given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (datasets.DatasetDict({"train": DATASET, "dev": DATASET}), "its splits: train, dev."),
        (
            datasets.IterableDatasetDict({"test": DATASET.to_iterable_dataset()}),
            "got an IterableDatasetDict; take one of its splits: test.",
        ),
        (DATASET.to_iterable_dataset(), "the IterableDataset is streamed and has no end that is"),
        (DATASET.to_iterable_dataset(), "give its first rows, list(dataset.take(200)), or"),
        (FIRST, "put it into a list."),
        (Pair(**FIRST), "got a Pair; put it into a list."),
        ({"clean": ["a"]}, "pandas.DataFrame(columns) makes one."),
        (iter([FIRST]), "name_or_path must be a text, a path, a list, a tuple, a DataFrame or a D"),
        (None, "must be a text, a path, a list, a tuple, a DataFrame or a Dataset, got None."),
        (3, "a DataFrame or a Dataset, got the int 3."),
    ],
)  # fmt: skip
def test_what_is_no_table_says_what_to_do(given: Any, said: str, trained: DepthModel) -> None:
    assert said in message(load_task, given, trained)


def test_rows_keep_their_names_behind_the_reader(trained: DepthModel) -> None:
    late = pd.DataFrame([FIRST, SECOND | {"foil": "Zzz"}], index=[3, 9])
    assert "(row 1 (index 9): not in the vocabulary" in message(load_task, late, trained)
    again = load_task(pd.DataFrame([FIRST, SECOND]), trained)
    assert again.where == ("row 0", "row 1")


def test_a_pair_is_frozen_and_says_what_it_is() -> None:
    pair = Pair(**FIRST)
    assert (pair.input, pair.corrupted_input, pair.target_id, pair.foil_id) == (None,) * 4
    assert pair.labels == {}
    assert pair == Pair(**FIRST)
    with pytest.raises(FrozenInstanceError):
        pair.clean = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Pair(clean="a")  # type: ignore[call-arg]


def test_two_prompts_go_the_same_way(trained: DepthModel) -> None:
    typed = pair_task(**FIRST, model=trained)
    listed = load_task([FIRST], trained, name="pair")
    assert_same(typed, listed)
    assert typed.where == ("the pair",)
    text = message(pair_task, " ", FIRST["corrupted"], trained, target="March", foil="July")
    assert text == "task 'pair', the pair: clean is empty."


# There and back


def assert_same(one: Task, other: Task, *, but: tuple[str, ...] = ()) -> None:
    """All that a task is made of, apart from where it came from."""
    for field in fields(Task):
        if field.name in ("where", "n_drawn", "n_multi_token", "n_wrong", *but):
            continue
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, TokenBatch):
            mine, theirs = mine.tokens, theirs.tokens
        if isinstance(mine, Tensor):
            assert torch.equal(mine, theirs), field.name
        elif isinstance(mine, pd.DataFrame):
            pd.testing.assert_frame_equal(mine, theirs)
        else:
            assert mine == theirs, field.name


@pytest.mark.parametrize("name", list_tasks())
def test_a_task_from_its_own_frame_is_the_same(
    name: str, trained: DepthModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        task = load_task(name, trained, n=10, on_multi_token="drop", seed=3)
    except ValueError as error:
        pytest.skip(str(error))
    frame = task.to_frame()
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    for given in (
        frame,
        frame.to_dict("records"),
        datasets.Dataset.from_pandas(frame),
        tmp_path / "t.csv",
        tmp_path / "t.parquet",
    ):
        assert_same(task, load_task(given, trained, name=task.name, seed=3))
    assert not caplog.messages  # nothing is assumed: the ids are given
    half = load_task(frame[::2], trained, name=task.name, seed=3)
    assert_same(task.select(slice(None, None, 2)), half)


ODD = {"pair": 7, "target": "x", "label_target": "y", "label_label_clean": 0, "label_of": "z",
       "prediction_position": 2, "prompt": "q", "when": pd.Timestamp(0), "share": 0.5}  # fmt: skip


def test_labels_named_like_columns_come_back(trained: DepthModel) -> None:
    pair = build_task([Row(**FIRST, labels=ODD), Row(**SECOND, labels=ODD)], trained, name="odd")
    assert_same(pair, load_task(pair.to_frame(), trained, name="odd"))
    plain = [Row(clean=FIRST["clean"], labels=ODD | {"clean": 1, "corrupted": 2, "foil_id": 3})]
    prompts = build_task(plain, trained, name="odd")
    assert_same(prompts, load_task(prompts.to_frame(), trained, name="odd"))


def test_names_of_labels_and_their_columns_are_one_to_one() -> None:
    labels = [
        *OWN,
        *(f"label_{name}" for name in OWN),
        "label_",
        "label_x",
        "beta",
        "label_label_x",
    ]
    columns = [label_column(label) for label in labels]
    assert len(set(columns)) == len(labels)
    assert not OWN.intersection(columns)
    table = ["pair", "clean", "corrupted", "target", "foil", "prediction_position", *columns]
    assert label_columns(table) == dict(zip(columns, labels, strict=True))
    # A table that no task made keeps its names.
    assert label_columns(["prompt", "pair", "label_target"]) == {
        "pair": "pair",
        "label_target": "label_target",
    }


def test_a_frame_of_another_tokenizer_says_so(trained: DepthModel, tiny_gpt2: DepthModel) -> None:
    frame = load_task("months", trained, n=2).to_frame()
    assert "leave one of the two out" in message(load_task, frame, tiny_gpt2)


def test_an_input_that_was_found_is_found_again(trained: DepthModel) -> None:
    # "May May" stands there three times over, one of them all of what varies.
    prompt, other = "May May May is", "May is"
    span = varying_span(prompt, other)
    assert span is not None
    assert span == (4, 11)
    assert find_input(prompt, prompt[slice(*span)], other) == span
    given = [{"clean": "from May May May is", "corrupted": "from May June is"}]
    given[0] |= {"target": "March", "foil": "July"}
    task = load_task(given, trained)
    assert task.inputs == ("May May",)
    assert_same(task, load_task(task.to_frame(), trained))


# Tokenizers are another library


class Failing:
    """A tokenizer that works until it is asked for this."""

    def __init__(self, tokenizer: Any, fails: str) -> None:
        self.tokenizer, self.fails = tokenizer, fails

    def __getattr__(self, name: str) -> Any:
        return self.do if name == self.fails else getattr(self.tokenizer, name)

    def do(self, *_args: Any, **_options: Any) -> Any:
        raise KeyError("no\nsuch token")

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self.fails == "__call__" or self.fails in options:
            self.do()
        return self.tokenizer(*args, **options)


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("__call__", "the tokenizer cannot read 'Two months from January is' and 3 other texts: "),
        ("return_offsets_mapping", "row 0: the tokenizer cannot read 'Two months from January is'"),
        ("decode", "the tokenizer cannot say what the tokens '["),
        ("get_vocab", "task 'pairs in memory': the tokenizer's vocabulary cannot be read: Key"),
    ],
)  # fmt: skip
def test_what_a_tokenizer_raises_is_one_line(fails: str, said: str, trained: DepthModel) -> None:
    whole = load_task(RECORDS, trained)
    march = trained.tokenizer.convert_tokens_to_ids("March")

    class Model:
        tokenizer = Failing(trained.tokenizer, fails)
        n_ctx, info = trained.n_ctx, trained.info

        def tokenize(self, prompts: Any) -> TokenBatch:
            clean = prompts[0] == FIRST["clean"]
            tokens = whole.clean_tokens if clean else whole.corrupted_tokens
            assert tokens is not None
            return tokens

        def logits(self, prompts: Any) -> Tensor:
            raise AssertionError("nothing runs")

    with pytest.raises(ValueError) as caught:
        load_task([FIRST | ({"target_id": march} if fails == "get_vocab" else {}), SECOND], Model())
    text = str(caught.value)
    assert said in text
    assert "KeyError: 'no\\nsuch token'" in text
    assert text.isprintable()
    assert not text.endswith("..")
