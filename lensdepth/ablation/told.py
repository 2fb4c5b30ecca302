"""What direction and norm do, replaced alone: curves over depth, summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.ablation.figures import ROLES
from lensdepth.ablation.profile import WEAK
from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth
from lensdepth.telling.fractions import (
    BESIDE,
    FRACTIONS,
    effect_name,
    effect_of,
    in_brackets,
    known_beside,
    mostly_erased,
    scale_of,
)
from lensdepth.telling.names import edit_name, in_unit, moved_name
from lensdepth.telling.numbers import percent, tiny
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.ablation.profile import AblationProfile, Effect


def edit_curves(
    profile: "AblationProfile",
    effect: "Effect" = "transferred",
    *,
    scope: str | None = None,
    position: str | None = None,
) -> list[Curve]:
    """One effect of each edit, in one scope at one position."""
    what = effect_name(effect, profile.outcome.intended)
    return [
        Curve.of(
            edit_name(edit) + (f", {what}" if effect in BESIDE else ""),
            profile.effect(effect, edit=edit, scope=scope, position=position),
            key=f"{edit}_{effect}",
            role=ROLES.get(edit, edit),
            units=profile.provenance.units,
            control=edit in profile.controls,
            depths=profile.depths.numpy(),
            unit=scale_of(effect),
            floor=profile.outcome.floor_of(effect),
        )
        for edit in profile.edits
    ]


def beside_curves(
    profile: "AblationProfile", *, scope: str | None = None, position: str | None = None
) -> list[Curve]:
    """What stands beside transferred fractions: target gain, foil loss, success of each edit."""
    return [
        curve
        for effect in known_beside(profile.outcome)
        for curve in edit_curves(profile, effect, scope=scope, position=position)
    ]


def curves(profile: "AblationProfile") -> list[Curve]:
    """Transferred fraction of each edit, what it is made of, and how far the edits go."""
    depths = profile.depths.numpy()
    angle, ratio = profile.angle[..., 0].rad2deg(), profile.norm_ratio[..., 0]
    return [
        *edit_curves(profile),
        *beside_curves(profile),
        Curve.of(
            "angle",
            angle,
            key="angle",
            unit="degrees",
            role="direction",
            depths=depths,
            units=profile.provenance.units,
        ),
        Curve.of(
            "norm ratio",
            ratio,
            key="norm_ratio",
            role="norm",
            depths=depths,
            units=profile.provenance.units,
        ),
    ]


def summary(profile: "AblationProfile", *, position: str | None = None) -> Json:
    """Effects by depth of each edit, and direction against norm, at one position.

    `transferred` and the comparison are those of the first scope; the others are in `scopes`. Null
    is what was not read.
    """
    position = profile.positions[0] if position is None else position

    def by_edit(effect: "Effect", scope: str) -> Json | None:
        if effect not in ("transferred", *known_beside(profile.outcome), *profile.metrics):
            return None
        return {
            edit: mean_curve(profile.effect(effect, edit=edit, scope=scope, position=position))
            for edit in profile.edits
        }

    def gains(scope: str) -> Json:
        return {
            name: by_edit(name, scope)
            for name in known_beside(profile.outcome)
            if name in FRACTIONS
        }

    first, *others = profile.scopes
    compared = profile.compare_parts(scope=first, position=position)

    def quantity(name: str) -> Json:
        found = compared[compared.quantity == name]
        return {end: found[end].tolist() for end in ("value", "low", "high")}

    judged = profile.judged(scope=first, position=position)
    transferred = {
        edit: profile.of("transferred", edit=edit, scope=first, position=position)
        for edit in profile.edits
    }
    return to_json(
        {
            "transferred": by_edit("transferred", first),
            "kl": by_edit("kl", first),
            "flip": by_edit("flip", first),
            "success": by_edit("success", first),
            **gains(first),
            "direction_minus_norm": quantity("difference"),
            "interaction": quantity("interaction"),
            "shares": {part: quantity(f"{part}_share") for part in ("direction", "norm")},
            "over_depths": {
                edit: float(moved[:, judged].nanmean()) for edit, moved in transferred.items()
            },
            "scopes": {
                scope: {"transferred": by_edit("transferred", scope), **gains(scope)}
                for scope in others
            },
            "identity_depth": profile.identity_depth(scope=first, position=position),
            "identity_error": profile.identity_error(scope=first, position=position),
            "position": position,
            "scope": first,
            "to": profile.to,
            "coordinates": profile.coordinates,
            "n_reference": profile.n_reference,
            "depths": profile.depths.tolist(),
            "mode": profile.mode,
            "self_patch_error": profile.self_patch_error,
        }
    )


def judged_index(profile: "AblationProfile") -> int | None:
    """Where in `depths` the parts are compared: the deepest before depth L."""
    usable = profile.judged()
    return usable[-1] if usable else None


def sentences(profile: "AblationProfile") -> list[str]:
    """What each part moves at the deepest judged depth, against its control."""
    index = judged_index(profile)
    said = []
    if index is not None:
        said.append(verdict(profile))
        said += _controls(profile, index)
    identity, metric = profile.identity_depth(), profile.metrics[0]
    if identity is not None and profile.positions[0] == "input":
        said.append(
            f"At depth {identity} the input position is not read any more, so no edit there does "
            f"anything: that depth is left out of the comparison."
        )
    elif identity is not None:
        kind = {"RMS": "RMSNorm", "LN": "LayerNorm"}.get(
            profile.provenance.model.normalization, profile.provenance.model.normalization
        )
        said.append(
            f"Under the final {kind} the norm cannot matter at depth {identity}: this is "
            f"arithmetic, not a finding (the norm edit changes {moved_name(metric)} there by "
            f"{tiny(profile.identity_error())}{in_unit(metric)} at most), and that depth is left "
            f"out of the comparison."
        )
    return said


def verdict(profile: "AblationProfile") -> str:
    """Which part moves more of the main metric, with the gap's interval.

    Only of the source's own states: what is put in else has no answer, and how far it goes towards
    one says nothing; its parts are compared by how much they change the prediction.
    """
    index = judged_index(profile)
    if index is None:
        return "Direction and norm were compared at no depth before the final norm."
    return (
        _verdict_on_source(profile, index)
        if profile.to == "source"
        else _verdict_on_change(profile, index)
    )


REPLACED = {
    "source": "replacing",
    "mean": "setting to the mean",
    "shuffled": "replacing by another pair's",
    "random": "replacing at random",
}


def _reach(profile: "AblationProfile", index: int) -> str:
    where = at_depth(int(profile.depths[index]), profile.n_layers)
    return {
        "local": f"At {where}",
        "suffix": f"From {where} on",
        "prefix": f"Up to {where}",
        "all": "At every depth",
    }[profile.scopes[0]]


BY_CONSTRUCTION = (
    "the last state, from which the logits are read, is set too, so what the full and the "
    "direction edit do follows by construction; read the norm edit here."
)


def _verdict_on_source(profile: "AblationProfile", index: int) -> str:
    parts = {edit: profile.one(edit, index) for edit in ("full", "direction", "norm")}
    moved = {edit: one.transferred() for edit, one in parts.items()}
    units, floor = profile.provenance.units, profile.outcome.floor_of("transferred")
    full, direction, norm = (
        estimate(moved[edit], units, floor=floor) for edit in ("full", "direction", "norm")
    )
    gap = estimate(moved["direction"] - moved["norm"], units, floor=floor)
    text = (
        f"{_reach(profile, index)}, replacing only the direction moves {direction} of "
        f"{moved_name(profile.metrics[0])}{in_brackets(parts['direction'])}, replacing only the "
        f"norm {norm}{in_brackets(parts['norm'])}, the whole state {full}: "
    )
    if profile.sets_last_state():
        return text + BY_CONSTRUCTION
    if not gap.known:
        return text + "so few units give no interval, so the parts cannot be compared."
    if full.known and full.high < 0.1:
        return text + "the whole state moves next to nothing, so its parts cannot be compared."
    if gap.low > 0:
        return text + f"the direction moves more, by {gap}."
    if gap.high < 0:
        return text + f"the norm moves more, by {-gap}."
    return text + f"which moves more cannot be told (difference {gap})."


def _verdict_on_change(profile: "AblationProfile", index: int) -> str:
    """The same where what goes in is not the source's: by KL and changed predictions."""
    replaced = REPLACED[profile.to]
    no_answer = (
        "What goes in is not the source's state, so how far it moves towards the source's answer "
        "says nothing of what a part carries"
    )
    if not {"kl", "flip"} <= set(profile.metrics):
        return f"{no_answer}; read kl and flip to compare direction and norm."
    parts = {edit: profile.one(edit, index) for edit in ("full", "direction", "norm")}
    units = profile.provenance.units

    def changed(edit: str) -> str:
        kl, flip = (effect_of(parts[edit], units, name) for name in ("kl", "flip"))
        return f"{flip.percent} of the predictions (KL {kl} nats)"

    text = (
        f"{_reach(profile, index)}, {replaced} only the direction changes {changed('direction')}, "
        f"{replaced} only the norm {changed('norm')}, the whole state {changed('full')}: "
    )
    gap = estimate(parts["direction"].of("kl") - parts["norm"].of("kl"), units)
    if profile.sets_last_state():
        return text + BY_CONSTRUCTION
    if not gap.known:
        text += "so few units give no interval, so the parts cannot be compared"
    elif gap.low > 0:
        text += f"the direction changes more, by {gap} nats"
    elif gap.high < 0:
        text += f"the norm changes more, by {-gap} nats"
    else:
        text += f"which changes more cannot be told (difference {gap} nats)"
    return f"{text}. {no_answer}."


