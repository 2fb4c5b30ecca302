"""Arrays and labels in, Plotly figures out; nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from numpy import ndarray as Array
from plotly.subplots import make_subplots

PALETTE = {
    "input": "#0072B2", "prediction": "#D55E00", "full": "#444444", "direction": "#009E73",
    "norm": "#CC79A7", "control": "#999999", "lens": "#0072B2", "entropy": "#E69F00",
    "agree": "#009E73", "zone": "#56B4E9",
}  # fmt: skip
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One line over depth with its band; low and high are NaN where there is no interval."""

    name: str
    depths: Float[Array, " depth"]
    mean: Float[Array, " depth"]
    low: Float[Array, " depth"]
    high: Float[Array, " depth"]
    role: str
    """Key into PALETTE."""
    dashed: bool = False

    @classmethod
    def from_interval(
        cls,
        name: str,
        mean: Array,
        low: Array,
        high: Array,
        *,
        role: str,
        depths: Array | None = None,
        dashed: bool = False,
    ) -> "Curve":
        """A curve from (mean, low, high) as the functions of `stats` give them."""
        at = np.arange(len(mean)) if depths is None else depths
        mean, low, high, at = (np.asarray(x, dtype=float) for x in (mean, low, high, at))
        return cls(name=name, depths=at, mean=mean, low=low, high=high, role=role, dashed=dashed)


def depth_ticks(n_layers: int) -> tuple[list[int], list[str]]:
    """Tick positions and labels: `embed`, then the block whose output it is; the last is final."""
    step = max(1, round(n_layers / 12))
    at = sorted({0, n_layers, *range(step, n_layers - step // 2, step)})
    names = {0: "embed", n_layers: f"{n_layers - 1} = final"}
    return at, [names.get(d, str(d - 1)) for d in at]


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _add_curve(figure: go.Figure, curve: Curve, *, n_layers: int, **where: int) -> None:
    """A band and a line; hover shows depth, fraction of depth, value and interval."""
    colour = PALETTE[curve.role]
    banded = ~np.isnan(curve.low) & ~np.isnan(curve.high) & ~np.isnan(curve.mean)
    if banded.any():
        x = curve.depths[banded]
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([curve.high[banded], curve.low[banded][::-1]]),
            fill="toself",
            fillcolor=_rgba(colour, 0.10 if curve.dashed else 0.20),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=curve.name,
            **where,
        )
    figure.add_scatter(
        x=curve.depths,
        y=curve.mean,
        name=curve.name,
        legendgroup=curve.name,
        mode="lines" if len(curve.depths) > 100 else "lines+markers",
        line={"color": colour, "dash": "dash" if curve.dashed else "solid", "width": 2},
        marker={"size": 5},
        customdata=np.stack([curve.low, curve.high, curve.depths / n_layers], axis=1),
        hovertemplate=(
            "depth %{x:.3g} (%{customdata[2]:.0%})<br>%{y:.3g} "
            "[%{customdata[0]:.3g}, %{customdata[1]:.3g}]<extra>%{fullData.name}</extra>"
        ),
        **where,
    )


def _add_zone(
    figure: go.Figure, zone: tuple[float, float, float], **where: int
) -> None:
    """The interval (low, location, high) of a transition as a shaded band with a line."""
    low, at, high = zone
    colour = PALETTE["zone"]
    figure.add_vrect(x0=low, x1=high, fillcolor=_rgba(colour, 0.22), line_width=0, **where)
    figure.add_vline(x=at, line={"color": colour, "dash": "dot", "width": 2}, **where)


def depth_figure(
    curves: Sequence[Curve],
    *,
    n_layers: int,
    title: str,
    y_title: str,
    zone: tuple[float, float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> go.Figure:
    """Curves over depth in one panel, with 95 % bands and an optional transition zone."""
    figure = go.Figure()
    for curve in curves:
        _add_curve(figure, curve, n_layers=n_layers)
    if zone is not None:
        _add_zone(figure, zone)
    at, labels = depth_ticks(n_layers)
    figure.update_xaxes(
        title="depth: residual stream after block", tickvals=at, ticktext=labels, zeroline=False
    )
    figure.update_yaxes(title=y_title, range=y_range, zeroline=False)
    return _styled(figure, title)


def depth_panels(
    curves: Sequence[Curve],
    *,
    n_layers: int,
    title: str,
    zone: tuple[float, float, float] | None = None,
) -> go.Figure:
    """One small panel a curve, one below the other, on one depth axis; each has its own unit."""
    figure = make_subplots(
        rows=len(curves),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.25 / max(len(curves), 1) ** 1.2,
        subplot_titles=[curve.name for curve in curves],
    )
    for row, curve in enumerate(curves, start=1):
        _add_curve(figure, curve, n_layers=n_layers, row=row, col=1)
        if zone is not None:
            _add_zone(figure, zone, row=row, col=1)
    at, labels = depth_ticks(n_layers)
    figure.update_xaxes(tickvals=at, ticktext=labels, zeroline=False)
    figure.update_xaxes(title="depth: residual stream after block", row=len(curves), col=1)
    figure.update_yaxes(zeroline=False)
    figure.update_layout(height=130 + 170 * len(curves), showlegend=False)
    return _styled(figure, title)


def _styled(figure: go.Figure, title: str) -> go.Figure:
    figure.update_layout(
        title={"text": title, "font": {"size": 16}},
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0},
        margin={"l": 60, "r": 20, "t": 50, "b": 60},
        hovermode="closest",
    )
    return figure
