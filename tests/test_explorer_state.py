"""Screens and links, the shelf, jobs, programs: everything of the explorer but the page."""

import ast
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lensdepth
from lensdepth import DepthModel, intervene, load_model
from lensdepth.explorer import Offers, cards, questions, script
from lensdepth.explorer.clicks import acted
from lensdepth.explorer.errors import LONGEST, readable
from lensdepth.explorer.filling import fill
from lensdepth.explorer.jobs import FAREWELL, MOST_OVER, MOST_WAITING, SILENCE, JobReport, Jobs
from lensdepth.explorer.links import CHOICES, changed, parse
from lensdepth.explorer.moves import remarks_of, said_of_move
from lensdepth.explorer.settle import describe, opened, settle
from lensdepth.explorer.shelf import Shelf, Turn, in_background
from lensdepth.explorer.state import LENGTHS, LONGEST_PROMPT, PAIRS, Screen
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
    graphed=st.booleans(),
    kept=st.integers(1, 10),
    upstream=st.sampled_from(["", "EMBED@2", "L5H3@-1", "MLP7@input"]),
    downstream=st.sampled_from(["", "LOGIT", "L6H0@prediction"]),
    writes=st.booleans(),
    held=st.sampled_from(CHOICES["held"]),
    length=st.sampled_from(LENGTHS),
    order=st.sampled_from(CHOICES["order"]),
    descending=st.booleans(),
    find=st.text(max_size=20),
    giver=st.sampled_from(CHOICES["giver"]),
    taker=st.sampled_from(CHOICES["taker"]),
    carried=st.sampled_from(CHOICES["carried"]),
    from_depth=st.none() | st.integers(0, 99),
    into_position=st.integers(-1, 99),
    note=st.text(st.characters(exclude_categories=["Cc"]) | st.just("\n"), max_size=20),
    components=st.lists(
        st.sampled_from(["L5H3", "MLP7", "ATTN2", "MLP0@2", "L1H2@-1"]), unique=True
    ),
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
        ("?kept=0", "kept must lie between 1 and 10, got 0"),
        ("?kept=11", "kept must lie between 1 and 10, got 11"),
        ("?paths=both", "paths must be one of total, direct"),
        ("?upstream=<b>", "upstream must be a node such as L5H3@4"),
        ("?pairs=7", "pairs must be one of 10, 20, 40"),
        ("?rows=7", "rows must be one of 10, 20, 40"),
        ("?length=61", "length must be one of 10, 20, 40, 60"),
        ("?order=__class__", "order must be one of pair, clean"),
        ("?giver=both", "giver must be one of base, source, got 'both'"),
        ("?from_depth=deep", "from_depth must be a whole number, got 'deep'"),
        ("?held=always", "held must be one of none, prompt, onward"),
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
        ("prompt", "half a \ud800"), ("other_prompt", "\udfff"), ("depth", 10**400),
        ("strength", float("nan")), ("strength", [1.0]), ("pairs", 10.5),
        ("upstream", ["L0H0@1"]), ("downstream", 7), ("kept", [3]),
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


def test_the_ends_of_a_move_are_within_their_prompts(shelf: Shelf) -> None:
    longer = "Two months from the month after May is"
    asked = replace(START, prompt="Two months from May is", source=longer, from_depth=99,
                    from_position=8, into_depth=-3, into_position=8)  # fmt: skip
    moved = settle(replace(asked, view="move"), shelf).screen
    assert (moved.from_depth, moved.from_position) == (3, 8)  # the source has so many tokens
    assert (moved.into_depth, moved.into_position) == (0, 5)  # and the base has not
    alone = settle(replace(moved, source=""), shelf).screen
    assert (alone.giver, alone.taker, alone.from_position) == ("base", "base", 5)
    # Where nobody moves anything, nothing of it stands in the link.
    assert "depth=2&position=5&to=5" in settle(START, shelf).screen.query()
    assert "from_" not in settle(START, shelf).screen.query()
    open_move = replace(START, view="move", depth=1)
    assert opened(open_move, shelf).from_depth == 2


@pytest.mark.parametrize(
    "site",
    [
        {"from": ["base", 1, 2]},
        {"from": "base", "to": ["base", 1, 2]},
        {"from": ["base", 1, 2, 3], "to": ["base", 1, 2]},
        {"from": ["them", 1, 2], "to": ["base", 1, 2]},
        {"from": ["base", None, 2], "to": ["base", 1, 2]},
        {"from": ["base", 1, {}], "to": [["base"], 1, 2]},
    ],
)
def test_what_is_no_move_is_refused(site: dict[str, Any], shelf: Shelf) -> None:
    with pytest.raises(ValueError, match=r"A cell is a prompt|must be"):
        acted(START, {"site"}, None, {"kind": "move", **site}, shelf)


