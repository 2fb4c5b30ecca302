"""From what a vector did to each pair, beside random turns as far, to what it does.

The threshold is the one by which the study's claims call first choices kept (0.1), set before any
result was seen. All tests are one-sided and share 5 % between both sides and all strengths.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.claims.estimate import Estimate, estimate
from lensdepth.confidence.verdict import FLIPS
from lensdepth.units import FEWEST_UNITS, Units, count

Effect = Literal[
    "more than a turn", "as any turn", "nothing", "no control", "cannot tell", "too few"
]
Whereto = Literal["towards", "away", "open"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a vector does at one strength, and the numbers that say so."""

    verdict: Effect
    reason: str
    """Why nothing can be told, if so."""
    whereto: Whereto
    """Whether it leads towards the source's answer: by `gain_lead`, or by `gain` where there is no
    turn to hold it against."""
    flips: Estimate
    """Share of first choices that change."""
    flips_lead: Estimate
    """That less the same of random turns, on the pairs that have both."""
    gain: Estimate
    """Rise of the logit of the source's answer against tokens that are no answer, in nats: a base's
    answer that is erased is none."""
    gain_lead: Estimate
    """That less the same of random turns."""


def judge(
    flips: Float[Array, " pair"],
    turned_flips: Float[Array, " pair"],
    gain: Float[Array, " pair"],
    turned_gain: Float[Array, " pair"],
    *,
    units: Units,
    n_prompts: int,
    n_strengths: int,
    turns: bool,
    floor: float = 0.0,
) -> Judged:
    """What a vector does at one strength.

    Args:
        flips: 1 where the vector changes the first choice.
        turned_flips: the mean over random turns; NaN where none was run.
        gain: rise of the logit of the source's answer, in nats.
        turned_gain: the mean over random turns; NaN where none was run.
        units: which pairs go together.
        n_prompts: different prompts among the pairs: outcomes that never differ are known no
            better than so many tell.
        n_strengths: strengths that are judged.
        turns: whether the vector turns states, so that there is something to hold it against.
        floor: change of a logit that is rounding.
    Returns:
        Judged. "too few" below five units. "nothing", if first choices change in fewer than FLIPS
        of the pairs. If they change in more: "more than a turn", if random turns as far change
        fewer; "as any turn", if these fall behind by less than FLIPS; "no control" where there is
        no turn.
    """
    least = max(floor, 1e-6)  # a mean of what never differs is known to rounding
    found = {
        "flips": replace(estimate(flips, units, floor=1 / n_prompts), bounds=(0.0, 1.0)),
        "flips_lead": estimate(flips - turned_flips, units, floor=1 / n_prompts),
        "gain": estimate(gain, units, floor=least),
        "gain_lead": estimate(gain - turned_gain, units, floor=least),
    }
    sure = stats.ALPHA / (2 * n_strengths)
    verdict, reason = _decided(found, units, len(flips), sure, turns)
    led = found["gain_lead" if turns else "gain"]
    whereto: Whereto = "open"
    if led.p_above(floor) < sure:
        whereto = "towards"
    elif led.p_below(-floor) < sure:
        whereto = "away"
    return Judged(verdict=verdict, reason=reason, whereto=whereto, **found)


def _decided(
    found: dict[str, Estimate], units: Units, n_pairs: int, sure: float, turns: bool
) -> tuple[Effect, str]:
    n = count(units, n_pairs)
    if n < FEWEST_UNITS:
        return "too few", f"there are {n} independent units, and {FEWEST_UNITS} are needed"
    flips, lead = found["flips"], found["flips_lead"]
    if flips.p_below(FLIPS) < sure:
        return "nothing", ""
    if not flips.p_above(FLIPS) < sure:
        return "cannot tell", f"whether more than {FLIPS:.0%} of first choices change is open"
    if not turns:
        return "no control", ""
    if np.isnan(lead.value):
        return "cannot tell", "first choices change, but too few pairs were turned as well"
    if lead.p_above(0.0) < sure:
        return "more than a turn", ""
    if lead.p_below(FLIPS) < sure:
        return "as any turn", ""
    return "cannot tell", "first choices change, but random turns as far may change as many"
