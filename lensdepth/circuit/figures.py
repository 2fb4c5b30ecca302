"""Maps of attribution and attention, and bars with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from numpy import ndarray as Array
from plotly.subplots import make_subplots
from torch import Tensor

from lensdepth import stats
from lensdepth.circuit.told import run_names
from lensdepth.colours import INK, MUTED, PALETTE, RULE, house_layout, house_note, inert
from lensdepth.heatmaps import Axis, depth_axis, effect_heatmap
from lensdepth.telling.curves import above_floor
from lensdepth.telling.fractions import effect_name
from lensdepth.telling.names import answer_comes
from lensdepth.telling.numbers import Interval, counted, number
from lensdepth.telling.tokens import signed
from lensdepth.tokens import told_apart

if TYPE_CHECKING:
    from lensdepth.circuit.attribution_profile import AttributionProfile
    from lensdepth.circuit.result import CircuitResult

BAR = 30
"""Pixels that one bar takes."""
MOST_WRITTEN = 14
"""Columns of a map whose numbers stand in its cells."""
MOST_LEVEL = 8
"""Tokens whose labels fit side by side."""
MOST_TICKS = 34
"""Heads that are all labelled; of more, some are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """One panel of bars: what they measure, and the values with their 95 % intervals."""

    title: str
    mean: Float[Array, " bar"]
    low: Float[Array, " bar"]
    high: Float[Array, " bar"]
    colours: Sequence[str]
    marks: Sequence[float] = ()
    """Where thin lines stand, such as 0 and 1 of a fraction."""
    floor: float = 0.0
    """Size below which its numbers are rounding; the axis reaches further than that."""


