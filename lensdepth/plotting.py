"""Curves in, Plotly figures out; nothing is measured here.

Every figure has the residual depth along the x axis, labelled by its number, 0 ... L, and by the
fraction of the depth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensdepth.colours import INK, MUTED, PALETTE, RULE, house_layout, house_note, inert, rgba
from lensdepth.telling import depths
from lensdepth.telling.curves import Curve, above_floor

LEGEND_HEIGHT = 46
"""Pixels below the axis for a legend of two lines."""
PANEL_HEIGHT = 116
PANEL_GAP = 48
"""Pixels of one small panel, and between two of them, where the next one's title stands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One row of `depth_story`: curves that share a unit."""

    title: str
    curves: Sequence[Curve]
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Zone:
    """The interval of a transition, drawn behind the curves."""

    name: str
    low: float
    at: float
    high: float
    role: str = "zone"
    """Key into PALETTE."""


MOST_TICKS = 12
"""Depths that have a label on an axis, or about so many."""
KEYS_AFTER = "\u2003"
"""Stands between a panel's heading and its keys; a narrow page breaks the line here."""


def tick(depth: int, n_layers: int) -> str:
    """The label of a depth on an axis: its number, and below it the fraction."""
    share = depths.fraction(depth, n_layers)
    return f'{depth}<br><span style="color:{MUTED}">{share}</span>'


def layout_of(figure: go.Figure) -> Any:
    """A figure's layout, whose type cannot be told from Plotly's code."""
    return figure.layout


