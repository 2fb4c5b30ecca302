"""The report's figures: each result's own, and the story of them all on one axis."""

import html
import json
from typing import Any

import numpy as np
from plotly.graph_objects import Figure

from lensdepth import plotting, stats
from lensdepth.ablation.profile import AblationProfile
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.plotting import Curve, Panel, Zone
from lensdepth.report.measured import Measured
from lensdepth.transition.crossing import Crossing

SHARE = (-0.04, 1.06)


def crossing_zone(crossing: Crossing | None) -> Zone | None:
    """The interval of a crossing, where there is one."""
    if crossing is None or crossing.verdict != "crossing":
        return None
    return Zone(name="control passes", low=crossing.low, at=crossing.depth, high=crossing.high)


def lens_zone(findings: Measured) -> Zone | None:
    """The interval of the lens's transition, where there is one."""
    found = findings.transition
    if found is None or found.verdict != "transition":
        return None
    return Zone(
        name="lens switches",
        low=found.location_low,
        at=found.location,
        high=found.location_high,
        role="lens_zone",
    )


def story(findings: Measured) -> Figure:
    """Lens, patching, direction against norm, and geometry on one relative depth axis."""
    zones = [z for z in (crossing_zone(findings.crossing), lens_zone(findings)) if z is not None]
    return plotting.depth_story(
        story_panels(findings), n_layers=findings.n_layers, title="The depth story", zones=zones
    )


def story_panels(findings: Measured) -> list[Panel]:
    """Up to seven panels; three or four where the task has no pairs."""
    lens, patch = findings.lens, findings.patch
    panels = [
        Panel(
            title="Lens: KL to the final distribution, nats",
            curves=[_mean("KL", lens.mean_by_depth(lens.kl), "lens")],
        ),
        Panel(
            title="Lens: share whose top token is final",
            curves=[_mean("top-1", lens.mean_by_depth(lens.top1_agreement), "agree")],
            y_range=SHARE,
        ),
    ]
    if patch is not None:
        at = patch.depths.numpy()
        curves = [_mean(f"at {name}", patch.efficacy(name), name, at) for name in patch.positions]
        panels.append(Panel(title="Patching: share that switches", curves=curves, y_range=SHARE))
    if findings.steering is not None:
        found = findings.steering
        at = found.depths.numpy()
        curves = [_mean(f"at {name}", found.efficacy(name), name, at) for name in found.positions]
        panels.append(Panel(title="Steering: share that switches", curves=curves, y_range=SHARE))
    if findings.ablation is not None:
        panels.append(Panel(title="Swapping: fraction moved", curves=_parts(findings.ablation)))
    if findings.geometry is not None:
        found = findings.geometry
        coupling = [
            _measured(found, "angle_js", "angle", "direction"),
            _measured(found, "norm_js", "norm", "norm"),
        ]
        panels += [
            Panel(title="Correlation with differences of prediction", curves=coupling),
            Panel(
                title="Effective rank of the cloud of states",
                curves=[_measured(found, "effective_rank", "effective rank", "entropy")],
            ),
        ]
    return panels


def _mean(name: str, values: Any, role: str, depths: np.ndarray | None = None) -> Curve:
    return Curve.from_interval(
        name, *stats.bootstrap_mean(values.numpy()), role=role, depths=depths
    )


def _measured(profile: GeometryProfile, measure: str, name: str, role: str) -> Curve:
    found = profile.of(measure)
    bounds = (values.numpy() for values in (found.value, found.low, found.high))
    return Curve.from_interval(name, *bounds, role=role)


def _parts(profile: AblationProfile) -> list[Curve]:
    names = {"full": "whole", "direction": "direction", "norm": "norm"}
    names |= {"random_direction": "random"}
    return [
        Curve.from_interval(
            name,
            *stats.bootstrap_mean(profile.of(edit, profile.transferred).numpy()),
            role="direction" if edit == "random_direction" else edit,
            depths=profile.depths.numpy(),
            dashed=edit == "random_direction",
        )
        for edit, name in names.items()
    ]


def with_zone(figure: Figure, zone: Zone | None) -> Figure:
    """The figure with a transition shaded behind it."""
    if zone is not None:
        plotting.add_zone(figure, zone)
    return figure


def legend(figure: Figure) -> list[dict[str, Any]]:
    """Names, colours and strokes of the curves of a figure with several in one panel."""
    if not figure.layout.showlegend:
        return []
    traces = figure.to_plotly_json()["data"]
    return [
        {"name": t["legendgroup"], "text": html.unescape(t["name"]), **t["meta"]}
        for t in traces
        if "meta" in t
    ]


TITLE_HEIGHT = 40
Y_TITLE_HEIGHT = 32
"""Pixels of a figure's own title, and of what its y axis measures; the page has its own."""


def y_title(figure: Figure) -> str:
    """What the y axis of a figure with one panel measures, as plain text."""
    named = [a.text for a in figure.layout.annotations if a.name == "y_title"]
    return html.unescape(named[0]) if named else ""


def height(figure: Figure) -> int:
    """Pixels on the page."""
    left_out = TITLE_HEIGHT + (Y_TITLE_HEIGHT if y_title(figure) else 0)
    return figure.layout.height - left_out - plotting.LEGEND_HEIGHT * figure.layout.showlegend


def for_page(figure: Figure) -> str:
    """JSON that is safe inside a script element.

    The page has its own title, legend and y title; they come back when the figure is saved.
    """
    bare = _with_meta(figure)
    margin = bare.layout.margin
    top = margin.t - TITLE_HEIGHT - (Y_TITLE_HEIGHT if y_title(figure) else 0)
    bottom = margin.b - plotting.LEGEND_HEIGHT * bare.layout.showlegend
    bare.update_layout(title=None, showlegend=False, dragmode=False)
    bare.update_layout(margin_t=top, margin_b=bottom, height=height(figure))
    bare.for_each_annotation(lambda a: a.update(visible=False), {"name": "y_title"})
    return script_safe(str(bare.to_json()))


def exhibit_for_page(figure: Figure) -> str:
    """The same for a figure that keeps its own title, such as a map."""
    bare = _with_meta(figure)
    bare.update_layout(width=None, dragmode=False)
    return script_safe(str(bare.to_json()))


def _with_meta(figure: Figure) -> Figure:
    """A copy that knows its own layout, for when the reader saves it."""
    bare, layout = Figure(figure), figure.layout
    bare.layout.meta = (layout.meta or {}) | {
        "title": layout.title.to_plotly_json(),
        "legend": layout.showlegend,
        "margin": layout.margin.to_plotly_json(),
        "height": layout.height,
        "width": layout.width,
    }
    return bare


def script_safe(text: str) -> str:
    """JSON text in which nothing can end or open an element."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def page_settings() -> str:
    """Colours for the dark page, as JSON for the script."""
    return script_safe(json.dumps({"dark": plotting.dark_colours()}))
