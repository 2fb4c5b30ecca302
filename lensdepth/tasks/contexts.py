"""Tasks that answer from the context: there are more pairs than anyone can list."""

import random
import string
from collections.abc import Callable, Sequence

from lensdepth.tasks import calendar, ioi
from lensdepth.tasks.grids import CALENDAR_TEMPLATES
from lensdepth.tasks.rows import Row, shuffled_levels

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


def copy_pairs(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
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

    return draw_endless(len(kinds), draw, n, rng)


def binding_pairs(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
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

    return draw_endless(len(kinds), draw, n, rng)


def story_pairs(_: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
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

    return draw_endless(len(kinds), draw, n, rng)


def draw_endless(
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
