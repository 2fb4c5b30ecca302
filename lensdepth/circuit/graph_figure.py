"""A circuit's graph drawn: tokens from left to right, blocks from below."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from lensdepth.circuit.nodes import LOGIT, Node
from lensdepth.colours import INK, MUTED, PALETTE, PAPER, RULE, house_layout, house_note, inert
from lensdepth.telling.numbers import below, change, counted, number
from lensdepth.telling.tokens import signed
from lensdepth.tokens import told_apart

if TYPE_CHECKING:
    from lensdepth.circuit.graph import CircuitGraph

KINDS = {
    "embed": ("embeddings", PALETTE["agree"], "square"),
    "head": ("heads", PALETTE["entropy"], "circle"),
    "mlp": ("MLPs", PALETTE["lens_zone"], "diamond"),
    "logit": ("logit difference", PALETTE["full"], "square"),
}
"""Each kind's name in the legend, colour and shape."""
SMALLEST, LARGEST = 15.0, 40.0
"""Pixels across a node that adds nothing directly, and the one that adds most."""
THINNEST, THICKEST = 1.0, 8.0
"""Pixels across an edge."""
LEAST = 0.02
"""Edges smaller than this share of the largest are not drawn, but for a node's own largest: they
would hide the others."""
ROW = 74
"""Pixels between two rows."""
LEAST_WIDTH, COLUMN = 680, 110
"""Pixels across a figure at least, and across one node of a column."""
BEND = 0.16
"""How far an edge bends, as a share of its length, so that it passes beside what is between."""
STEPS = np.linspace(0, 1, 13)


def graph_figure(graph: "CircuitGraph", pinned: Sequence[str] = ()) -> go.Figure:
    """Nodes as large as they add directly to the logit difference, edges as wide as their effect.

    Args:
        graph: whole or pruned.
        pinned: nodes that are ringed.
    """
    names = [*graph.nodes, LOGIT]
    nodes = {name: graph.node(name) for name in names}
    columns = sorted({graph.column_of(name) for name in names})
    levels = sorted({_level(node) for node in nodes.values()})
    at, middles, edges_of = _places(graph, nodes, columns, levels)
    figure = go.Figure()
    n_hidden = _draw_edges(figure, graph, at)
    sizes = {name: abs(float(graph.attribution[i].mean())) for i, name in enumerate(graph.nodes)}
    largest = max(sizes.values(), default=0.0) or 1.0
    for kind, (label, colour, symbol) in KINDS.items():
        mine = [name for name in names if nodes[name].kind == kind]
        if mine:
            figure.add_scatter(
                x=[at[name][0] for name in mine],
                y=[at[name][1] for name in mine],
                mode="markers+text",
                name=label,
                marker={
                    "size": [_size(sizes.get(name, largest), largest) for name in mine],
                    "color": colour,
                    "symbol": symbol,
                    "opacity": 1,
                    "line": {
                        "color": [INK if name in pinned else PAPER for name in mine],
                        "width": [3 if name in pinned else 1 for name in mine],
                    },
                },
                text=[_written(nodes[name]) for name in mine],
                textposition="top center",
                textfont={"color": INK, "size": 11.5},
                customdata=mine,
                hovertext=[_hover(graph, name) for name in mine],
                hovertemplate="%{hovertext}<extra></extra>",
                cliponaxis=False,
            )
    _frame(figure, graph, columns, levels, middles, edges_of, n_hidden)
    return figure


def _level(node: Node) -> float:
    """The row of a node: its block, its MLP in the upper half."""
    return float("inf") if node.kind == "logit" else node.layer + 0.5 * (node.kind == "mlp")


def _row(level: float) -> str:
    """What a row is called."""
    if level == float("inf"):
        return "logits"
    if level < 0:
        return "embedding"
    return f"block {int(level)} " + ("MLP" if level % 1 else "heads")


def _written(node: Node) -> str:
    """A node's name without its token, which its column tells."""
    return "" if node.kind == "logit" else str(node).partition("@")[0]


def _places(
    graph: "CircuitGraph",
    nodes: dict[str, Node],
    columns: Sequence[int],
    levels: Sequence[float],
) -> tuple[dict[str, tuple[float, float]], list[float], list[float]]:
    """Where each node stands, the middle of each column, and the lines between columns."""
    cells: dict[tuple[int, float], list[str]] = {}
    for name, node in nodes.items():
        cells.setdefault((graph.column_of(name), _level(node)), []).append(name)
    widths = [max(len(mine) for (c, _), mine in cells.items() if c == column) for column in columns]
    ends = np.cumsum([0.0, *(width + 0.6 for width in widths)])
    middles = [(a + b) / 2 for a, b in pairwise(ends)]
    at: dict[str, tuple[float, float]] = {}
    for (column, level), mine in cells.items():
        middle, row = middles[columns.index(column)], levels.index(level)
        for i, name in enumerate(mine):
            # Every other row stands a little aside, so that an edge between rows shows.
            aside = 0.12 * (row % 2) if len(mine) == 1 else 0.0
            at[name] = middle + i - (len(mine) - 1) / 2 + aside, float(row)
    return at, middles, ends.tolist()


