"""Figures of steering."""

from typing import TYPE_CHECKING

from lensdepth import plotting
from lensdepth.telling.curves import edited_curve
from lensdepth.telling.names import SCOPES, success_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.steering.profile import SteeringProfile

PARTS = {
    "full": "adding the whole difference", "direction": "turning as the difference would",
    "norm": "stretching as the difference would", "random": "adding a random direction",
    "shuffled": "adding another pair's difference",
}  # fmt: skip


def efficacy_figure(
    profile: "SteeringProfile", *, edit: str = "full", scope: str | None = None
) -> "Figure":
    """Efficacy by depth at each position with 95 % bands, and the random vector's, dashed."""
    scope = profile.scopes[0] if scope is None else scope
    curves = [
        edited_curve(
            position,
            profile.efficacy(position, edit=name, scope=scope),
            key=f"{position}_{name}",
            role=position,
            units=profile.provenance.units,
            depths=profile.depths.numpy(),
            edit=None if name == "full" else name,
            control=name != edit,
        )
        for name in dict.fromkeys((edit, "random"))
        for position in profile.positions
    ]
    return plotting.depth_figure(
        curves,
        n_layers=profile.n_layers,
        title=f"Steering {SCOPES[scope]}, {PARTS[edit]}",
        y_title=success_words(profile.provenance).unit,
        y_range=(-0.03, 1.03),
    )
