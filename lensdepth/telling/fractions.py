"""A transferred fraction never stands alone: what of it was brought along, and what erased.

The logit difference moves when the source's answer rises and when the base's falls. A state that is
merely disturbed loses the base's answer and puts nothing in its place, and that alone can move half
of the difference. So the gain of the one, the loss of the other and success stand beside it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from lensdepth.telling.curves import estimate
from lensdepth.telling.names import METRICS, metric_words, part_names
from lensdepth.telling.numbers import Interval, percent
from lensdepth.units import Units

if TYPE_CHECKING:
    from lensdepth.outcome import Effects

Fraction = Literal["transferred", "target_gain", "foil_loss"]
FRACTIONS: tuple[Fraction, ...] = get_args(Fraction)
"""Effects that are shares of the way from base to source; the last two add up to the first."""
BESIDE = ("target_gain", "foil_loss", "success")
"""What stands beside a transferred fraction, as columns, keys and effects."""
COMPARED = ("kl", "js")
"""Metrics that compare with the base run, so that their values are effects and no levels."""
OUTCOMES = ("success", "flip")
"""Effects that are an outcome of each pair, 0 or 1."""


def known_beside(outcome: "Effects") -> Sequence[str]:
    """Those of BESIDE that were read off."""
    return [
        name
        for name in BESIDE
        if (outcome.has_gains if name in FRACTIONS else name in outcome.metrics)
    ]


def effect_name(effect: str, intended: str = "target") -> str:
    """An effect of BESIDE as readers know it; when noising the foil gains and the target loses."""
    if effect in FRACTIONS[1:]:
        return part_names(intended)[FRACTIONS.index(effect) - 1]
    return effect.replace("_", " ")


def fraction_name(effect: str, intended: str = "target") -> str:
    """One of FRACTIONS as the unit of a column."""
    return "transferred fraction" if effect == "transferred" else effect_name(effect, intended)


def axis_title(effect: str, intended: str = "target") -> str:
    """What an axis says of one of FRACTIONS."""
    if effect == "transferred":
        return METRICS[effect].unit
    return f"{effect_name(effect, intended)}, part of the transferred fraction"


def made_of(one: "Effects") -> str:
    """What the fraction of one edit at one place is made of, of means: `target gain 0.03, foil loss
    0.42, success 5%`; empty where that was not read off. Tables have the intervals."""

    def mean(effect: str) -> str:
        value, none = float(one.effect(effect).nanmean()), float("nan")
        floor = one.floor_of(effect)
        return str(Interval(value=value, low=none, high=none, floor=floor))

    said = []
    if one.has_gains:
        gain, loss = part_names(one.intended)
        said = [f"{gain} {mean('target_gain')}", f"{loss} {mean('foil_loss')}"]
    if "success" in one.metrics:
        said.append(f"success {percent(float(one.of('success').nanmean()))}")
    return ", ".join(said)


def scale_of(effect: str) -> str:
    """What the numbers of an effect are in."""
    return "of the way" if effect in FRACTIONS[1:] else metric_words(effect).scale


def effect_of(one: "Effects", units: Units, effect: str = "transferred") -> Interval:
    """One effect of one edit at one place: mean over pairs, with interval and floor."""
    share = effect in OUTCOMES or None
    return estimate(one.effect(effect), units, share=share, floor=one.floor_of(effect))


def in_brackets(one: "Effects") -> str:
    """The same behind a number, or nothing."""
    said = made_of(one)
    return f" [{said}]" if said else ""


def mostly_erased(one: "Effects", units: Units) -> bool:
    """Whether more of it is the base's answer lost than the source's gained, beyond chance."""
    if not one.has_gains:
        return False
    gap = estimate(one.foil_loss - one.target_gain, units)
    return gap.known and gap.low > 0
