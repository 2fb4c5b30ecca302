"""The built-in tasks as text: known answers, balance, seeds."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lensdepth.tasks import calendar, facts, graded, list_tasks
from lensdepth.tasks.catalogue import TASKS, make_rows
from lensdepth.tasks.rows import Row, draw_balanced, draw_in_turn

# Months, forward and back, over the end of the year; written out by hand.
BY_HAND = {
    "Two months from January is": "March",
    "Two months from December is": "February",
    "One month from December is": "January",
    "Twelve months from May is": "May",
    "Three months after October is": "January",
    "One month before January is": "December",
    "May plus four months is": "September",
    "February minus three months is": "November",
    "If it is July now, in one month it will be": "August",
    "If it is March now, five months ago it was": "October",
    "The month that comes two months after November is": "January",
    "The month that came six months before June is": "December",
    "Counting eleven months forward from April gives": "March",
    "Counting ten months back from September gives": "November",
    "Starting at August and waiting one month leads to": "September",
}
DAYS_BY_HAND = {
    "Two days from Monday is": "Wednesday",
    "One day from Sunday is": "Monday",
    "Seven days from Friday is": "Friday",
    "Three days before Monday is": "Friday",
}
NESTED_BY_HAND = {
    "Two months from the month after May is": "August",
    "One month from the month before January is": "January",
    "Three months from the month before January is": "March",
}


def rows_of(name: str, *, n: int | None = 200, seed: int = 0, template: str = "") -> list[Row]:
    recipe = TASKS[name]
    chosen = (template,) if template else recipe.default or recipe.templates
    return make_rows(
        name, n=n, seed=seed, templates=recipe.templates if template == "all" else chosen
    )


@pytest.mark.parametrize(
    ("name", "template", "known"),
    [
        ("months", "all", BY_HAND),
        ("weekdays", "all", DAYS_BY_HAND),
        ("nested-months", "from", NESTED_BY_HAND),
    ],
)
def test_calendar_answers_are_those_worked_out_by_hand(
    name: str, template: str, known: dict[str, str]
) -> None:
    rows = rows_of(name, n=None, template=template)
    assert known.items() <= {row.clean: row.target for row in rows}.items()
    assert known.items() <= {row.corrupted: row.foil for row in rows}.items()


def test_every_template_has_its_months() -> None:
    rows = rows_of("months", n=None, template="all")
    assert {row.labels["template"] for row in rows} == {t.name for t in calendar.TEMPLATES}
    assert len(rows) == 12 * 12 * 12 * 11


@pytest.mark.parametrize("name", list_tasks())
def test_pairs_differ_and_do_not_repeat(name: str) -> None:
    rows = rows_of(name)
    assert len({(row.clean, row.corrupted) for row in rows}) == len(rows)
    for row in rows:
        if row.corrupted is None:
            assert name == "graded"
            assert row.target is None
            continue
        assert row.clean != row.corrupted
        assert row.target
        assert row.foil
        assert row.target != row.foil
        assert row.input is not None
        assert row.input in row.clean
        assert row.corrupted_input is not None
        assert row.corrupted_input in row.corrupted
        assert row.input != row.corrupted_input


@pytest.mark.parametrize("name", list_tasks())
def test_the_seed_decides(name: str) -> None:
    assert rows_of(name, n=8, seed=3) == rows_of(name, n=8, seed=3)
    assert rows_of(name, n=8, seed=3) != rows_of(name, n=8, seed=4)


@pytest.mark.parametrize("name", ["months", "weekdays", "nested-months", "roughly-months"])
def test_calendar_pairs_share_all_but_alpha(name: str) -> None:
    for row in rows_of(name, n=100):
        alpha, changed = str(row.input), str(row.corrupted_input)
        assert row.labels["alpha"] == alpha
        assert row.clean.replace(alpha, changed) == row.corrupted


@pytest.mark.parametrize("n", [24, 200, 1000, 1584])
def test_months_are_balanced(n: int) -> None:
    rows = rows_of("months", n=n)
    assert len(rows) == n
    for label in ("alpha", "beta"):
        counts = Counter(row.labels[label] for row in rows)
        assert len(counts) == 12
        assert max(counts.values()) - min(counts.values()) <= 1


def test_asking_for_more_pairs_than_there_are_gives_all() -> None:
    assert len(rows_of("months", n=10_000)) == 12 * 12 * 11
    assert len(rows_of("colours", n=10_000)) == len(facts.COLOURS) * (len(facts.COLOURS) - 1)
    assert len(rows_of("weather-days", n=200)) == 12


def test_endless_tasks_want_a_number() -> None:
    for name in ("ioi", "copy", "binding", "stories"):
        with pytest.raises(ValueError, match=r"say how many with n"):
            rows_of(name, n=None)


def test_ioi_replaces_the_second_mention_of_the_subject() -> None:
    rows = rows_of("ioi", n=300)
    for row in rows:
        assert row.target
        assert row.foil
        assert row.corrupted
        assert row.clean.count(row.foil) == 2
        assert row.clean.count(row.target) == 1
        assert row.corrupted.count(row.target) == 2
        assert row.corrupted.count(row.foil) == 1
        first = min((row.target, row.foil), key=row.clean.index)
        assert row.labels["order"] == ("ABB" if first == row.target else "BAB")
    for label in ("order", "template", "place"):
        counts = Counter(row.labels[label] for row in rows)
        assert max(counts.values()) - min(counts.values()) <= 1


def test_copying_and_binding_by_hand() -> None:
    for row in rows_of("copy", n=50):
        sequence, asked = (part.split() for part in row.clean.split("; "))
        assert asked == sequence[: len(asked)]
        assert row.target == sequence[len(asked)]
    for row in rows_of("binding", n=50):
        said, question = row.clean.split(". ")
        assert f"{question} {row.target}" in said
        assert row.corrupted is not None
        assert row.corrupted.split(". ")[0] == said
        assert f"{row.corrupted.split('. ')[1]} {row.foil}" in said


def test_stories_take_two_hops() -> None:
    for row in rows_of("stories", n=50):
        assert f"{row.input} chose {row.labels['alpha']}" in row.clean
        at = calendar.MONTHS.index(str(row.labels["alpha"]))
        assert row.target == calendar.MONTHS[(at + int(str(row.labels["beta"]))) % 12]


@pytest.mark.parametrize("name", ["near-months", "roughly-weekdays", "weather", "drinks"])
def test_graded_targets_are_the_one_most_likely_answer(name: str) -> None:
    known = {prompt: odds for family in graded.all_graded().values() for prompt, odds in family}
    for row in rows_of(name):
        odds = json.loads(str(row.labels["odds"]))
        assert odds == pytest.approx(known[row.clean])
        assert sum(odds.values()) == pytest.approx(1)
        assert [word for word, p in odds.items() if p > max(odds.values()) - 1e-6] == [row.target]
        changed = json.loads(str(row.labels["corrupted_odds"]))
        assert max(changed, key=changed.get) == row.foil


def test_graded_prompts_come_from_all_families_in_turn() -> None:
    counts = Counter(row.labels["template"] for row in rows_of("graded", n=24))
    assert counts == dict.fromkeys(graded.all_graded(), 4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 200), st.integers(0, 99))
def test_grid_draws_are_different_points(sizes: list[int], n: int, seed: int) -> None:
    drawn = draw_balanced(sizes, n, random.Random(seed))
    total = 1
    for size in sizes:
        total *= size
    assert len(drawn) == len(set(drawn)) == min(n, total)
    assert all(0 <= level < size for draw in drawn for level, size in zip(draw, sizes, strict=True))


def test_huge_grids_are_not_listed() -> None:
    drawn = draw_balanced([1000] * 6, 50, random.Random(0))
    assert len(set(drawn)) == 50
    with pytest.raises(ValueError, match=r"more than 100,000; say how many with n"):
        draw_balanced([1000] * 6, None, random.Random(0))


def test_unequal_groups_are_drawn_in_turn() -> None:
    drawn = draw_in_turn(["a", "bcd", "ef"], None, random.Random(1))
    assert sorted(drawn) == list("abcdef")
    assert {"a"} < set(drawn[:3])
    assert set(drawn[:3]) & set("bcd")
    assert set(drawn[:3]) & set("ef")
