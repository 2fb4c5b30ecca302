"""Few-shot tasks of order and number: what comes next, calendar arithmetic, years, sums."""

from collections.abc import Sequence

from lensdepth.tasks import calendar, words
from lensdepth.tasks.recipe import Recipe
from lensdepth.tasks.shots import Item, Wording, items_of, recipe, sentences

# What comes next

_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SEQUENCES = {
    "month": (calendar.MONTHS, True),
    "weekday": (calendar.WEEKDAYS, True),
    "number": (words.COUNTED, False),
    "letter": (_LETTERS, False),
}
"""Names in order, and whether the first comes after the last."""
NEXT = {
    "after": "After {word} comes {answer}.",
    "arrow": "{word} -> {answer}",
    "followed": "{word} is followed by {answer}.",
    "list": "{word}, {answer}",
}


def _next_items(kind: str) -> list[Item]:
    names, round_again = _SEQUENCES[kind]
    following = dict(zip(names, names[1:] + names[:1], strict=True))
    if not round_again:
        del following[names[-1]]
    return items_of(following, kind, f"next_{kind}")


def _next(kind: str, example: str) -> Recipe:
    """A week has too few days for question and examples: those are of the other sequences."""
    others = [item for other in _SEQUENCES if other != kind for item in _next_items(other)]
    shots = others if kind == "weekday" else ()
    return recipe(example, sentences(_next_items(kind), NEXT, shots=shots))


# Calendar arithmetic


def _arithmetic(unit: str) -> Recipe:
    """The study's task; each wording's examples are of the same wording."""
    names = calendar.CALENDARS[unit]

    def items(template: calendar.Template) -> list[Item]:
        found = []
        for alpha in names:
            for beta in range(1, len(names) + 1):
                gamma = calendar.answer(template, unit=unit, alpha=alpha, beta=beta)
                number = calendar.NUMBERS[beta - 1]
                fields = {
                    "beta": number, "Beta": number.capitalize(), "unit": unit,
                    "units": unit if beta == 1 else unit + "s",
                }  # fmt: skip
                found.append(
                    Item(
                        word=alpha,
                        answer=gamma,
                        together=str(beta),
                        fields=fields,
                        labels={"alpha": alpha, "gamma": gamma},
                        shared={"beta": beta, "unit": unit},
                    )
                )
        return found

    wordings = {
        template.name: Wording(
            texts=(template.text.replace("{alpha}", "{word}") + " {answer}.",),
            items=items(template),
            n_shots=4,
            apart=False,
        )
        for template in calendar.TEMPLATES
    }
    example = "March" if unit == "month" else "Wednesday"
    return recipe(
        f'"Five {unit}s from ... is .... Two {unit}s from {names[0]} is" -> {example}, behind '
        f"examples",
        wordings,
        "from",
    )


# Years and sums


def _years(*, digits: int, spans: Sequence[int]) -> list[Item]:
    """Years, and years so many decades on, of which the answer is one digit or both behind the
    century."""
    return [
        Item(
            word=f"{century}{decade}{unit}",
            varies=f"{century}{decade}",
            answer=f"{decade + span}{unit}"[:digits],
            together=f"{century} {unit}",
            fields={"century": str(century), "rest": f"{decade + span}{unit}"[digits:]},
            labels={"year": f"{century}{decade}{unit}", "decade": decade},
            shared={"century": century},
        )
        for century in (16, 17, 18)
        for decade in range(1, 9)
        for unit in (1, 2, 4, 5, 7, 8)
        for span in spans
        if decade + span <= 9
    ]


_EVENTS = ("war", "siege", "project", "journey", "conflict", "rebellion", "expedition", "reign")


def _lasting(digits: int, text: str) -> Wording:
    """Of the many later years the target is that of the next decade; examples end in any."""
    return Wording(
        texts=(text,),
        items=_years(digits=digits, spans=(1,)),
        shots=_years(digits=digits, spans=range(1, 5)),
        pools={"event": _EVENTS},
        n_shots=2,
    )


_LASTED = "The {event} lasted from the year {word} to the year {century}{answer}"
_BEGAN = "The {event} began in {word} and ended in {century}{answer}"
_GREATER = {
    f"{name}_{'decades' if digits == 1 else 'years'}": _lasting(
        digits, text + ("{rest}." if digits == 1 else ".")
    )
    for name, text in (("lasted", _LASTED), ("began", _BEGAN))
    for digits in (1, 2)
}


def _sums() -> list[Item]:
    return [
        Item(
            word=str(a),
            answer=str(a + b),
            together=str(b),
            fields={"b": str(b)},
            labels={"a": a, "sum": a + b},
            shared={"b": b},
        )
        for a in range(1, 9)
        for b in range(1, 9)
        if a + b <= 9
    ]


def _spelled() -> list[Item]:
    return [
        Item(
            word=words.COUNTED[int(item.word) - 1],
            answer=words.COUNTED[int(item.answer) - 1],
            together=item.together,
            fields={"b": words.COUNTED[int(item.fields["b"]) - 1]},
            labels=item.labels,
            shared=item.shared,
        )
        for item in _sums()
    ]


def _adding(text: str, items: Sequence[Item]) -> Wording:
    between = " " if text.endswith(".") else "\n"
    return Wording(texts=(text,), items=items, between=between, n_shots=4, apart=False)


_SUMS = {
    "digits": _adding("{word}+{b}={answer}", _sums()),
    "second": _adding("{b}+{word}={answer}", _sums()),
    "words": _adding("{word} plus {b} is {answer}.", _spelled()),
    "question": _adding("Q: How much is {word} plus {b}?\nA: {answer}", _spelled()),
}


COUNTING: dict[str, Recipe] = {
    "months": _arithmetic("month"),
    "weekdays": _arithmetic("day"),
    "next-month": _next("month", '"After May comes June. ... After January comes" -> February'),
    "next-weekday": _next("weekday", '"After June comes July. ... After Monday comes" -> Tuesday'),
    "next-number": _next("number", '"After six comes seven. ... After one comes" -> two'),
    "next-letter": _next("letter", '"After E comes F. ... After A comes" -> B'),
    "sums": recipe('"2+3=5 ... 4+3=" -> 7', _SUMS),
    "greater-than": recipe(
        '"... The war lasted from the year 1732 to the year 17" -> a later decade or year', _GREATER
    ),
}
