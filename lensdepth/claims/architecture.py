"""What untrained twins of a model give, and what follows: a statement that holds by architecture.

A statement that they pass says something of the architecture and of the prompts, and nothing of
what a model learned. Their task is the user's own prompts with the twin's first choices as answers,
so that every pair is "right"; pairs are those whose two answers differ.

The rule, stated before any result. A twin passes a statement where its number, uncertainty aside,
lies on the statement's side of the threshold; where there is nothing to measure, such as no
handover to time, it passes nothing. A statement is
"by architecture" where any drawn twin passes it, or where more than one in twenty would by a normal
distribution with the drawn numbers' mean and standard deviation. Counting alone could not do it:
after none of five, up to 45 % of all twins may pass.

By itself such a statement supports nothing. A claim can be supported where one of its statements
is not by architecture, or where the model's own number lies beyond the twins': where a further twin
would come as far with a chance of 5 % at most, over all of the claim's statements (Bonferroni).
That is told by the predictive distribution: Student's t, n - 1 degrees of freedom, about the drawn
numbers' mean, with their variance times 1 + 1 / n and the model's own squared standard error on
top; so it knows how little so few draws say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from lensdepth.claims.estimate import Estimate
from lensdepth.claims.place import Place
from lensdepth.claims.verdict import Expectation

N_TWINS = 5
OFTEN = 0.05
"""Chance of a further twin passing, above which a statement is by architecture."""
FEWEST_DRAWS = 3
"""Numbers that a predictive distribution needs; fewer are counted alone."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The numbers of the twins that could be measured."""

    numbers: tuple[Mapping[str, float | None], ...] = ()
    """One a twin: key of a statement -> its number; None where there is nothing that it could be
    about, such as no handover to time; a statement that could not be measured is not in it."""
    places: tuple[Place, ...] = ()
    """Where control passes in each of them."""
    note: str = ""
    """Why there are none, or fewer than asked for."""

    def beside(
        self,
        key: str,
        own: Estimate | None,
        expect: Expectation | None,
        threshold: float | None,
        *,
        n_statements: int = 1,
    ) -> "Beside":
        """What stands beside a model's own number.

        Args:
            key: of the statement.
            own: the model's number.
            expect: on which side of the threshold a number passes.
            threshold: what it is held against.
            n_statements: of the claim, each of which might lie beyond the twins by chance.
        """
        found = [one[key] for one in self.numbers if key in one]
        values = tuple(sorted(x for x in found if x is not None))
        if expect is None or threshold is None or not found:
            return Beside(n=len(found), values=values)
        passed = sum(passes(x, expect, threshold) for x in values)
        often = chance(values, expect, threshold, predictive=False) > OFTEN
        far = None
        if own is not None and expect != "equivalent" and len(values) >= FEWEST_DRAWS:
            far = min(1.0, n_statements * chance(values, expect, own.value, se=own.se))
        return Beside(
            n=len(found),
            values=values,
            passed=passed,
            by_architecture=bool(passed or often),
            as_far=far,
        )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One statement's numbers on untrained twins."""

    n: int = 0
    """Twins on which the statement was measured."""
    values: tuple[float, ...] = ()
    """Their numbers, ascending; those with nothing to measure have none, and pass nothing."""
    passed: int = 0
    """How many pass the statement."""
    by_architecture: bool = False
    """Whether untrained twins pass it too often for it to support anything by itself."""
    as_far: float | None = None
    """Chance that a further twin comes as far as the model, times the statements of the claim; None
    where it is not known."""

    @property
    def says_nothing(self) -> bool:
        """By architecture, and the model's own number is not beyond the twins'."""
        beyond = self.as_far is not None and self.as_far <= OFTEN
        return self.by_architecture and not beyond

    @property
    def median(self) -> float | None:
        """The middle of the twins' numbers."""
        return float(np.median(self.values)) if self.values else None

    @property
    def low(self) -> float | None:
        """The smallest of them."""
        return self.values[0] if self.values else None

    @property
    def high(self) -> float | None:
        """The largest of them."""
        return self.values[-1] if self.values else None

    @property
    def share(self) -> float | None:
        """Share of the twins that pass; None where none was measured."""
        return self.passed / self.n if self.n else None


def passes(value: float, expect: Expectation, threshold: float) -> bool:
    """Whether a number lies on the statement's side of its threshold."""
    if expect == "equivalent":
        return abs(value) < threshold
    return value > threshold if expect == "greater" else value < threshold


def chance(
    values: Sequence[float],
    expect: Expectation,
    threshold: float,
    *,
    predictive: bool = True,
    se: float = 0.0,
) -> float:
    """Chance that a further draw passes; 0 where the draws are too few to say.

    Args:
        values: the draws.
        expect: on which side of the threshold a number passes.
        threshold: what it is held against.
        predictive: reckon with what so few draws leave open of mean and spread; else take both for
            known.
        se: standard error of the threshold, where that is another number.
    """
    n = len(values)
    if n < FEWEST_DRAWS:
        return 0.0
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    if np.hypot(spread, se) <= 1e-9 * max(1.0, abs(mean)):
        return float(passes(mean, expect, threshold))
    law = (
        distributions.t(n - 1, mean, np.hypot(spread * np.sqrt(1 + 1 / n), se))
        if predictive
        else distributions.norm(mean, spread)
    )
    if expect == "equivalent":
        return float(law.cdf(threshold) - law.cdf(-threshold))
    return float(law.sf(threshold) if expect == "greater" else law.cdf(threshold))
