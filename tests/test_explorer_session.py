"""Notes, a whole session as one program, and prompt files that are dropped into the page."""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lensdepth import DepthModel, intervene, load_task, pair_table
from lensdepth.explorer import Offers, questions, script
from lensdepth.explorer.callbacks_files import MOST, taken
from lensdepth.explorer.callbacks_graph import graph_file
from lensdepth.explorer.callbacks_keep import program_file, session_file, table_file
from lensdepth.explorer.cards import cards_of, graph_of
from lensdepth.explorer.links import parse
from lensdepth.explorer.session import MOST_CHAPTERS, entries_of, session_of, with_note
from lensdepth.explorer.settle import settle
from lensdepth.explorer.shelf import MOST_FILES, Shelf
from lensdepth.explorer.state import LARGEST_FILE, LONGEST_NOTE, Screen
from lensdepth.tasks.files import Most, read_rows
from lensdepth.tasks.prompt_file import read_bytes, record

OFFERS = Offers(
    models={"tiny": {"name_or_path": "tiny"}},
    tasks={"capitals": {"name_or_path": "capitals"}, "months": {"name_or_path": "months"}},
)
BASE, SOURCE = "The capital of France is", "The capital of Spain is"
START = Screen(model="tiny", task="capitals", prompt=BASE, source=SOURCE)
PAIRS = [
    {"clean": f"The capital of {a} is", "corrupted": f"The capital of {b} is", "target": c,
     "foil": d, "far": far}
    for a, b, c, d, far in [
        ("France", "Spain", "Paris", "Madrid", 1), ("Spain", "Italy", "Madrid", "Rome", 2),
        ("Italy", "France", "Rome", "Paris", 2), ("Japan", "France", "Paris Rome", "Paris", 1),
    ]
]  # fmt: skip
LINES = "\n".join(map(json.dumps, PAIRS)).encode()
MARKUP = (
    "<img src=x onerror=alert(1)> **bold** $x$ \\ `code`\n# no heading\n    no code\n1. no list"
)


@pytest.fixture
def shelf(trained: DepthModel) -> Iterator[Shelf]:
    made = Shelf(OFFERS, lambda name_or_path: trained)
    yield made
    made.close()


def sent(data: bytes, name: str = "pairs.jsonl") -> dict[str, str]:
    """What a page sends of a file."""
    return {"name": name, "content": base64.b64encode(data).decode()}


def history(*screens: Screen) -> dict[str, Any]:
    """What a tab has asked."""
    return {"asked": [{"query": s.query(), "label": s.view, "note": s.note} for s in screens]}


