"""The synthetic language that the bundled model is trained on.

Short templated sentences about dates, people, places and facts, made from the same word
lists as `lensdepth.tasks`. A document is one to three sentences. Some combinations never
occur (see `is_held_out`), so that accuracy on them measures generalisation.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterable

from lensdepth.tasks import calendar, facts, graded, ioi

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
HOBBIES = ("tennis", "chess", "music", "painting", "cooking", "sailing", "hiking", "dancing")

Sentence = tuple[str, str]
"""Prompt and its one-word answer; the answer is "" where every word is to be predicted alike."""

PLAIN = {
    "month": 0.36, "day": 0.12, "count": 0.12, "ioi": 0.06, "capital": 0.05, "opposite": 0.01,
    "colour": 0.01, "copy": 0.05, "bind": 0.06, "story": 0.02, "near": 0.03, "roughly": 0.05,
    "season": 0.01, "weather": 0.02, "weather_day": 0.01, "drink": 0.02,
}  # fmt: skip
"""Mixture of the first stage: calendars without nesting, which must be learned first."""

FULL = {
    "month": 0.14, "day": 0.06, "nested_month": 0.18, "nested_day": 0.07, "count": 0.07,
    "ioi": 0.09, "capital": 0.05, "opposite": 0.01, "colour": 0.01, "copy": 0.06, "bind": 0.08,
    "story": 0.04, "near": 0.03, "roughly": 0.05, "season": 0.01, "weather": 0.02,
    "weather_day": 0.01, "drink": 0.02,
}  # fmt: skip
"""Mixture of the second stage: half of the calendar sentences are nested."""


def words(text: str) -> list[str]:
    """Split as the tokenizer does: runs of letters, and single punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text)


def is_held_out(*key: object, percent: int) -> bool:
    """Whether a combination is kept out of training; depends on its words alone."""
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < percent


def calendar_held_out(template: str, unit: str, alpha: str, beta: int) -> bool:
    return is_held_out("calendar", template, unit, alpha, beta, percent=10)


def names_held_out(a: str, b: str) -> bool:
    return is_held_out("ioi", *sorted((a, b)), percent=15)


def _calendar(rng: random.Random, unit: str) -> Sentence:
    names = calendar.CALENDARS[unit]
    while True:
        template = rng.choice(calendar.TEMPLATES)
        alpha, beta = rng.choice(names), rng.randint(1, len(names))
        if not calendar_held_out(template.name, unit, alpha, beta):
            prompt = calendar.fill(template, unit=unit, alpha=alpha, beta=beta)
            return prompt, calendar.answer(template, unit=unit, alpha=alpha, beta=beta)


def nested(rng: random.Random, unit: str, *, levels: int) -> Sentence:
    """ "Two months from the month after May is": the start is itself a phrase."""
    names = calendar.CALENDARS[unit]
    template = rng.choice(calendar.TEMPLATES)
    at, beta = rng.randrange(len(names)), rng.randint(1, len(names))
    phrase = names[at]
    for _ in range(levels):
        step = rng.choice((1, -1))
        phrase = f"the {unit} {'after' if step > 0 else 'before'} {phrase}"
        at = (at + step) % len(names)
    prompt = calendar.fill(template, unit=unit, alpha=phrase, beta=beta)
    return prompt, calendar.answer(template, unit=unit, alpha=names[at], beta=beta)


def _count(rng: random.Random) -> Sentence:
    unit = rng.choice(("month", "month", "day"))
    names = calendar.CALENDARS[unit]
    start, beta, sign = rng.randrange(len(names)), rng.randint(1, len(names)), rng.choice((1, -1))
    units = unit if beta == 1 else unit + "s"
    listed = " ".join(
        names[(start + sign * beta * i) % len(names)] for i in range(rng.randint(3, 7))
    )
    way = "on" if sign > 0 else "back"
    return f"Counting {way} {calendar.NUMBERS[beta - 1]} {units} at a time: {listed}", ""


def ioi_sentence(rng: random.Random, *, held_out: bool) -> Sentence:
    while True:
        a, b = rng.sample(ioi.NAMES, 2)
        if names_held_out(a, b) == held_out:
            break
    subject = rng.choice((a, b))
    prompt = ioi.fill(
        rng.choice(ioi.TEMPLATES),
        a=a,
        b=b,
        subject=subject,
        place=rng.choice(ioi.PLACES),
        object=rng.choice(ioi.OBJECTS),
    )
    return prompt, b if subject == a else a


def capital_sentences() -> list[Sentence]:
    pairs = facts.CAPITALS.items()
    forward = [
        (t.format(country=country), city)
        for t in facts.CAPITAL_TEMPLATES
        for country, city in pairs
    ]
    backward = [
        (t.format(capital=city), country)
        for t in facts.COUNTRY_TEMPLATES
        for country, city in pairs
    ]
    return forward + backward


def opposite_sentences() -> list[Sentence]:
    both_ways = [pair for a, b in facts.OPPOSITES for pair in ((a, b), (b, a))]
    return [(facts.OPPOSITE_TEMPLATE.format(word=a), b) for a, b in both_ways]


