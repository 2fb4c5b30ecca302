"""Words in sentences with one blank or several, all about equally often: calendar, ioi, facts."""

import random
from collections.abc import Sequence

from lensdepth.tasks import calendar, facts, ioi
from lensdepth.tasks.rows import Make, Row, draw_balanced

CALENDAR_TEMPLATES = {template.name: template for template in calendar.TEMPLATES}
IOI_TEMPLATES: dict[str, str] = dict(
    zip(("when", "after", "at", "then"), ioi.TEMPLATES, strict=True)
)
CAPITAL_TEMPLATES: dict[str, str] = dict(
    zip(("capital", "proud"), facts.CAPITAL_TEMPLATES, strict=True)
)


def calendar_pairs(unit: str, *, nested: bool = False) -> Make:
    """ "Two months from January is" -> March; nested, "from the month after January"."""
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


def ioi_pairs(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """ "When Mary and John went to the park, John gave a book to" -> Mary."""
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


def lookup_pairs(
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
