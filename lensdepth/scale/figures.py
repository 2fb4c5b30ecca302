"""One figure of a sweep: the curves of all models on relative depth, with their intervals."""

import json
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from lensdepth.colours import MUTED, RULE, house_layout, house_note, inert, rgba
from lensdepth.scale.kinds import KINDS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
"""Okabe and Ito's; models beyond them begin again."""
PANEL, GAP, HEAD, FOOT = 190, 64, 96, 70
"""Pixels of a panel, between two, above the first and below the last."""
IN_ROW, ROW = 5, 20
"""Models in a row of the legend, and how high it is."""
DASHES = ("solid", "4px,3px", "1px,3px", "8px,3px")


def curves_figure(means: pd.DataFrame, title: str) -> Figure:
    """A panel for each task and analysis, a colour for each model, a dash for each position.

    Analyses whose numbers have more places than a depth are not in it.

    Args:
        means: as `mean_table` makes them.
        title: of the figure.
    Raises:
        ValueError: none of the analyses has curves over depth alone.
    """
    parts = [_drawn(group, str(name)) for name, group in means.groupby("analysis")]
    rows = pd.concat(parts).sort_index()
    if rows.empty:
        drawn = ", ".join(name for name, kind in KINDS.items() if kind.drawn)
        raise ValueError(f"Sweep.plot: none of its analyses has curves over depth; {drawn} have.")
    named = rows["model"], rows["revision"], rows["dtype"]
    panels = [group for _, group in rows.groupby(["task", "analysis", "settings"], sort=False)]
    models = list(dict.fromkeys(_model(*one) for one in zip(*named, strict=True)))
    head = HEAD + ROW * ((len(models) - 1) // IN_ROW)
    inner = len(panels) * PANEL + (len(panels) - 1) * GAP
    figure = make_subplots(
        rows=len(panels), cols=1, vertical_spacing=GAP / inner if len(panels) > 1 else 0.0
    )  # fmt: skip
    for at, panel in enumerate(panels, start=1):
        _fill(figure, panel, models, at)
        top = 1 - (at - 1) * (PANEL + GAP) / inner
        figure.add_annotation(**house_note(f"<b>{_heading(panel)}</b>", y=top))
    figure.update_xaxes(range=(-0.01, 1.01), showgrid=False, zeroline=False, linecolor=RULE)
    figure.update_xaxes(title="depth, as a fraction of the model's", row=len(panels), col=1)
    figure.update_yaxes(gridcolor=RULE, zeroline=False, nticks=5, tickfont={"color": MUTED})
    figure.update_layout(
        **house_layout(inert(title)),
        height=head + inner + FOOT,
        margin={"t": head, "b": FOOT, "l": 60, "r": 20},
        legend={"orientation": "h", "y": 1 + (head - 42) / inner, "yanchor": "top", "x": 0},
    )
    return figure


def _drawn(means: pd.DataFrame, analysis: str) -> pd.DataFrame:
    """The rows of one analysis that are drawn."""
    kind = KINDS[analysis]
    if not kind.drawn:
        return means.iloc[:0]
    rows = means[means["quantity"] == (kind.value or kind.drawn)]
    for column, value in kind.shown:
        rows = rows[rows[column] == value] if column in rows else rows
    return rows.dropna(subset=["relative_depth"])


def _fill(figure: Figure, panel: pd.DataFrame, models: list[str], at: int) -> None:
    whose = ["model", "revision", "dtype", *(n for n in ("position", "head") if n in panel)]
    traces: Any = figure.data
    shown = {trace.legendgroup for trace in traces}
    positions = _positions(panel)
    for _, curve in panel.groupby(whose, sort=False, dropna=False):
        first: Any = curve.iloc[0]
        model = _model(first["model"], first["revision"], first["dtype"])
        colour = COLOURS[models.index(model) % len(COLOURS)]
        position = first.get("position")
        known = isinstance(position, str)
        dash = DASHES[positions.index(position) % len(DASHES)] if known else DASHES[0]
        said = f"{model}, {position}" if known else model
        x, mean = curve["relative_depth"].to_numpy(float), curve["mean"].to_numpy(float)
        low, high = (curve[end].to_numpy(float) for end in ("low", "high"))
        banded = ~np.isnan(low) & ~np.isnan(high)
        where = {"row": at, "col": 1}
        if banded.any():
            figure.add_scatter(
                x=np.concatenate([x[banded], x[banded][::-1]]),
                y=np.concatenate([high[banded], low[banded][::-1]]),
                fill="toself", fillcolor=rgba(colour, 0.16), line={"width": 0}, mode="lines",
                hoverinfo="skip", showlegend=False, name=inert(model), legendgroup=inert(model),
                **where,
            )  # fmt: skip
        figure.add_scatter(
            x=x, y=mean, mode="lines+markers", name=inert(model), legendgroup=inert(model),
            showlegend=inert(model) not in shown, marker={"size": 4, "color": colour},
            line={"color": colour, "width": 2, "dash": dash},
            customdata=curve["depth"].astype(str),
            hovertemplate="depth %{customdata} (%{x:.2f})<br>%{y:.3g}"
            f"<extra>{inert(said)}</extra>",
            **where,
        )  # fmt: skip
        shown.add(inert(model))


def _positions(panel: pd.DataFrame) -> list[str]:
    """The positions of a panel; the prediction position has the solid line."""
    if "position" not in panel:
        return []
    there = [str(one) for one in dict.fromkeys(panel["position"].dropna())]
    return sorted(there, key=lambda one: one != "prediction")


def _model(name: str, revision: str, dtype: str) -> str:
    at = f"@{revision}" if revision else ""
    return f"{name}{at}" + ("" if dtype == "float32" else f" ({dtype})")


def _written(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _heading(panel: pd.DataFrame) -> str:
    first = panel.iloc[0]
    settings = json.loads(first["settings"])
    told = ", ".join(f"{key} {_written(value)}" for key, value in settings.items())
    kind = KINDS[first["analysis"]]
    shown = ", ".join(value for _, value in kind.shown if value != kind.drawn)
    what = " · ".join(filter(None, (first["analysis"], shown, kind.drawn.replace("_", " "), told)))
    lines = _positions(panel)
    ways = zip(("solid", "dashed", "dotted", "long dashes"), lines, strict=False)
    key = f" ({', '.join(f'{way}: {line}' for way, line in ways)})" if len(lines) > 1 else ""
    return inert(f"{first['task']}: {what}{key}")
