"""Figures of one intervention: what is said next, and where the later states went."""

import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from lensdepth.colours import INK, PALETTE, RULE, house_layout
from lensdepth.edits import CONTROL
from lensdepth.lens.figures import shown
from lensdepth.plotting import Panel, depth_story
from lensdepth.telling.curves import Curve
from lensdepth.telling.names import RUNS, edit_name
from lensdepth.telling.numbers import number

if TYPE_CHECKING:
    from lensdepth.intervention.result import Intervention

ROLES = {
    "base": "control", "source": "full", "local": "prediction", "suffix": "direction",
    "window": "input",
}  # fmt: skip
"""Keys into PALETTE."""
BAR = 13
"""Pixels of a bar."""
LEAST = math.log(0.004)
"""Tokens that are less likely in every run are left out."""


def named(run: str) -> str:
    """A run as figures call it."""
    return edit_name("random") if run.endswith(CONTROL) else RUNS.get(run, run)


def trajectory(found: "Intervention", scope: str | None) -> go.Figure:
    """Three panels over depth: angle from the base run, progress to the source run, norm."""
    if scope is not None:
        found.index(scope)
    hidden = {run for run in found.runs if run.endswith(CONTROL)} - {f"{scope}{CONTROL}"}
    drawn = [run for run in found.runs if run != "base" and run not in hidden]
    degrees = np.degrees(found.angle_from_base.numpy())
    panels = [
        Panel(
            title="angle from the base run, degrees",
            curves=[_curve(found, run, degrees) for run in drawn],
        )
    ]
    if "source" in found.runs:
        progress = found.angle_progress.numpy()
        scopes = [run for run in drawn if run != "source"]
        panels.append(
            Panel(
                title="way to the source: 0 base, 1 source",
                curves=[_curve(found, run, progress) for run in scopes],
            )
        )
    norms = found.norm.numpy()
    panels.append(
        Panel(title="norm", curves=[_curve(found, run, norms) for run in ("base", *drawn)])
    )
    return depth_story(
        panels, n_layers=found.n_layers, title="The last token's state on its way up"
    )


def _curve(found: "Intervention", run: str, values: np.ndarray) -> Curve:
    scope, _, control = run.partition(" ")
    values = values[found.index(run)]
    return Curve.from_interval(named(run), values, role=ROLES[scope], control=bool(control))


def predictions(found: "Intervention", k: int) -> go.Figure:
    """Bars: probability of each token that is among the likeliest of any run, by run."""
    runs = [run for run in ("base", *found.scopes, "source") if run in found.runs]
    chosen = found.log_probs[[found.index(run) for run in runs]]
    likeliest = chosen.max(0).values
    wanted = {token for run in runs for token in _top(found, run, k)}
    tokens = sorted(wanted, key=lambda token: -float(likeliest[token]))
    # Bars that nobody can see say nothing; a few stay for their order.
    seen = [token for token in tokens if likeliest[token] >= LEAST]
    tokens = tokens[: max(len(seen), 3)]
    figure = go.Figure()
    for run in runs:
        probs = found.log_probs[found.index(run), tokens].exp().tolist()
        figure.add_bar(
            y=list(range(len(tokens))),
            x=probs,
            orientation="h",
            name=named(run),
            marker={"color": PALETTE[ROLES[run]], "line": {"width": 0}},
            customdata=[
                f"{shown(found.text(token))}: {number(p)}"
                for token, p in zip(tokens, probs, strict=True)
            ],
            hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        )
    figure.update_layout(
        **house_layout("Next token, by run"),
        barmode="group",
        bargap=0.28,
        bargroupgap=0.08,
        height=150 + (BAR * len(runs) + 14) * len(tokens),
        margin={"l": 110, "r": 24, "t": 84, "b": 52},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(
        title={"text": "probability", "standoff": 6, "font": {"size": 12.5}},
        range=[0, 1.02], gridcolor=RULE, zeroline=False, linecolor=RULE,
    )  # fmt: skip
    figure.update_yaxes(
        autorange="reversed",
        tickvals=list(range(len(tokens))),
        ticktext=[shown(found.text(token), 14) for token in tokens],
        tickfont={"color": INK, "size": 13},
        showgrid=False, zeroline=False, linecolor=RULE,
    )  # fmt: skip
    return figure


def _top(found: "Intervention", run: str, k: int) -> list[int]:
    return found.log_probs[found.index(run)].topk(min(k, found.log_probs.shape[1])).indices.tolist()
