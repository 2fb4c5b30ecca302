"""The figure of two runs: what is apart, and what comes of swapping."""

from typing import TYPE_CHECKING

from lensdepth.parting.told import PANELS, curves, named
from lensdepth.plotting import Panel, depth_story

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.parting.profile import RunComparison


def side_by_side(result: "RunComparison") -> "Figure":
    """Panels over depth, each with its unit in its heading."""
    by_key = {curve.key: curve for curve in curves(result)}
    panels = [
        Panel(title=title, curves=[by_key[k] for k in keys]) for title, keys in PANELS.items()
    ]
    a, b = named(result)
    return depth_story(panels, n_layers=result.n_layers, title=f"A: {a} · B: {b}")
