"""What direction and norm do, replaced alone: curves over depth, summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.ablation.figures import ROLES
from lensdepth.ablation.profile import FIRST
from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth
from lensdepth.telling.names import edit_name, metric_words
from lensdepth.telling.numbers import percent, tiny
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.ablation.profile import AblationProfile, Effect

WEAK = 0.2
"""A norm edit that changes norms by a smaller share is a weak test of what norms can do."""
"""Of the effects; the others are shares of pairs."""


def edit_curves(
    profile: "AblationProfile",
    effect: "Effect" = "transferred",
    *,
    scope: str | None = None,
    position: str | None = None,
) -> list[Curve]:
    """One effect of each edit, in one scope at one position."""
    return [
        Curve.of(
            edit_name(edit),
            profile.effect(effect, edit=edit, scope=scope, position=position),
            key=f"{edit}_{effect}",
            role=ROLES.get(edit, edit),
            units=profile.provenance.units,
            control=edit in profile.controls,
            depths=profile.depths.numpy(),
            unit=metric_words(effect).scale,
        )
        for edit in profile.edits
    ]


def curves(profile: "AblationProfile") -> list[Curve]:
    """Transferred fraction of each edit, and how far the edits go."""
    depths = profile.depths.numpy()
    angle, ratio = profile.angle[..., 0].rad2deg(), profile.norm_ratio[..., 0]
    return [
        *edit_curves(profile),
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

    `transferred` and the comparison are those of the first scope; the others are in `scopes`.
    """
    position = profile.positions[0] if position is None else position

    def by_edit(effect: "Effect", scope: str) -> Json:
        return {
            edit: mean_curve(profile.effect(effect, edit=edit, scope=scope, position=position))
            for edit in profile.edits
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
            "direction_minus_norm": quantity("difference"),
            "interaction": quantity("interaction"),
            "shares": {part: quantity(f"{part}_share") for part in ("direction", "norm")},
            "over_depths": {
                edit: float(moved[:, judged].nanmean()) for edit, moved in transferred.items()
            },
            "scopes": {scope: {"transferred": by_edit("transferred", scope)} for scope in others},
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
    """Where in `depths` the parts are compared: the deepest that is no identity."""
    usable = profile.judged()
    return usable[-1] if usable else None


def sentences(profile: "AblationProfile") -> list[str]:
    """What each part moves at the deepest judged depth, against its control."""
    index = judged_index(profile)
    said = []
    if index is not None:
        said.append(verdict(profile))
        said += _controls(profile, index)
    identity = profile.identity_depth()
    if profile.positions[0] == "prediction" and profile.scopes[0] in ("suffix", "all"):
        said.append(
            "These edits also set the last state, from which the logits are read, so what the full "
            "and the direction edit do follows by construction; read the norm edit here."
        )
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
            f"arithmetic, not a finding (the norm edit changes the logit difference there by "
            f"{tiny(profile.identity_error())} nats at most), and that depth is left out of the "
            f"comparison."
        )
    return said


def verdict(profile: "AblationProfile") -> str:
    """One sentence: which part moves more of the logit difference, with the gap's interval."""
    index = judged_index(profile)
    if index is None:
        return "Direction and norm were compared at no depth before the final norm."
    moved = {
        edit: profile.of("transferred", edit=edit, **FIRST)[:, index]
        for edit in ("full", "direction", "norm")
    }
    full, direction, norm = (
        estimate(moved[edit], units=profile.provenance.units)
        for edit in ("full", "direction", "norm")
    )
    gap = estimate(moved["direction"] - moved["norm"], units=profile.provenance.units)
    where = at_depth(int(profile.depths[index]), profile.n_layers)
    replaced = {
        "source": "replacing",
        "mean": "setting to the mean",
        "shuffled": "replacing by another pair's",
        "random": "replacing at random",
    }[profile.to]
    reach = {
        "local": f"At {where}",
        "suffix": f"From {where} on",
        "prefix": f"Up to {where}",
        "all": "At every depth",
    }[profile.scopes[0]]
    text = (
        f"{reach}, {replaced} only the direction moves {direction} of the logit difference, "
        f"{replaced} only the norm {norm}, the whole state {full}: "
    )
    if not gap.known:
        return text + "one pair alone gives no interval, so the parts cannot be compared."
    if full.known and full.high < 0.1:
        return text + "the whole state moves next to nothing, so its parts cannot be compared."
    if gap.low > 0:
        return text + f"the direction moves more, by {gap}."
    if gap.high < 0:
        return text + f"the norm moves more, by {-gap}."
    return text + f"which moves more cannot be told (difference {gap})."


def _controls(profile: "AblationProfile", index: int) -> list[str]:
    """How the source's direction does beside a random one, and how far the norm edit goes."""
    said = []
    if "random_direction" in profile.edits:
        direction, random = (
            profile.of("transferred", edit=edit, **FIRST)[:, index]
            for edit in ("direction", "random_direction")
        )
        units = profile.provenance.units
        control, lead = estimate(random, units), estimate(direction - random, units)
        text = f"A random direction at the same angle moves {control}; "
        given = "the source's direction" if profile.to == "source" else "the direction put in"
        if lead.known and lead.low > 0:
            text += f"{given} beats this control by {lead}."
        elif lead.known:
            text += f"{given} does not beat this control ({lead})."
        else:
            text += "with one pair there is no interval of the difference."
        said.append(text)
    spread = (profile.norm_ratio[:, index, 0] - 1).abs().nanmedian().item()
    text = f"The norm edit changes the norm by {percent(spread)} there (median)"
    if spread < WEAK:
        text += ", which is little: a weak test of what norms can do"
    if "random_norm" in profile.edits:
        found = profile.of("transferred", edit="random_norm", **FIRST)
        shuffled = estimate(found[:, index], profile.provenance.units)
        text += f". Another pair's norm moves {shuffled}"
    said.append(text + ".")
    return said
