"""What landmarks of several models and tasks say together: summary, sentences, figure."""

from typing import TYPE_CHECKING

from lensdepth.landmarks.kinds import BY_KEY
from lensdepth.telling.numbers import counted, number, p_value
from lensdepth.telling.plain import Json, to_json
from lensdepth.units import FEWEST_UNITS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lensdepth.landmarks.across import Correlation, LandmarkComparison


def summary(found: "LandmarkComparison") -> Json:
    """Counts of verdicts by landmark, and the correlations over tasks and over models."""
    names = list(dict.fromkeys(one.landmark for one in found.runs))
    return to_json(
        {
            "models": list(found.models),
            "tasks": list(found.tasks),
            "landmarks": {
                name: {
                    "counts": found.counts(name),
                    **{over: _numbers(found.of(name, over)) for over in ("tasks", "models")},
                }
                for name in names
            },
        }
    )


def _numbers(one: "Correlation") -> Json:
    return {name: getattr(one, name) for name in ("verdict", "n", "rho", "p")}


def sentences(found: "LandmarkComparison") -> list[str]:
    """What was asked; each landmark's orders; whether it goes with the switch."""
    names = list(dict.fromkeys(one.landmark for one in found.runs))
    n = len(found.runs) // len(names)
    models, tasks = counted(len(found.models), "model"), counted(len(found.tasks), "task")
    said = [f"{counted(n, 'run')} of {models} and {tasks}."]
    for name in names:
        told = ", ".join(f"{verdict} in {k}" for verdict, k in found.counts(name).items())
        text = f"{BY_KEY[name].name.capitalize()}: {told}."
        for over in ("tasks", "models"):
            text += f" {_told(found.of(name, over))}"
        said.append(text)
    return said


def _told(one: "Correlation") -> str:
    over = f"Over {one.over}"
    if one.verdict == "too few":
        other = "models" if one.over == "tasks" else "tasks"
        return (
            f"{over}: too few ({one.n} that have places in the same {other} as another one, and "
            f"{FEWEST_UNITS} in all the same are needed)."
        )
    if one.rho != one.rho:
        return f"{over}: one of both places is the same in all {one.n}."
    words = {
        "follows the switch": "it lies deeper where the switch does",
        "runs against it": "it lies higher up where the switch lies deeper",
        "not told": "that it goes with the switch cannot be told from chance",
    }[one.verdict]
    return f"{over}: {words} (rank correlation {number(one.rho)} of {one.n}, {p_value(one.p)})."


def places_figure(found: "LandmarkComparison") -> "Figure":
    """Relative depth of each landmark against that of the switch, a mark a run."""
    import plotly.graph_objects as go

    from lensdepth.colours import MUTED, PALETTE, RULE, house_layout, inert

    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": MUTED, "width": 1},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for name in dict.fromkeys(one.landmark for one in found.runs):
        own = [one for one in found.runs if one.landmark == name]
        figure.add_scatter(
            x=[one.switch for one in own],
            y=[one.place for one in own],
            mode="markers",
            name=inert(BY_KEY[name].name),
            marker={"size": 9, "color": PALETTE[BY_KEY[name].role]},
            customdata=[inert(f"{one.model}, {one.task}: {one.verdict}") for one in own],
            hovertemplate="%{customdata}<br>switch %{x:.2f}, landmark %{y:.2f}<extra></extra>",
        )
    figure.update_layout(
        **house_layout(inert("Landmarks against the switch, as fractions of the depth")), height=460
    )
    figure.update_xaxes(title_text="where control passes", range=[0, 1.02], gridcolor=RULE)
    figure.update_yaxes(title_text="where the landmark is", range=[0, 1.02], gridcolor=RULE)
    return figure
