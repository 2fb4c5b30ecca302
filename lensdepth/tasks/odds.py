"""Tasks with several right answers of known odds, in pairs with different most likely answers."""

import json
import random
from collections.abc import Callable, Sequence

from lensdepth.tasks import calendar, graded
from lensdepth.tasks.rows import Make, Row, draw_in_turn


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


def near_pairs(unit: str) -> Make:
    """ "A month near May is" -> May."""
    prompts = {
        alpha: (graded.NEAR_TEMPLATE.format(unit=unit, alpha=alpha), graded.near(unit, alpha))
        for alpha in calendar.CALENDARS[unit]
    }
    return _drawn_in_turn([_rows_from_odds(prompts, label="alpha", extra={"unit": unit})])


def roughly_pairs(unit: str) -> Make:
    """ "Roughly two months after May it is" -> July."""
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
    return _drawn_in_turn(by_beta)


def word_pairs(
    template: str, words: Sequence[str], odds: Callable[[str], dict[str, float]], *, label: str
) -> Make:
    """Sentences with one blank, `{label}`, and for each word in it the odds of the answers."""
    prompts = {word: (template.format(**{label: word}), odds(word)) for word in words}
    return _drawn_in_turn([_rows_from_odds(prompts, label=label, extra={})])


def _drawn_in_turn(blocks: Sequence[Sequence[Sequence[Row]]]) -> Make:
    """Draw in turn from blocks, and within a block in turn from clean prompts."""

    def make(_: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
        groups = [draw_in_turn(block, None, rng) for block in blocks]
        rng.shuffle(groups)
        # Each block is already in a balanced order; take the blocks in turn, keeping that order.
        longest = max(map(len, groups))
        merged = [group[i] for i in range(longest) for group in groups if i < len(group)]
        return merged if n is None else merged[:n]

    return make


def graded_prompts(templates: Sequence[str], n: int | None, rng: random.Random) -> list[Row]:
    """Plain prompts, one of each family in turn."""
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
