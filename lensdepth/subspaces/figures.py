"""The figure of an exchange within subspaces."""

from typing import TYPE_CHECKING

from lensdepth.plotting import Panel, depth_story
from lensdepth.subspaces.parts import FULL, NAMES, SHUFFLED
from lensdepth.subspaces.told import dimension_curves, whole_curve
from lensdepth.telling.names import position_name

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.subspaces.profile import SubspaceProfile


def by_dimension(profile: "SubspaceProfile", *, position: str | None = None) -> "Figure":
    """Panels over depth: each basis and each control with a curve a dimension, and the whole state
    behind them."""
    whole = whole_curve(profile, position=position)
    labels = [one for one in profile.outcome.names("basis") if one not in (FULL, FULL + SHUFFLED)]
    panels = [
        Panel(
            title=NAMES[label],
            curves=[whole, *dimension_curves(profile, label, position=position)],
        )
        for label in labels
    ]
    where = position_name(profile.positions[0] if position is None else position)
    title = f"Exchange within k dimensions, {where}: transferred fraction"
    return depth_story(panels, n_layers=profile.n_layers, title=title)
