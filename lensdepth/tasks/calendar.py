"""Calendar arithmetic: "Two months from January is" -> March.

The Months task of Haim & McNamee (arXiv 2602.04931) and its weekday twin, in many
wordings. `alpha` is the start, `beta` the count, `gamma` the answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = (
    "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
CALENDARS = {"month": MONTHS, "day": WEEKDAYS}


@dataclass(frozen=True, kw_only=True)
class Template:
    """One wording of "beta units after (or before) alpha"."""

    name: str
    sign: int
    """+1 where the wording counts forward, -1 where it counts back."""
    text: str


TEMPLATES = (
    Template(name="from", sign=+1, text="{Beta} {units} from {alpha} is"),
    Template(name="after", sign=+1, text="{Beta} {units} after {alpha} is"),
    Template(name="before", sign=-1, text="{Beta} {units} before {alpha} is"),
    Template(name="plus", sign=+1, text="{alpha} plus {beta} {units} is"),
    Template(name="minus", sign=-1, text="{alpha} minus {beta} {units} is"),
    Template(name="if_in", sign=+1, text="If it is {alpha} now, in {beta} {units} it will be"),
    Template(name="if_ago", sign=-1, text="If it is {alpha} now, {beta} {units} ago it was"),
    Template(name="comes", sign=+1, text="The {unit} that comes {beta} {units} after {alpha} is"),
    Template(name="came", sign=-1, text="The {unit} that came {beta} {units} before {alpha} is"),
    Template(name="forward", sign=+1, text="Counting {beta} {units} forward from {alpha} gives"),
    Template(name="back", sign=-1, text="Counting {beta} {units} back from {alpha} gives"),
    Template(name="start", sign=+1, text="Starting at {alpha} and waiting {beta} {units} leads to"),
)


def fill(template: Template, *, unit: str, alpha: str, beta: int) -> str:
    """Write the prompt; `alpha` may itself be a phrase, `beta` counts from 1."""
    number = NUMBERS[beta - 1]
    return template.text.format(
        alpha=alpha,
        beta=number,
        Beta=number.capitalize(),
        unit=unit,
        units=unit if beta == 1 else unit + "s",
    )


def answer(template: Template, *, unit: str, alpha: str, beta: int) -> str:
    """The name `beta` steps along the circle from `alpha`."""
    names = CALENDARS[unit]
    return names[(names.index(alpha) + template.sign * beta) % len(names)]


def combinations(unit: str) -> Iterator[tuple[Template, str, int]]:
    """Every (template, alpha, beta) there is, in a fixed order."""
    names = CALENDARS[unit]
    for template in TEMPLATES:
        for alpha in names:
            for beta in range(1, len(names) + 1):
                yield template, alpha, beta
