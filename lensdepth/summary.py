"""What each analysis found, as plain JSON values with fixed keys.

The command line's `--json`, the report's `summary.json` and its sentences all read these, so
that a number is said in one way everywhere. NaN becomes null.
"""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.ablation import AblationProfile, DecodingProfile, DoseProfile, Effect
from lensdepth.arguments import checked
from lensdepth.circuit import AttributionProfile, CircuitResult
from lensdepth.claims import ClaimTable
from lensdepth.geometry import GeometryProfile
from lensdepth.lens import LensProfile
from lensdepth.locality import LocalityProfile
from lensdepth.patching import PatchProfile
from lensdepth.provenance import Provenance
from lensdepth.steering import SteeringProfile
from lensdepth.transition import Crossing, Transition

Json = dict[str, Any]


def to_json(value: Any) -> Any:
    """Plain JSON values: NaN and infinities become null, NumPy's numbers Python's."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def provenance_json(provenance: Provenance) -> Json:
    """Provenance as JSON values."""
    return to_json(asdict(provenance))


def mean_curve(values: Float[Tensor, "unit depth"]) -> list[float | None]:
    """Mean over units by depth; null where every unit is NaN."""
    return to_json(stats.bootstrap_mean(values.numpy(), n_resamples=1)[0].tolist())


@checked
def transition_summary(transition: Transition) -> Json:
    """Location and width with intervals; location is null unless there is a transition."""
    found = transition.verdict == "transition"
    return to_json(
        {
            "verdict": transition.verdict,
            "reason": transition.reason,
            "depth": transition.location if found else None,
            "low": transition.location_low if found else None,
            "high": transition.location_high if found else None,
            "width": transition.width if found else None,
            "width_low": transition.width_low if found else None,
            "width_high": transition.width_high if found else None,
            "p": transition.p,
            "p_order": transition.p_order,
            "p_drift": transition.p_drift,
        }
    )


@checked
def crossing_summary(crossing: Crossing) -> Json | None:
    """Depth with its interval, or null where the curves do not cross."""
    if crossing.verdict != "crossing":
        return None
    return to_json({"depth": crossing.depth, "low": crossing.low, "high": crossing.high})


@checked
def lens_summary(profile: LensProfile, transition: Transition | None) -> Json:
    """Means by depth 0 ... n_layers, and the transition of the KL (null where none was sought)."""
    return {
        "kl": mean_curve(profile.mean_by_depth(profile.kl)),
        "entropy": mean_curve(profile.mean_by_depth(profile.entropy)),
        "top1_agreement": mean_curve(profile.mean_by_depth(profile.top1_agreement)),
        "transition": None if transition is None else transition_summary(transition),
    }


@checked
def patch_summary(
    profile: PatchProfile, crossing: Crossing | None, *, curves: PatchProfile | None = None
) -> Json:
    """Efficacy by depth at each named position, where the curves cross, and the mean effects.

    Args:
        profile: what was asked for.
        crossing: of its curves, or of those beside it.
        curves: the sweep at the named positions, if it is another one.
    """
    named = profile if curves is None else curves
    efficacy = named.positions if named.is_curves else ()
    mean, low, high = stats.bootstrap_mean(profile.effects.numpy())
    return {
        "crossing": None if crossing is None else crossing_summary(crossing),
        "crossing_verdict": None if crossing is None else crossing.verdict,
        "crossing_reason": None if crossing is None else crossing.reason,
        "efficacy": {name: mean_curve(named.efficacy(name)) for name in efficacy},
        "transferred": {
            name: mean_curve(named.transferred[:, :, i]) for i, name in enumerate(efficacy)
        },
        "effects": to_json(
            {
                "metric": profile.metric,
                "stream": profile.stream,
                "positions": list(profile.positions),
                "tokens": list(profile.labels),
                "heads": list(profile.heads),
                "mean": mean.tolist(),
                "low": low.tolist(),
                "high": high.tolist(),
            }
        ),
        "depths": profile.depths.tolist(),
        "mode": profile.mode,
        "method": profile.method,
        "rank_correlation": to_json(profile.rank_correlation),
        "self_patch_error": profile.self_patch_error,
    }


@checked
def ablation_summary(profile: AblationProfile, *, position: str | None = None) -> Json:
    """Effects by depth of each edit, and direction against norm, at one position.

    `transferred` and the comparison are those of the first scope; the others are in `scopes`.
    """
    position = profile.positions[0] if position is None else position

    def by_edit(effect: Effect, scope: str) -> Json:
        values = profile.effect(effect)
        return {
            edit: mean_curve(profile.of(edit, values, scope=scope, position=position))
            for edit in profile.edits
        }

    first, *others = profile.scopes
    compared = profile.compare_parts(scope=first, position=position)

    def quantity(name: str) -> Json:
        found = compared[compared.quantity == name]
        return to_json({end: found[end].tolist() for end in ("value", "low", "high")})

    judged = profile.judged(scope=first, position=position)
    transferred = profile.transferred
    return {
        "transferred": by_edit("transferred", first),
        "kl": by_edit("kl", first),
        "flip": by_edit("flip", first),
        "success": by_edit("success", first),
        "direction_minus_norm": quantity("difference"),
        "interaction": quantity("interaction"),
        "shares": {part: quantity(f"{part}_share") for part in ("direction", "norm")},
        "over_depths": to_json(
            {
                edit: float(profile.of(edit, transferred, position=position)[:, judged].nanmean())
                for edit in profile.edits
            }
        ),
        "scopes": {scope: {"transferred": by_edit("transferred", scope)} for scope in others},
        "identity_depth": profile.identity_depth(scope=first, position=position),
        "identity_error": to_json(profile.identity_error(scope=first, position=position)),
        "position": position,
        "scope": first,
        "to": profile.to,
        "coordinates": profile.coordinates,
        "n_reference": profile.n_reference,
        "depths": profile.depths.tolist(),
        "mode": profile.mode,
        "self_patch_error": profile.self_patch_error,
    }


@checked
def dose_summary(profile: DoseProfile) -> Json:
    """Mean responses by part, `[dose][depth]`."""
    found: Json = {}
    for part in dict.fromkeys(profile.parts):
        rows = [i for i, name in enumerate(profile.parts) if name == part]
        found[part] = {
            "doses": profile.doses[rows].tolist(),
            "transferred": [mean_curve(profile.transferred[i]) for i in rows],
            "kl": [mean_curve(profile.kl[i]) for i in rows],
        }
    return {"position": profile.position, "depths": profile.depths.tolist(), "parts": found}


@checked
def decoding_summary(profile: DecodingProfile) -> Json:
    """Score, interval and corrected p-value by label, part and depth."""
    frame = profile.to_frame()
    columns = ("score", "low", "high", "null_mean", "null_high", "p", "p_holm")
    found: Json = {}
    for (label, part), rows in frame.groupby(["label", "part"], sort=False):
        found.setdefault(str(label), {})[str(part)] = to_json(
            {name: rows[name].tolist() for name in columns}
        )
    return {
        "position": profile.position,
        "depths": profile.depths.tolist(),
        "labels": found,
        "skipped": dict(profile.skipped),
    }


@checked
def steering_summary(
    profile: SteeringProfile, crossing: Crossing | None, sustained: Crossing | None
) -> Json:
    """Efficacy by scope, edit and position, and where the curves of the whole difference cross.

    Args:
        profile: what was steered.
        crossing: of local steering; None where there are no two curves.
        sustained: of steering from each depth on.
    """

    def curves(values: Float[Tensor, "edit scope position depth pair"], scope: str) -> Json:
        return {
            edit: {
                name: mean_curve(profile.of(values, name, edit=edit, scope=scope))
                for name in profile.positions
            }
            for edit in profile.edits
        }

    return {
        "crossing": None if crossing is None else crossing_summary(crossing),
        "crossing_verdict": None if crossing is None else crossing.verdict,
        "crossing_reason": None if crossing is None else crossing.reason,
        "sustained_crossing": None if sustained is None else crossing_summary(sustained),
        "sustained_verdict": None if sustained is None else sustained.verdict,
        "scopes": {
            scope: {
                "efficacy": curves(profile.success, scope),
                "probability": curves(profile.prob, scope),
                "kl_to_source": curves(profile.kl_to_source, scope),
            }
            for scope in profile.scopes
        },
        "base": to_json(
            {
                "efficacy": float(profile.base_success.mean()),
                "probability": float(profile.base_prob.mean()),
                "kl_to_source": float(profile.base_kl_to_source.mean()),
            }
        ),
        "strength": profile.strength,
        "budget": profile.budget,
        "n_folds": profile.n_folds,
        "smallest_centroid": profile.smallest_centroid,
        "depths": profile.depths.tolist(),
        "mode": profile.mode,
    }


@checked
def locality_summary(profile: LocalityProfile) -> Json:
    """The comparison of single places with all, each number with its interval."""
    return to_json(
        {
            key: asdict(value) if isinstance(value, stats.Interval) else value
            for key, value in profile.summary().items()
        }
        | {"local": mean_curve(profile.local), "necessity": mean_curve(profile.necessity)}
    )


@checked
def geometry_summary(profile: GeometryProfile) -> Json:
    """Each measure by depth with its interval."""
    frame = profile.to_frame()
    summary: Json = {}
    for measure, rows in frame.groupby("measure", sort=False):
        summary[str(measure)] = to_json(
            {
                column: rows[column].tolist()
                for column in ("depth", "value", "low", "high", "p")
                if not rows[column].isna().all()
            }
        )
    return summary


@checked
def claims_summary(table: ClaimTable) -> Json:
    """Each claim's verdict, with the numbers of the statement that settles it."""
    rows = []
    for one in table.claims:
        found = table.finding(one.decisive)
        rows.append(
            {
                "claim": one.claim,
                "title": one.title,
                "verdict": one.verdict,
                "effect": found.effect,
                "low": found.low,
                "high": found.high,
                "p": one.p,
                "decisive": one.decisive,
                "unit": found.unit,
                "threshold": found.threshold,
                "n": found.n,
                "reason": one.reason,
            }
        )
    return to_json(
        {
            "claims": rows,
            "accuracy": table.accuracy,
            "n_pairs": table.n_pairs,
            "n_prompts": table.n_prompts,
            "located": table.located,
            "handover": table.handover.tolist(),
        }
    )


