"""Tables by depth: the numbers behind each figure, on the page and as CSV."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from lensdepth import plotting, stats
from lensdepth.ablation import AblationProfile, DecodingProfile
from lensdepth.geometry import GeometryProfile
from lensdepth.lens import LensProfile
from lensdepth.locality import LocalityProfile
from lensdepth.patching import PatchProfile
from lensdepth.prose import plain
from lensdepth.steering import SteeringProfile
from lensdepth.writing import csv_text


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthTable:
    """One row a depth; measures have the columns `<key>` and, where known, `<key>_low`, `_high`."""

    frame: pd.DataFrame
    headings: dict[str, str]
    """Key of each measure -> what its column is called on the page."""

    @property
    def csv(self) -> str:
        """Six significant digits; of what users write it holds names of labels."""
        return csv_text(self.frame, float_format="%.6g")

    @property
    def csv_uri(self) -> str:
        """The CSV as a data: address, which works in a file opened from disk."""
        return "data:text/csv;charset=utf-8," + quote(self.csv)

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Cells as (value, interval) texts, for the page."""
        return [
            [
                (str(row["depth"]), ""),
                (str(row["block"]), ""),
                (f"{row['relative_depth']:.2f}", ""),
                *(_cell(row, key) for key in self.headings),
            ]
            for row in self.frame.to_dict("records")
        ]


