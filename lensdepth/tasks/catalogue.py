"""The built-in tasks: which there are, and how their pairs are written.

The words and sentences are in `calendar`, `ioi`, `facts` and `graded`; here they become pairs in
which clean and corrupted differ in one place and have different answers. To add a task, write a
function that draws its rows (`Make`) and give it a `Recipe` in `TASKS`.
"""

import json
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lensdepth.tasks import calendar, facts, graded, ioi
from lensdepth.tasks.joining import Joined
from lensdepth.tasks.rows import Row, draw_balanced, draw_in_turn, shuffled_levels

Make = Callable[[Sequence[str], int | None, random.Random], list[Row]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One built-in task."""

    description: str
    make: Make
    """(template names, number of pairs or None for all, generator) -> rows."""
    templates: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    """Templates used where none is named; empty: all of them."""
    joining: Joined = "space"
    """How the answers, which are words, follow the sentences."""


CALENDAR_TEMPLATES = {template.name: template for template in calendar.TEMPLATES}
IOI_TEMPLATES: dict[str, str] = dict(
    zip(("when", "after", "at", "then"), ioi.TEMPLATES, strict=True)
)
CAPITAL_TEMPLATES: dict[str, str] = dict(
    zip(("capital", "proud"), facts.CAPITAL_TEMPLATES, strict=True)
)
COPY_POOLS: dict[str, tuple[str, ...]] = {
    "letters": tuple(string.ascii_lowercase),
    "names": ioi.NAMES,
    "things": ioi.OBJECTS + ioi.PLACES,
}
BINDINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "has": ("{name} has a {value}", ioi.OBJECTS),
    "at": ("{name} is at the {value}", ioi.PLACES),
    "chose": ("{name} chose {value}", calendar.MONTHS + calendar.WEEKDAYS),
}


def _calendar(unit: str, *, nested: bool = False) -> Make:
    names = calendar.CALENDARS[unit]
    steps = (("after", 1), ("before", -1)) if nested else (("", 0),)

    def make(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
        rows = []
        sizes = (len(templates), len(names), len(names), len(names) - 1, len(steps))
        for which, at, count, other, way in draw_balanced(sizes, n, rng):
            template, beta, (word, step) = (
                CALENDAR_TEMPLATES[templates[which]],
                count + 1,
                steps[way],
            )
            alphas = names[at], names[(at + 1 + other) % len(names)]
            starts = [names[(names.index(alpha) + step) % len(names)] for alpha in alphas]
            phrase = f"the {unit} {word} {{}}" if nested else "{}"
            clean, corrupted = (
                calendar.fill(template, unit=unit, alpha=phrase.format(alpha), beta=beta)
                for alpha in alphas
            )
            target, foil = (
                calendar.answer(template, unit=unit, alpha=start, beta=beta) for start in starts
            )
            labels: dict[str, object] = {
                "alpha": alphas[0], "beta": beta, "gamma": target,
                "corrupted_alpha": alphas[1], "corrupted_gamma": foil,
                "template": template.name, "unit": unit,
            }  # fmt: skip
            rows.append(
                Row(
                    clean=clean,
                    corrupted=corrupted,
                    target=target,
                    foil=foil,
                    input=alphas[0],
                    corrupted_input=alphas[1],
                    labels=labels | ({"step": word} if nested else {}),
                )
            )
        return rows

    return make


def _ioi(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    rows = []
    orders = ("ABB", "BAB")  # A is the indirect object (the answer), B the subject
    sizes = (len(templates), len(orders), len(ioi.NAMES), len(ioi.NAMES) - 1)
    sizes += (len(ioi.PLACES), len(ioi.OBJECTS))
    for which, order, at, other, place, thing in draw_balanced(sizes, n, rng):
        answer = ioi.NAMES[at]
        subject = ioi.NAMES[(at + 1 + other) % len(ioi.NAMES)]
        a, b = (answer, subject) if orders[order] == "ABB" else (subject, answer)
        clean, corrupted = (
            ioi.fill(
                IOI_TEMPLATES[templates[which]],
                a=a,
                b=b,
                subject=second_mention,
                place=ioi.PLACES[place],
                object=ioi.OBJECTS[thing],
            )
            for second_mention in (subject, answer)
        )
        rows.append(
            Row(
                clean=clean,
                corrupted=corrupted,
                target=answer,
                foil=subject,
                input=subject,
                corrupted_input=answer,
                labels={
                    "template": templates[which],
                    "order": orders[order],
                    "place": ioi.PLACES[place],
                    "object": ioi.OBJECTS[thing],
                },
            )
        )
    return rows


def _lookup(
    templates: dict[str, str], answers: dict[str, str], *, label: str, answer_label: str
) -> Make:
    """Sentences with one blank, `{label}`, and one answer for each word in it."""
    words = list(answers)

    def make(chosen: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
        rows = []
        for which, at, other in draw_balanced((len(chosen), len(words), len(words) - 1), n, rng):
            word, changed = words[at], words[(at + 1 + other) % len(words)]
            rows.append(
                Row(
                    clean=templates[chosen[which]].format(**{label: word}),
                    corrupted=templates[chosen[which]].format(**{label: changed}),
                    target=answers[word],
                    foil=answers[changed],
                    input=word,
                    corrupted_input=changed,
                    labels={label: word, answer_label: answers[word], "template": chosen[which]},
                )
            )
        return rows

    return make


def _copy(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """ "b k x f; b k" -> x; the corrupted prompt has another word in its place."""
    kinds = [
        (pool, size, at) for pool in templates for size in range(3, 7) for at in range(1, size)
    ]

    def draw(kind: int) -> Row:
        pool, size, at = kinds[kind]
        *sequence, other = rng.sample(COPY_POOLS[pool], size + 1)
        asked = " ".join(sequence[:at])
        changed = [*sequence[:at], other, *sequence[at + 1 :]]
        return Row(
            clean=f"{' '.join(sequence)}; {asked}",
            corrupted=f"{' '.join(changed)}; {asked}",
            target=sequence[at],
            foil=other,
            input=sequence[at],
            corrupted_input=other,
            labels={"template": pool, "length": size, "place": at},
        )

    return _draw_endless(len(kinds), draw, n, rng)


def _binding(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """ "Mary has a ring and John has a book. Mary has a" -> ring; corrupted asks for John."""
    kinds = [(name, size, asked) for name in templates for size in (2, 3) for asked in range(size)]

    def draw(kind: int) -> Row:
        template, size, asked = kinds[kind]
        clause, pool = BINDINGS[template]
        names, values = rng.sample(ioi.NAMES, size), rng.sample(pool, size)
        other = rng.choice([i for i in range(size) if i != asked])
        said = " and ".join(
            clause.format(name=name, value=value) for name, value in zip(names, values, strict=True)
        )
        question = clause.format(name="{name}", value="").strip()
        return Row(
            clean=f"{said}. {question.format(name=names[asked])}",
            corrupted=f"{said}. {question.format(name=names[other])}",
            target=values[asked],
            foil=values[other],
            input=names[asked],
            corrupted_input=names[other],
            labels={"template": template, "entities": size, "place": asked, "name": names[asked]},
        )

    return _draw_endless(len(kinds), draw, n, rng)


def _stories(_: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """Two hops: whose month it was, then count on from it."""
    kinds = [(asked, beta) for asked in range(2) for beta in range(1, 7)]
    after = CALENDAR_TEMPLATES["after"]

    def draw(kind: int) -> Row:
        asked, beta = kinds[kind]
        names, months = rng.sample(ioi.NAMES, 2), rng.sample(calendar.MONTHS, 2)
        clean, corrupted = (
            f"{names[0]} chose {months[0]} and {names[1]} chose {months[1]}. "
            + calendar.fill(after, unit="month", alpha=f"the choice of {names[i]}", beta=beta)
            for i in (asked, 1 - asked)
        )
        target, foil = (
            calendar.answer(after, unit="month", alpha=months[i], beta=beta)
            for i in (asked, 1 - asked)
        )
        return Row(
            clean=clean,
            corrupted=corrupted,
            target=target,
            foil=foil,
            input=names[asked],
            corrupted_input=names[1 - asked],
            labels={"alpha": months[asked], "beta": beta, "gamma": target, "place": asked},
        )

    return _draw_endless(len(kinds), draw, n, rng)


def _draw_endless(
    n_kinds: int, draw: Callable[[int], Row], n: int | None, rng: random.Random
) -> list[Row]:
    """Draw from a task with more pairs than anyone can list, each kind about equally often."""
    if n is None:
        raise ValueError("there are too many pairs to list; say how many with n.")
    rows: dict[tuple[str, str | None], Row] = {}
    for kind in shuffled_levels(n_kinds, n, rng):
        row = draw(kind)
        for _ in range(100):
            if (row.clean, row.corrupted) not in rows:
                break
            row = draw(kind)
        rows.setdefault((row.clean, row.corrupted), row)
    return list(rows.values())


def _rows_from_odds(
    prompts: dict[str, tuple[str, dict[str, float]]], *, label: str, extra: dict[str, object]
) -> list[list[Row]]:
    """All pairs of prompts whose most likely answers differ, grouped by clean prompt.

    A prompt whose most likely answers are tied has no target and is left out.
    """
    modes = {word: _mode(odds) for word, (_, odds) in prompts.items()}
    groups = []
    for word, (prompt, odds) in prompts.items():
        target = modes[word]
        pairs = [
            Row(
                clean=prompt,
                corrupted=changed_prompt,
                target=target,
                foil=modes[changed],
                input=word,
                corrupted_input=changed,
                labels={
                    label: word,
                    f"corrupted_{label}": changed,
                    **extra,
                    "odds": json.dumps(odds),
                    "corrupted_odds": json.dumps(changed_odds),
                },
            )
            for changed, (changed_prompt, changed_odds) in prompts.items()
            if target and modes[changed] and modes[changed] != target
        ]
        groups += [pairs] if pairs else []
    return groups


def _mode(odds: dict[str, float]) -> str | None:
    """The most likely answer, or None where two are equally likely."""
    first, second, *_ = sorted(odds, key=lambda word: odds[word], reverse=True)
    return first if odds[first] - odds[second] > 1e-6 else None


def _near(unit: str) -> Make:
    prompts = {
        alpha: (graded.NEAR_TEMPLATE.format(unit=unit, alpha=alpha), graded.near(unit, alpha))
        for alpha in calendar.CALENDARS[unit]
    }
    return _graded_pairs([_rows_from_odds(prompts, label="alpha", extra={"unit": unit})])


def _roughly(unit: str) -> Make:
    by_beta = []
    for beta in range(1, len(calendar.CALENDARS[unit]) + 1):
        units = unit if beta == 1 else unit + "s"
        prompts = {
            alpha: (
                graded.ROUGHLY_TEMPLATE.format(
                    beta=calendar.NUMBERS[beta - 1], units=units, alpha=alpha
                ),
                graded.roughly(unit, alpha, beta),
            )
            for alpha in calendar.CALENDARS[unit]
        }
        by_beta.append(_rows_from_odds(prompts, label="alpha", extra={"beta": beta, "unit": unit}))
    return _graded_pairs(by_beta)


def _words_with_odds(
    template: str, words: Sequence[str], odds: Callable[[str], dict[str, float]], *, label: str
) -> Make:
    prompts = {word: (template.format(**{label: word}), odds(word)) for word in words}
    return _graded_pairs([_rows_from_odds(prompts, label=label, extra={})])


def _graded_pairs(blocks: Sequence[Sequence[Sequence[Row]]]) -> Make:
    """Draw in turn from blocks, and within a block in turn from clean prompts."""

    def make(_: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
        groups = [draw_in_turn(block, None, rng) for block in blocks]
        rng.shuffle(groups)
        # Each block is already in a balanced order; take the blocks in turn, keeping that order.
        longest = max(map(len, groups))
        merged = [group[i] for i in range(longest) for group in groups if i < len(group)]
        return merged if n is None else merged[:n]

    return make


def _graded_prompts(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    families = graded.all_graded()
    return draw_in_turn(
        [
            [
                Row(clean=prompt, labels={"template": family, "odds": json.dumps(odds)})
                for prompt, odds in families[family]
            ]
            for family in templates
        ],
        n,
        rng,
    )


_OPPOSITES = {a: b for pair in facts.OPPOSITES for a, b in (pair, pair[::-1])}
_COUNTRIES = {capital: country for country, capital in facts.CAPITALS.items()}
_ALL_CALENDAR = tuple(CALENDAR_TEMPLATES)

TASKS: dict[str, Recipe] = {
    "months": Recipe(
        description='"Two months from January is" -> March, in twelve wordings',
        make=_calendar("month"),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "weekdays": Recipe(
        description='"Two days from Monday is" -> Wednesday, in twelve wordings',
        make=_calendar("day"),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "nested-months": Recipe(
        description='"Two months from the month after May is" -> August, in twelve wordings',
        make=_calendar("month", nested=True),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "nested-weekdays": Recipe(
        description='"Two days from the day after Monday is" -> Thursday, in twelve wordings',
        make=_calendar("day", nested=True),
        templates=_ALL_CALENDAR,
        default=("from",),
    ),
    "ioi": Recipe(
        description='"When Mary and John went to the park, John gave a book to" -> Mary',
        make=_ioi,
        templates=tuple(IOI_TEMPLATES),
    ),
    "capitals": Recipe(
        description='"The capital of France is" -> Paris',
        make=_lookup(CAPITAL_TEMPLATES, facts.CAPITALS, label="country", answer_label="capital"),
        templates=tuple(CAPITAL_TEMPLATES),
        default=("capital",),
    ),
    "countries": Recipe(
        description='"Paris is the capital of" -> France',
        make=_lookup(
            {"country": facts.COUNTRY_TEMPLATES[0]},
            _COUNTRIES,
            label="capital",
            answer_label="country",
        ),
        templates=("country",),
    ),
    "opposites": Recipe(
        description='"The opposite of hot is" -> cold',
        make=_lookup(
            {"opposite": facts.OPPOSITE_TEMPLATE}, _OPPOSITES, label="word", answer_label="opposite"
        ),
        templates=("opposite",),
    ),
    "colours": Recipe(
        description='"The colour of grass is" -> green',
        make=_lookup(
            {"colour": facts.COLOUR_TEMPLATE}, facts.COLOURS, label="thing", answer_label="colour"
        ),
        templates=("colour",),
    ),
    "copy": Recipe(
        description='"b k x f; b k" -> x, copying from the context',
        make=_copy,
        templates=tuple(COPY_POOLS),
        default=("letters",),
    ),
    "binding": Recipe(
        description='"Mary has a ring and John has a book. Mary has a" -> ring',
        make=_binding,
        templates=tuple(BINDINGS),
    ),
    "stories": Recipe(
        description='"Mary chose May and John chose June. Two months after the choice of Mary is"'
        " -> July",
        make=_stories,
    ),
    "near-months": Recipe(
        description='"A month near May is" -> May .4, its neighbours .2, theirs .1',
        make=_near("month"),
    ),
    "near-weekdays": Recipe(
        description='"A day near Friday is" -> Friday .4, its neighbours .2, theirs .1',
        make=_near("day"),
    ),
    "roughly-months": Recipe(
        description='"Roughly two months after May it is" -> July .5, its neighbours .2, ...',
        make=_roughly("month"),
    ),
    "roughly-weekdays": Recipe(
        description='"Roughly two days after Friday it is" -> Sunday .5, its neighbours .2, ...',
        make=_roughly("day"),
    ),
    "weather": Recipe(
        description='"The weather in January is" -> cold most likely, others with known odds',
        make=_words_with_odds(
            graded.WEATHER_TEMPLATE, calendar.MONTHS, graded.weather, label="month"
        ),
    ),
    "weather-days": Recipe(
        description='"A warm day in" -> June most likely, other months with known odds',
        make=_words_with_odds(
            graded.WEATHER_DAY_TEMPLATE,
            tuple(graded.WEATHER),
            graded.weather_day,
            label="weather",
        ),
    ),
    "drinks": Recipe(
        description='"Most people in Italy like" -> six drinks with known odds, fixed by country',
        make=_words_with_odds(
            graded.DRINK_TEMPLATE, tuple(facts.CAPITALS), graded.drink, label="country"
        ),
    ),
    "graded": Recipe(
        description="plain prompts with several right answers of known odds, from six families",
        make=_graded_prompts,
        templates=tuple(graded.all_graded()),
    ),
}


def make_rows(name: str, *, n: int | None, seed: int, templates: Sequence[str]) -> list[Row]:
    """The text rows of a built-in task, each knowing its number."""
    rows = TASKS[name].make(templates, n, random.Random(f"{name} {seed}"))
    return [replace(row, where=f"pair {i}") for i, row in enumerate(rows)]
