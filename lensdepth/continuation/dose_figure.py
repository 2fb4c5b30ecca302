"""A text by the strength of a held edit: how far predictions move, and where the texts part."""

import math
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensdepth.colours import PALETTE, RULE, house_layout, house_note, inert
from lensdepth.continuation.dose_told import nats, token_name
from lensdepth.continuation.profile import EDITED
from lensdepth.continuation.told import ROLES
from lensdepth.edits import CONTROL, unit_of
from lensdepth.telling.names import edit_name

if TYPE_CHECKING:
    from lensdepth.continuation.dose_profile import ContinuationDose

PANELS = (
    "KL(base ‖ run) along the base's own tokens, mean, nats",
    "divergence point: first token that is not the base's",
)
HEIGHT, WIDTH = 470, 640
"""Pixels of the whole figure."""


def by_strength(result: "ContinuationDose") -> go.Figure:
    """Two panels over the strength; a text that is the base's has a ring above its last token."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.16)
    points, n_tokens = result.divergence, len(result.base_tokens)
    for run in reversed(range(len(result.runs))):  # the edit over its turns
        kl = result.mean_kl[:, run].tolist()
        _add(figure, result, run, 1, kl, [nats(one) for one in kl])
        parted = points[:, run].tolist()
        named = ["the same text" if p != p else f"from token {p:.0f} on" for p in parted]
        _add(figure, result, run, 2, [float(n_tokens) if p != p else p for p in parted], named)
    for row, title in enumerate(PANELS, start=1):
        top = next(figure.select_yaxes(row=row, col=1)).domain[1]
        figure.add_annotation(**house_note(f"<b>{title}</b>", y=top), yshift=7, align="left")
    figure.update_xaxes(gridcolor=RULE, zeroline=False)
    figure.update_xaxes(
        title={"text": f"strength, {inert(unit_of(result.edit))}", "standoff": 8}, row=2, col=1
    )
    figure.update_yaxes(gridcolor=RULE, zeroline=False, rangemode="tozero", nticks=5)
    step = max(1, math.ceil(n_tokens / 5))
    ticks = [*range(0, n_tokens - step // 2, step), n_tokens]
    figure.update_yaxes(
        tickvals=ticks, ticktext=[*map(str, ticks[:-1]), token_name(math.nan)],
        range=[-0.06 * n_tokens, 1.08 * n_tokens], row=2, col=1,
    )  # fmt: skip
    figure.update_layout(
        **house_layout("What is written, by the strength of the held edit"),
        width=WIDTH,
        height=HEIGHT,
        margin={"l": 54, "r": 24, "t": 112, "b": 56},
        legend={"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom",
                "traceorder": "reversed"},
        hovermode="closest",
    )  # fmt: skip
    return figure


def _add(
    figure: go.Figure,
    result: "ContinuationDose",
    run: int,
    row: int,
    values: list[float],
    said: list[str],
) -> None:
    """One run's line in one panel."""
    turn = run > 0
    name = inert(edit_name("random") if turn else f"{edit_name(result.edit)} held on")
    colour = PALETTE[ROLES[EDITED + CONTROL if turn else EDITED]]
    same = [row == 2 and value == len(result.base_tokens) for value in values]
    figure.add_scatter(
        x=list(result.strengths),
        y=values,
        name=name,
        legendgroup=name,
        showlegend=row == 1 and run < 2,  # one entry for all turns
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": "4px,3px" if turn else "solid"},
        marker={
            "size": 5 if turn else 7,
            "color": colour,
            "symbol": ["circle-open" if one else "circle" for one in same],
        },
        customdata=[
            f"strength {strength:g}<br>{inert(what)}"
            for strength, what in zip(result.strengths, said, strict=True)
        ],
        hovertemplate="%{customdata}<extra>" + inert(result.runs[run]) + "</extra>",
        row=row,
        col=1,
    )
