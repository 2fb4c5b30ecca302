"""Geometry drawn: panels by depth, a map of two depths, and angle against divergence."""

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from lensdepth.colours import INK, PALETTE, PAPER, RULE, inert
from lensdepth.heatmaps import depth_axis, effect_heatmap
from lensdepth.plotting import Panel, depth_story
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import of_depths
from lensdepth.telling.numbers import number

if TYPE_CHECKING:
    from lensdepth.geometry.profile import GeometryProfile

PANELS = (
    ("Norm", {"norm": ("norm", "norm")}),
    (
        "Turn, rad",
        {
            "step_angle": ("in the block", "direction"),
            "angle_to_final": ("left to the last", "entropy"),
            "curvature": ("from token to token", "input"),
        },
    ),
    (
        "What a block adds, over the norm",
        {
            "update": ("all", "full"),
            "attn_write": ("attention", "input"),
            "mlp_write": ("MLP", "prediction"),
        },
    ),
    (
        "Mean cosine of two prompts",
        {
            "cosine": ("raw", "full"),
            "centred_cosine": ("centred", "input"),
            "standardized_cosine": ("standardised", "direction"),
        },
    ),
    (
        "Dimensions of the cloud",
        {
            "effective_rank": ("effective rank", "entropy"),
            "participation_ratio": ("participation ratio", "prediction"),
            "two_nn": ("nearest neighbours", "input"),
        },
    ),
    (
        "Spearman with divergence of predictions",
        {"angle_js": ("angle", "direction"), "norm_js": ("norm", "norm")},
    ),
    (
        "The same, the other part held",
        {
            "angle_js_given_norm": ("angle", "direction"),
            "norm_js_given_angle": ("norm", "norm"),
        },
    ),
)  # fmt: skip
"""Heading of each panel, and for each of its measures the name and the colour's role."""
MAPS = {
    "cka": "Linear CKA of the states of two depths",
    "procrustes": "Share carried over by a rotation",
}
UNITS = {"cka": "CKA (1: alike)", "procrustes": "share of the variance"}
HEIGHT = 520


def measure_curve(profile: "GeometryProfile", measure: str, name: str, role: str) -> Curve:
    """One measure over depth with its band."""
    found = profile.of(measure)
    bounds = (values.double().numpy() for values in (found.value, found.low, found.high))
    curve = Curve.from_interval(name, *bounds, key=measure, role=role)
    there = ~np.isnan(curve.mean)
    # What belongs to a block has no depth 0, and must not leave a gap in front.
    first = int(there.argmax()) if there.any() else 0
    parts = (getattr(curve, part)[first:] for part in ("mean", "low", "high"))
    return Curve.from_interval(name, *parts, role=role, depths=curve.depths[first:])


def depth_panels(profile: "GeometryProfile") -> go.Figure:
    """All panels; writes are left out where the architecture does not show them."""
    panels = []
    for title, measures in PANELS:
        known = {
            measure: drawn
            for measure, drawn in measures.items()
            if measure in profile.measures or getattr(profile, measure) is not None
        }
        curves = [measure_curve(profile, name, *drawn) for name, drawn in known.items()]
        panels.append(Panel(title=title, curves=curves))
    return depth_story(panels, n_layers=profile.n_layers, title="Geometry by depth")


def similarity_map(profile: "GeometryProfile", measure: str) -> go.Figure:
    """Depth by depth; the first row is the embedding.

    Raises:
        ValueError: the measure is none of a map.
    """
    if measure not in MAPS:
        raise ValueError(f"plot_map: measure must be one of {', '.join(MAPS)}, got {measure!r}.")
    axis = depth_axis(range(profile.n_layers + 1), profile.n_layers)
    value, low, high = (
        getattr(profile, measure + end).double().numpy() for end in ("", "_low", "_high")
    )
    return effect_heatmap(
        value, rows=axis, columns=axis, title=MAPS[measure], unit=UNITS[measure], signs=None,
        low=low, high=high,
    )  # fmt: skip


def coupling_scatter(profile: "GeometryProfile") -> go.Figure:
    """One cloud of pairs a depth, of which the slider shows one."""
    n_layers, shown = profile.n_layers, profile.n_layers
    found = profile.of("angle_js")
    figure = go.Figure()
    titles = []
    for depth in range(n_layers + 1):
        rho = float(found.value[depth])
        said = "no correlation is defined" if np.isnan(rho) else f"Spearman {number(rho)}"
        titles.append(inert(f"Angle against prediction at {of_depths(depth, n_layers)}: {said}"))
        figure.add_scatter(
            x=profile.pair_angle[depth].numpy().round(4),
            y=profile.pair_js.numpy().round(4),
            mode="markers",
            marker={"size": 5, "color": PALETTE["direction"], "opacity": 0.5},
            name=inert(of_depths(depth, n_layers)),
            visible=depth == shown,
            hovertemplate="%{x:.2f} rad<br>%{y:.2f} nats<extra></extra>",
        )
    steps = [
        {
            "label": str(depth),
            "method": "update",
            "args": [
                {"visible": [other == depth for other in range(n_layers + 1)]},
                {"title.text": titles[depth]},
            ],
        }
        for depth in range(n_layers + 1)
    ]
    lines = {
        "gridcolor": RULE, "zeroline": False, "showline": True, "linecolor": RULE,
        "ticks": "outside", "tickcolor": RULE, "rangemode": "tozero",
    }  # fmt: skip
    figure.update_xaxes(title_text="angle between two prompts' states, rad", **lines)
    figure.update_yaxes(title_text="JS divergence of predictions, nats", **lines)
    figure.update_layout(
        title={"text": titles[shown], "x": 0.01, "xanchor": "left", "font": {"size": 17}},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor=PAPER, plot_bgcolor=PAPER, height=HEIGHT, showlegend=False,
        margin={"l": 70, "r": 20, "t": 60, "b": 40},
        sliders=[
            {"active": shown, "steps": steps, "pad": {"t": 50},
             "currentvalue": {"prefix": "depth "}}
        ],
    )  # fmt: skip
    return figure
