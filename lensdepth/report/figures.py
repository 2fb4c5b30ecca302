"""The report's figures: each result's own, and the story of them all on one axis."""

import html
import json
from typing import TYPE_CHECKING, Any

from plotly.graph_objects import Figure

from lensdepth import colours, plotting
from lensdepth.analyses import analysis
from lensdepth.plotting import Panel, Zone, layout_of
from lensdepth.report.measured import Measured
from lensdepth.telling.curves import Curve
from lensdepth.telling.names import success_words
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.result import Transition

if TYPE_CHECKING:
    import pandas as pd

SHARE = (-0.04, 1.06)
SWAPPED = tuple(f"{edit}_transferred" for edit in ("full", "direction", "norm", "random_direction"))
"""What the story shows of direction against norm."""


def crossing_zone(crossing: Crossing | None) -> Zone | None:
    """The interval of a crossing, where there is one."""
    if crossing is None or crossing.verdict != "crossing":
        return None
    return Zone(name="control passes", low=crossing.low, at=crossing.depth, high=crossing.high)


def lens_zone(transition: Transition | None) -> Zone | None:
    """The interval of the lens's transition, where there is one."""
    if transition is None or transition.verdict != "transition":
        return None
    return Zone(
        name="lens switches",
        low=transition.location_low,
        at=transition.location,
        high=transition.location_high,
        role="lens_zone",
    )


def story(findings: Measured) -> Figure:
    """Lens, patching, direction against norm, and geometry on one relative depth axis."""
    found = (crossing_zone(findings.crossing), lens_zone(findings.transition))
    zones = [zone for zone in found if zone is not None]
    return plotting.depth_story(
        story_panels(findings), n_layers=findings.n_layers, title="The depth story", zones=zones
    )


def story_panels(findings: Measured) -> list[Panel]:
    """Up to eight panels; three or four where the task has no pairs."""
    lens = {curve.key: curve for curve in curves_of("lens", findings.lens)}
    panels = [
        Panel(title=f"Lens: {lens[key].heading}", curves=[lens[key]])
        for key in ("contrast", "kl")
        if key in lens
    ]
    panels += [
        Panel(
            title=f"Lens: {lens['top1_agreement'].heading}",
            curves=[lens["top1_agreement"]],
            y_range=SHARE,
        ),
    ]
    for key, ending in (("patch", "_efficacy"), ("steering", "_full")):
        result = getattr(findings, key)
        if result is not None:
            curves = [c for c in curves_of(key, result) if c.key.endswith(ending)]
            title = f"{analysis(key).title}: {success_words(result.provenance).unit}"
            panels.append(Panel(title=title, curves=curves, y_range=SHARE))
    if findings.ablation is not None:
        curves = [c for c in curves_of("ablation", findings.ablation) if c.key in SWAPPED]
        panels.append(Panel(title=f"Swapping: {curves[0].unit}", curves=curves))
    if findings.geometry is not None:
        shape = {curve.key: curve for curve in curves_of("geometry", findings.geometry)}
        coupling = [shape["angle_js"], shape["norm_js"]]
        panels += [
            Panel(title="Correlation with differences of prediction", curves=coupling),
            Panel(title="Effective rank of the cloud", curves=[shape["effective_rank"]]),
        ]
    return panels


def story_frame(findings: Measured) -> "pd.DataFrame":
    """The story's curves: one row a panel, curve and depth."""
    import pandas as pd

    return pd.concat(
        [
            pd.DataFrame(
                {
                    "panel": panel.title,
                    "curve": curve.name,
                    "depth": curve.depths,
                    "relative_depth": curve.depths / findings.n_layers,
                    "mean": curve.mean,
                    "low": curve.low,
                    "high": curve.high,
                }
            )
            for panel in story_panels(findings)
            for curve in panel.curves
        ],
        ignore_index=True,
    )


def points_frame(figure: Figure) -> "pd.DataFrame":
    """The points of a figure: one row a point, under the name that its cloud has."""
    import pandas as pd

    clouds: Any = figure.data
    return pd.concat(
        [pd.DataFrame({"cloud": one.name, "x": one.x, "y": one.y}) for one in clouds],
        ignore_index=True,
    )


def still(figure: Figure, depth: int) -> Figure:
    """A figure with a slider over depth, as it stands at one."""
    found = Figure(figure)
    clouds: Any = found.data
    for i, cloud in enumerate(clouds):
        cloud.visible = i == depth
    found.layout.sliders = ()
    return found


def curves_of(key: str, result: Any) -> list[Curve]:
    """What a result has by depth, as its own room tells it."""
    return analysis(key).curves(result)


def with_zone(figure: Figure, zone: Zone | None) -> Figure:
    """The figure with a transition shaded behind it."""
    if zone is not None:
        plotting.add_zone(figure, zone)
    return figure


def legend(figure: Figure) -> list[dict[str, Any]]:
    """Names, colours and strokes of the curves of a figure with several in one panel."""
    if not layout_of(figure).showlegend:
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
    named = [a.text for a in layout_of(figure).annotations if a.name == "y_title"]
    return html.unescape(named[0]) if named else ""


def height(figure: Figure) -> int:
    """Pixels on the page."""
    left_out = TITLE_HEIGHT + (Y_TITLE_HEIGHT if y_title(figure) else 0)
    return layout_of(figure).height - left_out - _legend_height(figure)


def _legend_height(figure: Figure) -> int:
    return plotting.LEGEND_HEIGHT if layout_of(figure).showlegend else 0


def for_page(figure: Figure) -> str:
    """JSON that is safe inside a script element.

    The page has its own title, legend and y title; they come back when the figure is saved.
    """
    bare = _with_meta(figure)
    margin = layout_of(bare).margin
    top = margin.t - TITLE_HEIGHT - (Y_TITLE_HEIGHT if y_title(figure) else 0)
    bottom = margin.b - _legend_height(bare)
    bare.update_layout(title=None, showlegend=False, dragmode=False)
    bare.update_layout(margin_t=top, margin_b=bottom, height=height(figure))
    bare.for_each_annotation(lambda a: a.update(visible=False), {"name": "y_title"})
    return script_safe(str(bare.to_json()))


def exhibit_for_page(figure: Figure) -> str:
    """The same for a figure under a heading of its own: a map keeps its title beside, and panels
    have its room for the lines of their keys."""
    bare = _with_meta(figure)
    bare.update_layout(width=None, dragmode=False)
    if "keys_after" in layout_of(bare).meta:
        bare.update_layout(title=None)
    return script_safe(str(bare.to_json()))


def _with_meta(figure: Figure) -> Figure:
    """A copy that knows its own layout, for when the reader saves it."""
    bare, layout = Figure(figure), layout_of(figure)
    layout_of(bare).meta = (layout.meta or {}) | {
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
    return script_safe(json.dumps({"dark": colours.dark_colours()}))