@checked
def attribution_summary(profile: AttributionProfile) -> Json:
    """The whole, and each component's mean part with its interval, the largest first."""
    mean, low, high = stats.bootstrap_mean(profile.logit_diff.numpy())
    parts = profile.mean_frame()[["component", "value", "low", "high"]]
    return to_json(
        {
            "logit_diff": {"mean": float(mean), "low": float(low), "high": float(high)},
            "against": "mean logit" if profile.foils is None else "foil",
            "targets": list(profile.targets),
            "foils": None if profile.foils is None else list(profile.foils),
            "components": parts.to_dict("records"),
            "largest_residual": float(profile.residual.abs().max()),
        }
    )


@checked
def circuit_summary(result: CircuitResult) -> Json:
    """Logit difference, transferred fraction and success of each kind of run, with intervals."""
    runs: Json = {}
    for row in result.mean_frame().to_dict("records"):
        runs[row["patched"]] = {
            name: {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
            for name in ("logit_diff", "transferred", "success")
        }
    return to_json(
        {
            "runs": runs,
            "components": list(result.components),
            "n_heads": result.n_heads,
            "n_mlps": result.n_mlps,
            "n_components": result.n_components,
            "positions": list(result.positions),
            "n_random": len(result.random_values),
            "random_p": result.random_p,
            "mode": result.mode,
            "self_patch_error": result.self_patch_error,
        }
    )
