"""From a number and what was expected of it to a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lensdepth import stats
from lensdepth.claims.estimate import Estimate

Expectation = Literal["greater", "less", "equivalent"]
"""The number lies above a threshold, below it, or no further from 0 than it."""
Verdict = Literal["supported", "contradicted", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How far a number speaks for an expectation and how far against it.

    Both p-values are one-sided and about the same threshold, so a number that clearly exceeds zero
    but not the threshold supports nothing.
    """

    p_for: float
    p_against: float

    @property
    def p(self) -> float:
        """Two-sided: either may be found."""
        return min(1.0, 2 * min(self.p_for, self.p_against))


def judge(found: Estimate, expect: Expectation, threshold: float) -> Judged:
    """Test a number against its threshold, both ways.

    Equivalence is two one-sided tests (Schuirmann 1987): the larger p counts; against it speaks
    whichever bound is exceeded, at twice its p.
    """
    if np.isnan(found.value) or np.isnan(found.se):
        return Judged(p_for=1.0, p_against=1.0)
    above, below = found.p_above(threshold), found.p_below(threshold)
    if expect == "greater":
        return Judged(p_for=above, p_against=below)
    if expect == "less":
        return Judged(p_for=below, p_against=above)
    within = max(found.p_above(-threshold), below)
    return Judged(p_for=within, p_against=min(1.0, 2 * min(above, found.p_below(-threshold))))


def all_of(parts: Sequence[Judged]) -> Judged:
    """A claim that says several things: supported if all are, contradicted if any is.

    For it: the largest p (an intersection-union test, Berger 1982). Against it: the smallest, times
    their number (Bonferroni).
    """
    return Judged(
        p_for=max(part.p_for for part in parts),
        p_against=min(1.0, len(parts) * min(part.p_against for part in parts)),
    )


def decide(judged: Sequence[Judged]) -> list[tuple[Verdict, float]]:
    """Verdict and Holm-corrected p of each of a family."""
    if not judged:
        return []
    adjusted = stats.holm(np.array([one.p for one in judged]))
    return [(_verdict(one, float(p)), float(p)) for one, p in zip(judged, adjusted, strict=True)]


def _verdict(judged: Judged, p: float) -> Verdict:
    if p >= stats.ALPHA:
        return "cannot tell"
    return "supported" if judged.p_for < judged.p_against else "contradicted"