def depth_ticks(n_layers: int, *, most: int = MOST_TICKS) -> tuple[list[int], list[str]]:
    """Tick positions and two-line labels: the depth, and the fraction of it."""
    step = max(1, math.ceil(n_layers / most))
    at = sorted({0, n_layers, *range(step, n_layers - step // 2, step)})
    return at, [tick(d, n_layers) for d in at]


def _hover(curve: Curve, n_layers: int) -> list[str]:
    """What stands beside the pointer: where, value, interval."""
    return [
        f"{depths.described(depth, n_layers)}<br>{interval}"
        for depth, interval in zip(curve.depths.tolist(), curve.intervals, strict=True)
    ]


def _add_curve(
    figure: go.Figure,
    curve: Curve,
    *,
    n_layers: int,
    scale: float = 1.0,
    alone: bool = False,
    **where: int,
) -> None:
    """A band and a line; `scale` is what one depth measures on the x axis."""
    colour, name, x = PALETTE[curve.role], inert(curve.name), curve.depths * scale
    # The whole state often lies under one of its parts: broad and pale, it shows below it.
    wide = curve.role == "full" and not (curve.dashed or alone)
    banded = ~np.isnan(curve.low) & ~np.isnan(curve.high) & ~np.isnan(curve.mean)
    if banded.any():
        figure.add_scatter(
            x=np.concatenate([x[banded], x[banded][::-1]]),
            y=np.concatenate([curve.high[banded], curve.low[banded][::-1]]),
            fill="toself",
            fillcolor=rgba(colour, 0.10 if curve.dashed else 0.18),
            line={"width": 0, "color": colour},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            name=name,
            legendgroup=name,
            **where,
        )
    dense = len(x) > 100
    figure.add_scatter(
        x=x,
        y=curve.mean,
        name=name,
        legendgroup=name,
        mode="lines" if dense else "lines+markers",
        line={
            "color": rgba(colour, 0.35) if wide else colour,
            "dash": "4px,3px" if curve.dashed else "solid",
            "width": 6 if wide else 2,
        },
        marker={"size": 4 if curve.dashed else 5, "color": colour},
        customdata=_hover(curve, n_layers),
        hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        meta={"role": curve.role, "dashed": curve.dashed},
        **where,
    )


def add_zone(figure: go.Figure, zone: Zone, *, scale: float = 1.0) -> None:
    """Shade the interval of a transition over every panel, with a line at its location."""
    colour = PALETTE[zone.role]
    everywhere: dict[str, Any] = {"row": "all", "col": "all"} if figure._has_subplots() else {}
    figure.add_vrect(
        x0=zone.low * scale,
        x1=zone.high * scale,
        fillcolor=rgba(colour, 0.32),
        line_width=0,
        layer="below",
        **everywhere,
    )
    figure.add_vline(
        x=zone.at * scale,
        line={"color": colour, "width": 1.5},
        layer="below",
        **everywhere,
    )


def mark_depth(figure: go.Figure, depth: int, name: str, *, y: float) -> None:
    """Circle one point; the legend says what it is."""
    figure.add_scatter(
        x=[depth],
        y=[y],
        name=inert(name),
        legendgroup=inert(name),
        mode="markers",
        marker={"size": 14, "symbol": "circle-open", "color": MUTED, "line": {"width": 1.5}},
        cliponaxis=False,
        hoverinfo="skip",
        meta={"role": "mark", "dashed": False},
    )


def depth_figure(
    curves: Sequence[Curve],
    *,
    n_layers: int,
    title: str,
    y_title: str,
    zone: tuple[float, float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Curves over depth in one panel, with 95 % bands and an optional (low, at, high) zone."""
    figure = go.Figure()
    for curve in curves:
        _add_curve(figure, curve, n_layers=n_layers, alone=len(curves) == 1)
    if zone is not None:
        add_zone(figure, Zone(name="", low=zone[0], at=zone[1], high=zone[2]))
    figure.update_yaxes(range=y_range or above_floor(curves))
    _add_heading(figure, inert(y_title), top=1.0, name="y_title")
    _style(figure, title, n_layers=n_layers, height=450, legend=len(curves) > 1)
    return figure


def depth_panels(
    curves: Sequence[Curve],
    *,
    n_layers: int,
    title: str,
    zone: tuple[float, float, float] | None = None,
) -> go.Figure:
    """One small panel a curve, one below the other, on one depth axis; each has its own unit."""
    figure = _stack(len(curves))
    for row, curve in enumerate(curves, start=1):
        _add_curve(figure, curve, n_layers=n_layers, alone=True, row=row, col=1)
        figure.update_yaxes(range=above_floor([curve]), row=row, col=1)
        _add_heading(figure, f"<b>{inert(curve.heading)}</b>", top=_top(figure, row))
    if zone is not None:
        add_zone(figure, Zone(name="", low=zone[0], at=zone[1], high=zone[2]))
    _style(figure, title, n_layers=n_layers, height=_stack_height(len(curves)), legend=False)
    figure.update_yaxes(nticks=4)
    return figure


def depth_story(
    panels: Sequence[Panel], *, n_layers: int, title: str, zones: Sequence[Zone] = ()
) -> go.Figure:
    """All analyses below one another on one relative depth axis, transition zones over all.

    Each panel's heading names its curves beside a stroke of their colour, so that no legend has
    to be looked up.
    """
    figure = _stack(len(panels), keyed=True)
    scale = 1 / n_layers
    for row, panel in enumerate(panels, start=1):
        for curve in panel.curves:
            _add_curve(
                figure,
                curve,
                n_layers=n_layers,
                scale=scale,
                alone=len(panel.curves) == 1,
                row=row,
                col=1,
            )
        figure.update_yaxes(range=panel.y_range or above_floor(panel.curves), row=row, col=1)
        heading = f"<b>{inert(panel.title)}</b>"
        if len(panel.curves) > 1:
            heading += KEYS_AFTER + "\u2002".join(_key(curve) for curve in panel.curves)
        _add_heading(figure, heading, top=_top(figure, row))
    for i, zone in enumerate(zones):
        add_zone(figure, zone, scale=scale)
        right = zone.at * scale > 0.5
        figure.add_annotation(
            text=f'{inert(zone.name)} <span style="color:{PALETTE[zone.role]}">■</span>'
            if right
            else f'<span style="color:{PALETTE[zone.role]}">■</span> {inert(zone.name)}',
            x=zone.at * scale,
            xref="x",
            xanchor="right" if right else "left",
            xshift=6 if right else -6,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=40 + 19 * (len(zones) - 1 - i),
            showarrow=False,
            font={"size": 12.5, "color": INK},
        )
    height = _stack_height(len(panels), keyed=True) + 19 * len(zones)
    _style(figure, title, n_layers=n_layers, height=height, legend=False, scale=scale)
    # Room for the names of the zones above the first panel's heading.
    figure.update_layout(margin_t=layout_of(figure).margin.t + 19 * len(zones))
    figure.update_yaxes(nticks=4)
    return figure


def relative_story(panels: Sequence[Panel], *, title: str) -> go.Figure:
    """Panels below one another whose curves come from models of any number of layers.

    The depths of the curves are relative already, from 0 to 1.
    """
    figure = depth_story(panels, n_layers=1, title=title)
    at = [0, 0.25, 0.5, 0.75, 1]
    labels = ["0", "0.25", "0.5", "0.75", "1"]
    figure.update_xaxes(tickvals=at, ticktext=labels)
    figure.update_xaxes(title_text="fraction of the depth", row=len(panels), col=1)
    traces: Any = figure.data
    for trace in traces:
        if trace.customdata is not None:
            trace.customdata = [
                f"{x:.0%} of the depth<br>{text.partition('<br>')[2]}"
                for x, text in zip(trace.x, trace.customdata, strict=True)
            ]
    figure.update_layout(meta={"keys_after": KEYS_AFTER})
    return figure


def _stack(rows: int, *, keyed: bool = False) -> go.Figure:
    gap = PANEL_GAP + 16 * keyed
    total = rows * PANEL_HEIGHT + (rows - 1) * gap
    spacing = gap / total if rows > 1 else 0.0
    return make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=spacing)


def _stack_height(rows: int, *, keyed: bool = False) -> int:
    return rows * PANEL_HEIGHT + (rows - 1) * (PANEL_GAP + 16 * keyed) + 160


def _top(figure: go.Figure, row: int) -> float:
    """Upper end of a row's panel, as a fraction of the height."""
    return next(figure.select_yaxes(row=row, col=1)).domain[1]


def _key(curve: Curve) -> str:
    stroke = "╍╍" if curve.dashed else "━━"
    return f'<span style="color:{PALETTE[curve.role]}">{stroke}</span> {inert(curve.name)}'


def _add_heading(figure: go.Figure, text: str, *, top: float, name: str = "heading") -> None:
    """What the y axis measures, set level above it rather than turned on its side."""
    # In line with the tick labels rather than with the axis.
    figure.add_annotation(**house_note(text, y=top), name=name, xshift=-34, yshift=7, align="left")


def _style(
    figure: go.Figure, title: str, *, n_layers: int, height: int, legend: bool, scale: float = 1.0
) -> None:
    at, labels = depth_ticks(n_layers)
    figure.update_xaxes(
        tickvals=[d * scale for d in at],
        ticktext=labels,
        range=[-0.02 * n_layers * scale, 1.02 * n_layers * scale],
        showgrid=False,
        zeroline=False,
        showline=True,
        linecolor=RULE,
        ticks="outside",
        ticklen=4,
        tickcolor=RULE,
        tickangle=0,
    )
    rows = len(list(figure.select_xaxes()))
    bottom: dict[str, Any] = {"row": rows, "col": 1} if figure._has_subplots() else {}
    figure.update_xaxes(
        title={"text": depths.AXIS, "standoff": 8, "font_size": 12.5},
        **bottom,
    )
    figure.update_yaxes(
        gridcolor=RULE, zeroline=True, zerolinecolor=RULE, zerolinewidth=1, ticklabelstandoff=5
    )
    figure.update_layout(
        **house_layout(inert(title)),
        height=height,
        showlegend=legend,
        legend={
            "orientation": "h",
            "yanchor": "top",
            # Below the two lines of tick labels and the title of the axis.
            "y": -68 / (height - 84 - 58 - LEGEND_HEIGHT),
            "x": 0,
            "itemsizing": "trace",
        },
        margin={"l": 44, "r": 30, "t": 84, "b": 58 + LEGEND_HEIGHT * legend},
        hovermode="closest",
        # For whoever draws the figure at another width and needs fewer ticks.
        meta={
            "keys_after": KEYS_AFTER,
            "n_layers": n_layers,
            "scale": scale,
            "labels": [tick(d, n_layers) for d in range(n_layers + 1)],
        },
    )
