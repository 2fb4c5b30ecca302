"""Maps of what patching did."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.colours import inert
from lensdepth.heatmaps import Axis, depth_axis, effect_heatmap
from lensdepth.telling.names import edit_name, metric_words, position_name, stream_name
from lensdepth.units import having, take

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.patching.profile import PatchProfile


def effect_map(profile: "PatchProfile", only: Mapping[str, str]) -> "Figure":
    """Mean effect by depth and position; by layer and head where heads were patched."""
    known, effects = profile.provenance, profile.effects.numpy()
    drawn = having(known.labels, only, len(effects))
    effects, units = effects[drawn], take(known.units, drawn)
    words = metric_words(profile.metric)
    title = f"Patching {stream_name(profile.stream)}, {edit_name(profile.edit)} ({profile.mode})"
    title += "".join(f", {inert(name)} {inert(value)}" for name, value in only.items())
    if profile.heads:
        # One position at a time would hide the heads: the effects at the positions are summed up
        # by showing the first, and the title says which.
        effects = effects[:, :, 0]
        title += f", at {profile.labels[0]}"
        columns = Axis(title="head", labels=[str(head) for head in profile.heads])
    else:
        names = [
            position_name(name) + ("" if name == label else f" ({label})")
            for name, label in zip(profile.positions, profile.labels, strict=True)
        ]
        columns = Axis(title="position", labels=list(profile.labels), names=names)
    depths, effects = _with_gaps(profile, effects)
    mean, low, high = stats.mean_interval(effects, units=units)
    if profile.method == "attribution":
        title += ", first-order estimate"
    return effect_heatmap(
        mean,
        rows=depth_axis(depths, profile.n_layers, stream=profile.stream),
        columns=columns,
        title=title,
        unit=words.unit,
        signs=(words.less, words.more),
        low=None if np.isnan(low).all() else low,
        high=None if np.isnan(high).all() else high,
        floor=profile.outcome.floor_of(profile.metric),
    )


def _with_gaps(
    profile: "PatchProfile", effects: Float[Array, "pair depth column"]
) -> tuple[list[int], Float[Array, "pair row column"]]:
    """Of depths that were found, a blank row for each that lies unmeasured between them."""
    depths = profile.depths.tolist()
    if not profile.depths_found:
        return depths, effects
    rows = list(range(depths[0], depths[-1] + 1))
    whole = np.full((len(effects), len(rows), effects.shape[2]), np.nan)
    whole[:, np.isin(rows, depths)] = effects
    return rows, whole
