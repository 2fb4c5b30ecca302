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
from lensdepth.ablation import AblationProfile
from lensdepth.geometry import GeometryProfile
from lensdepth.lens import LensProfile
from lensdepth.patching import PatchProfile
from lensdepth.provenance import Provenance
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
        }
    )


def crossing_summary(crossing: Crossing) -> Json | None:
    """Depth with its interval, or null where the curves do not cross."""
    if crossing.verdict != "crossing":
        return None
    return to_json({"depth": crossing.depth, "low": crossing.low, "high": crossing.high})


def lens_summary(profile: LensProfile, transition: Transition | None) -> Json:
    """Means by depth 0 ... n_layers, and the transition of the KL (null where none was sought)."""
    return {
        "kl": mean_curve(profile.mean_by_depth(profile.kl)),
        "entropy": mean_curve(profile.mean_by_depth(profile.entropy)),
        "top1_agreement": mean_curve(profile.mean_by_depth(profile.top1_agreement)),
        "transition": None if transition is None else transition_summary(transition),
    }


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


def ablation_summary(profile: AblationProfile) -> Json:
    """Mean transferred fraction by depth of each edit, and the paired gap direction - norm."""
    direction = profile.of("direction", profile.transferred)
    gap = (direction - profile.of("norm", profile.transferred)).numpy()
    mean, low, high = stats.bootstrap_mean(gap)
    return {
        "transferred": {
            edit: mean_curve(profile.of(edit, profile.transferred)) for edit in profile.edits
        },
        "direction_minus_norm": to_json(
            {"mean": mean.tolist(), "low": low.tolist(), "high": high.tolist()}
        ),
        "identity_depth": profile.identity_depth,
        "position": profile.position,
        "depths": profile.depths.tolist(),
        "mode": profile.mode,
        "self_patch_error": profile.self_patch_error,
    }


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
