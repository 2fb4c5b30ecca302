"""From what a norm edit did at each depth to what the norm decides there.

Thresholds are those that the study's claims are tested by (0.1 of the first choices, 0.1 nats) and
were set before any result was seen. All tests are one-sided and share 5 % between both sides and
all depths that are judged (Bonferroni), so that "at some depth" is no wider a net.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.claims.estimate import Estimate, estimate
from lensdepth.units import FEWEST_UNITS, Units, count

NATS = 0.1
"""Change of entropy, in nats, below which it is called as it was."""
FLIPS = 0.1
"""Share of first choices below which they are called as they were."""

NormVerdict = Literal[
    "tells confidence", "as any move", "nothing", "decides", "cannot tell", "too few"
]
Overall = Literal[
    "tells confidence", "as any move", "nothing", "decides", "differs by depth", "cannot tell",
    "too few",
]  # fmt: skip
FOUND: tuple[NormVerdict, ...] = ("tells confidence", "as any move", "decides")
"""What may be found at a depth at which the norm does something."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the norm decides at one depth, and the numbers that say so."""

    verdict: NormVerdict
    reason: str
    """Why nothing can be told, if so."""
    per_doubling: Estimate
    """Change of entropy in nats for each doubling of the norm: the slope through the origin over
    the factor's logarithm. Negative: the longer, the surer."""
    moved: Estimate
    """Size of the change of entropy in nats, mean over factors."""
    lead: Estimate
    """That less the same of turns of equal length, on the pairs that have both."""
    flips: Estimate
    """Share of first choices that change, mean over factors."""
    flips_lead: Estimate
    """That less the same of turns of equal length."""


def judge(
    entropy: Float[Array, "pair factor"],
    turned: Float[Array, "pair factor"],
    flips: Float[Array, "pair factor"],
    turned_flips: Float[Array, "pair factor"],
    factors: Sequence[float],
    *,
    units: Units,
    n_prompts: int,
    n_depths: int,
    floor: float = 0.0,
) -> Judged:
    """What the norm decides at one depth.

    Args:
        entropy: change under the norm edit, in nats.
        turned: under turns of equal length; NaN where none was run.
        flips: 1 where the norm edit changes the first choice.
        turned_flips: the same of turns.
        factors: of the norm.
        units: which pairs go together.
        n_prompts: different prompts among the pairs: outcomes that never differ are known no
            better than so many tell.
        n_depths: depths that are judged.
        floor: change of entropy that is rounding.
    Returns:
        Judged. "too few" below five units.

        Where first choices change in more than FLIPS of the pairs: "decides", if turns of equal
        length change fewer; "as any move", if they fall behind by less than FLIPS.

        Where first choices change in fewer: "nothing", if entropy moves by less than NATS. If it
        moves with the factor, by more than NATS a doubling: "tells confidence", if turns of equal
        length do not do that (they move it less, or change first choices in more than FLIPS of the
        pairs besides); "as any move", if they fall behind by less than NATS and change as few.
    """
    logs = np.log(np.asarray(factors, dtype=float))
    slope = np.log(2) * (entropy @ logs) / (logs @ logs)
    size, by_turn = np.abs(entropy).mean(1), np.abs(turned).mean(1)
    least = max(floor, 1e-6)  # a mean of what never differs is known to rounding
    share = replace(estimate(flips.mean(1), units, floor=1 / n_prompts), bounds=(0.0, 1.0))
    found = {
        "per_doubling": estimate(slope, units, floor=least),
        "moved": estimate(size, units, floor=least),
        "lead": estimate(size - by_turn, units, floor=least),
        "flips": share,
        "flips_lead": estimate((flips - turned_flips).mean(1), units, floor=1 / n_prompts),
    }
    verdict, reason = _decided(found, units, len(entropy), n_depths, floor)
    return Judged(verdict=verdict, reason=reason, **found)


def _decided(
    found: dict[str, Estimate], units: Units, n_pairs: int, n_depths: int, floor: float
) -> tuple[NormVerdict, str]:
    n = count(units, n_pairs)
    if n < FEWEST_UNITS:
        return "too few", f"there are {n} independent units, and {FEWEST_UNITS} are needed"
    sure, nats = stats.ALPHA / (2 * n_depths), max(NATS, floor)
    flips, slope = found["flips"], found["per_doubling"]
    lead, others = found["lead"], found["flips_lead"]
    if flips.p_above(FLIPS) < sure:
        if np.isnan(others.value):
            return "cannot tell", "first choices change, but too few pairs were turned as well"
        if others.p_above(0.0) < sure:
            return "decides", ""
        if others.p_below(FLIPS) < sure:
            return "as any move", ""
        return "cannot tell", "first choices change, but turns of equal length may change as many"
    if not flips.p_below(FLIPS) < sure:
        return "cannot tell", f"whether fewer than {FLIPS:.0%} of first choices change is open"
    if found["moved"].p_below(nats) < sure:
        return "nothing", ""
    if not min(slope.p_above(nats), slope.p_below(-nats)) < sure:
        return "cannot tell", "entropy moves in no order of the factors that is large enough"
    if np.isnan(lead.value):
        return "cannot tell", "entropy moves, but too few pairs were turned as well"
    # Either is enough, so that each has half of the error.
    if min(lead.p_above(floor), others.p_below(-FLIPS)) < sure / 2:
        return "tells confidence", ""
    if max(lead.p_below(nats), others.p_above(-FLIPS)) < sure:
        return "as any move", ""
    return "cannot tell", "entropy moves, but turns of equal length may do the same"


def overall(judged: Sequence[Judged]) -> tuple[Overall, str]:
    """One verdict over the depths that are judged, and why nothing can be told, if so."""
    verdicts = [one.verdict for one in judged]
    if not verdicts:
        return "cannot tell", "no depth between the first and the last was measured"
    if "too few" in verdicts:
        return "too few", judged[verdicts.index("too few")].reason
    there: list[Overall] = [one for one in FOUND if one in verdicts]
    if len(there) > 1:
        return "differs by depth", ""
    if there:
        return there[0], ""
    if set(verdicts) == {"nothing"}:
        return "nothing", ""
    open_at = verdicts.index("cannot tell")
    return "cannot tell", judged[open_at].reason
