"""How many prompts a hypothesis needs, from a pilot."""

import math

from scipy import stats as distributions

from lensdepth.arguments import checked
from lensdepth.claims.result import Finding
from lensdepth.stats import ALPHA

MOST = 10**7


@checked
def prompts_needed(
    pilot: Finding, *, effect: float | None = None, power: float = 0.9, n_tests: int = 1
) -> int | None:
    """Different prompts with which the hypothesis would come out supported, so often.

    The pilot's standard error is scaled by the root of the number of prompts, and the test's power
    is that of Student's t with a noncentral distribution. Two-sided level 0.05, divided by the
    number of tests (Bonferroni, which Holm's method never falls short of).

    Args:
        pilot: a finding with a number, from `evaluate_hypotheses` or `evaluate_claims`.
        effect: the true effect that is hoped for; the pilot's own by default, which is noisy.
        power: chance of the verdict "supported".
        n_tests: hypotheses in the family.
    Returns:
        The number, or None where no number is enough: the effect does not exceed its threshold.
    Raises:
        ValueError: a pilot without a number or expectation, a power outside 0 and 1.
    Source: Cohen 1988, "Statistical Power Analysis"; for equivalence Phillips 1990, "Power of the
        two one-sided tests procedure in bioequivalence".
    """
    if (
        pilot.effect is None
        or pilot.low is None
        or pilot.high is None
        or pilot.expect is None
        or pilot.threshold is None
    ):
        raise ValueError(
            f"prompts_needed: {pilot.key!r} has no number to plan with ({pilot.reason or 'none'})."
        )
    if not 0 < power < 1:
        raise ValueError(f"prompts_needed: power must lie between 0 and 1, got {power}.")
    if n_tests < 1:
        raise ValueError(f"prompts_needed: n_tests must be at least 1, got {n_tests}.")
    hoped = pilot.effect if effect is None else effect
    reach = float(distributions.t.ppf(1 - ALPHA / 2, pilot.n - 1))
    # Near a bound the interval is short on that side; further in prompts spread more.
    side = max(pilot.high - pilot.effect, pilot.effect - pilot.low)
    spread = side / reach * math.sqrt(pilot.n)
    distances = {
        "greater": [hoped - pilot.threshold],
        "less": [pilot.threshold - hoped],
        "equivalent": [pilot.threshold - hoped, pilot.threshold + hoped],
    }[pilot.expect]
    if min(distances) <= 0:
        return None
    level = ALPHA / 2 / n_tests

    def enough(n: int) -> bool:
        short = sum(_miss(distance, spread, n, level) for distance in distances)
        return 1 - short >= power

    low, high = 2, 4
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _miss(distance: float, spread: float, n: int, level: float) -> float:
    """Chance that a one-sided test of this level misses an effect so far beyond the threshold."""
    bar = float(distributions.t.ppf(1 - level, n - 1))
    return float(distributions.nct.cdf(bar, n - 1, distance * math.sqrt(n) / spread))
