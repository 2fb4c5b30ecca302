"""Pairs as dots."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from lensdepth.colours import PALETTE, RULE, house_layout, house_note, inert
from lensdepth.lens.figures import shown
from lensdepth.plotting import depth_ticks, tick
from lensdepth.telling.depths import AXIS, described
from lensdepth.telling.numbers import change, counted, number

if TYPE_CHECKING:
    from lensdepth.pairs.table import PairTable

ROLES = {"right": "prediction", "wrong": "input"}
BESIDE = 0.9
"""Depths beyond the last one at which pairs without a crossing stand."""


def pair_dots(table: "PairTable") -> go.Figure:
    """Crossing against effect; pairs that cross nowhere stand beyond the last depth."""
    n_layers = table.n_layers
    figure = go.Figure()
    nowhere = n_layers + BESIDE
    for kind, role in ROLES.items():
        rows = (table.right == (kind == "right")).nonzero()[:, 0].tolist()
        where = [float(table.crossing[i]) for i in rows]
        figure.add_scatter(
            x=[nowhere if x != x else x for x in where],
            y=table.effect[rows].tolist(),
            mode="markers",
            name=f"{kind} ({len(rows):,})",
            marker={
                "size": 8, "color": PALETTE[role], "opacity": 0.75,
                "symbol": "circle" if kind == "right" else "x",
            },
            customdata=[_hover(table, i, x) for i, x in zip(rows, where, strict=True)],
            hovertemplate="%{customdata}<extra></extra>",
            meta={"pairs": rows},
        )  # fmt: skip
    at, labels = depth_ticks(n_layers)
    figure.update_layout(
        **house_layout(f"{counted(len(table.corrupted), 'pair')}, one by one"),
        height=420,
        margin={"l": 60, "r": 24, "t": 84, "b": 70},
        legend={"orientation": "h", "x": 0, "y": 1.08, "yanchor": "bottom"},
        showlegend=True,
        # For whoever draws the figure at another width and needs fewer ticks.
        meta={
            "n_layers": n_layers,
            "scale": 1.0,
            "labels": [tick(d, n_layers) for d in range(n_layers + 1)],
        },
        hovermode="closest",
    )
    figure.update_xaxes(
        tickvals=at, ticktext=labels, tickangle=0,
        range=[-0.3, nowhere + 0.4],
        title={"text": f"crossing of the pair: {AXIS}", "standoff": 8, "font": {"size": 12.5}},
        showgrid=False, zeroline=False, linecolor=RULE,
    )  # fmt: skip
    figure.update_yaxes(gridcolor=RULE, zerolinecolor=RULE)
    note = f"change of logit(target) − logit(foil) at depth {table.depth}, nats"
    figure.add_annotation(
        **house_note(inert(note)), name="y_title", xshift=-50, yshift=7, align="left"
    )
    figure.add_annotation(
        text="none", x=nowhere, xref="x", y=0, yref="paper", yanchor="top", showarrow=False,
        yshift=-6, name="none",
    )  # fmt: skip
    return figure


def _hover(table: "PairTable", i: int, where: float) -> str:
    crosses = (
        "crosses nowhere" if where != where else f"crosses at {described(where, table.n_layers)}"
    )
    return "<br>".join(
        [
            f"pair {i}: {shown(table.provenance.prompts[i], 60)} → {shown(table.targets[i])}",
            f"{shown(table.corrupted[i], 60)} → {shown(table.foils[i])}",
            crosses,
            f"effect {change(float(table.effect[i]))} nats, norm ratio "
            f"{number(float(table.norm_ratio[i]))}, distance {number(float(table.distance[i]))}",
        ]
    )
