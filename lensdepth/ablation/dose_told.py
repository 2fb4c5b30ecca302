"""How much of a turn or of a change of norm does what: curves over depth, summary, sentences."""

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth
from lensdepth.telling.fractions import (
    effect_name,
    effect_of,
    in_brackets,
    known_beside,
    mostly_erased,
)
from lensdepth.telling.names import edit_name, moved_name
from lensdepth.telling.numbers import below, number, percent
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.ablation.dose_profile import DoseProfile

CHANGED = 0.1
"""Nats (KL) below which the prediction is called as it was."""
ROLES = {"random_direction": "direction"}
"""The control has the colour of what it is a control of."""


def curves(profile: "DoseProfile") -> list[Curve]:
    """Transferred fraction by depth: a curve a dose."""
    rows = zip(profile.parts, profile.doses.tolist(), profile.transferred, strict=True)
    found = [
        Curve.of(
            f"{edit_name(part)}{' ×' * (part == 'norm')}, {dose:g}",
            moved,
            key=f"{part}_{dose:g}",
            role=ROLES.get(part, part),
            units=profile.provenance.units,
            control=part in ROLES,
            depths=profile.depths.numpy(),
            floor=profile.outcome.floor_of("transferred"),
        )
        for part, dose, moved in rows
    ]
    return found + _whole_turns(profile)


def _whole_turns(profile: "DoseProfile") -> list[Curve]:
    """What the fraction of a whole turn is made of: target gain, foil loss, success."""
    return [
        Curve.of(
            f"{edit_name(part)}, {dose:g}, {effect_name(effect, profile.outcome.intended)}",
            profile.effect(effect)[i],
            key=f"{part}_{dose:g}_{effect}",
            role=ROLES.get(part, part),
            units=profile.provenance.units,
            control=part in ROLES,
            depths=profile.depths.numpy(),
            floor=profile.outcome.floor_of(effect),
        )
        for i, (part, dose) in enumerate(zip(profile.parts, profile.doses.tolist(), strict=True))
        if dose == 1 and part != "norm"
        for effect in known_beside(profile.outcome)
    ]


def summary(profile: "DoseProfile") -> Json:
    """Mean responses by part, `[dose][depth]`."""
    found: Json = {}
    for part in dict.fromkeys(profile.parts):
        rows = [i for i, name in enumerate(profile.parts) if name == part]
        found[part] = {
            "doses": profile.doses[rows].tolist(),
            "transferred": [mean_curve(profile.transferred[i]) for i in rows],
            "kl": [mean_curve(profile.kl[i]) for i in rows],
            **{
                effect: [mean_curve(profile.effect(effect)[i]) for i in rows]
                for effect in known_beside(profile.outcome)
            },
        }
    return {"position": profile.position, "depths": profile.depths.tolist(), "parts": found}


def sentences(profile: "DoseProfile") -> list[str]:
    """How far a direction must turn, and what large changes of the norm do, where they may."""
    depths = profile.depths.tolist()
    at = [i for i, depth in enumerate(depths) if depth != profile.n_layers]
    said = []
    if at and {"direction", "norm"} <= set(profile.parts):
        last, what = depths[at[-1]], moved_name(profile.metrics[0])
        doses, moved = profile.curve("direction", profile.transferred, last)
        means = moved.nanmean(0)
        reached = [i for i, mean in enumerate(means.tolist()) if mean >= 0.5]
        where = at_depth(last, profile.n_layers)
        if reached:
            to = reached[0]
            dose = float(doses[to])
            if to and float(doses[to - 1]) < dose:
                before, after = means[[to - 1, to]].tolist()
                back = (after - 0.5) / (after - before) * (dose - float(doses[to - 1]))
                dose -= back
            said.append(
                f"At {where}, about {percent(dose)} of the turn to the source moves half of "
                f"{what}{_whole_turn(profile, last)}."
            )
        else:
            said.append(
                f"At {where}, no dose of the turn moves half of {what}{_whole_turn(profile, last)}."
            )
        said.append(_norm(profile, at))
    return said


def _whole_turn(profile: "DoseProfile", depth: int) -> str:
    """What the whole turn, and as large a one in a random direction, are made of."""
    said, units = [], profile.provenance.units
    for part, name in (("direction", "the whole turn"), ("random_direction", "a random one")):
        rows = zip(profile.parts, profile.doses.tolist(), strict=True)
        at = [i for i, row in enumerate(rows) if row == (part, 1.0)]
        if not at or not profile.outcome.has_gains:
            continue
        one = profile.outcome.at(dose=profile.outcome.coords["dose"][at[0]], depth=depth)
        text = f"{name} moves {effect_of(one, units)}{in_brackets(one)}"
        erased = "; that is mostly the base's answer falling" if mostly_erased(one, units) else ""
        said.append(text + erased)
    return f"; {', '.join(said)}" if said else ""


def _norm(profile: "DoseProfile", at: list[int]) -> str:
    """What scaling does most, in the number that is drawn, in KL and to the first choice."""
    units = profile.provenance.units
    rows = [i for i, part in enumerate(profile.parts) if part == "norm"]
    factors = profile.doses[rows]

    def largest(values: Float[Tensor, "dose pair depth"]) -> tuple[int, int]:
        mean = values[rows][:, :, at].nanmean(1).abs()
        dose, depth = divmod(int(mean.nan_to_num(-1).argmax()), len(at))
        return rows[dose], at[depth]

    def place(dose: int, depth: int) -> str:
        where = at_depth(int(profile.depths[depth]), profile.n_layers)
        return f"with the factor {profile.doses[dose]:g} at {where}"

    drawn, other = largest(profile.transferred), largest(profile.kl)
    moved, most = (
        estimate(profile.effect(name)[dose][:, depth], units, floor=profile.outcome.floor_of(name))
        for name, (dose, depth) in (("transferred", drawn), ("kl", other))
    )
    drawn_text = (
        f"{moved_name(profile.metrics[0])}, which is drawn, moves by {moved} of the way at most, "
        f"{place(*drawn)}"
    )
    if most.value < CHANGED:
        largest_kl = below(most.floor)[2:] if most.is_rounding else number(most.value)
        return (
            f"No factor of the norm from {factors.min():g} to {factors.max():g} changes the "
            f"prediction by more than {largest_kl} nats (KL) at any depth before the last; "
            f"{drawn_text}."
        )
    dose, depth = other
    flipped = estimate(profile.flip[dose][:, depth], units, share=True)
    return (
        f"Scaling the norm changes the prediction most at "
        f"{at_depth(int(profile.depths[depth]), profile.n_layers)}: {number(most.value)} nats (KL) "
        f"with the factor {profile.doses[dose]:g}, and the first choice in {flipped.percent} of "
        f"the pairs. Of that {drawn_text}: what goes to or comes from other tokens than the two "
        f"answers is in the one and not in the other."
    )
