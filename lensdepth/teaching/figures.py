"""The two figures that most of the course's own measurements need: lines by depth, and a map."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lensdepth import heatmaps, plotting, stats

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ROLES = ("input", "prediction", "agree", "norm", "entropy", "lens_zone", "control")
"""Colours in the order in which lines take them; then again, dashed."""


def depth_lines(
    values: Mapping[str, Tensor | np.ndarray],
    *,
    title: str,
    y_title: str,
    layers: bool = False,
    log: bool = False,
) -> "Figure":
    """One line a name over depth.

    Args:
        values: by name, one number a depth, or `[unit, depth]`: then the line is the mean over
            units, with its 95 % interval. Names that begin with "control" are dashed.
        title: of the figure.
        y_title: what the numbers are, with their unit.
        layers: the numbers are of blocks 0 … L − 1; each is drawn at its block's output.
        log: draw them on a logarithmic axis.
    Raises:
        ValueError: there are no lines, or they have different lengths.
    """
    arrays = {name: np.asarray(one, dtype=float) for name, one in values.items()}
    lengths = {one.shape[-1] for one in arrays.values()}
    if len(lengths) != 1:
        raise ValueError(
            f"depth_lines: lines of one length are needed, one number a depth; got the lengths "
            f"{sorted(lengths)}."
        )
    n = lengths.pop()
    n_layers = n if layers else n - 1
    depths = np.arange(n, dtype=float) + layers
    curves = []
    for i, (name, one) in enumerate(arrays.items()):
        band = (one, np.full(n, np.nan), np.full(n, np.nan))
        if one.ndim == 2:
            band = stats.mean_interval(one)
        curves.append(
            plotting.Curve.from_interval(
                name,
                *band,
                role=ROLES[i % len(ROLES)],
                depths=depths,
                dashed=i >= len(ROLES) or name.startswith("control"),
            )
        )
    figure = plotting.depth_figure(curves, n_layers=n_layers, title=title, y_title=y_title)
    if log:
        figure.update_yaxes(type="log", dtick=np.log10(2))
    return figure


def square_map(
    values: Tensor | np.ndarray,
    *,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    title: str,
    unit: str,
    signs: tuple[str, str] | None = None,
) -> "Figure":
    """A map `[row, column]`, its first row at the bottom.

    Args:
        values: one number a cell.
        rows: what the rows are, and their labels.
        columns: likewise.
        title: of the figure.
        unit: what a number is.
        signs: what negative and positive numbers mean; None for numbers without a sign.
    """
    return heatmaps.effect_heatmap(
        np.asarray(values, dtype=float),
        rows=heatmaps.Axis(title=rows[0], labels=rows[1]),
        columns=heatmaps.Axis(title=columns[0], labels=columns[1]),
        title=title,
        unit=unit,
        signs=signs,
    )