# Notes


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("x" * (LONGEST_NOTE + 1), "1,001 characters, and at most 1,000 are kept"),
        ("\x00", r"holds the character '\\x00'"),
        ("\x1b[31m", r"holds the character '\\x1b'"),
    ],
)
def test_a_note_is_plain_text_of_bounded_length(note: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(replace(START, note=note).query(), OFFERS)
    assert parse(replace(START, note="a\r\nb\rc").query(), OFFERS).note == "a\nb\nc"


def test_a_note_stays_with_its_question(shelf: Shelf) -> None:
    poke = settle(replace(START, view="poke", depth=1, note="here"), shelf).screen
    before = {"query": poke.query()}
    noted = {"entries": [{"query": poke.query(), "note": "here"}]}

    def after(**changes: Any) -> str:
        screen = settle(replace(poke, **changes), shelf).screen
        return with_note(screen, before, noted, shelf).note

    assert after(focus="suffix") == "here"  # another look at the same
    assert after(depth=2) == ""
    assert after(depth=2, note="there") == "there"  # written at the same moment
    elsewhere = {"query": replace(poke, depth=2, note="").query()}
    back = with_note(replace(poke, note=""), elsewhere, noted, shelf)
    assert back.note == "here"
    assert with_note(poke, {"query": "?task=gone"}, {"entries": [{"query": 7}]}, shelf) == poke


def test_every_export_has_the_note_as_text(shelf: Shelf) -> None:
    screen = settle(replace(START, view="poke", depth=2, note=MARKUP), shelf).screen
    text = program_file(screen, "script", shelf)[1]
    assert MARKUP in compile(text, "program", "exec").co_consts[0]
    book = json.loads(program_file(screen, "notebook", shelf)[1])
    head = "".join(book["cells"][0]["source"])
    for sign in "<>*$\\`":
        assert sign not in head.removeprefix("# ")
    assert "\n#" not in head
    assert "\n    " not in head
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        frame = read(BytesIO(table_file(screen, "predictions", kind, shelf)[1]))
        assert set(frame["note"]) == {MARKUP}
    drawn = settle(replace(START, view="circuit", graphed=True, note=MARKUP), shelf).screen
    questions.answer(graph_of(drawn), shelf)
    graph = json.loads(graph_file(drawn, shelf)[1])
    assert MARKUP in graph["metadata"]["info"]["description"]


@pytest.mark.parametrize("markdown", [MARKUP, "- a\n+ b\n= c\n| d | e |\n~~f~~ [g](h) &lt; _i_"])
def test_markdown_shows_a_note_as_it_stands(markdown: str) -> None:
    parser = pytest.importorskip("mistune")
    shown = parser.html(script._in_markdown(markdown))
    for tag in ("<img", "<strong", "<code", "<h1", "<ol", "<ul", "<table", "<del", "<a ", "<em"):
        assert tag not in shown


# Sessions


def test_a_session_is_one_program_that_gives_the_numbers_on_the_page(
    shelf: Shelf, trained: DepthModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    dropped, _ = taken(sent(LINES), START, shelf)
    read = settle(replace(START, view="read", note="First."), shelf).screen
    poke = settle(replace(START, view="poke", depth=2, note=MARKUP), shelf).screen
    listed = settle(replace(dropped, view="pairs", lists=True, rows=10), shelf).screen
    never = settle(replace(START, view="sweep"), shelf).screen  # nobody pressed the button
    wrong = replace(poke, source="The is", position=3, to=3)  # has no counterpart
    (card,) = cards_of(listed)
    questions.answer(card.question, shelf)
    more = replace(listed, rows=20)
    questions.answer(cards_of(more)[0].question, shelf)
    asked = history(read, replace(poke, note=""), never, wrong, poke, read, listed, more)
    asked["asked"] += [{"query": "?task=gone.csv%23000000000000", "label": "gone"}, 7]
    name, text, left_out = session_file(asked, "script", shelf)
    assert name == "lensdepth-session.py"
    assert len(left_out) == 2
    assert "'gone.csv' is not here any more" in left_out[0]
    assert "has no counterpart" in left_out[1]
    assert "patch_sweep" not in text
    assert text.count("The capital of Italy is") == 2  # each row once, however often it is used
    monkeypatch.chdir(tmp_path)
    there: dict[str, Any] = {}
    exec(compile(text, name, "exec"), there)
    said = capsys.readouterr().out
    assert said.index("1. Read") < said.index("2. Poke") < said.index("3. Pairs")
    assert said.count(MARKUP) == said.count("First.") == 1
    assert "Other weights" not in said
    found = intervene(trained, BASE, SOURCE, depth=2)
    pd.testing.assert_frame_equal(there["found"].to_frame(), found.to_frame())
    page = questions.answer(card.question, shelf).value
    pd.testing.assert_frame_equal(there["pairs"].to_frame(), page.to_frame())
    assert len(page.corrupted) == 3
    assert {p.name for p in tmp_path.iterdir()} == {
        "01-map.html", "01-next.html", "01-cell.html", "02-predictions.html",
        "02-trajectory.html", "03-pair-dots.html", "04-pair-dots.html",
    }  # fmt: skip
    # The notebook has the same cells.
    book = json.loads(session_file(asked, "notebook", shelf)[1])
    again: dict[str, Any] = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), again)
    pd.testing.assert_frame_equal(again["pairs"].to_frame(), page.to_frame())


def test_a_session_is_bounded_and_may_hold_nothing(shelf: Shelf) -> None:
    with pytest.raises(ValueError, match="Nothing has been found in this tab yet"):
        session_of({"asked": [{"query": "?view=keep"}, {"query": "?view=sweep"}]}, shelf)
    with pytest.raises(ValueError, match="Nothing has been found"):
        session_of("no history", shelf)
    pokes = [replace(START, view="poke", depth=i % 3, strength=0.01 * i, position=5, to=5)
             for i in range(MOST_CHAPTERS + 3)]  # fmt: skip
    session = session_of(history(*pokes), shelf)
    assert len(session.chapters) == MOST_CHAPTERS
    assert "before the last 60" in session.title
    assert len(entries_of({"entries": [{"query": "x" * 99_999}] * 300})) == 200


# Files


