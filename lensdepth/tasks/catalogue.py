"""The built-in tasks: which there are, and how their pairs are written.

The words and sentences are in `calendar`, `ioi`, `facts` and `graded`; beside the list here they
become pairs in which clean and corrupted differ in one place and have different answers. To add a
task, write a function that draws its rows (`Make`) and give it a `Recipe` in `TASKS`.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from lensdepth.tasks import calendar, facts, graded
from lensdepth.tasks.contexts import BINDINGS, COPY_POOLS, binding_pairs, copy_pairs, story_pairs
from lensdepth.tasks.few_shot import FEW_SHOT
from lensdepth.tasks.grids import (
    CALENDAR_TEMPLATES,
    CAPITAL_TEMPLATES,
    IOI_TEMPLATES,
    calendar_pairs,
    ioi_pairs,
    lookup_pairs,
)
from lensdepth.tasks.odds import graded_prompts, near_pairs, roughly_pairs, word_pairs
from lensdepth.tasks.recipe import Form, Recipe
from lensdepth.tasks.rows import Row

_OPPOSITES = {a: b for pair in facts.OPPOSITES for a, b in (pair, pair[::-1])}
_COUNTRIES = {capital: country for country, capital in facts.CAPITALS.items()}
_ALL_CALENDAR = tuple(CALENDAR_TEMPLATES)

PLAIN: dict[str, Recipe] = {
    "months": Recipe(
        description='"Two months from January is" -> March, in twelve wordings',
        make=calendar_pairs("month"),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "weekdays": Recipe(
        description='"Two days from Monday is" -> Wednesday, in twelve wordings',
        make=calendar_pairs("day"),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "nested-months": Recipe(
        description='"Two months from the month after May is" -> August, in twelve wordings',
        make=calendar_pairs("month", nested=True),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "nested-weekdays": Recipe(
        description='"Two days from the day after Monday is" -> Thursday, in twelve wordings',
        make=calendar_pairs("day", nested=True),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "ioi": Recipe(
        description='"When Mary and John went to the park, John gave a book to" -> Mary',
        make=ioi_pairs,
        templates=tuple(IOI_TEMPLATES),
    ),
    "capitals": Recipe(
        description='"The capital of France is" -> Paris',
        make=lookup_pairs(
            CAPITAL_TEMPLATES, facts.CAPITALS, label="country", answer_label="capital"
        ),
        templates=tuple(CAPITAL_TEMPLATES),
        default=("capital",),
    ),
    "countries": Recipe(
        description='"Paris is the capital of" -> France',
        make=lookup_pairs(
            {"country": facts.COUNTRY_TEMPLATES[0]},
            _COUNTRIES,
            label="capital",
            answer_label="country",
        ),
        templates=("country",),
    ),
    "opposites": Recipe(
        description='"The opposite of hot is" -> cold',
        make=lookup_pairs(
            {"opposite": facts.OPPOSITE_TEMPLATE}, _OPPOSITES, label="word", answer_label="opposite"
        ),
        templates=("opposite",),
    ),
    "colours": Recipe(
        description='"The colour of grass is" -> green',
        make=lookup_pairs(
            {"colour": facts.COLOUR_TEMPLATE}, facts.COLOURS, label="thing", answer_label="colour"
        ),
        templates=("colour",),
    ),
    "copy": Recipe(
        description='"b k x f; b k" -> x, copying from the context',
        make=copy_pairs,
        templates=tuple(COPY_POOLS),
        default=("letters",),
    ),
    "binding": Recipe(
        description='"Mary has a ring and John has a book. Mary has a" -> ring',
        make=binding_pairs,
        templates=tuple(BINDINGS),
    ),
    "stories": Recipe(
        description='"Mary chose May and John chose June. Two months after the choice of Mary is"'
        " -> July",
        make=story_pairs,
    ),
    "near-months": Recipe(
        description='"A month near May is" -> May .4, its neighbours .2, theirs .1',
        make=near_pairs("month"),
    ),
    "near-weekdays": Recipe(
        description='"A day near Friday is" -> Friday .4, its neighbours .2, theirs .1',
        make=near_pairs("day"),
    ),
    "roughly-months": Recipe(
        description='"Roughly two months after May it is" -> July .5, its neighbours .2, ...',
        make=roughly_pairs("month"),
    ),
    "roughly-weekdays": Recipe(
        description='"Roughly two days after Friday it is" -> Sunday .5, its neighbours .2, ...',
        make=roughly_pairs("day"),
    ),
    "weather": Recipe(
        description='"The weather in January is" -> cold most likely, others with known odds',
        make=word_pairs(graded.WEATHER_TEMPLATE, calendar.MONTHS, graded.weather, label="month"),
    ),
    "weather-days": Recipe(
        description='"A warm day in" -> June most likely, other months with known odds',
        make=word_pairs(
            graded.WEATHER_DAY_TEMPLATE,
            tuple(graded.WEATHER),
            graded.weather_day,
            label="weather",
        ),
    ),
    "drinks": Recipe(
        description='"Most people in Italy like" -> six drinks with known odds, fixed by country',
        make=word_pairs(
            graded.DRINK_TEMPLATE, tuple(facts.CAPITALS), graded.drink, label="country"
        ),
    ),
    "graded": Recipe(
        description="plain prompts with several right answers of known odds, from six families",
        make=graded_prompts,
        templates=tuple(graded.all_graded()),
    ),
}
"""The plain form of each task that has one."""
TASKS = PLAIN | {name: recipe for name, recipe in FEW_SHOT.items() if name not in PLAIN}
"""Every task, in its plain form where it has one."""


def recipe_of(name: str, form: Form) -> Recipe:
    """The recipe of a task in one form; with "auto", of the plain form where there is one."""
    return FEW_SHOT[name] if form == "few-shot" else TASKS[name]


def make_rows(
    name: str,
    *,
    n: int | None,
    seed: int,
    templates: Sequence[str],
    form: Form = "auto",
    again: int = 0,
) -> list[Row]:
    """The text rows of a built-in task, each knowing its number.

    Args:
        name: the task.
        n: how many; None: all there are.
        seed: of the draw.
        templates: wordings.
        form: see `recipe_of`.
        again: the how-manieth further draw it is; the first is 0.
    """
    drawn = random.Random(f"{name} {seed}" + (f" {again}" if again else ""))
    rows = recipe_of(name, form).make(templates, n, drawn)
    return [replace(row, where=f"pair {i}") for i, row in enumerate(rows)]
