"""Figures of steering."""

from typing import TYPE_CHECKING

from lensdepth import plotting, stats

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.steering.profile import SteeringProfile

CENTRIC = {"input": "input-centric", "prediction": "output-centric"}
SCOPES = {
    "local": "at one depth", "suffix": "sustained from each depth on",
    "prefix": "up to each depth", "all": "at every depth",
}  # fmt: skip
PARTS = {
    "full": "adding the whole difference", "direction": "turning as the difference would",
    "norm": "stretching as the difference would", "random": "adding random vectors",
    "shuffled": "adding another pair's difference",
}  # fmt: skip


def efficacy_figure(
    profile: "SteeringProfile", *, edit: str = "full", scope: str | None = None
) -> "Figure":
    """Efficacy by depth at each position with 95 % bands, and the random vector's, dashed."""
    scope = profile.scopes[0] if scope is None else scope
    drawn = [(edit, CENTRIC, False)]
    if edit != "random":
        drawn.append(("random", {k: f"random vector, {k} position" for k in CENTRIC}, True))
    curves = [
        plotting.Curve.from_interval(
            names[position],
            *stats.bootstrap_mean(profile.efficacy(position, edit=name, scope=scope).numpy()),
            role=position,
            depths=profile.depths.numpy(),
            dashed=dashed,
        )
        for name, names, dashed in drawn
        for position in profile.positions
    ]
    return plotting.depth_figure(
        curves,
        n_layers=profile.n_layers,
        title=f"Steering {SCOPES[scope]}, {PARTS[edit]}",
        y_title="share that gives the intended answer",
        y_range=(-0.03, 1.03),
    )