def test_a_file_is_read_as_on_the_command_line(tmp_path: Path) -> None:
    frame = pd.DataFrame(PAIRS).assign(gap=[1.5, float("nan"), 2.0, 3.0])
    contents = {
        "a.jsonl": LINES, "b.json": json.dumps(PAIRS).encode(), "c.csv": frame.to_csv(index=False),
        "d.tsv": frame.to_csv(index=False, sep="\t"), "e.parquet": frame.to_parquet(),
        "f.csv": "prompt,who\nThe capital of France is,me\n", "g.csv": "clean,corrupted\na,b\n",
        "h.jsonl": b'{"prompt": "a"}\n{"prompt": 7}\n', "i.csv": "prompt\n\"a\nb\n",
        "j.txt": b"prompt\n", "k.jsonl": "{\"prompt\": \"\ufeff\"}\n[]\n".encode("utf-16"),
        "l.parquet": b"PAR1", "m.csv": b"", "n.json": b"[" * 3000, "o.jsonl": b'{"a": 1, "a": 2}',
    }  # fmt: skip
    refused = 0
    for name, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        file = tmp_path / name
        file.write_bytes(data)
        first = outcome(lambda file=file: tuple(read_rows(file)))
        second = outcome(lambda data=data, name=name: read_bytes(data, name, most=MOST).rows)
        # The same rows or the same words, but for the folder.
        assert second == first.replace(str(file), name)
        refused += second.startswith("prompt file")
    assert refused == 9


def outcome(read: Callable[[], object]) -> str:
    """What reading gives: rows, or why there are none."""
    try:
        return str(read())
    except ValueError as error:
        return str(error)


def test_rows_in_a_program_are_those_of_the_file(trained: DepthModel) -> None:
    frame = pd.DataFrame(PAIRS[:3]).assign(
        gap=[1.5, float("nan"), float("inf")], day=pd.Timestamp("2020-02-02"),
        input=pd.Series(["France", "Spain", None]), target_id=None, label_target="x",
    )  # fmt: skip
    plain = "prompt,target,input\nThe capital of France is,Paris,France\n"
    for file in (
        read_bytes(frame.to_parquet(), "a.parquet", most=MOST),
        read_bytes(plain.encode(), "b.csv", most=MOST),
    ):
        offered = {"name_or_path": file.rows, "name": file.name}
        text = script._given(offered["name_or_path"])
        rows = eval(text, {"float": float})
        assert str(rows) == str([record(row) for row in file.rows])
        first, second = (
            load_task(given, trained, name=file.name).to_frame() for given in (file.rows, rows)
        )
        pd.testing.assert_frame_equal(first, second)


def test_a_program_names_a_file_of_the_command_line_by_its_path() -> None:
    assert script._path(Path("pairs.csv")) == "'pairs.csv'"


def test_errors_behind_reading_name_lines_too(shelf: Shelf) -> None:
    alike = {"clean": BASE, "corrupted": BASE, "target": "Paris", "foil": "Rome"}
    data = "\n".join(["", json.dumps(PAIRS[0]), "", json.dumps(alike)]).encode()
    with pytest.raises(ValueError, match="the same prompt in line 4"):
        taken(sent(data), START, shelf)
    assert set(shelf.offers.tasks) == {"capitals", "months"}  # what does not fit is not kept


def test_it_is_said_what_was_read_and_what_not(shelf: Shelf) -> None:
    screen, said = taken(sent(LINES, "C:\\mine\\pairs.jsonl"), START, shelf)
    assert said.startswith("Read 3 pairs of 'pairs.jsonl', the task from now on. 1 row left out")
    assert "no single tokens of tiny: line 4." in said
    assert screen.task.startswith("pairs.jsonl#")
    assert screen.prompt == PAIRS[0]["corrupted"]
    task = questions.answer(questions.task_of(screen, 10), shelf).value
    assert (task.name, task.where) == ("pairs.jsonl", ("line 1", "line 2", "line 3"))
    # The same bytes are the same task, others another one.
    assert taken(sent(LINES), START, shelf)[0].task == screen.task
    assert taken(sent(LINES + b"\n"), START, shelf)[0].task != screen.task