def test_a_move_is_said_with_what_has_to_be_known(shelf: Shelf) -> None:
    start = settle(replace(START, view="move"), shelf).screen
    assert start.source

    def told(**changes: Any) -> str:
        screen = settle(replace(start, **changes), shelf).screen
        found = questions.answer(questions.moved_of(screen), shelf).value
        texts = {"base": screen.prompt, "source": screen.source}
        model = shelf.model("tiny")
        giving, taking = (model.str_tokens(texts[name]) for name in (screen.giver, screen.taker))
        remarks = remarks_of(found, screen, len(taking))
        return " ".join([said_of_move(found, screen, giving, taking), *remarks])

    plain = told()
    assert plain.startswith("The state at depth 2, token 5 (is) of the source prompt, put at depth")
    assert "transferred fraction" in plain
    assert plain.endswith(" nats.")  # nothing more has to be known
    assert "same place: nothing can change" in told(giver="base")
    crossed = told(from_depth=0)
    assert "a state of depth 0 (the embedding) stands at depth 2 (after block 1)" in crossed
    assert "Norms differ with depth" in crossed
    assert "Norms differ" not in told(from_depth=0, carried="direction")
    assert "what the lens reads of this state" in told(into_depth=3)
    unread = told(into_depth=3, into_position=2)
    assert "Only the last token's last depth is read" in unread
    assert "changes by 0.00 nats" in unread
    assert "The source prompt's run is the edited one" in told(giver="base", taker="source")
    assert "from the edited run itself" in told(giver="base", from_position=4)
    alone = told(source="", giver="base", from_position=4)
    assert "transferred fraction" not in alone
    assert "the other prompt" not in alone


def test_a_model_that_cannot_be_loaded_says_so_every_time(shelf: Shelf) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match=r"no folder './gone'"):
            settle(replace(START, model="gone"), shelf)
    assert settle(START, shelf).n_layers == 3


def test_a_band_stands_over_prompts_of_its_task_alone() -> None:
    model = load_model("calendar")
    shelf = Shelf(OFFERS, lambda name_or_path: model)
    there = replace(START, model="tiny", task="capitals")
    own = settle(there, shelf).screen
    assert _band_of(own, shelf) == ""  # it is not known yet
    questions.answer(questions.zone_of(own), shelf)
    assert _band_of(own, shelf).startswith("The lens switches at depth ")
    assert "60 prompts of the task" in _band_of(own, shelf)
    for prompt in ("The month of France is", "The capital of wunderland is", "The capital", "is"):
        assert _band_of(replace(own, prompt=prompt), shelf) == ""
    shelf.close()


def _band_of(screen: Screen, shelf: Shelf) -> str:
    filled = fill(cards.token_map(screen), screen, shelf)
    assert filled.figure is not None
    notes = [part.children for part in filled.message if part.className == "zone-note"]
    named = [a for a in filled.figure["figure"]["layout"]["annotations"] if a.get("name") == "zone"]
    assert len(named) == len(notes)
    return "".join(notes)


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


def test_pokes_at_the_same_prompts_share_their_plain_runs(
    shelf: Shelf, trained: DepthModel
) -> None:
    screen = replace(settle(START, shelf).screen, view="poke")
    called = []
    handle = trained.model.register_forward_pre_hook(lambda *_: called.append(1))
    try:
        for strength, at_most in ((0.5, 9), (0.7, 0)):
            called.clear()
            asked = questions.intervention_of(replace(screen, strength=strength))
            found = questions.answer(asked, shelf).value
            assert bool(called) == bool(at_most)
            assert len(called) <= at_most
    finally:
        handle.remove()
    assert screen.depth is not None
    plain = intervene(
        trained, screen.prompt, screen.source, depth=screen.depth, positions=screen.places,
        edit="full", strength=0.7, answers=(screen.target, screen.foil),
    )  # fmt: skip
    torch.testing.assert_close(found.log_probs, plain.log_probs)
    assert found.floor.keys() == plain.floor.keys()
    # Others let go what is kept.
    assert shelf.runs("tiny", "a") is shelf.runs("tiny", "a") is not shelf.runs("tiny", "b")


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


def _wait(jobs: Jobs, ticket: str, status: str, total: int = 0) -> JobReport:
    report = jobs.report(ticket)
    for _ in range(500):
        report = jobs.report(ticket)
        if report.status == status and report.total >= total:
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
    assert _wait(jobs, one, "running", total=3).total == 3
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


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _all_ended(jobs: Jobs) -> None:
    """Nothing is left of any work: no thread, nothing that waits or is wanted, no open ticket."""

    def own() -> list[threading.Thread]:  # other tests' pages may still be at work
        serving = jobs._serve
        return [t for t in threading.enumerate() if getattr(t, "_target", None) == serving]

    for thread in own():
        thread.join(10)
    assert (jobs._threads, jobs._line, jobs._work, jobs._tickets) == (set(), {}, {}, {})
    assert len(jobs._over) <= MOST_OVER
    assert not own()


