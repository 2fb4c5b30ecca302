"""What steering says: its curves over depth, its summary and its sentences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lensdepth.telling.curves import Curve, edited_curve, mean_curve, share_at
from lensdepth.telling.depths import before_last
from lensdepth.telling.fractions import fraction_name
from lensdepth.telling.names import CONTROLS, at_position, position_name
from lensdepth.telling.numbers import counted
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.steering.profile import SteeringProfile

WITH_FRACTIONS = ("full", "random")
"""Edits whose transferred fraction is told: the difference itself, and what any vector moves."""
FEW = 3
"""A centroid of fewer prompts is called rough."""


def curves(
    profile: "SteeringProfile", *, edits: tuple[str, ...] | None = None, scope: str | None = None
) -> list[Curve]:
    """Efficacy of the whole difference, of its parts and of the controls at each position; and the
    fractions of the first and of the random direction.

    Args:
        profile: what was steered.
        edits: which of its edits; all by default.
        scope: one of its scopes; the first by default.
    """
    chosen = profile.edits if edits is None else edits
    with_fractions = [edit for edit in WITH_FRACTIONS if edit in chosen]
    return efficacy_curves(profile, chosen, scope=scope) + fraction_curves(
        profile, with_fractions, scope=scope
    )


def fraction_curves(
    profile: "SteeringProfile",
    edits: Sequence[str] = WITH_FRACTIONS,
    *,
    scope: str | None = None,
) -> list[Curve]:
    """The transferred fraction of some edits at each position, with what it is made of."""
    return [
        edited_curve(
            position,
            profile.of(name, edit=edit, scope=scope, position=position),
            key=f"{position}_{edit}_{name}",
            role=position,
            units=profile.provenance.units,
            edit=None if edit == "full" else edit,
            control=edit in CONTROLS,
            depths=profile.depths.numpy(),
            unit=fraction_name(name, profile.outcome.intended),
            floor=profile.outcome.floor_of(name),
        )
        for position in profile.positions
        for edit in edits
        for name in profile.fractions
    ]


def efficacy_curves(
    profile: "SteeringProfile", edits: Sequence[str], *, scope: str | None = None
) -> list[Curve]:
    """How often some edits work, at each position."""
    return [
        edited_curve(
            position,
            profile.efficacy(position, edit=edit, scope=scope),
            key=f"{position}_{edit}",
            role=position,
            units=profile.provenance.units,
            # What is added goes without saying; parts of it and controls do not.
            edit=None if edit == "full" else edit,
            control=edit in CONTROLS,
            depths=profile.depths.numpy(),
            unit="efficacy",
        )
        for position in profile.positions
        for edit in edits
    ]


def summary(profile: "SteeringProfile") -> Json:
    """Efficacy, probability and divergence by scope, edit and position; null what was not read."""
    read = profile.outcome.metrics
    unedited = {
        "efficacy": ("success", "base_success"),
        "probability": ("answer_probability", "base_prob"),
        "kl_to_source": ("kl_to_source", "base_kl_to_source"),
    }

    def by_edit(metric: str, scope: str) -> Json | None:
        if metric not in read and metric not in profile.fractions:
            return None
        return {
            edit: {
                name: mean_curve(profile.of(metric, edit=edit, scope=scope, position=name))
                for name in profile.positions
            }
            for edit in profile.edits
        }

    return to_json(
        {
            "scopes": {
                scope: {
                    **{name: by_edit(metric, scope) for name, (metric, _) in unedited.items()},
                    **{name: by_edit(name, scope) for name in profile.fractions},
                }
                for scope in profile.scopes
            },
            "base": {
                name: float(getattr(profile, base).mean()) if metric in read else None
                for name, (metric, base) in unedited.items()
            },
            "strength": profile.strength,
            "budget": profile.budget,
            "n_folds": profile.n_folds,
            "smallest_centroid": profile.smallest_centroid,
            "depths": profile.depths.tolist(),
            "mode": profile.mode,
        }
    )


def best_depth(profile: "SteeringProfile", position: str) -> int:
    """Index of the depth where steering works most often, before depth L, where it writes the
    answer straight into the readout."""
    at = before_last(profile.depths.tolist(), profile.n_layers)
    return at[int(profile.efficacy(position)[:, at].mean(0).argmax())]


def alone(profile: "SteeringProfile") -> str:
    """One sentence on steering at one position, which has no curves to cross."""
    position = profile.positions[0]
    name = "output-centric" if position == "prediction" else "input-centric"
    best = profile.efficacy(position)
    depth = best_depth(profile, position)
    most = share_at(best, depth, profile.provenance.units)
    return (
        f"Steering is {name} alone here; it works best at depth {int(profile.depths[depth])}, "
        f"in {most.percent} of the pairs."
    )


def sentences(profile: "SteeringProfile", *verdicts: str) -> list[str]:
    """By which part steering works, the controls, and what its centroids are made of.

    Args:
        profile: what was steered.
        verdicts: where its curves cross, at one depth and sustained; in front the first.
    """
    first, *others = verdicts or (alone(profile),)
    said = [first]
    parts, controls = [], []
    for name in profile.positions:
        depth = best_depth(profile, name)

        def works(edit: str, name: str = name, depth: int = depth) -> str:
            efficacy = profile.efficacy(name, edit=edit)
            return share_at(efficacy, depth, profile.provenance.units).percent

        parts.append(
            f"{at_position(name)} (depth {int(profile.depths[depth])}) the whole difference "
            f"works in {works('full')} of the pairs, its turn alone in {works('direction')}, its "
            f"change of norm alone in {works('norm')}"
        )
        control = f"a random direction of the same norm in {works('random')}"
        if "shuffled" in profile.edits:
            control += f", another pair's difference in {works('shuffled')}"
        controls.append(f"{control} ({position_name(name)})")
    said.append(f"Where each works best: {'; '.join(parts)}.")
    said.append(f"Controls there: {'; '.join(controls)}.")
    said += others
    fewest = profile.smallest_centroid
    text = (
        f"Centroids are taken over {counted(fewest, 'prompt')} or more each, never the steered "
        f"ones ({profile.n_folds} folds of prompts)."
    )
    if fewest < FEW:
        text += " So few prompts hold much that is not their label's: add prompts."
    said.append(text)
    return said