def bomb(**texts: Any) -> bytes:
    """A small Parquet file that holds much."""
    target = BytesIO()
    pd.DataFrame(texts).to_parquet(target, compression="gzip")
    return target.getvalue()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "sent no file"),
        ({"name": 7, "content": "x"}, "sent no file"),
        ({"name": "a.csv", "content": "äöü"}, "did not send 'a.csv' whole"),
        ({"name": "a.csv", "content": "x" * (2 * LARGEST_FILE)}, "larger than 1 MiB"),
        (sent(b"x" * (LARGEST_FILE + 1), "a.csv"), "larger than 1 MiB"),
        (sent(LINES, "../../etc/passwd"), "prompt file 'passwd': the name must end in one of"),
        (sent(LINES, "a\x1b[31m\ud800.exe"), r"prompt file 'a\\\\x1b\[31m.*\.exe': the name must"),
        (sent(b"\xff\xfe\x00\x01", "a.csv"), "not UTF-8 text"),
        (sent(b"[" * LARGEST_FILE, "a.json"), "line 1: not JSON"),
        (sent(b'{"a":' * 150_000, "a.jsonl"), "line 1: not JSON"),
        (sent(b'{"prompt": ' + b"9" * 9000 + b"}", "a.jsonl"), "line 1: not JSON"),
        (sent(b"{}\n" * 3000, "a.jsonl"), "more than 2,000 rows"),
        (sent(b"prompt\n" + b"a\n" * 300_000, "a.csv"), "more than 2,000 rows"),
        (sent(json.dumps([{}] * 2001).encode(), "a.json"), "more than 2,000 rows"),
        (sent(bomb(prompt=["a"] * 100_000), "a.parquet"), "more than 2,000 rows"),
        (sent(bomb(prompt=["a" * 50_000] * 2000), "a.parquet"), "more than 16 MiB when it is unp"),
        (sent(b"PAR1" + b"\0" * 99 + b"PAR1", "a.parquet"), "not a readable Parquet file"),
        (sent(b"prompt\n" + b"a " * 9000, "a.csv"), "tokens, and the model's context holds"),
        (sent(b'{"prompt": "\\ud800"}', "a.jsonl"), "half of a character"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_words(given: object, message: str, shelf: Shelf) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        taken(given, START, shelf)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    assert set(shelf.offers.tasks) == {"capitals", "months"}


OPENED: list[str] = []
"""Files that were opened for writing, while `LISTEN` is set."""
LISTEN: list[bool] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not LISTEN:
        return
    if event == "open" and any(sign in str(arguments[1]) for sign in "wax+"):
        OPENED.append(str(arguments[0]))
    if event in ("os.mkdir", "os.rename", "tempfile.mkstemp"):
        OPENED.append(event)


def test_a_file_is_never_written_to_disk(shelf: Shelf) -> None:
    sys.addaudithook(_hear)  # which cannot be taken away again
    LISTEN.append(True)
    try:
        taken(sent(LINES), START, shelf)
        taken(sent(pd.DataFrame(PAIRS).to_parquet(), "a.parquet"), START, shelf)
        with pytest.raises(ValueError, match="more than"):
            taken(sent(b"prompt\n" + b"a\n" * 3000, "a.csv"), START, shelf)
    finally:
        LISTEN.clear()
    assert OPENED == []


def test_files_are_kept_in_bounds_and_a_link_to_one_that_is_gone_says_so(shelf: Shelf) -> None:
    first, _ = taken(sent(LINES), START, shelf)
    for i in range(MOST_FILES):
        assert parse(first.query(), shelf.offers) == first
        taken(sent(LINES + b"\n" * (i + 1)), START, shelf)
    assert len(shelf.offers.tasks) == len(OFFERS.tasks) + MOST_FILES
    with pytest.raises(ValueError, match=r"'pairs\.jsonl' is not here any more") as said:
        parse(first.query(), shelf.offers)
    assert str(said.value).count(". ") == 0  # one sentence
    with pytest.raises(ValueError, match="not started with the task 'x'; it has capitals, months"):
        parse("?task=x", shelf.offers)


def test_the_table_of_a_file_is_that_of_the_command_line(
    shelf: Shelf, trained: DepthModel, tmp_path: Path
) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(LINES)
    task = load_task(file, trained, n=10, on_multi_token="drop")
    screen, _ = taken(sent(LINES), START, shelf)
    (card,) = cards_of(settle(replace(screen, view="pairs", rows=10), shelf).screen)
    page = questions.answer(card.question, shelf).value
    pd.testing.assert_frame_equal(page.to_frame(), pair_table(trained, task).to_frame())


def test_bounds_can_be_left_open() -> None:
    assert len(read_bytes(b"prompt\n" + b"a\n" * 3000, "a.csv", most=Most()).rows) == 3000