def test_a_thousand_jobs_started_and_cancelled_leave_nothing_behind() -> None:
    jobs, at_work, most = Jobs(), 0, []
    lock, gate = threading.Lock(), threading.Event()

    def run(watcher: Watcher) -> None:
        nonlocal at_work
        with lock:
            at_work += 1
            most.append(at_work)
        try:
            for i in range(1000):
                watcher("sweeping", i, 1000)
                gate.wait(0.01)
        finally:
            with lock:
                at_work -= 1

    def visitor(number: int) -> None:
        tickets = [jobs.start(f"{number} {i}", run) for i in range(125)]
        for ticket in tickets:
            jobs.cancel(ticket)
            assert jobs.report(ticket).over

    threads = [threading.Thread(target=visitor, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _all_ended(jobs)
    assert at_work == 0
    assert max(most, default=0) <= 2
    assert _wait(jobs, jobs.start("q", lambda watcher: None), "done").message == ""
    jobs.close()


def test_a_full_line_refuses_aloud_and_takes_again_what_leaves_it() -> None:
    jobs, gate = Jobs(n_workers=1), threading.Event()
    first = jobs.start("first", _parts(gate))
    _wait(jobs, first, "running")
    tickets = [jobs.start(f"q{i}", _parts(gate)) for i in range(MOST_WAITING)]
    refused = jobs.report(jobs.start("one more", _parts(gate)))
    assert refused.status == "refused"
    assert f"{MOST_WAITING} analyses are waiting; cancel one first" in refused.message
    # Who asks the same waits with the others; no ticket is forgotten, however many there are.
    same = [jobs.start("q0", _parts(gate)) for _ in range(2 * MOST_OVER)]
    assert {jobs.report(ticket).status for ticket in [*tickets, *same]} == {"waiting"}
    assert jobs.report(first).status == "running"
    jobs.cancel(tickets[5])
    again = jobs.start("one more", _parts(gate))
    assert jobs.report(again).status == "waiting"
    gate.set()
    assert _wait(jobs, again, "done").status == "done"
    _all_ended(jobs)


def test_a_page_has_one_analysis_at_a_time() -> None:
    jobs, gate = Jobs(n_workers=1), threading.Event()
    other = jobs.start("other", _parts(gate), page="other")
    _wait(jobs, other, "running")
    tickets = [jobs.start(f"q{i}", _parts(gate), page="mine") for i in range(3 * MOST_WAITING)]
    reports = [jobs.report(ticket) for ticket in tickets]
    assert [report.status for report in reports[:-1]] == ["cancelled"] * (len(tickets) - 1)
    assert "took its place" in reports[0].message
    assert reports[-1].status == "waiting"
    # The same question again is the same work, not one that ends with the page's earlier ticket.
    again = jobs.start(f"q{len(tickets) - 1}", _parts(gate), page="mine")
    assert [jobs.report(t).status for t in (again, tickets[-1])] == ["waiting", "cancelled"]
    assert len(jobs._line) == 1
    gate.set()
    _wait(jobs, again, "done")
    assert jobs.report(other).status == "done"
    _all_ended(jobs)


def test_who_is_not_heard_of_wants_nothing_and_is_told_when_it_comes_back() -> None:
    clock, gate = Clock(), threading.Event()
    jobs = Jobs(n_workers=1, clock=clock)

    def run(watcher: Watcher) -> None:
        for i in range(5):
            gate.wait(5)
            watcher("sweeping", i, 5)

    silent, waiting = jobs.start("silent", run), jobs.start("waiting", run)
    _wait(jobs, silent, "running")
    clock.now = SILENCE - 1
    assert jobs.report(silent).status == "running"
    assert jobs.report(waiting).status == "waiting"
    clock.now = 2 * SILENCE - 2  # of a page that has asked, all is as it was
    assert jobs.report(silent).status == "running"
    clock.now += 2
    assert jobs.report(waiting).status == "cancelled"
    gate.set()
    clock.now += SILENCE
    _all_ended(jobs)
    back = jobs.report(silent)
    assert back.status == "cancelled"
    assert "Run it again" in back.message
    assert "Run it again" in jobs.report("of an earlier server").message


def test_a_page_that_says_goodbye_may_come_back_soon() -> None:
    clock, gate = Clock(), threading.Event()
    jobs = Jobs(n_workers=1, clock=clock)
    first = jobs.start("q", _parts(gate), page="one")
    _wait(jobs, first, "running")
    jobs.leave(first)
    clock.now += FAREWELL - 1
    second = jobs.start("q", _parts(gate), page="loaded anew")
    clock.now += FAREWELL
    assert jobs.report(first).status == "cancelled"
    assert jobs.report(second).status == "running"
    jobs.leave(second)
    clock.now += FAREWELL + 1
    gate.set()
    _all_ended(jobs)
    assert jobs.report(second).status == "cancelled"


def test_a_worker_outlives_whatever_a_work_raises() -> None:
    def broken(error: BaseException) -> str:
        raise ValueError("no words")

    def leave(watcher: Watcher) -> None:
        raise SystemExit(3)

    jobs = Jobs(n_workers=1, describe=broken)
    assert _wait(jobs, jobs.start("q", leave), "failed").message == "SystemExit"
    assert _wait(jobs, jobs.start("q", lambda watcher: 7), "done").result == 7
    jobs.close()
    assert jobs.report(jobs.start("q", leave)).status == "refused"


def test_what_is_cancelled_waits_no_longer_for_a_model_or_an_answer(shelf: Shelf) -> None:
    jobs, gate, held = Jobs(n_workers=2), threading.Event(), shelf.turn("tiny")
    finder = threading.Thread(target=lambda: shelf.answer("key", lambda: gate.wait(10)))
    finder.start()

    def model(watcher: Watcher) -> None:
        with in_background(held, watcher):
            pytest.fail("somebody else holds the model")

    def answer(watcher: Watcher) -> None:
        shelf.answer("key", lambda: 1, lambda: watcher("waiting", 0, 0))

    with held.first():
        tickets = [jobs.start("model", model), jobs.start("answer", answer)]
        for ticket in tickets:
            _wait(jobs, ticket, "running")
            jobs.cancel(ticket)
        _all_ended(jobs)
    with held.first():  # it was not given back twice
        pass
    gate.set()
    finder.join()
    assert shelf.answer("key", lambda: 2).value is True


def test_long_work_that_is_cancelled_while_it_lets_others_go_first_holds_nothing() -> None:
    turn, inside, gate = Turn(), threading.Event(), threading.Event()

    def check() -> None:
        raise Cancelled

    def click() -> None:
        with turn.first():
            inside.set()
            gate.wait(10)

    clicker = threading.Thread(target=click)
    with pytest.raises(Cancelled), turn.last(check) as hand_over:
        clicker.start()
        while not inside.is_set():
            hand_over()
    assert turn._held  # the click's
    gate.set()
    clicker.join()
    assert not turn._held


def test_a_cancelled_sweep_leaves_the_model_free(shelf: Shelf) -> None:
    screen = settle(replace(START, view="sweep"), shelf).screen
    question = cards.cards_of(screen)[0].question

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


# Errors


class Wordless(Exception):
    """One whose own words fail."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("load_model: there is\nno folder"), "there is no folder"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (MemoryError(), "There is not enough memory for this; the page goes on."),
        (RuntimeError(), "RuntimeError"),
        (ValueError("\x1b[31mred\ud800"), "\\x1b[31mred�"),
        (KeyError("a"), "Something that should not happen happened (KeyError: 'a'). The page"),
        (Wordless(), "happened (Wordless: Wordless)"),
    ],
)
def test_errors_are_one_line_that_can_be_shown(error: Exception, said: str) -> None:
    text = readable(error)
    assert said in text
    assert text.isprintable()
    assert len(readable(type(error)("x" * 9999))) <= LONGEST


# Programs


@pytest.mark.parametrize(
    "view", ["read", "poke", "move", "sweep", "circuit", "write", "pairs", "compare"]
)
def test_programs_are_python_and_name_public_functions_alone(shelf: Shelf, view: str) -> None:
    hostile = 'Two months from """May" is \\ \n <script>'
    asked = replace(START, view=view, components=("L1H0",), graphed=True, upstream="EMBED@1")
    screen = settle(replace(asked, downstream="LOGIT"), shelf).screen
    screen = replace(screen, prompt=hostile)
    shown = cards.cards_of(screen)
    chapter = script.Chapter(title=describe(screen), cards=shown)
    text = script.program([chapter], OFFERS, fingerprints={"tiny": "ab"})
    tree = ast.parse(text)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert hostile in strings or view in ("sweep", "pairs")
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert called <= {*lensdepth.__all__, "load_model", "print"}


def test_a_notebook_is_one(shelf: Shelf) -> None:
    nbformat = pytest.importorskip("nbformat")
    screen = settle(replace(START, view="poke"), shelf).screen
    chapter = script.Chapter(title="Poke", cards=cards.cards_of(screen))
    text = script.notebook([chapter], OFFERS, fingerprints={})
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    assert any("intervene(" in cell.source for cell in book.cells)
