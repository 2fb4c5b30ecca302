"""Maps of a signed effect: two axes, colours that part at zero.

Arrays and labels in, Plotly figures out, as in `plotting`; nothing is measured here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.colours import INK, MUTED, PALETTE, PAPER, RULE, house_note, inert, rgba
from lensdepth.plotting import Zone
from lensdepth.telling.curves import FLOORS
from lensdepth.telling.depths import block_at, described
from lensdepth.telling.names import has_blocks
from lensdepth.telling.numbers import Interval, on_scale

DIVERGING = (
    (0.0, "#0072B2"),
    (0.25, "#7FB9DA"),
    (0.5, "#F7F7F5"),
    (0.75, "#F0A977"),
    (1.0, "#D55E00"),
)
"""Blue below zero, orange above: told apart by colour-blind readers, and pale at zero."""
RISING = ((0.0, DIVERGING[2][1]), (0.5, DIVERGING[3][1]), (1.0, DIVERGING[4][1]))
CELL_HEIGHT = 26


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """One axis of a map."""

    title: str
    labels: Sequence[str]
    """One for each row or column, as shown."""
    names: Sequence[str] | None = None
    """What a hover says for each, in full; title and label by default."""

    def named(self) -> list[str]:
        """A hover's line for each row or column."""
        plain = [f"{self.title} {label}" for label in self.labels]
        return [inert(name) for name in (plain if self.names is None else self.names)]

    def of(self, what: str) -> "Axis":
        """The same for one of two axes of a kind: `taken from: depth 3`."""
        return Axis(
            title=f"{what}: {self.title}",
            labels=self.labels,
            names=None if self.names is None else [f"{what}: {name}" for name in self.names],
        )


def depth_axis(depths: Sequence[int], n_layers: int, *, stream: str = "resid_pre") -> Axis:
    """An axis of residual depths, or of blocks where the stream is one of what blocks put out."""
    if has_blocks(stream):
        return Axis(
            title="block",
            labels=[str(layer) for layer in depths],
            names=[block_at(layer) for layer in depths],
        )
    return Axis(
        title="depth",
        labels=[str(depth) for depth in depths],
        names=[described(depth, n_layers) for depth in depths],
    )


def effect_heatmap(
    values: Float[Array, "row column"],
    *,
    rows: Axis,
    columns: Axis,
    title: str,
    unit: str,
    signs: tuple[str, str] | None,
    low: Float[Array, "row column"] | None = None,
    high: Float[Array, "row column"] | None = None,
    floor: float = 0.0,
) -> go.Figure:
    """A map whose colours part at zero, or begin there; NaN is left blank.

    Args:
        values: one effect a cell; the first row is drawn at the bottom.
        rows: the vertical axis.
        columns: the horizontal axis.
        title: of the figure.
        unit: what a number is.
        signs: what a negative and a positive number mean; None for what has no sign, whose colours
            begin at zero.
        low: lower ends of 95 % intervals, for the hover.
        high: upper ends.
        floor: size below which numbers are rounding: colours reach further than that.
    """
    largest = max(float(np.nanmax(np.abs(values), initial=0.0)), FLOORS * floor) or 1.0
    texts = [
        [
            _cell(
                value,
                None if low is None else low[i, j],
                None if high is None else high[i, j],
                row,
                column,
                floor,
            )
            for j, (column, value) in enumerate(zip(columns.named(), line, strict=True))
        ]
        for i, (row, line) in enumerate(zip(rows.named(), values, strict=True))
    ]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            zmin=-largest if signs else 0,
            zmax=largest,
            colorscale=DIVERGING if signs else RISING,
            text=texts,
            hovertemplate="%{text}<extra></extra>",
            xgap=1,
            ygap=1,
            colorbar={
                "title": {"text": inert(unit), "side": "right", "font": {"size": 12.5}},
                **_ticks(largest, signs),
                "outlinewidth": 0,
                "thickness": 14,
            },
        )
    )
    for axis, given, n in (("xaxis", columns, values.shape[1]), ("yaxis", rows, values.shape[0])):
        step = max(1, -(-n // 40))
        figure.update_layout(
            {
                axis: {
                    "title": {"text": inert(given.title)},
                    "tickvals": list(range(0, n, step)),
                    "ticktext": [inert(label) for label in given.labels[::step]],
                    "showgrid": False,
                    "zeroline": False,
                    "linecolor": RULE,
                    "ticks": "outside",
                    "tickcolor": RULE,
                }
            }
        )
    figure.update_layout(
        title={"text": inert(title), "x": 0.01, "xanchor": "left", "font": {"size": 17}},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        height=170 + CELL_HEIGHT * max(8, min(len(values), 40)),
        margin={"l": 70, "r": 20, "t": 60, "b": 70},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(tickfont={"color": INK}, title_font={"color": MUTED, "size": 12.5})
    figure.update_yaxes(tickfont={"color": INK}, title_font={"color": MUTED, "size": 12.5})
    return figure


def add_level(figure: go.Figure, zone: Zone) -> None:
    """Lay the interval of a transition over a map whose rows are depths, and say what it is."""
    colour = PALETTE[zone.role]
    low, high = min(zone.low, zone.at - 0.06), max(zone.high, zone.at + 0.06)
    figure.add_hrect(y0=low, y1=high, fillcolor=rgba(colour, 0.38), line_width=0, layer="above")
    figure.add_hline(y=zone.at, line={"color": colour, "width": 2}, layer="above")
    said = f'<span style="color:{colour}">■</span> {inert(zone.name)}'
    # Above the title of the axis, which may reach as far to the right.
    figure.add_annotation(**house_note(said, right=True), name="zone", yshift=25)


def outline(
    figure: go.Figure, *, rows: tuple[int, int], columns: tuple[int, int], dash: str = "solid"
) -> None:
    """A frame round the cells from one corner to the other, given by their indices."""
    (y0, y1), (x0, x1) = sorted(rows), sorted(columns)
    figure.add_shape(
        type="rect",
        x0=x0 - 0.5,
        x1=x1 + 0.5,
        y0=y0 - 0.5,
        y1=y1 + 0.5,
        line={"color": INK, "width": 2.5, "dash": dash},
        layer="above",
    )


def _ticks(largest: float, signs: tuple[str, str] | None) -> dict[str, list[float] | list[str]]:
    """Where the colour bar has numbers, and what a sign means at its ends."""
    at = [largest * x for x in ((-1, -0.5, 0, 0.5, 1) if signs else (0, 0.25, 0.5, 0.75, 1))]
    labels = [on_scale(x) for x in at]
    if signs:
        labels[0] += f"<br>{inert(signs[0])}"
        labels[-1] += f"<br>{inert(signs[1])}"
    return {"tickvals": at, "ticktext": labels}


def _cell(
    value: float, low: float | None, high: float | None, row: str, column: str, floor: float
) -> str:
    if np.isnan(value):
        return f"{row}<br>{column}<br>not there"
    unknown = float("nan")
    found = Interval(
        value=float(value),
        low=unknown if low is None else float(low),
        high=unknown if high is None else float(high),
        floor=floor,
    )
    shown, bounds = found.cells
    return f"{row}<br>{column}<br><b>{shown}</b>" + (f" ({bounds})" if bounds else "")
