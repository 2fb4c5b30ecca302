"""Screens and links, the shelf, jobs, programs: everything of the explorer but the page."""

import ast
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensdepth import DepthModel
from lensdepth.explorer import Offers, questions, script
from lensdepth.explorer.jobs import Jobs, Report
from lensdepth.explorer.settle import describe, settle
from lensdepth.explorer.shelf import Shelf, Turn
from lensdepth.explorer.state import CHOICES, LONGEST_PROMPT, PAIRS, Screen, changed, parse
from lensdepth.progress import Cancelled, Watcher, counted

OFFERS = Offers(
    models={"tiny": {"name_or_path": "tiny"}, "gone": {"name_or_path": "./gone"}},
    tasks={"months": {"name_or_path": "months"}, "capitals": {"name_or_path": "capitals"}},
)
START = Screen(model="tiny", task="months")


@pytest.fixture
def shelf(trained: DepthModel) -> Any:
    made = Shelf(OFFERS, lambda name_or_path: trained if name_or_path == "tiny" else _gone())
    yield made
    made.close()


def _gone() -> DepthModel:
    raise ValueError("load_model: there is no folder './gone'.")


# Screens and links


@given(
    prompt=st.text(max_size=60),
    source=st.text(max_size=60),
    depth=st.none() | st.integers(0, 99),
    position=st.integers(-1, 99),
    strength=st.none() | st.floats(0, 180),
    edit=st.sampled_from(CHOICES["edit"]),
    view=st.sampled_from(CHOICES["view"]),
    pairs=st.sampled_from(PAIRS),
    run=st.booleans(),
    components=st.lists(st.sampled_from(["L5H3", "MLP7", "ATTN2"]), unique=True),
)
def test_a_link_opens_the_screen_that_it_was_made_of(**values: Any) -> None:
    values["components"] = tuple(values["components"])
    try:
        screen = replace(START, **values)
        query = screen.query()
    except UnicodeEncodeError:
        return  # a lone surrogate cannot stand in any link
    assert parse(query, OFFERS) == screen


def test_an_untouched_screen_has_a_short_link() -> None:
    assert START.query() == "?model=tiny&task=months"
    assert parse("", OFFERS) == START
    assert parse(None, OFFERS) == START


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?model=/etc/passwd", "was not started with the model '/etc/passwd'; it has tiny, gone"),
        ("?task=../../x", "was not started with the task"),
        ("?colour=red", "a part 'colour' that the explorer does not know"),
        ("?view=root", "view must be one of read, poke"),
        ("?depth=deep", "depth must be a whole number, got 'deep'"),
        ("?depth=1e9", "depth must be a whole number"),
        ("?depth=99999999", "depth must be a whole number"),
        ("?strength=nan", "strength must be a number"),
        ("?edit=__import__", "edit must be one of full"),
        ("?pairs=7", "pairs must be one of 10, 20, 40"),
        ("?components=<b>", "'<b>' is no component"),
        ("?components=" + ",".join(f"MLP{i}" for i in range(99)), "at most 64 names"),
        ("?prompt=" + "x" * (LONGEST_PROMPT + 1), "4,001 characters, and at most 4,000"),
        ("?prompt=" + "x" * 30_000, "This link has 30,007 characters"),
        ("?prompt=%ff%fe", "not properly encoded"),
    ],
)
def test_a_link_that_makes_no_sense_says_why(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(query, OFFERS)


@given(st.text(max_size=80))
def test_any_query_is_a_screen_or_a_readable_error(query: str) -> None:
    message = ""
    try:
        assert isinstance(parse(query, OFFERS), Screen)
    except ValueError as error:
        message = str(error)
    assert len(message) < 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ["a", "b"]), ("depth", [1]), ("depth", True), ("depth", {"a": 1}),
        ("model", None), ("model", ["tiny"]), ("view", None), ("components", {"L1H1": 1}),
        ("components", [["L1H1"]]), ("strength", "a"), ("__class__", "x"),
    ],
)  # fmt: skip
def test_what_a_browser_makes_up_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError):
        changed(START, {field: value}, OFFERS)


