"""What patching says: its curves over depth, its summary and its sentences."""

from typing import TYPE_CHECKING

from lensdepth import stats
from lensdepth.colours import PALETTE
from lensdepth.telling.curves import Curve, edited_curve, mean_curve, share_at
from lensdepth.telling.depths import before_last
from lensdepth.telling.fractions import FRACTIONS, fraction_name
from lensdepth.telling.names import at_position, has_blocks, position_name
from lensdepth.telling.numbers import tiny
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.patching.profile import PatchProfile


def efficacy_curves(profile: "PatchProfile") -> list[Curve]:
    """Success at each position, and what each control has there."""
    return [
        edited_curve(
            position,
            profile.efficacy(position, control=control),
            key=f"{position}_efficacy" if control is None else f"{position}_{control}",
            role=position if position in PALETTE else "full",
            units=profile.provenance.units,
            edit=control,
            control=control is not None,
            depths=profile.depths.numpy() + has_blocks(profile.stream),
            unit="efficacy",
        )
        for position in profile.positions
        for control in (None, *profile.controls)
    ]


def curves(profile: "PatchProfile") -> list[Curve]:
    """Efficacy, its controls, and the transferred fraction with its parts at each position."""
    return efficacy_curves(profile) + fraction_curves(profile)


def fraction_curves(profile: "PatchProfile") -> list[Curve]:
    """The transferred fraction at each position, with its parts where these are known."""
    shown = FRACTIONS if profile.outcome.has_gains else FRACTIONS[:1]
    return [
        edited_curve(
            position,
            getattr(profile, name)[:, :, i],
            key=f"{position}_{name}",
            role=position if position in PALETTE else "full",
            units=profile.provenance.units,
            depths=profile.depths.numpy() + has_blocks(profile.stream),
            unit=fraction_name(name, profile.outcome.intended),
            floor=profile.outcome.floor_of(name),
        )
        for i, position in enumerate(profile.positions)
        for name in shown
    ]


def summary(profile: "PatchProfile", *, curves: "PatchProfile | None" = None) -> Json:
    """Efficacy by depth at each named position, and the mean effects.

    Args:
        profile: what was asked for.
        curves: the sweep at the named positions, if it is another one.
    """
    named = profile if curves is None else curves
    efficacy = named.positions if named.is_curves else ()
    mean, low, high = stats.mean_interval(profile.effects.numpy(), units=profile.provenance.units)
    found: Json = {
        "efficacy": {name: mean_curve(named.efficacy(name)) for name in efficacy},
        **{
            part: {
                name: mean_curve(getattr(named, part)[:, :, i]) for i, name in enumerate(efficacy)
            }
            for part in (FRACTIONS if named.outcome.has_gains else FRACTIONS[:1])
        },
        "effects": {
            "metric": profile.metric,
            "stream": profile.stream,
            "positions": list(profile.positions),
            "tokens": list(profile.labels),
            "heads": list(profile.heads),
            "mean": mean.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        },
        "depths": (profile.depths + has_blocks(profile.stream)).tolist(),
        "mode": profile.mode,
        "method": profile.method,
        "rank_correlation": profile.rank_correlation,
        "self_patch_error": profile.self_patch_error,
    }
    if has_blocks(profile.stream):
        found["layers"] = profile.depths.tolist()
    return to_json(found)


def sentences(profile: "PatchProfile", *verdicts: str) -> list[str]:
    """What patching does at both ends, and the control.

    Args:
        profile: of one or two positions.
        verdicts: sentences on where its curves cross, which go in front.
    """
    depths = (profile.depths + has_blocks(profile.stream)).tolist()
    # The whole state at depth L is what is read; what blocks write into it is not.
    whole = profile.stream in ("resid_pre", "resid_post")
    at = before_last(depths, profile.n_layers) if whole else list(range(len(depths)))
    ends = []
    for position in profile.positions:
        efficacy = profile.efficacy(position)
        early, late = (
            share_at(efficacy, i, profile.provenance.units).percent for i in (at[0], at[-1])
        )
        ends.append(
            f"{at_position(position)} in {early} of the pairs at depth {depths[at[0]]} and "
            f"{late} at depth {depths[at[-1]]}"
        )
    said = [*verdicts, f"The source's state brings about the source's answer {'; '.join(ends)}."]
    if profile.control_success is None:
        why = "that takes two pairs" if len(profile.base_values[0]) < 2 else "it was not run"
        said.append(f"There is no control with another pair's state: {why}.")
    else:
        mean = profile.control_success[:, at].nanmean(0)
        row, column = divmod(int(mean.nan_to_num(-1.0).argmax()), mean.shape[1])
        row, units = at[row], profile.provenance.units
        most = share_at(profile.control_success[:, :, column], row, units)
        own = share_at(profile.efficacy(profile.positions[column]), row, units)
        said.append(
            f"Control: another pair's state brings it about in {most.percent} of the pairs at most "
            f"({position_name(profile.positions[column])}, depth {depths[row]}; the source's own "
            f"in {own.percent} there)."
        )
    if profile.depths_found:
        said.append(
            f"{len(depths)} of {profile.n_layers + 1} depths were measured: a coarse grid, and "
            f"every one where a curve moves."
        )
    error = profile.self_patch_error
    said.append(
        "A run's own state, put back, changes "
        + (f"no logit by more than {tiny(error)}." if error > 0 else "nothing.")
    )
    return said