def _controls(profile: "AblationProfile", index: int) -> list[str]:
    """How the source's direction does beside a random one, and how far the norm edit goes."""
    said = []
    on_source, units = profile.to == "source", profile.provenance.units
    if profile.sets_last_state():
        pass  # a direction put in where the logits are read beats every other by construction
    elif "random_direction" in profile.edits and on_source:
        direction, random = (profile.one(e, index) for e in ("direction", "random_direction"))
        lead = estimate(direction.transferred() - random.transferred(), units)
        text = (
            f"A random direction at the same angle moves {effect_of(random, units)}"
            f"{in_brackets(random)}"
        )
        if mostly_erased(random, units):
            gain, loss = (effect_name(name, random.intended) for name in FRACTIONS[1:])
            text += f", most of it {loss}: the base's answer falls by more than the other rises"
            ahead = estimate(direction.target_gain - random.target_gain, units)
            text += f" (the source's direction leads by {ahead} in {gain})"
        text += "; "
        if lead.known and lead.low > 0:
            text += f"the source's direction beats this control by {lead}."
        elif lead.known and lead.high < 0:
            text += f"the source's direction does not beat this control ({lead})."
        elif lead.known:
            text += f"that the source's direction beats this control cannot be told ({lead})."
        else:
            text += "with so few units there is no interval of the difference."
        said.append(text)
    elif "random_direction" in profile.edits and "kl" in profile.metrics:
        kl = {e: profile.one(e, index).of("kl") for e in ("direction", "random_direction")}
        lead = estimate(kl["direction"] - kl["random_direction"], units)
        text = (
            f"A random direction at the same angle changes the prediction by "
            f"{effect_of(profile.one('random_direction', index), units, 'kl')} nats (KL); "
        )
        if lead.known and lead.low > 0:
            text += f"the direction put in changes it more, by {lead}."
        elif lead.known and lead.high < 0:
            text += f"the direction put in changes it less, by {-lead}."
        else:
            text += f"that the direction put in changes it more or less cannot be told ({lead})."
        said.append(text)
    spread = (profile.norm_ratio[:, index, 0] - 1).abs().nanmedian().item()
    text = f"The norm edit changes the norm by {percent(spread)} there (median)"
    if spread < WEAK:
        text += ", which is little: a weak test of what norms can do"
    if "random_norm" in profile.edits and on_source:
        shuffled = profile.one("random_norm", index)
        text += f". Another pair's norm moves {effect_of(shuffled, units)}{in_brackets(shuffled)}"
    said.append(text + ".")
    return said
