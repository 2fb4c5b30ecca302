"""Figures of direction against norm: by depth, and by dose."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lensdepth import plotting, stats
from lensdepth.ablation.profile import Effect
from lensdepth.multiples import Column, PanelRow, Response, small_multiples
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import described
from lensdepth.telling.fractions import FRACTIONS, axis_title, known_beside
from lensdepth.telling.names import SCOPES, edit_name, metric_words, position_name, success_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.ablation.dose_profile import DoseProfile
    from lensdepth.ablation.profile import AblationProfile

ROLES = {"random_full": "full", "random_direction": "direction", "random_norm": "norm"}
"""Controls have the colour of the edit that they belong to, dashed."""
PUT_IN = {
    "source": "", "mean": ", set to the mean", "shuffled": ", put in from another pair",
    "random": ", put in at random",
}  # fmt: skip
"""What the parts are replaced by, in the title; the source's own goes without saying."""
SEEN = {"raw": "", "centred": ", from the mean", "final_norm": ", as the final norm sees it"}
"""Where direction and norm are taken."""
MOST_ROWS = 12
"""Depths that dose-response panels show; of more, evenly spaced ones."""


def parts_figure(
    profile: "AblationProfile",
    effect: Effect,
    *,
    scope: str | None = None,
    position: str | None = None,
) -> "Figure":
    """An effect by depth for each edit with 95 % bands; controls dashed, the identity circled."""
    scope, position = (
        profile.scopes[0] if scope is None else scope,
        profile.positions[0] if position is None else position,
    )
    curves = [
        Curve.of(
            edit_name(edit),
            profile.effect(effect, edit=edit, scope=scope, position=position),
            role=ROLES.get(edit, edit),
            units=profile.provenance.units,
            depths=profile.depths.numpy(),
            control=edit in profile.controls,
            floor=profile.outcome.floor_of(effect),
        )
        for edit in profile.edits
    ]
    reach = "" if scope == "local" else f", {SCOPES[scope]}"
    figure = plotting.depth_figure(
        curves,
        n_layers=profile.n_layers,
        title=f"Direction against norm, {position_name(position)}{reach}"
        + PUT_IN[profile.to]
        + SEEN[profile.coordinates],
        y_title=_axis(profile, effect),
    )
    identity = profile.identity_depth(scope=scope, position=position)
    if identity is not None:
        at = profile.depths.tolist().index(identity)
        still = profile.effect(effect, edit="norm", scope=scope, position=position)
        y = float(still[:, at].nanmean())
        plotting.mark_depth(figure, identity, "arithmetic, not a finding", y=y)
    return figure


def made_of_figure(
    profile: "AblationProfile", *, scope: str | None = None, position: str | None = None
) -> "Figure":
    """What each edit's transferred fraction is made of: target gain, foil loss, and success."""
    from lensdepth.ablation.told import edit_curves

    panels = [
        plotting.Panel(
            title=_axis(profile, effect),
            curves=[
                replace(curve, name=edit_name(edit))
                for edit, curve in zip(
                    profile.edits,
                    edit_curves(profile, effect, scope=scope, position=position),
                    strict=True,
                )
            ],
        )
        for effect in known_beside(profile.outcome)
    ]
    return plotting.depth_story(
        panels, n_layers=profile.n_layers, title="What the transferred fraction is made of"
    )


def _axis(profile: "AblationProfile | DoseProfile", effect: Effect) -> str:
    """What the y axis says."""
    if effect in FRACTIONS:
        return axis_title(effect, profile.outcome.intended)
    words = success_words(profile.provenance) if effect == "success" else metric_words(effect)
    return words.unit


def dose_figure(profile: "DoseProfile", effect: Effect) -> "Figure":
    """One row of panels a depth: the response to a turn, and to a change of the norm."""
    values = profile.effect(effect)
    depths = profile.depths.tolist()
    chosen = np.unique(np.linspace(0, len(depths) - 1, min(MOST_ROWS, len(depths))).round())
    columns = {
        "direction": Column(
            title="share of the angle to the source",
            ticks=(0.0, 0.25, 0.5, 0.75, 1.0),
            labels=("0", "¼", "½", "¾", "1"),
            unit="of the angle to the source",
        ),
        "norm": Column(
            title="factor of the norm",
            ticks=(0.25, 0.5, 1.0, 2.0, 4.0),
            labels=("¼", "½", "1", "2", "4"),
            unit="times the norm",
            logarithmic=True,
        ),
    }
    there = {part: [p for p in parts if p in profile.parts] for part, parts in (
        ("direction", ("random_direction", "direction")), ("norm", ("norm",)))}  # fmt: skip
    rows = []
    for i in chosen.astype(int):
        depth = depths[i]
        cells = [
            [_response(profile, effect, values, part, depth) for part in parts]
            for parts in there.values()
            if parts
        ]
        rows.append(
            PanelRow(label=str(depth), name=described(depth, profile.n_layers), cells=cells)
        )
    return small_multiples(
        rows,
        [columns[part] for part, parts in there.items() if parts],
        title=f"Dose and response, {position_name(profile.position)}",
        y_title=_axis(profile, effect),
        rows_title="depth",
    )


def _response(
    profile: "DoseProfile", effect: Effect, values: torch.Tensor, part: str, depth: int
) -> Response:
    doses, response = profile.curve(part, values, depth)
    order = doses.argsort()
    mean, low, high = stats.mean_interval(
        response[:, order].numpy(), units=profile.provenance.units
    )
    return Response(
        name=edit_name(part),
        x=doses[order].double().numpy(),
        mean=mean,
        low=low,
        high=high,
        role="direction" if part == "random_direction" else part,
        dashed=part == "random_direction",
        floor=profile.outcome.floor_of(effect),
    )