def colour_sentences() -> list[Sentence]:
    return [(facts.COLOUR_TEMPLATE.format(thing=t), c) for t, c in facts.COLOURS.items()]


def copy_sequence(rng: random.Random) -> list[str]:
    """Distinct words, to be repeated after a semicolon."""
    pool = rng.choice((LETTERS, LETTERS, ioi.NAMES, ioi.OBJECTS + ioi.PLACES))
    return rng.sample(pool, rng.randint(3, 6))


def _copy(rng: random.Random) -> Sentence:
    sequence = " ".join(copy_sequence(rng))
    return f"{sequence}; {sequence}", ""


def bind_sentence(rng: random.Random) -> Sentence:
    """Who goes with what: two or three name-value pairs, then one name asked again."""
    n = rng.choice((2, 2, 3))
    names = rng.sample(ioi.NAMES, n)
    kind = rng.randrange(4)
    if kind == 0:
        values, clause = rng.sample(ioi.OBJECTS, n), "{name} has a {value}"
    elif kind == 1:
        values, clause = rng.sample(ioi.PLACES, n), "{name} is at the {value}"
    elif kind == 2:
        values, clause = rng.sample(HOBBIES, n), "{name} likes {value}"
    else:
        values, clause = rng.sample(calendar.MONTHS + calendar.WEEKDAYS, n), "{name} chose {value}"
    asked = rng.randrange(n)
    said = " and ".join(
        clause.format(name=name, value=value) for name, value in zip(names, values, strict=True)
    )
    question = clause.format(name=names[asked], value="").strip()
    return f"{said}. {question}", values[asked]


def story_sentence(rng: random.Random) -> Sentence:
    """Two hops: look up whose month it was, then count on from it."""
    first, second = rng.sample(ioi.NAMES, 2)
    months = rng.sample(calendar.MONTHS, 2)
    asked, beta = rng.randrange(2), rng.randint(1, 6)
    units = "month" if beta == 1 else "months"
    prompt = (
        f"{first} chose {months[0]} and {second} chose {months[1]}. "
        f"{calendar.NUMBERS[beta - 1].capitalize()} {units} after the choice of "
        f"{(first, second)[asked]} is"
    )
    at = calendar.MONTHS.index(months[asked])
    return prompt, calendar.MONTHS[(at + beta) % 12]


def _graded(family: str) -> Callable[[random.Random], Sentence]:
    prompts = graded.all_graded()[family]

    def draw(rng: random.Random) -> Sentence:
        prompt, odds = rng.choice(prompts)
        return prompt, rng.choices(list(odds), list(odds.values()))[0]

    return draw


MAKERS: dict[str, Callable[[random.Random], Sentence]] = {
    "month": lambda rng: _calendar(rng, "month"),
    "day": lambda rng: _calendar(rng, "day"),
    "nested_month": lambda rng: nested(rng, "month", levels=rng.choice((1, 1, 2))),
    "nested_day": lambda rng: nested(rng, "day", levels=rng.choice((1, 1, 2))),
    "count": _count,
    "ioi": lambda rng: ioi_sentence(rng, held_out=False),
    "capital": lambda rng: rng.choice(capital_sentences()),
    "opposite": lambda rng: rng.choice(opposite_sentences()),
    "colour": lambda rng: rng.choice(colour_sentences()),
    "copy": _copy,
    "bind": bind_sentence,
    "story": story_sentence,
} | {family: _graded(family) for family in graded.all_graded()}


def document(rng: random.Random, mixture: dict[str, float]) -> tuple[list[str], list[bool]]:
    """Words of one document, and which of them is an answer."""
    listed: list[str] = []
    is_answer: list[bool] = []
    for _ in range(rng.choices((1, 2, 3), (0.6, 0.25, 0.15))[0]):
        prompt, answer = MAKERS[rng.choices(list(mixture), list(mixture.values()))[0]](rng)
        sentence = words(prompt) + ([answer] if answer else []) + ["."]
        listed += sentence
        is_answer += [False] * len(sentence)
        if answer:
            is_answer[-2] = True
    return listed, is_answer


def vocabulary() -> list[str]:
    """Every word of the language, special tokens first, in a fixed order."""
    rng = random.Random(0)
    listed: Iterable[str] = [
        *SPECIAL, *".,;:", *calendar.MONTHS, *calendar.WEEKDAYS, *calendar.NUMBERS,
        *(n.capitalize() for n in calendar.NUMBERS), *ioi.NAMES, *ioi.PLACES, *ioi.OBJECTS,
        *facts.CAPITALS, *facts.CAPITALS.values(), *LETTERS, *HOBBIES,
        *graded.SEASONS, *graded.WEATHER, *graded.DRINKS,
    ]  # fmt: skip
    sentences = [
        *capital_sentences(), *opposite_sentences(), *colour_sentences(),
        *(p for family in graded.all_graded().values() for p in ((q, "") for q, _ in family)),
        *((MAKERS[kind](rng)) for kind in FULL for _ in range(200)),
    ]  # fmt: skip
    seen = dict.fromkeys(listed)
    for prompt, answer in sentences:
        seen.update(dict.fromkeys(words(prompt) + words(answer)))
    return list(seen)
