"""Where something switches along the depth, in a sentence and as JSON.

What is told of a result together with its switch is made by `analyses`, from here and from the
room that the result is of.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from lensdepth.lens.told import MEASURES, lens_name
from lensdepth.telling.depths import between, from_to, measured_step, place
from lensdepth.telling.names import moved_name
from lensdepth.telling.numbers import Interval, counted, number, p_value, percent
from lensdepth.telling.plain import Json, to_json
from lensdepth.transition.handover import HELD, measured_around

if TYPE_CHECKING:
    from lensdepth.transition.compare import OrderComparison
    from lensdepth.transition.crossing_result import Crossing
    from lensdepth.transition.holders import Holder
    from lensdepth.transition.pairs import PairSwitches
    from lensdepth.transition.result import Transition

READINGS = {one.title: one for one in MEASURES.values()}
"""Name of a transition of a lens -> what was read there."""
STEERING = "steering_sweep"
"""The analysis whose gap is one of steering; whole states are patched to see who holds it."""
FEW = 0.1
"""Share of the pairs up to which those that take several steps are not told of."""
NOT_OPEN = ("transition", "rise", "crossing")
"""Verdicts that have a place."""


def transition_summary(transition: "Transition") -> Json:
    """Location and width with intervals; location is null where the verdict has no place."""
    found = transition.verdict in NOT_OPEN
    numbers = {
        "depth": transition.location,
        "low": transition.location_low,
        "high": transition.location_high,
        "between": list(transition.between),
        "width": transition.width,
        "width_low": transition.width_low,
        "width_high": transition.width_high,
        "pair_width": transition.pair_width,
        "pair_width_low": transition.pair_width_low,
        "pair_width_high": transition.pair_width_high,
    }
    return to_json(
        {
            "verdict": transition.verdict,
            "reason": transition.reason,
            "reading": transition.name,
            **(numbers if found else dict.fromkeys(numbers)),
            "p": transition.p,
            "p_flat": transition.p_flat,
            "p_wide": transition.p_wide,
            "n_pairs": transition.n_pairs,
            "n_units": transition.n_units,
            "pairs": pairs_summary(transition.pairs),
        }
    )


def crossing_summary(crossing: "Crossing") -> Json:
    """Verdict, depth with its interval, and what a gap has; null where there is no number."""
    there, gap = crossing.verdict == "crossing", crossing.verdict == "gap"
    found: Json = {
        "verdict": crossing.verdict,
        "reason": crossing.reason,
        "depth": crossing.depth if there else None,
        "low": crossing.low if there else None,
        "high": crossing.high if there else None,
        "between": list(crossing.between) if there else None,
        "n_pairs": crossing.n_pairs,
        "n_units": crossing.n_units,
        "pairs": pairs_summary(crossing.pairs),
    }
    if gap:
        found |= {
            "leaves": crossing.leaves,
            "arrives": crossing.arrives,
            "held_by": crossing.held_by or None,
            "held_by_share": crossing.held_by_share,
            "holders": [asdict(one) for one in crossing.holders],
        }
    return to_json(found)


def pairs_summary(pairs: "PairSwitches") -> Json:
    """Where pairs switch, each by itself."""

    def rows(groups: tuple) -> list[Json]:
        return [{"name": one.name, "n": one.n, "depth": one.depth} for one in groups]

    names = (
        "median", "low", "high", "first_quartile", "third_quartile", "near", "p_modes", "n_gap",
        "n_shared",
    )  # fmt: skip
    return {
        **{name: getattr(pairs, name) for name in names},
        "n_without": pairs.n_without,
        "groups": rows(pairs.groups),
        "by_label": rows(pairs.by_label),
    }


def lens_summary(transition: "Transition | None") -> Json:
    """The transition of a lens; null where none was sought."""
    return {"transition": None if transition is None else transition_summary(transition)}


def patching_summary(crossing: "Crossing | None") -> Json:
    """Where the curves cross, and if they do."""
    return {
        "crossing": None if crossing is None else crossing_summary(crossing),
        "crossing_verdict": None if crossing is None else crossing.verdict,
        "crossing_reason": None if crossing is None else crossing.reason,
    }


def sustained_summary(crossing: "Crossing | None") -> Json:
    """The same of steering from each depth on."""
    return {
        "sustained_crossing": None if crossing is None else crossing_summary(crossing),
        "sustained_verdict": None if crossing is None else crossing.verdict,
    }


def sample(found: "Transition | Crossing") -> str:
    """How many pairs and how many independent units, in words: `60 pairs of 12 input words`."""
    pairs = counted(found.n_pairs, "pair")
    if not found.units:
        return pairs
    few = min(found.units, key=lambda one: one.n)
    return f"{pairs} of {counted(few.n, few.noun)}"


def read_by(found: "Transition | Crossing | None") -> str:
    """By which reading of a lens a switch was looked for, in brackets; nothing of other curves."""
    known = READINGS.get(getattr(found, "name", ""))
    return f" ({known.name})" if known else ""


def lens_verdict(transition: "Transition | None", n_layers: int) -> str:
    """What the lens shows: a transition, a rise, none, or that there is no telling."""
    if transition is None:
        return (
            "No transition of the lens was sought: a curve through fewer than four depths, or one "
            "with infinite values, cannot show one."
        )
    whose = lens_name(transition.provenance).removeprefix("logit ")
    why = f"{transition.reason}{read_by(transition)}"
    if transition.verdict == "none":
        return f"The {whose} shows no transition: {why}."
    if transition.verdict == "too few":
        return f"Whether the {whose} has a transition cannot be told from so few: {why}."
    if transition.verdict == "cannot tell":
        return f"Whether the {whose} has a transition cannot be told from these prompts: {why}."
    where = place(
        transition.location,
        transition.location_low,
        transition.location_high,
        transition.between,
        n_layers,
    )
    verb = "falls" if transition.change < 0 else "rises"
    known = READINGS.get(transition.name)
    subject = known.subject.format(lens=whose) if known else transition.name
    text = f"{subject} {verb} {where}"
    if transition.verdict == "rise":
        return f"{text}; that it does so in a switch is not shown: {transition.reason}."
    return f"{text}; {_breadth(transition)} {spread(transition.pairs, transition.location)}".strip()


def _breadth(transition: "Transition") -> str:
    of_pairs = not np.isnan(transition.pair_width)
    width = (
        Interval(
            value=transition.pair_width,
            low=transition.pair_width_low,
            high=transition.pair_width_high,
        )
        if of_pairs
        else Interval(value=transition.width, low=transition.width_low, high=transition.width_high)
    )
    whose = "a prompt's change (median)" if of_pairs else "the change of the mean"
    if width.high <= 1:
        return f"most of {whose} happens from one depth to the next, the sharpest one can see."
    return f"10 to 90% of {whose} takes {width} depths."


def spread(pairs: "PairSwitches", location: float) -> str:
    """Whether the pairs switch where their mean does: nothing, one sentence or two."""
    n = len(pairs.depth)
    if not n or np.isnan(pairs.median):
        return ""
    if pairs.groups:
        first, second = pairs.groups
        text = (
            f"The mean is not every pair's: {counted(first.n, 'pair')} "
            f"{'switches' if first.n == 1 else 'switch'} around depth {number(first.depth)} and "
            f"{counted(second.n, 'pair')} around {number(second.depth)} "
            f"({p_value(pairs.p_modes)} for one group)."
        )
        if pairs.by_label:
            depths = sorted({one.depth for one in pairs.by_label})
            said = "; ".join(
                f"{_listed([o.name for o in pairs.by_label if o.depth == depth])} at "
                f"{number(depth)}"
                for depth in depths
            )
            text += f" What sets them apart: {said}."
        return text
    if pairs.first_quartile == pairs.third_quartile and pairs.near > 0.9:
        return ""
    within = f"{percent(pairs.near)} switch within one depth of {number(location)}"
    if pairs.first_quartile == pairs.third_quartile:
        text = f"Pair by pair, {within}."
    else:
        text = (
            f"Pair by pair, {within}; half of those that switch at one step do so between depth "
            f"{number(pairs.first_quartile)} and {number(pairs.third_quartile)}."
        )
    if pairs.n_without:
        text += f" {counted(pairs.n_without, 'pair')} of {n} {_have(pairs.n_without)} no switch."
    return text


def _listed(names: list[str]) -> str:
    """Values of one label: `order BAB, ABA`."""
    label = names[0].rpartition(" ")[0]
    return ", ".join([names[0], *(name.removeprefix(f"{label} ") for name in names[1:])])


def _have(n: int) -> str:
    return "has" if n == 1 else "have"


def _open(crossing: "Crossing", what: str, whose: str) -> str:
    """What is said where two curves have no crossing that one could point at."""
    if crossing.verdict == "gap":
        return gap_sentence(crossing)
    if crossing.verdict == "none":
        return f"The two {what} do not cross: {crossing.reason}."
    if crossing.verdict == "too few":
        return f"Whether the two {what} cross cannot be told from so few: {crossing.reason}."
    return f"Whether the {whose} cross cannot be told from these pairs: {crossing.reason}."


def gap_sentence(crossing: "Crossing") -> str:
    """Where control leaves the input, where it arrives, and where it rests between."""
    leaves, arrives = (
        measured_step(measured_around(at, crossing.depths))
        for at in (crossing.leaves, crossing.arrives)
    )
    until = float(crossing.depths[-1])
    if crossing.arrives_last:
        arrives = "only " + (
            "in the last block" if until == crossing.n_layers - 1 else f"after depth {until:g}"
        )
    steered = crossing.analysis == STEERING
    what, does = ("Steering", "work in") if steered else ("Control", "control")
    text = (
        f"{what} leaves the input position {leaves} and reaches the prediction position "
        f"{arrives}, in half of the pairs at least; between, both together {does} "
        f"{percent(max(crossing.held, 0.0))} of them. "
    )
    if not crossing.holders:
        return f"{text}Where control rests there was not looked for."
    spans = dict.fromkeys((one.first, one.last) for one in crossing.holders)
    found = [
        _rests([one for one in crossing.holders if (one.first, one.last) == span], *span)
        for span in spans
    ]
    said = "; ".join(found)
    if steered:
        return f"{text}By patching whole states there, {said}."
    return f"{text}{said[0].upper()}{said[1:]}."


def _rests(holders: list["Holder"], first: float, last: float) -> str:
    """Who holds control at some depths, and in how many pairs patching there shows it."""
    said = []
    for one in holders:
        share = Interval(value=one.share, low=one.low, high=one.high).percent
        whose = f"the pairs of {one.only}" if one.only else "the pairs"
        if one.name:
            said.append(f"on {one.name}, whose state decides {share} of {whose}")
        else:
            said.append(f"on no token that decides half of {whose} (at most {share})")
    return f"at {from_to(first, last)} control rests {' and '.join(said)}"


def patching_verdict(crossing: "Crossing", n_layers: int) -> str:
    """Where control passes, or rests between, or that the curves do not cross, or no telling."""
    if crossing.verdict != "crossing":
        return _open(crossing, "curves", "two curves")
    where = place(crossing.depth, crossing.low, crossing.high, crossing.between, n_layers)
    return (
        f"Control passes from the input position to the prediction position {where}. "
        f"{_own(crossing)}"
    ).strip()


def _own(crossing: "Crossing") -> str:
    """What a crossing of means leaves open: who decides on the way, and whether pairs agree."""
    said = " ".join(
        filter(None, (spread(crossing.pairs, crossing.depth), _several_steps(crossing)))
    )
    if crossing.held >= HELD or np.isnan(crossing.moved):
        return said
    shared = (
        f"On the way neither decides alone: both together bring the answer about in "
        f"{percent(max(crossing.held, 0.0))} of the pairs, and move "
        f"{percent(crossing.moved)} of {moved_name(crossing.metric)}."
    )
    return f"{shared} {said}".strip()


def _several_steps(crossing: "Crossing") -> str:
    """Pairs that do not hand over from one depth to the next, where these are more than a few."""
    pairs, n = crossing.pairs, crossing.n_pairs
    said = []
    if pairs.n_gap > FEW * n:
        which = f" ({pairs.gap_label})" if pairs.gap_label else ""
        said.append(
            f"In {pairs.n_gap} of {n:,} pairs{which} neither position decides for some depths on "
            f"the way, nor both together: other tokens hold control there, and these pairs have no "
            f"one switch."
        )
    if pairs.n_shared > FEW * n:
        said.append(
            f"In {pairs.n_shared} of {n:,} pairs both positions decide together for several "
            f"depths, so that these have no one switch."
        )
    return " ".join(said)


def steering_verdict(crossing: "Crossing", n_layers: int) -> str:
    """Where steering passes from the input to the output, if it does."""
    if crossing.verdict != "crossing":
        return _open(crossing, "steering curves", "steering curves")
    where = place(crossing.depth, crossing.low, crossing.high, crossing.between, n_layers)
    return (
        f"Steering passes from input-centric to output-centric {where}. {_own(crossing)}"
    ).strip()


def sustained_verdict(crossing: "Crossing", n_layers: int) -> str:
    """Two sentences on steering from each depth on, the second a caution."""
    if crossing.verdict == "crossing":
        where = place(crossing.depth, crossing.low, crossing.high, crossing.between, n_layers)
        text = f"Sustained from each depth on, the curves cross {where}."
    elif crossing.verdict == "too few":
        text = f"Whether they cross when sustained cannot be told from so few: {crossing.reason}."
    else:
        text = f"Sustained from each depth on, there is no clear crossing: {crossing.reason}."
    return (
        f"{text} Read it with care: what is added piles up, and output-centric steering from an "
        f"early depth on also acts at all late depths, where it works by itself."
    )


def order_verdict(order: "OrderComparison | None") -> str | None:
    """Which comes first pair by pair, the passing of control or the lens; None without both."""
    if order is None or order.verdict == "too few":
        return None
    same = f"in {percent(order.same)} both lie between the same two measured depths"
    lead = Interval(value=order.lead, low=order.low, high=order.high)
    if order.verdict == "cannot tell":
        return f"Which of the two comes first cannot be told pair by pair: {same}."
    follows = order.verdict == "first comes first"
    verb, share = ("follows", order.earlier) if follows else ("precedes", order.later)
    return (
        f"Pair by pair the lens {verb} control in {percent(share)} of the pairs, by "
        f"{number(abs(order.apart))} depths in the median of these, and {same} (share of pairs "
        f"where control comes first less that where the lens does: {lead})."
    )


def located(found: "Transition | Crossing") -> tuple[float, float, float] | None:
    """(low, at, high) of a switch that is there."""
    if found.verdict not in NOT_OPEN:
        return None
    if found.verdict == "crossing":
        return found.low, found.depth, found.high  # type: ignore[union-attr]
    return found.location_low, found.location, found.location_high  # type: ignore[union-attr]


def whereabouts(found: "Transition | Crossing", n_layers: int) -> str:
    """Where it is, short, or the reason why it is nowhere."""
    there = located(found)
    if there is None:
        return gap_sentence(found) if found.verdict == "gap" else found.reason  # type: ignore[arg-type]
    low, at, high = there
    return between(at, low, high, n_layers)
