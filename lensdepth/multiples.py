"""Small multiples: one row of little panels a depth, one column a question, common axes.

Arrays and labels in, Plotly figures out, as in `plotting`; nothing is measured here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from numpy import ndarray as Array
from plotly.subplots import make_subplots

from lensdepth.colours import INK, MUTED, PALETTE, RULE, house_layout, house_note, inert, rgba
from lensdepth.plotting import LEGEND_HEIGHT
from lensdepth.telling.curves import above_floor
from lensdepth.telling.numbers import Interval

ROW_HEIGHT, ROW_GAP = 62, 14
"""Pixels of a panel, and between two of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """One line of a panel with its band; low and high are NaN where there is no interval."""

    name: str
    x: Float[Array, " dose"]
    mean: Float[Array, " dose"]
    low: Float[Array, " dose"]
    high: Float[Array, " dose"]
    role: str
    """Key into `colours.PALETTE`."""
    dashed: bool = False
    floor: float = 0.0
    """Size below which its numbers are rounding; the common axis reaches further than that."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """What one column of panels has on its x axis."""

    title: str
    ticks: Sequence[float]
    labels: Sequence[str]
    unit: str
    """Behind the number in a hover."""
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class PanelRow:
    """One row of panels."""

    label: str
    """Beside the row."""
    name: str
    """In a hover."""
    cells: Sequence[Sequence[Response]]
    """The lines of each column."""


def small_multiples(
    rows: Sequence[PanelRow],
    columns: Sequence[Column],
    *,
    title: str,
    y_title: str,
    rows_title: str,
) -> go.Figure:
    """Panels that share the x axis of their column and the y axis of all.

    Args:
        rows: from the top.
        columns: from the left.
        title: of the figure.
        y_title: what every panel's y axis measures.
        rows_title: what the labels beside the rows are.
    """
    total = len(rows) * ROW_HEIGHT + (len(rows) - 1) * ROW_GAP
    figure = make_subplots(
        rows=len(rows),
        cols=len(columns),
        shared_xaxes="columns",  # type: ignore[arg-type]
        shared_yaxes="all",  # type: ignore[arg-type]
        vertical_spacing=ROW_GAP / total if len(rows) > 1 else 0.0,
        horizontal_spacing=0.06,
    )
    named: set[str] = set()
    for i, row in enumerate(rows, start=1):
        for j, (column, responses) in enumerate(zip(columns, row.cells, strict=True), start=1):
            for response in responses:
                _add_response(
                    figure, response, f"{row.name}<br>", column.unit, i, j,
                    in_legend=response.name not in named,
                )  # fmt: skip
                named.add(response.name)
    every = [response for row in rows for cell in row.cells for response in cell]
    figure.update_yaxes(range=above_floor(every))
    _label_rows(figure, rows, rows_title)
    _style(figure, columns, len(rows), total, title, y_title)
    return figure


def _add_response(
    figure: go.Figure,
    response: Response,
    where: str,
    unit: str,
    row: int,
    col: int,
    *,
    in_legend: bool,
) -> None:
    colour, name = PALETTE[response.role], inert(response.name)
    banded = ~np.isnan(response.low) & ~np.isnan(response.high)
    if banded.any():
        x = response.x[banded]
        figure.add_scatter(
            x=np.concatenate([x, x[::-1]]),
            y=np.concatenate([response.high[banded], response.low[banded][::-1]]),
            fill="toself", fillcolor=rgba(colour, 0.16), line={"width": 0}, mode="lines",
            hoverinfo="skip", showlegend=False, legendgroup=name, name=name, row=row, col=col,
        )  # fmt: skip
    numbers = (response.x, response.mean, response.low, response.high)
    texts = [
        f"{where}{x:g} {inert(unit)}<br>"
        f"{Interval(value=mean, low=low, high=high, floor=response.floor)}"
        for x, mean, low, high in zip(*(part.tolist() for part in numbers), strict=True)
    ]
    figure.add_scatter(
        x=response.x,
        y=response.mean,
        name=name,
        legendgroup=name,
        showlegend=in_legend,
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": "4px,3px" if response.dashed else "solid"},
        marker={"size": 5, "color": colour},
        customdata=texts,
        hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        meta={"role": response.role, "dashed": response.dashed} if in_legend else None,
        row=row,
        col=col,
    )


def _label_rows(figure: go.Figure, rows: Sequence[PanelRow], rows_title: str) -> None:
    for i, row in enumerate(rows, start=1):
        low, high = next(figure.select_yaxes(row=i, col=1)).domain
        _note(figure, f"<b>{inert(row.label)}</b>", y=(low + high) / 2, yanchor="middle")
    _note(figure, f'<span style="color:{MUTED}">{inert(rows_title)}</span>', y=1.0, yshift=9)


def _note(
    figure: go.Figure, text: str, *, y: float, yshift: int = 0, yanchor: str = "bottom"
) -> None:
    """Text in the left margin."""
    figure.add_annotation(
        text=text, name="heading", x=0, xref="paper", xanchor="right", xshift=-40, align="right",
        y=y, yref="paper", yanchor=yanchor, yshift=yshift, showarrow=False,
        font={"size": 12, "color": INK},
    )  # fmt: skip


def _style(
    figure: go.Figure,
    columns: Sequence[Column],
    n_rows: int,
    total: int,
    title: str,
    y_title: str,
) -> None:
    for j, column in enumerate(columns, start=1):
        figure.update_xaxes(
            tickvals=list(column.ticks), ticktext=[inert(text) for text in column.labels],
            type="log" if column.logarithmic else "linear", col=j,
        )  # fmt: skip
        figure.update_xaxes(
            title={"text": inert(column.title), "standoff": 8, "font_size": 12.5},
            row=n_rows, col=j,
        )  # fmt: skip
    figure.update_xaxes(
        showgrid=False, zeroline=False, showline=True, linecolor=RULE, ticks="outside", ticklen=4,
        tickcolor=RULE, tickangle=0,
    )  # fmt: skip
    figure.update_yaxes(
        gridcolor=RULE, zeroline=True, zerolinecolor=RULE, zerolinewidth=1, nticks=4,
        ticklabelstandoff=5,
    )  # fmt: skip
    figure.add_annotation(
        **house_note(inert(y_title)), name="y_title", xshift=-34, yshift=27, align="left"
    )
    height = total + 84 + 20 + 58 + LEGEND_HEIGHT
    figure.update_layout(
        **house_layout(inert(title), font_size=12.0),
        height=height,
        showlegend=True,
        legend={"orientation": "h", "yanchor": "top", "y": -56 / total, "x": 0},
        margin={"l": 112, "r": 24, "t": 104, "b": 58 + LEGEND_HEIGHT},
        hovermode="closest",
        meta={},
    )