def test_a_token_in_the_link_is_no_part_of_the_screen() -> None:
    assert parse("?token=secret&view=poke", OFFERS) == replace(START, view="poke")


# From a screen to one that fits


def test_gaps_are_filled_and_sites_moved_onto_the_prompt(shelf: Shelf) -> None:
    setting = settle(START, shelf)
    screen = setting.screen
    assert screen.prompt == setting.examples[0][0]
    assert screen.source == setting.examples[0][1]
    assert screen.position == screen.to == len(setting.tokens) - 1
    assert screen.depth is not None
    assert 0 < screen.depth <= setting.n_layers
    far = settle(replace(screen, depth=99, last=98, position=50, to=70, layer=9), shelf).screen
    assert (far.depth, far.last, far.layer) == (setting.n_layers, None, setting.n_layers - 1)
    assert far.position == len(setting.tokens) - 1
    blocks = settle(replace(screen, stream="mlp_out", depth=99), shelf).screen
    assert blocks.depth == setting.n_layers - 1
    assert "Read" in describe(screen)


def test_a_model_that_cannot_be_loaded_says_so_every_time(shelf: Shelf) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"no folder './gone'"):
            settle(replace(START, model="gone"), shelf)
    assert settle(START, shelf).n_layers == 3


# The shelf


def test_nothing_is_computed_twice_not_even_at_once(shelf: Shelf) -> None:
    calls, gate = [], threading.Event()

    def find() -> int:
        calls.append(1)
        gate.wait(5)
        return 7

    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(shelf.answer("key", find).value))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert not shelf.known("key")
    gate.set()
    for thread in threads:
        thread.join()
    assert found == [7] * 5
    assert len(calls) == 1
    assert shelf.known("key")


def test_what_fails_is_not_kept(shelf: Shelf) -> None:
    def fail() -> None:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            shelf.answer("key", fail)
    assert shelf.answer("key", lambda: 1).value == 1


def test_what_others_cancel_is_found_anew(shelf: Shelf) -> None:
    begun, gate = threading.Event(), threading.Event()
    seen: list[object] = []

    def cancelled() -> None:
        begun.set()
        gate.wait(5)
        raise Cancelled

    def first() -> None:
        with pytest.raises(Cancelled):
            shelf.answer("key", cancelled)

    one = threading.Thread(target=first)
    one.start()
    begun.wait(5)
    two = threading.Thread(target=lambda: seen.append(shelf.answer("key", lambda: 3).value))
    two.start()
    gate.set()
    one.join()
    two.join()
    assert seen == [3]


