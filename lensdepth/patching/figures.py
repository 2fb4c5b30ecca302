"""Maps of what patching did."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from lensdepth import stats
from lensdepth.heatmaps import Axis, effect_heatmap
from lensdepth.plotting import depth_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.patching.profile import PatchProfile

UNITS = {
    "logit_diff": ("change of logit(target) − logit(foil), nats", "towards foil", "towards target"),
    "log_prob": ("change of log p(answer of the source), nats", "away from it", "towards it"),
    "kl": ("KL(base ‖ edited), nats", "", "other prediction"),
    "js": ("Jensen–Shannon divergence, nats", "", "other prediction"),
    "flip": ("share whose top token changes", "", "changed"),
    "success": ("share that gives the source's answer", "less often", "more often"),
}
"""Unit of a metric's effect, and what its two signs mean."""


def metric_unit(metric: str) -> tuple[str, str, str]:
    """Unit and signs of a metric's effect; a user's own has no signs that are known."""
    return UNITS.get(metric, (f"change of {metric}", "less", "more"))


def effect_map(profile: "PatchProfile") -> "Figure":
    """Mean effect by depth and position; by layer and head where heads were patched."""
    effects = profile.effects.numpy()
    unit, less, more = metric_unit(profile.metric)
    title = f"Patching {profile.stream} ({profile.edit}, {profile.mode})"
    if profile.heads:
        # One position at a time would hide the heads: the effects at the positions are summed up
        # by showing the first, and the title says which.
        effects = effects[:, :, 0]
        title += f", at {profile.labels[0]}"
        columns = Axis(title="head", labels=[str(head) for head in profile.heads])
    else:
        names = [
            name if name == label else f"{name} ({label})"
            for name, label in zip(profile.positions, profile.labels, strict=True)
        ]
        columns = Axis(title="position", labels=list(profile.labels), names=names)
    mean, low, high = stats.bootstrap_mean(effects)
    if profile.method == "attribution":
        title += ", first-order estimate"
    return effect_heatmap(
        mean,
        rows=depth_axis(profile.stream, profile.depths, profile.n_layers),
        columns=columns,
        title=title,
        unit=unit,
        signs=(less, more),
        low=None if np.isnan(low).all() else low,
        high=None if np.isnan(high).all() else high,
    )


def depth_axis(stream: str, depths: torch.Tensor, n_layers: int) -> Axis:
    """Depths of the residual stream by the block whose output they are; other streams by block."""
    numbers = depths.tolist()
    if stream != "resid_pre":
        return Axis(title="block", labels=[str(layer) for layer in numbers])
    return Axis(
        title="output of block",
        labels=[depth_label(depth, n_layers) for depth in numbers],
        names=[f"{depth_label(d, n_layers)} (depth {d} of {n_layers})" for d in numbers],
    )