def horizontal_bars(names: Sequence[str], panels: Sequence[Bars], *, title: str) -> go.Figure:
    """Panels of bars side by side, one bar a name, the first on top."""
    figure = make_subplots(rows=1, cols=len(panels), shared_yaxes=True, horizontal_spacing=0.07)
    labels = [inert(name) for name in names]
    for column, panel in enumerate(panels, start=1):
        known = ~np.isnan(panel.low)
        error: dict[str, Any] = {
            "type": "data",
            "symmetric": False,
            "array": np.where(known, panel.high - panel.mean, 0.0),
            "arrayminus": np.where(known, panel.mean - panel.low, 0.0),
            "color": INK,
            "thickness": 1.4,
            "width": 4,
        }
        figure.add_bar(
            x=panel.mean,
            y=labels,
            orientation="h",
            marker={"color": list(panel.colours), "line": {"width": 0}},
            error_x=error if known.any() else None,
            customdata=[
                f"{label}<br>"
                f"{Interval(value=float(m), low=float(a), high=float(b), floor=panel.floor)}"
                for label, m, a, b in zip(labels, panel.mean, panel.low, panel.high, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            row=1,
            col=column,
        )
        for mark in (0.0, *panel.marks):
            where: dict[str, Any] = {"row": 1, "col": column}
            figure.add_vline(x=mark, line={"color": MUTED, "width": 1}, layer="below", **where)
        figure.update_xaxes(
            title={"text": inert(panel.title), "standoff": 8},
            range=above_floor([panel]),
            row=1,
            col=column,
        )
    figure.update_xaxes(
        gridcolor=RULE,
        zeroline=False,
        linecolor=RULE,
        tickfont={"color": INK},
        title_font={"color": MUTED},
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", linecolor=RULE)
    longest = max(len(name) for name in names)
    figure.update_layout(
        **house_layout(inert(title)),
        height=150 + BAR * len(names),
        bargap=0.3,
        showlegend=False,
        margin={"l": 30 + 7.2 * longest, "r": 24, "t": 62, "b": 62},
    )
    return figure


def circuit_bars(result: "CircuitResult") -> go.Figure:
    """What each kind of run transfers, and how often it gives the source's answer."""
    frame = result.mean_frame().set_index("patched")
    names = run_names(result)
    there = [n for n in names if n in frame.index and n not in ("base", "source")]
    colour = dict.fromkeys(names, PALETTE["full"]) | {
        "complement": PALETTE["input"],
        **dict.fromkeys(
            ("circuit", "shared", "circuit removed", "shared removed"), PALETTE["prediction"]
        ),
        **dict.fromkeys(("random", "random removed"), PALETTE["control"]),
    }

    def bars(column: str, title: str, marks: Sequence[float]) -> Bars:
        mean, low, high = (
            frame.loc[there, column + end].to_numpy(dtype=float) for end in ("", "_low", "_high")
        )
        return Bars(
            title=title,
            mean=mean,
            low=low,
            high=high,
            colours=[colour[name] for name in there],
            marks=marks,
            floor=result.floor_of(column),
        )

    # Side by side there is no room for whole units; 0 is the base run and 1 the source run in all.
    panels = [bars("transferred", "transferred fraction", (1.0,))]
    if result.judged != result.outcome.metrics[0]:
        panels.insert(0, bars("brought", "of the answer's gain", (1.0,)))
    if "success" in result.outcome.metrics:
        panels.append(bars("success", f"answer {answer_comes(result.provenance)}", (1.0,)))
    panels += [
        bars(part, effect_name(part, result.outcome.intended), (0.0,))
        for part in result.fractions[1:]
    ]
    return horizontal_bars(
        [names[name] for name in there],
        panels,
        title=f"Patching {_listed(result.components)} ({result.mode})",
    )


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Names with commas, the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def attribution_map(profile: "AttributionProfile") -> go.Figure:
    """A row a block; a column a head, then the attention's bias where there is one, and the MLP."""
    columns = [profile.heads, profile.mlps[:, None]]
    labels = [str(head) for head in range(profile.n_heads)]
    names = [f"head {head}" for head in range(profile.n_heads)]
    if profile.has_attn_bias:
        columns.insert(1, profile.attn_bias[:, None])
        labels.append("bias")
        names.append("attention output bias")
    labels.append("MLP")
    names.append("MLP")
    values = np.concatenate([part.numpy() for part in columns], axis=1)
    mean, low, high = stats.mean_interval(
        np.moveaxis(values, -1, 0), units=profile.provenance.units
    )
    # One prompt has an answer that can be named; whatever else there is has many.
    alone = len(profile.targets) == 1
    what = profile.provenance.task
    if alone:
        what = " against ".join(map(signed, told_apart([*profile.targets, *(profile.foils or ())])))
    figure = effect_heatmap(
        mean,
        rows=depth_axis(range(profile.n_layers), profile.n_layers, stream="attn_out"),
        columns=Axis(title="head", labels=labels, names=names),
        title=f"Direct logit attribution of {what}",
        unit=profile.unit,
        signs=("towards foil" if profile.foils else "away from it", "towards target"),
        low=None if np.isnan(low).all() else low,
        high=None if np.isnan(high).all() else high,
        floor=profile.floor,
    )
    if len(labels) <= MOST_WRITTEN:
        figure.update_traces(texttemplate="%{z:.2f}", textfont_size=11)
    step = -(-profile.n_heads // MOST_TICKS)
    at = [*range(0, profile.n_heads, step), *range(profile.n_heads, len(labels))]
    figure.update_xaxes(
        title="head · other parts of the block",
        tickvals=at,
        ticktext=[labels[i] for i in at],
        # Side by side, "bias" and "MLP" need more room than a narrow column has.
        tickangle=0 if len(labels) <= MOST_WRITTEN else -90,
    )
    figure.add_vline(x=profile.n_heads - 0.5, line={"color": MUTED, "width": 1.5})
    figure.add_annotation(**house_note(_sums(profile), colour=MUTED), yshift=8)
    figure.update_layout(margin_t=84)
    return figure


def _sums(profile: "AttributionProfile") -> str:
    """What the parts that have no place in the map are, and how all of them add up."""
    n = profile.logit_diff.shape[0]
    embed = profile.embed if profile.pos_embed is None else profile.embed + profile.pos_embed
    parts = {
        "heads": profile.heads.sum((0, 1)),
        "MLPs": profile.mlps.sum(0),
        "embedding": embed,
        "biases": profile.attn_bias.sum(0) + profile.norm_bias + profile.unembed_bias,
    }
    added = " + ".join(f"{name} {_nats(v)}" for name, v in parts.items() if v.any())
    on = ("" if n == 1 else "mean of ") + counted(n, "prompt")
    return f"{on}: {_nats(profile.logit_diff)} nats = {added}"


def _nats(values: Float[Tensor, " prompt"]) -> str:
    return number(float(values.mean()))


def largest_parts(profile: "AttributionProfile", n: int) -> go.Figure:
    """The largest mean parts as bars."""
    if n < 1:
        raise ValueError(f"plot_largest: n must be 1 or more, got {n}.")
    frame = profile.mean_frame().head(n)
    value = frame["value"].to_numpy(dtype=float)
    colours = [PALETTE["prediction" if v > 0 else "input"] for v in value]
    against = "towards foil" if profile.foils else "away from it"
    return horizontal_bars(
        frame["component"].tolist(),
        [
            Bars(
                title=f"{profile.unit} (+ towards target, − {against})",
                mean=value,
                low=frame["low"].to_numpy(dtype=float),
                high=frame["high"].to_numpy(dtype=float),
                colours=colours,
                floor=profile.floor,
            )
        ],
        title=f"The {len(frame)} largest parts of {len(profile.components)}",
    )


def pattern_map(
    pattern: Float[Tensor, "query key"], str_tokens: Sequence[str], name: str
) -> go.Figure:
    """A row a query token, from the top; a column a key token; later keys are blank."""
    values = pattern.double().numpy().copy()
    values[np.triu_indices(len(values), 1)] = np.nan
    labels = [signed(token, 12) for token in str_tokens]
    names = [f"{i}: {signed(token)}" for i, token in enumerate(str_tokens)]
    looks, looked_at = ([f"{what} {name}" for name in names] for what in ("query", "key"))
    figure = effect_heatmap(
        values,
        rows=Axis(title="query token (looks)", labels=labels, names=looks),
        columns=Axis(title="key token (is looked at)", labels=labels, names=looked_at),
        title=f"Attention of {name}",
        unit="attention probability",
        signs=None,
    )
    ticks = [0, 0.25, 0.5, 0.75, 1]
    figure.update_traces(
        zmax=1, colorbar={"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickangle=0 if len(labels) <= MOST_LEVEL else -45)
    figure.update_layout(margin={"l": 110, "b": 70 if len(labels) <= MOST_LEVEL else 110})
    return figure
