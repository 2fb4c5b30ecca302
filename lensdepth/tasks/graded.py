"""Prompts with several right answers of known probability.

The claim that angles between late states follow distributional similarity (C4) cannot be
tested where every prediction is one-hot: Jensen-Shannon is then only "same answer or not".
Here the true next-token distribution is known and varies smoothly.
"""

import math

from lensdepth.tasks.calendar import CALENDARS, MONTHS, NUMBERS
from lensdepth.tasks.facts import CAPITALS

SEASONS = {"winter": 0, "spring": 3, "summer": 6, "autumn": 9}
"""Season -> the month (0 = January) at its middle."""
WEATHER = {"cold": 0.0, "rainy": 3.0, "warm": 5.0, "hot": 6.5, "mild": 8.5, "windy": 10.0}
"""Weather -> the point of the year (in months from January) where it is most likely."""
DRINKS = ("tea", "coffee", "wine", "beer", "milk", "water")

NEAR_TEMPLATE = "A {unit} near {alpha} is"
ROUGHLY_TEMPLATE = "Roughly {beta} {units} after {alpha} it is"
SEASON_TEMPLATE = "A month in {season} is"
WEATHER_TEMPLATE = "The weather in {month} is"
WEATHER_DAY_TEMPLATE = "A {weather} day in"
DRINK_TEMPLATE = "Most people in {country} like"

NEAR = {0: 0.4, 1: 0.2, -1: 0.2, 2: 0.1, -2: 0.1}
ROUGHLY = {0: 0.5, 1: 0.2, -1: 0.2, 2: 0.05, -2: 0.05}


def around(unit: str, centre: int, spread: dict[int, float]) -> dict[str, float]:
    """Probability of each name at the given steps from `centre` on the circle."""
    names = CALENDARS[unit]
    return {names[(centre + step) % len(names)]: p for step, p in spread.items()}


def near(unit: str, alpha: str) -> dict[str, float]:
    """For "A month near May is" -> May .4, its neighbours .2, theirs .1."""
    return around(unit, CALENDARS[unit].index(alpha), NEAR)


def roughly(unit: str, alpha: str, beta: int) -> dict[str, float]:
    """For "Roughly two months after May it is" -> July .5, its neighbours .2, theirs .05."""
    return around(unit, CALENDARS[unit].index(alpha) + beta, ROUGHLY)


def season(name: str) -> dict[str, float]:
    """For "A month in spring is" -> its three months at 30 % each, the two beside them at 5 %."""
    return around("month", SEASONS[name], {0: 0.3, 1: 0.3, -1: 0.3, 2: 0.05, -2: 0.05})


def _von_mises(angles: dict[str, float], centre: float) -> dict[str, float]:
    """Probabilities that fall off smoothly round the year: p ~ exp(2 cos(angle))."""
    mass = {
        word: math.exp(2 * math.cos(2 * math.pi * (at - centre) / 12))
        for word, at in angles.items()
    }
    total = sum(mass.values())
    return {word: m / total for word, m in mass.items()}


def weather(month: str) -> dict[str, float]:
    """For "The weather in May is" -> warm, rainy, hot, ... by distance round the year."""
    return _von_mises(WEATHER, float(MONTHS.index(month)))


def weather_day(word: str) -> dict[str, float]:
    """For "A warm day in" -> June, May, July, ... by distance round the year."""
    return _von_mises({month: float(i) for i, month in enumerate(MONTHS)}, WEATHER[word])


def drink(country: str) -> dict[str, float]:
    """For "Most people in Italy like": a noisy fact, with arbitrary but fixed odds."""
    index = list(CAPITALS).index(country)
    mass = {
        word: math.exp(2 * math.cos(1.7 * index * (k + 1) + k)) for k, word in enumerate(DRINKS)
    }
    total = sum(mass.values())
    return {word: m / total for word, m in mass.items()}


def all_graded() -> dict[str, list[tuple[str, dict[str, float]]]]:
    """Every graded prompt with its true distribution, by family."""
    families: dict[str, list[tuple[str, dict[str, float]]]] = {"near": [], "roughly": []}
    for unit, names in CALENDARS.items():
        for alpha in names:
            families["near"].append(
                (NEAR_TEMPLATE.format(unit=unit, alpha=alpha), near(unit, alpha))
            )
            for beta in range(1, len(names) + 1):
                units = unit if beta == 1 else unit + "s"
                prompt = ROUGHLY_TEMPLATE.format(beta=NUMBERS[beta - 1], units=units, alpha=alpha)
                families["roughly"].append((prompt, roughly(unit, alpha, beta)))
    families["season"] = [(SEASON_TEMPLATE.format(season=s), season(s)) for s in SEASONS]
    families["weather"] = [(WEATHER_TEMPLATE.format(month=m), weather(m)) for m in MONTHS]
    families["weather_day"] = [
        (WEATHER_DAY_TEMPLATE.format(weather=w), weather_day(w)) for w in WEATHER
    ]
    families["drink"] = [(DRINK_TEMPLATE.format(country=c), drink(c)) for c in CAPITALS]
    return families
