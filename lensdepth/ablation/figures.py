"""Figures of direction against norm: by depth, and by dose."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from lensdepth import plotting, stats
from lensdepth.ablation.profile import Effect
from lensdepth.multiples import Column, Response, Row, small_multiples

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.ablation.dose import DoseProfile
    from lensdepth.ablation.profile import AblationProfile

UNITS = {
    "transferred": "transferred fraction (0 = base run, 1 = source run)",
    "logit_diff": "change of logit(target) − logit(foil), nats",
    "kl": "KL(base ‖ edited), nats",
    "flip": "share whose most likely token changes",
    "success": "share that gives the source's answer",
}
"""What the effects are called on an axis."""
ROLES = {"random_full": "full", "random_direction": "direction", "random_norm": "norm"}
"""Controls have the colour of the edit that they belong to, dashed."""
PUT_IN = {
    "source": {"": "swap", "random_norm": "another pair's norm"},
    "mean": {"": "to the mean", "random_norm": "another pair's norm"},
    "shuffled": {"": "of another pair", "random_norm": "a third pair's norm"},
    "random": {"": "at random", "random_norm": ""},
}
SCOPES = {
    "local": "", "suffix": ", from each depth on", "prefix": ", up to each depth",
    "all": ", at every depth",
}  # fmt: skip
MOST_ROWS = 12
"""Depths that dose-response panels show; of more, evenly spaced ones."""


def edit_name(edit: str, to: str) -> str:
    """What a curve is called."""
    if edit == "random_norm":
        return PUT_IN[to][edit]
    if edit in ROLES:
        return edit.replace("_", " ").replace("random full", "random state")
    return f"{edit} {PUT_IN[to]['']}"


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
    values = profile.effect(effect)
    curves = [
        plotting.Curve.from_interval(
            edit_name(edit, profile.to),
            *stats.bootstrap_mean(profile.of(edit, values, scope=scope, position=position).numpy()),
            role=ROLES.get(edit, edit),
            depths=profile.depths.numpy(),
            dashed=edit in profile.controls,
        )
        for edit in profile.edits
    ]
    seen = {"raw": "", "centred": ", from the mean", "final_norm": ", as the final norm sees it"}
    figure = plotting.depth_figure(
        curves,
        n_layers=profile.n_layers,
        title=f"Direction against norm at the {position} position"
        + SCOPES[scope]
        + seen[profile.coordinates],
        y_title=UNITS[effect],
    )
    identity = profile.identity_depth(scope=scope, position=position)
    if identity is not None:
        at = profile.depths.tolist().index(identity)
        y = float(profile.of("norm", values, scope=scope, position=position)[:, at].nanmean())
        plotting.mark_depth(figure, identity, "arithmetic, not a finding", y=y)
    return figure


def dose_figure(profile: "DoseProfile", effect: Effect) -> "Figure":
    """One row of panels a depth: the response to a turn, and to a change of the norm."""
    values = profile.effect(effect)
    depths = profile.depths.tolist()
    chosen = np.unique(np.linspace(0, len(depths) - 1, min(MOST_ROWS, len(depths))).round())
    names = {
        "direction": "turned towards the source",
        "random_direction": "turned as far, at random",
        "norm": "norm scaled, direction kept",
    }
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
            [_response(profile, values, part, depth, names[part]) for part in parts]
            for parts in there.values()
            if parts
        ]
        label = plotting.depth_label(depth, profile.n_layers)
        name = f"depth {depth} of {profile.n_layers} ({label})"
        rows.append(Row(label=label, name=name, cells=cells))
    return small_multiples(
        rows,
        [columns[part] for part, parts in there.items() if parts],
        title=f"Dose and response at the {profile.position} position",
        y_title=UNITS[effect],
        rows_title="after block",
    )


def _response(
    profile: "DoseProfile", values: torch.Tensor, part: str, depth: int, name: str
) -> Response:
    doses, response = profile.curve(part, values, depth)
    order = doses.argsort()
    mean, low, high = stats.bootstrap_mean(response[:, order].numpy())
    return Response(
        name=name,
        x=doses[order].double().numpy(),
        mean=mean,
        low=low,
        high=high,
        role="direction" if part == "random_direction" else part,
        dashed=part == "random_direction",
    )
