"""Verdicts drawn: numbers with their intervals beside thresholds, and models on one depth axis."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from lensdepth.colours import INK, MUTED, PALETTE, RULE, house_layout, inert, rgba
from lensdepth.telling.depths import described
from lensdepth.telling.numbers import Interval, number

if TYPE_CHECKING:
    from lensdepth.claims.result import ClaimTable, Finding

COLOURS = {
    "supported": PALETTE["agree"],
    "contradicted": PALETTE["prediction"],
    "cannot tell": MUTED,
}
SYMBOLS = {"supported": "circle", "contradicted": "x", "cannot tell": "circle-open"}
ROW = 34
LINES = ("solid", "dash", "dot", "dashdot", "longdash")


def forest(findings: Sequence["Finding"], verdicts: Mapping[str, str]) -> go.Figure:
    """One row a statement: its number and interval, a tick at its threshold.

    Args:
        findings: the statements; those without a number keep their row, and say so.
        verdicts: by key of a finding.
    """
    figure = go.Figure()
    rows = list(reversed(findings))
    for verdict, colour in COLOURS.items():
        at = [i for i, one in enumerate(rows) if verdicts.get(one.key) == verdict]
        at = [i for i in at if rows[i].effect is not None]
        if not at:
            continue
        values = np.array([rows[i].effect for i in at], dtype=float)
        figure.add_scatter(
            x=values,
            y=at,
            mode="markers",
            name=verdict,
            marker={"color": colour, "size": 9, "symbol": SYMBOLS[verdict]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": np.array([rows[i].high for i in at], dtype=float) - values,
                "arrayminus": values - np.array([rows[i].low for i in at], dtype=float),
                "color": colour,
                "thickness": 2,
            },
            customdata=[_hover(rows[i]) for i in at],
            hovertemplate="%{customdata}<extra></extra>",
        )
    bounds = [
        (i, one)
        for i, one in enumerate(rows)
        if one.threshold is not None and one.effect is not None
    ]
    ticks = [
        (i, x)
        for i, one in bounds
        if one.threshold is not None
        for x in (
            (-one.threshold, one.threshold) if one.expect == "equivalent" else (one.threshold,)
        )
    ]
    figure.add_scatter(
        x=[x for _, x in ticks],
        y=[i for i, _ in ticks],
        mode="markers",
        name="threshold",
        marker={"symbol": "line-ns", "size": 16, "line": {"width": 2, "color": INK}},
        hovertemplate="threshold %{x:g}<extra></extra>",
    )
    for i, one in enumerate(rows):
        if one.effect is None:
            figure.add_annotation(
                x=0, y=i, text="not measured", showarrow=False, xanchor="left", xshift=6,
                font={"color": MUTED, "size": 11.5}, hovertext=inert(one.reason),
            )  # fmt: skip
    figure.update_xaxes(
        title={"text": "effect, in each statement's own unit"}, gridcolor=RULE, zeroline=True,
        zerolinecolor=MUTED, zerolinewidth=1,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[inert(one.key) for one in rows],
        range=[-0.6, len(rows) - 0.4], showgrid=False, zeroline=False,
    )  # fmt: skip
    longest = max((len(one.key) for one in rows), default=10)
    figure.update_layout(
        **house_layout("Each statement by itself: effect, 95 % interval, threshold"),
        height=164 + ROW * len(rows),
        margin={"l": min(60 + 6.6 * longest, 360), "r": 24, "t": 60, "b": 100},
        legend={"orientation": "h", "yanchor": "top", "y": -74 / (ROW * len(rows) + 4), "x": 0},
        hovermode="closest",
    )
    return figure


def _hover(one: "Finding") -> str:
    numbers = (float("nan") if x is None else x for x in (one.effect, one.low, one.high))
    value, low, high = numbers
    found = Interval(value=value, low=low, high=high)
    said = inert(one.says).replace(", ", ",<br>", 1)
    text = f"<b>{inert(one.key)}</b><br>{said}<br>{found} {inert(one.unit)}"
    return f"{text}<br>{one.n} independent units"


def handovers(tables: Sequence["ClaimTable"], names: Sequence[str]) -> go.Figure:
    """The handover of several models over relative depth, with 95 % bands."""
    figure = go.Figure()
    colours = list(dict.fromkeys(PALETTE.values()))
    for i, (table, name) in enumerate(zip(tables, names, strict=True)):
        colour = colours[i % len(colours)]
        # What was not measured has no marker.
        depths = np.flatnonzero(~np.isnan(table.handover.numpy()))
        x = depths / table.n_layers
        middle, low, high = (
            ends.numpy()[depths]
            for ends in (table.handover, table.handover_low, table.handover_high)
        )
        group = f"model {i}"
        if len(low) and not np.isnan(low).all():
            figure.add_scatter(
                x=np.concatenate([x, x[::-1]]),
                y=np.concatenate([low, high[::-1]]),
                fill="toself", fillcolor=rgba(colour, 0.18), line={"width": 0}, hoverinfo="skip",
                legendgroup=group, showlegend=False,
            )  # fmt: skip
        figure.add_scatter(
            x=x,
            y=middle,
            mode="lines+markers",
            name=inert(name),
            legendgroup=group,
            line={"color": colour, "width": 2, "dash": LINES[i // len(colours) % len(LINES)]},
            customdata=[
                f"{described(d, table.n_layers)}<br>{number(y)}"
                for d, y in zip(depths.tolist(), middle.tolist(), strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_xaxes(
        title={"text": "fraction of the depth"}, gridcolor=RULE, range=[-0.02, 1.02]
    )
    figure.update_yaxes(
        title={"text": "0: the input decides · 1: the last token does"}, gridcolor=RULE,
        range=[-0.04, 1.04], zeroline=False,
    )  # fmt: skip
    figure.update_layout(
        **house_layout("Where control passes"), height=460, showlegend=True,
        margin={"l": 64, "r": 24, "t": 60, "b": 100},
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
    )  # fmt: skip
    return figure