def _cell(row: dict[Hashable, Any], key: str) -> tuple[str, str]:
    value, low, high = (float(row.get(key + end, math.nan)) for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "–", ""
    if key.endswith("_p"):
        return ("<0.001" if value < 0.001 else f"{value:.3f}"), ""
    shown, *bounds = (plain(x) for x in (value, low, high))
    if math.isnan(low) or math.isnan(high) or bounds == [shown, shown]:
        return shown, ""
    return shown, " to ".join(bounds)


def depth_table(
    measures: dict[str, tuple[str, Float[Tensor, "unit depth"]]],
    *,
    depths: Sequence[int],
    n_layers: int,
) -> DepthTable:
    """Means over units with intervals. `measures`: key -> (heading, values)."""
    columns: dict[str, object] = {}
    for key, (_, values) in measures.items():
        columns[key], columns[f"{key}_low"], columns[f"{key}_high"] = stats.bootstrap_mean(
            values.numpy()
        )
    frame = _with_depths(pd.DataFrame(columns), depths, n_layers)
    return DepthTable(
        frame=frame, headings={key: heading for key, (heading, _) in measures.items()}
    )


def _with_depths(columns: pd.DataFrame, depths: Sequence[int], n_layers: int) -> pd.DataFrame:
    where = {
        "depth": list(depths),
        "block": [plotting.depth_label(d, n_layers) for d in depths],
        "relative_depth": [d / n_layers for d in depths],
    }
    return pd.concat([pd.DataFrame(where), columns.reset_index(drop=True)], axis=1)


def lens_table(profile: LensProfile) -> DepthTable:
    """Divergence, entropy, agreement, and how the answers fare."""
    measures = {
        "kl": ("KL(final ‖ lens), nats", profile.kl),
        "entropy": ("entropy, nats", profile.entropy),
        "top1_agreement": ("top-1 agreement", profile.top1_agreement),
        "target_log_prob": ("log p(target), nats", profile.target_log_prob),
        "foil_log_prob": ("log p(foil), nats", profile.foil_log_prob),
    }
    return depth_table(
        {
            key: (heading, profile.mean_by_depth(values))
            for key, (heading, values) in measures.items()
            if values is not None
        },
        depths=range(profile.n_layers + 1),
        n_layers=profile.n_layers,
    )


def patch_table(profile: PatchProfile) -> DepthTable:
    """Efficacy, its control and the transferred fraction at each position."""
    measures = {}
    for i, name in enumerate(profile.positions):
        measures[f"{name}_efficacy"] = (f"{name}: efficacy", profile.efficacy(name))
        if profile.control_success is not None:
            measures[f"{name}_control"] = (f"{name}: control", profile.control_success[:, :, i])
        measures[f"{name}_transferred"] = (f"{name}: transferred", profile.transferred[:, :, i])
    return depth_table(measures, depths=profile.depths.tolist(), n_layers=profile.n_layers)


def locality_table(profile: LocalityProfile) -> DepthTable:
    """What each block's attention does alone, what is lost without it, what it writes itself."""
    unit = f"change of {profile.metric}"
    measures = {
        "local": (f"alone: {unit}", profile.local),
        "necessity": ("lost without it", profile.necessity),
    }
    if profile.direct is not None:
        measures["direct"] = ("direct effect", profile.direct)
    depths = (profile.depths + (profile.stream != "resid_pre")).tolist()
    return depth_table(measures, depths=depths, n_layers=profile.n_layers)


def ablation_table(profile: AblationProfile) -> DepthTable:
    """Transferred fraction of each edit, and how far the edits go."""
    measures = {
        f"{edit}_transferred": (edit.replace("_", " "), profile.of(edit, profile.transferred))
        for edit in profile.edits
    }
    measures["angle"] = ("angle, degrees", profile.angle[..., 0].rad2deg())
    measures["norm_ratio"] = ("norm ratio", profile.norm_ratio[..., 0])
    return depth_table(measures, depths=profile.depths.tolist(), n_layers=profile.n_layers)


def steering_table(profile: SteeringProfile) -> DepthTable:
    """Efficacy of the whole difference, of its parts and of the controls at each position."""
    names = {"full": "whole", "random": "random vector", "shuffled": "another pair's"}
    measures = {
        f"{position}_{edit}": (
            f"{position}: {names.get(edit, edit)}",
            profile.efficacy(position, edit=edit),
        )
        for position in profile.positions
        for edit in profile.edits
    }
    return depth_table(measures, depths=profile.depths.tolist(), n_layers=profile.n_layers)


def decoding_table(profile: DecodingProfile) -> DepthTable:
    """Score of the norm and of the direction for each label, and where chance ends."""
    columns: dict[str, Any] = {}
    headings = {}
    for label in profile.labels:
        for part in ("norm", "direction"):
            key = f"{label}_{part}"
            headings[key] = f"{label}: {part}"
            for end in ("", "_low", "_high"):
                values = getattr(profile, end.removeprefix("_") or "score")
                columns[key + end] = profile.of(label, part, values).numpy()
        headings[f"{label}_null"] = f"{label}: permuted, 95 %"
        columns[f"{label}_null"] = profile.of(label, "norm", profile.null_high).numpy()
    frame = _with_depths(pd.DataFrame(columns), profile.depths.tolist(), profile.n_layers)
    return DepthTable(frame=frame, headings=headings)


def geometry_table(profile: GeometryProfile) -> DepthTable:
    """Every measure of the profile, with the p-values of the two correlations."""
    headings = {
        "norm": "norm",
        "step_angle": "step angle, rad",
        "cosine": "cosine",
        "standardized_cosine": "standardised cosine",
        "effective_rank": "effective rank",
        "participation_ratio": "participation ratio",
        "two_nn": "two nearest neighbours",
        "cka": "CKA with the depth before",
        "angle_js": "angle–JS ρ",
        "angle_js_p": "p",
        "norm_js": "norm–JS ρ",
        "norm_js_p": "p",
        "angle_js_given_norm": "angle–JS ρ, norm held",
        "norm_js_given_angle": "norm–JS ρ, angle held",
    }
    frame = profile.to_frame().set_index("depth")
    columns: dict[str, Any] = {}
    for key in (k for k in headings if not k.endswith("_p")):
        rows = frame.loc[frame["measure"] == key].reindex(range(profile.n_layers + 1))
        for column, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            columns[key + end] = np.asarray(rows[column])
        if key.endswith("_js"):
            columns[key + "_p"] = np.asarray(rows["p"])
    wide = _with_depths(pd.DataFrame(columns), range(profile.n_layers + 1), profile.n_layers)
    return DepthTable(frame=wide, headings=headings)