def test_old_answers_go(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensdepth.explorer.shelf.MOST_ANSWERS", 3)
    for i in range(6):
        shelf.answer(str(i), lambda i=i: i)
    assert [shelf.known(str(i)) for i in range(6)] == [False] * 3 + [True] * 3


def test_the_librarys_warnings_come_with_the_answer(shelf: Shelf) -> None:
    screen = settle(replace(START, prompt="Two zebras from January is"), shelf).screen
    found = questions.answer(questions.lens_of(screen), shelf)
    assert any("zebras" in note for note in found.notes)
    assert found.notes == questions.answer(questions.lens_of(screen), shelf).notes


def test_the_same_question_is_the_same_key_and_another_is_not(shelf: Shelf) -> None:
    screen = replace(settle(START, shelf).screen, view="poke")
    key = questions.key_of(questions.intervention_of(screen), shelf)
    closely = replace(screen, focus="window")
    assert key == questions.key_of(questions.intervention_of(closely), shelf)
    others = [
        replace(screen, depth=0), replace(screen, edit="norm"), replace(screen, strength=0.5),
        replace(screen, prompt=screen.source), replace(screen, position=1, to=1),
        replace(screen, stream="mlp_out"),
    ]  # fmt: skip
    keys = {questions.key_of(questions.intervention_of(other), shelf) for other in others}
    assert len(keys | {key}) == len(others) + 1


def test_who_clicks_goes_before_long_work() -> None:
    turn, order = Turn(), []
    begun = threading.Event()

    def long() -> None:
        with turn.last() as hand_over:
            for i in range(3):
                order.append(f"part {i}")
                begun.set()
                time.sleep(0.05)
                hand_over()

    worker = threading.Thread(target=long)
    worker.start()
    begun.wait(5)
    with turn.first():
        order.append("click")
    worker.join()
    assert order == ["part 0", "click", "part 1", "part 2"]


# Jobs


def _parts(gate: threading.Event, n: int = 3) -> Callable[[Watcher], None]:
    def run(watcher: Watcher) -> None:
        for i in range(n):
            watcher("sweeping", i, n)
            gate.wait(5)

    return run


def _wait(jobs: Jobs, ticket: str, status: str) -> Report:
    report = jobs.report(ticket)
    for _ in range(500):
        report = jobs.report(ticket)
        if report.status == status:
            return report
        time.sleep(0.01)
    raise AssertionError(f"{report} never became {status}")


def test_two_pages_share_one_run_and_it_ends_when_both_have_cancelled() -> None:
    jobs, gate = Jobs(), threading.Event()
    runs = []

    def run(watcher: Watcher) -> None:
        runs.append(1)
        _parts(gate)(watcher)

    one, two = jobs.start("q", run), jobs.start("q", run)
    assert _wait(jobs, one, "running").total == 3
    jobs.cancel(one)
    assert jobs.report(one).status == "cancelled"
    assert jobs.report(two).status == "running"
    gate.set()
    assert _wait(jobs, two, "done").seconds >= 0
    assert len(runs) == 1
    gate.clear()
    three = jobs.start("q", run)
    _wait(jobs, three, "running")
    jobs.cancel(three)
    gate.set()
    _wait(jobs, three, "cancelled")
    assert len(runs) == 2
    jobs.close()


def test_a_failure_is_told_and_an_unknown_ticket_too() -> None:
    def fail(watcher: Watcher) -> None:
        raise ValueError("too short")

    jobs = Jobs(describe=lambda error: f"said: {error}")
    assert _wait(jobs, jobs.start("q", fail), "failed").message == "said: too short"
    assert jobs.report("nonsense").status == "unknown"
    jobs.cancel("nonsense")
    jobs.close()


def test_a_cancelled_sweep_leaves_the_model_free(shelf: Shelf) -> None:
    screen = settle(replace(START, view="sweep"), shelf).screen
    question = questions.exhibits(screen)[0].question

    def stop(what: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        questions.answer(question, shelf, stop)
    assert not questions.known(question, shelf)
    assert questions.answer(question, shelf, lambda *_: None).value.metric == "logit_diff"
    assert questions.known(question, shelf)


def test_progress_is_that_of_the_library() -> None:
    jobs, gate = Jobs(), threading.Event()

    def run(watcher: Watcher) -> None:
        from lensdepth.progress import watch

        with watch(watcher), counted(10, "patching") as update:
            update(4)
            gate.wait(5)

    ticket = jobs.start("q", run)
    report = jobs.report(ticket)
    for _ in range(500):
        report = jobs.report(ticket)
        if report.done:
            break
        time.sleep(0.01)
    assert (report.what, report.done, report.total, report.share) == ("patching", 4, 10, 0.4)
    gate.set()
    jobs.close()


# Programs


@pytest.mark.parametrize("view", ["read", "poke", "sweep", "circuit", "compare"])
def test_programs_are_python_and_name_public_functions_alone(shelf: Shelf, view: str) -> None:
    hostile = 'Two months from """May" is \\ \n <script>'
    screen = settle(replace(START, view=view, components=("L1H0",)), shelf).screen
    screen = replace(screen, prompt=hostile)
    shown = questions.exhibits(screen)
    text = script.program(shown, OFFERS, title=describe(screen), fingerprints={"tiny": "ab"})
    tree = ast.parse(text)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert hostile in strings or view == "sweep"
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called <= {*questions.FUNCTIONS, "load_model", "print"}


def test_a_notebook_is_one(shelf: Shelf) -> None:
    nbformat = pytest.importorskip("nbformat")
    screen = settle(replace(START, view="poke"), shelf).screen
    text = script.notebook(questions.exhibits(screen), OFFERS, title="Poke", fingerprints={})
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    assert any("intervene(" in cell.source for cell in book.cells)
