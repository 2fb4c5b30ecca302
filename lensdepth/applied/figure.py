"""What a vector does to the pairs of a task by its strength, beside random turns."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensdepth.applied.told import MEASURES, measured
from lensdepth.colours import PALETTE, RULE, house_layout, house_note, inert
from lensdepth.edits import unit_of
from lensdepth.telling.names import edit_name

if TYPE_CHECKING:
    from lensdepth.applied.profile import VectorResponse

HEIGHT, WIDTH = 560, 640
"""Pixels of the whole figure."""
APART = 0.012
"""Between the vector's marks and the turns', as a share of the axis, so that no bar hides one."""
MOST_TICKS = 8
LINES = {"vector": ("prediction", "solid", 7), "turn": ("control", "4px,3px", 5)}
"""Colour, dash and size of mark."""


def by_strength(result: "VectorResponse") -> go.Figure:
    """A panel a measure over the strength, with 95 % intervals over units."""
    figure = make_subplots(rows=len(MEASURES), cols=1, shared_xaxes=True, vertical_spacing=0.11)
    edits = ("turn", "vector") if result.n_random else ("vector",)
    span = (max(result.strengths) - min(result.strengths)) or 1.0
    for row, (name, title) in enumerate(MEASURES.items(), start=1):
        for edit in edits:
            colour, dash, size = LINES[edit]
            found = measured(result, name, edit)
            aside = APART * span if edit == "turn" else 0.0
            figure.add_scatter(
                x=[strength + aside for strength in result.strengths],
                y=[one.value for one in found],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [one.high - one.value for one in found],
                    "arrayminus": [one.value - one.low for one in found],
                    "width": 0,
                    "thickness": 1.5,
                },
                name=inert(edit_name("random") if edit == "turn" else "the vector"),
                legendgroup=edit,
                showlegend=row == 1,
                mode="lines+markers",
                line={"color": PALETTE[colour], "width": 2, "dash": dash},
                marker={"size": size, "color": PALETTE[colour]},
                customdata=[
                    f"strength {strength:g}<br>{inert(str(one) if name == 'kl' else one.percent)}"
                    for strength, one in zip(result.strengths, found, strict=True)
                ],
                hovertemplate="%{customdata}<extra></extra>",
                row=row,
                col=1,
            )
        top = next(figure.select_yaxes(row=row, col=1)).domain[1]
        figure.add_annotation(**house_note(f"<b>{inert(title)}</b>", y=top), yshift=7, align="left")
        if name != "kl":
            figure.update_yaxes(range=[-0.04, 1.04], tickformat=".0%", row=row, col=1)
    ticks = list(result.strengths) if len(result.strengths) <= MOST_TICKS else None
    figure.update_xaxes(gridcolor=RULE, zeroline=False, tickvals=ticks)
    figure.update_xaxes(
        title={"text": f"strength, {inert(unit_of(result.edit))}", "standoff": 8},
        row=len(MEASURES), col=1,
    )  # fmt: skip
    figure.update_yaxes(gridcolor=RULE, zeroline=False, nticks=5)
    figure.update_yaxes(rangemode="tozero", row=len(MEASURES), col=1)
    figure.update_layout(
        **house_layout("What the vector does, by its strength"),
        width=WIDTH,
        height=HEIGHT,
        margin={"l": 58, "r": 24, "t": 112, "b": 56},
        legend={"orientation": "h", "x": 0, "y": 1.07, "yanchor": "bottom",
                "traceorder": "reversed"},
        hovermode="closest",
    )  # fmt: skip
    return figure