def _size(value: float, largest: float) -> float:
    """Areas are as large as what they stand for."""
    return SMALLEST + (LARGEST - SMALLEST) * (value / largest) ** 0.5


def _draw_edges(
    figure: go.Figure, graph: "CircuitGraph", at: dict[str, tuple[float, float]]
) -> int:
    """The measured edges that are large enough; how many of them are not."""
    frame = graph.to_frame()
    frame = frame[frame["measured"]]
    largest = float(frame["effect"].abs().max()) if len(frame) else 0.0
    real = frame[frame["above_floor"].astype(bool)]
    # By size; a node's largest edges are there whatever their size, or it would hang in the air.
    own = {*real.drop_duplicates("upstream").index, *real.drop_duplicates("downstream").index}
    shown = real[(real["effect"].abs() >= LEAST * largest) | real.index.isin(list(own))]
    middles: list[tuple[float, float, str, str]] = []
    for row in reversed(shown.to_dict("records")):  # the largest on top
        (x0, y0), (x1, y1) = at[row["upstream"]], at[row["downstream"]]
        bend = BEND if y1 - y0 > 1 or x0 == x1 else 0.05
        bow = bend * 4 * STEPS * (1 - STEPS)
        x = x0 + (x1 - x0) * STEPS + bow * (y1 - y0) * 0.35
        y = y0 + (y1 - y0) * STEPS - bow * (x1 - x0) * 0.35
        share = abs(row["effect"]) / largest
        colour = PALETTE["prediction" if row["effect"] * graph.way > 0 else "input"]
        figure.add_scatter(
            x=x, y=y, mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": colour, "width": THINNEST + (THICKEST - THINNEST) * share},
            opacity=0.25 + 0.6 * share,
        )  # fmt: skip
        middles.append((x[6], y[6], _edge_hover(row), colour))
    if middles:
        figure.add_scatter(
            x=[m[0] for m in middles], y=[m[1] for m in middles], mode="markers",
            marker={"size": 9, "color": [m[3] for m in middles], "opacity": 0},
            hovertext=[m[2] for m in middles], hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )  # fmt: skip
    return len(frame) - len(shown)


def _effect(row: dict[Any, Any]) -> str:
    """An effect in nats, with its interval and its share of the way, where there are any."""
    said = f"{change(row['effect'])} nats"
    if row["low"] == row["low"]:
        said += f" ({number(row['low'])} to {number(row['high'])})"
    return said + ("" if row["share"] != row["share"] else f", {number(row['share'])} of the way")


def _edge_hover(row: dict[Any, Any]) -> str:
    name = inert(f"{row['upstream']} → {row['downstream']}")
    return f"{name}<br>{row['paths']} effect {_effect(row)}"


def _hover(graph: "CircuitGraph", name: str) -> str:
    if name == LOGIT:
        return f"logit(target) − logit(foil)<br>base to source: {change(graph.way)} nats"
    row: dict[Any, Any] = graph.nodes_frame().set_index("node").loc[name].to_dict()
    effect = _effect(row) if row["above_floor"] else f"{below(graph.floor)} nats: rounding"
    return (
        f"{inert(name)}: {inert(signed(row['token']))}<br>effect {effect}<br>"
        f"adds {change(row['attribution'])} nats directly"
    )


def _frame(
    figure: go.Figure,
    graph: "CircuitGraph",
    columns: Sequence[int],
    levels: Sequence[float],
    middles: Sequence[float],
    ends: Sequence[float],
    n_hidden: int,
) -> None:
    """Title, axes and what is not drawn."""
    what = graph.provenance.task
    if graph.answers:
        what = " against ".join(map(signed, told_apart(graph.answers)))
    rest = len(graph.upstream) - graph.n_measured
    note = f"size: direct attribution · width: {graph.paths} effect"
    if n_hidden or rest:
        note += f"<br>not drawn: {counted(n_hidden, 'small edge')}, {rest} not measured"
    figure.add_annotation(**house_note(note, colour=MUTED), align="left", yshift=8)
    for name, colour in (("towards the source", "prediction"), ("away from it", "input")):
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name=f"edge {name}",
            line={"color": PALETTE[colour], "width": 4},
        )  # fmt: skip
    for end in ends[1:-1]:
        figure.add_vline(x=end, line={"color": RULE, "width": 1}, layer="below")
    figure.update_xaxes(
        tickvals=list(middles),
        ticktext=[
            f"{inert(graph.positions[j])}<br>{inert(signed(graph.tokens[j], 18))}" for j in columns
        ],
        range=[ends[0], ends[-1]],
        showgrid=False, zeroline=False, tickangle=0, linecolor=RULE,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(levels))),
        ticktext=[_row(level) for level in levels],
        range=[-0.6, len(levels) - 0.3],
        gridcolor=RULE, zeroline=False, linecolor=RULE, ticks="",
    )  # fmt: skip
    figure.update_layout(
        **house_layout(inert(f"Paths of {what} ({graph.mode})")),
        height=214 + ROW * len(levels),
        width=max(LEAST_WIDTH, 160 + COLUMN * ends[-1]),
        margin={"l": 96, "r": 16, "t": 96, "b": 122},
        legend={"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom", "x": 0},
        hovermode="closest",
    )
