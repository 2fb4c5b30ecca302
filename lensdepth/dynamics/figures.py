"""The figure of a training: where control passes, and what is answered, over the steps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lensdepth.colours import MUTED, PALETTE, RULE, house_layout, house_note, inert, rgba
from lensdepth.dynamics.moment import relative
from lensdepth.dynamics.null import log_steps
from lensdepth.dynamics.told import NAMES
from lensdepth.telling.depths import described
from lensdepth.telling.numbers import Interval, number

if TYPE_CHECKING:
    from lensdepth.dynamics.moment import Moment
    from lensdepth.dynamics.profile import TrainingDynamics

FEWEST_APART = 0.14
"""Least distance of two tick labels, in powers of ten of the step."""


def over_training(result: "TrainingDynamics") -> go.Figure:
    """Above, relative depth of the place and of the lens's switch; below, shares of the pairs and
    the coupling. A checkpoint without a place has none above, and is named at the foot."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.13)
    moments, n_layers = result.moments, result.n_layers
    located = [one for one in moments if one.kind == "crossing"]
    _points(
        figure, 1, located, [one.relative for one in located], "crossing", "prediction",
        [described(one.depth.value, n_layers) for one in located],
    )  # fmt: skip
    switched = [one for one in moments if not np.isnan(one.lens_depth.value)]
    _points(
        figure, 1, switched, [relative(one.lens_depth, n_layers) for one in switched],
        "switch of the logit lens", "lens",
        [described(one.lens_depth.value, n_layers) for one in switched], symbol="diamond-open",
    )  # fmt: skip
    for one in moments:
        if one.kind == "gap":
            figure.add_scatter(
                x=[_at(one)] * 2, y=[one.leaves / n_layers, one.arrives / n_layers],
                mode="lines", line={"color": PALETTE["control"], "width": 3}, showlegend=False,
                hovertemplate=f"step {one.step:,}: gap<extra></extra>", row=1, col=1,
            )  # fmt: skip
    without = [one for one in moments if one.kind != "crossing"]
    figure.add_scatter(
        x=[_at(one) for one in without], y=[-0.06] * len(without), mode="markers",
        name="no place", marker={"symbol": "x-thin", "size": 8, "line": {"width": 1.5,
        "color": MUTED}}, customdata=[_why(one) for one in without],
        hovertemplate="%{customdata}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    _points(
        figure, 2, moments, [one.right for one in moments], "right answers, share", "agree",
        [one.right.percent for one in moments], line=True,
    )  # fmt: skip
    coupled = [one for one in moments if not np.isnan(one.coupling.value)]
    _points(
        figure, 2, coupled, [one.coupling for one in coupled], "coupling at depth L − 1", "norm",
        [str(one.coupling) for one in coupled], symbol="square",
    )  # fmt: skip
    if result.course.verdict == "jump" and result.course.after is not None:
        ends = log_steps(np.array([result.course.after, result.course.by], float))
        figure.add_vrect(
            x0=ends[0],
            x1=ends[1],
            fillcolor=rgba(PALETTE["zone"], 0.3),
            line_width=0,
            layer="below",
        )
    ticks = _ticks([one.step for one in moments])
    figure.update_xaxes(
        tickvals=log_steps(np.array(ticks, float)), ticktext=[f"{step:,}" for step in ticks],
        showgrid=False, zeroline=False, linecolor=RULE, showticklabels=True,
    )  # fmt: skip
    figure.update_xaxes(title={"text": "training steps, on a log scale", "standoff": 8}, row=2)
    figure.update_yaxes(gridcolor=RULE, zeroline=False)
    figure.update_yaxes(range=[-0.12, 1.03], row=1)
    figure.update_layout(
        **house_layout(inert(f"When the switch appears: {result.appears.verdict}")),
        height=560,
        margin={"l": 60, "r": 24, "t": 104, "b": 62},
        legend={"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom"},
        hovermode="closest",
    )
    heading = f"relative depth (of {n_layers}) at which control passes"
    figure.add_annotation(**house_note(inert(heading)), yshift=7)
    figure.add_annotation(**house_note("share of pairs; correlation", y=0.435), yshift=7)
    return figure


def _points(
    figure: go.Figure,
    row: int,
    moments: "Sequence[Moment]",
    found: Sequence[Interval],
    name: str,
    role: str,
    words: Sequence[str],
    *,
    symbol: str = "circle",
    line: bool = False,
) -> None:
    if not moments:
        return
    value = np.array([one.value for one in found])
    ends = [np.nan_to_num(np.array([one.high for one in found]) - value),
            np.nan_to_num(value - np.array([one.low for one in found]))]  # fmt: skip
    figure.add_scatter(
        x=[_at(one) for one in moments],
        y=value.tolist(),
        mode="lines+markers" if line else "markers",
        name=name,
        line={"color": PALETTE[role], "width": 1.5},
        marker={"size": 8, "color": PALETTE[role], "symbol": symbol},
        error_y={"type": "data", "symmetric": False, "array": ends[0], "arrayminus": ends[1],
                 "color": PALETTE[role], "thickness": 1.5},
        customdata=[
            f"step {one.step:,}: {inert(name)} {inert(said)}"
            for one, said in zip(moments, words, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
        row=row, col=1,
    )  # fmt: skip


def _at(one: "Moment") -> float:
    return float(log_steps(np.array(one.step, float)))


def _why(one: "Moment") -> str:
    right = number(100 * one.right.value)
    return f"step {one.step:,}: {NAMES[one.kind]} ({right}% right)<br>{inert(one.reason)}"


def _ticks(steps: Sequence[int]) -> list[int]:
    """Steps whose labels do not run into one another; the last one always."""
    kept: list[int] = []
    for step in reversed(steps):
        here = float(log_steps(np.array(step, float)))
        if not kept or float(log_steps(np.array(kept[-1], float))) - here >= FEWEST_APART:
            kept.append(step)
    return kept[::-1]
