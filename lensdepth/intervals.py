"""Numbers with their intervals as a figure: no depth, a row for each."""

from collections.abc import Mapping

import plotly.graph_objects as go

from lensdepth.colours import MUTED, PALETTE, RULE, house_layout, inert
from lensdepth.telling.numbers import Interval


def interval_figure(found: Mapping[str, Interval], *, title: str, x_title: str) -> go.Figure:
    """Numbers with their intervals, one a row, beside zero."""
    rows = list(found.items())
    values = [one.value for _, one in rows]
    figure = go.Figure(
        go.Scatter(
            x=values,
            y=list(range(len(rows))),
            mode="markers",
            marker={"size": 9, "color": PALETTE["lens"]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.value for _, one in rows],
                "arrayminus": [one.value - one.low for _, one in rows],
                "color": PALETTE["lens"],
                "thickness": 2,
            },
            customdata=[f"{inert(name)}: {one}" for name, one in rows],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    figure.add_vline(x=0, line={"color": MUTED, "width": 1}, layer="below")
    figure.update_xaxes(title={"text": inert(x_title), "standoff": 8}, gridcolor=RULE)
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[inert(name) for name, _ in rows],
        showgrid=False, zeroline=False, autorange="reversed",
    )  # fmt: skip
    longest = max(len(name) for name, _ in rows)
    figure.update_layout(
        **house_layout(inert(title)),
        height=150 + 34 * len(rows),
        margin={"l": 40 + 7 * longest, "r": 24, "t": 62, "b": 62},
    )
    return figure
