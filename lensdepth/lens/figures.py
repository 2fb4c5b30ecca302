"""One prompt's lens token by token: depth upwards, tokens from left to right."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.colours import INK, MUTED, PALETTE, RULE, house_layout, house_note, inert
from lensdepth.lens.told import MEASURES
from lensdepth.plotting import Panel, depth_story, relative_story
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import AXIS, described, fraction
from lensdepth.telling.numbers import number, on_scale
from lensdepth.telling.tokens import signed
from lensdepth.units import take

if TYPE_CHECKING:
    from lensdepth.lens.compare import LensComparison
    from lensdepth.lens.profile import LensProfile

CellValue = Literal["kl", "entropy", "probability", "rank"]
UNITS: dict[str, str] = {
    **{key: MEASURES[key].title for key in ("kl", "entropy")},
    "probability": "probability of the token in the cell",
    "rank": "rank of the final prediction (0 is the top)",
}
SHADES = ((0.0, "#F7F7F5"), (0.5, "#BFE0F4"), (1.0, "#6DBDEB"))
"""Pale at zero, and never so dark that the text in a cell cannot be read."""
USUAL = 0.95
"""Share of a map's cells that has to fit on its scale, the loudest depth aside."""
COLUMN, ROW, CHARACTERS = 74, 25, 10
"""Pixels of a cell, and what fits into it."""


def shown(token: str, limit: int | None = None) -> str:
    """A token as a figure shows it: letter by letter, with signs for white space."""
    return inert(signed(token, limit))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shading:
    """Colours of a map and the ticks of its scale."""

    z: Float[np.ndarray, "depth pos"]
    most: float
    at: list[float]
    labels: list[str]


def _shading(values: Float[Tensor, "depth pos"], value: str) -> _Shading:
    """From 0 to the largest finite number, or to 1 for a probability; ranks in decades.

    A few cells far above all others, as depth 0 has where embedding and unembedding are one matrix,
    would leave the rest without colours: the scale then ends below them.
    """
    finite = values[values.isfinite()]
    largest = float(finite.max()) if len(finite) else 0.0
    # An infinite divergence has no colour of its own; without any, the cell would lose its token.
    bounded = values.nan_to_num(nan=torch.nan, posinf=largest).numpy()
    if value == "rank":
        # A rank of 0 must have a place on the scale.
        z, most = np.log10(1 + bounded), max(math.log10(1 + largest), 1.0)
        decades = range(math.floor(most) + 1)
        ranks = [0, *(r for k in decades for r in (10**k, 3 * 10**k) if r <= max(largest, 9))]
        return _Shading(
            z=z, most=most, at=[math.log10(1 + r) for r in ranks], labels=[f"{r:,}" for r in ranks]
        )
    usual = _usual(values)
    beyond = value != "probability" and largest > 2 * usual > 0
    most = 1.0 if value == "probability" else usual if beyond else largest or 1.0
    at = [most * i / 4 for i in range(5)]
    labels = [on_scale(x) for x in at]
    return _Shading(z=bounded, most=most, at=at, labels=[*labels[:-1], "≥ " * beyond + labels[-1]])


def _usual(values: Float[Tensor, "depth pos"]) -> float:
    """What most cells stay below, the loudest depth aside."""
    known = values.where(values.isfinite(), -torch.inf)
    others = known[torch.arange(len(known)) != known.amax(1).argmax()]
    rest = others[others.isfinite()]
    return float(rest.quantile(USUAL)) if len(rest) else 0.0


def token_map(profile: "LensProfile", prompt: int, value: str) -> go.Figure:
    """Depth by token with the likeliest next token in each cell, coloured by a `CellValue`.

    Columns are positions, so that a token that occurs twice has two. The last row is the model's
    own prediction.
    """
    n_depths, n_prompts, _ = profile.kl.shape
    if not 0 <= prompt < n_prompts:
        raise ValueError(
            f"plot_tokens: prompt must lie between 0 and {n_prompts - 1}, got {prompt}."
        )
    if value not in get_args(CellValue):
        raise ValueError(
            f"plot_tokens: value must be one of {', '.join(get_args(CellValue))}, got {value!r}."
        )
    if value == "rank" and profile.final_rank is None:
        raise ValueError(
            "plot_tokens: this result was saved without ranks; run logit_lens again, or choose "
            "another value."
        )
    real = profile.position[prompt] >= 0
    measures: dict[str, Tensor | None] = {
        "kl": profile.kl,
        "entropy": profile.entropy,
        "probability": profile.top_log_probs[..., 0].exp(),
        "rank": profile.final_rank,
    }
    read = {k: v[:, prompt, real] for k, v in measures.items() if v is not None}
    tops = profile.top_tokens[:, prompt, real]
    probs = profile.top_log_probs[:, prompt, real].exp()
    places = profile.position[prompt, real].tolist()
    tokens = [profile.text(t) for t in profile.token[prompt, real].tolist()]
    shading = _shading(read[value], value)
    figure = go.Figure(
        go.Heatmap(
            z=shading.z,
            zmin=0,
            zmax=shading.most,
            colorscale=SHADES,
            text=[
                [shown(profile.text(t), CHARACTERS) for t in row] for row in tops[..., 0].tolist()
            ],
            texttemplate="%{text}",
            textfont={"size": 12, "color": INK},
            customdata=[
                [
                    _hover(profile, depth, places[i], tokens[i], tops[depth, i], probs[depth, i])
                    + _measures({k: v[depth, i].item() for k, v in read.items()})
                    for i in range(len(places))
                ]
                for depth in range(n_depths)
            ],
            hovertemplate="%{customdata}<extra></extra>",
            xgap=1,
            ygap=1,
            colorbar={
                "title": {"text": UNITS[value], "side": "right", "font": {"size": 12.5}},
                "tickvals": shading.at,
                "ticktext": shading.labels,
                "outlinewidth": 0,
                "thickness": 14,
            },
        )
    )
    _style(figure, profile, tokens, places)
    return figure


def _hover(
    profile: "LensProfile", depth: int, place: int, token: str, tops: Tensor, probs: Tensor
) -> str:
    n_layers = profile.n_layers
    lines = [
        f"token {place}: <b>{shown(token)}</b>",
        described(depth, n_layers),
        *(
            f"{number(prob)}  {shown(profile.text(top))}"
            for top, prob in zip(tops.tolist(), probs.tolist(), strict=True)
        ),
    ]
    return "<br>".join(lines)


def _measures(read: dict[str, float]) -> str:
    lines = [f"KL {number(read['kl'])}, entropy {number(read['entropy'])} nats"]
    if "rank" in read:
        lines.append(f"rank of the final prediction {read['rank']:.0f}")
    return "<br>" + "<br>".join(lines)


def _style(figure: go.Figure, profile: "LensProfile", tokens: list[str], places: list[int]) -> None:
    n_layers, n_pos = profile.n_layers, len(tokens)
    axis = {"showgrid": False, "zeroline": False, "ticks": "", "linecolor": RULE}
    figure.update_xaxes(
        **axis,
        tickvals=list(range(n_pos)),
        ticktext=[
            f'{shown(token, CHARACTERS)}<br><span style="color:{MUTED}">{place}</span>'
            for token, place in zip(tokens, places, strict=True)
        ],
        tickangle=0,
        title={"text": "token · position", "standoff": 8, "font": {"size": 12.5}},
    )
    figure.update_yaxes(
        **axis,
        tickvals=list(range(n_layers + 1)),
        ticktext=[
            f'{d} <span style="color:{MUTED}">· {fraction(d, n_layers)}</span>'
            for d in range(n_layers + 1)
        ],
    )
    figure.add_annotation(**house_note(AXIS), name="y_title", xshift=-92, yshift=5)
    model = inert(profile.provenance.model.name)
    layout = house_layout(f"{profile.name} of {model}: most likely next token")
    layout["hoverlabel"]["align"] = "left"
    figure.update_layout(
        **layout,
        width=max(640, 260 + COLUMN * n_pos),
        height=max(380, 184 + ROW * (n_layers + 1)),
        margin={"l": 110, "r": 24, "t": 84, "b": 78},
    )


def _column(profile: "LensProfile", prompt: int, position: int, depth: int, *, caller: str) -> int:
    """Where a profile has a token of a prompt.

    Raises:
        ValueError: it has none there, or no such depth.
    """
    n_prompts = len(profile.position)
    if not 0 <= prompt < n_prompts:
        raise ValueError(f"{caller}: prompt must lie between 0 and {n_prompts - 1}, got {prompt}.")
    places = profile.position[prompt]
    there = places[places >= 0]
    # Of those that were read, of which the last may be the only one.
    wanted = int(there[position]) if -len(there) <= position < 0 else position
    where = (places == wanted).nonzero()[:, 0].tolist()
    if not where or position < -len(there) or not 0 <= depth <= profile.n_layers:
        raise ValueError(
            f"{caller}: there is no cell at token {position} and depth {depth}; tokens are "
            f"{places[places >= 0].tolist()}, depths 0...{profile.n_layers}."
        )
    (column,) = where
    return column


BAR_ROLES = ("input", "prediction", "direction", "norm", "full")
"""Colours of lenses that stand side by side."""


def top_bars(
    profile: "LensProfile", prompt: int, position: int, depth: int | None, k: int
) -> go.Figure:
    """Bars of the likeliest next tokens at one cell."""
    at = profile.n_layers if depth is None else depth
    column = _column(profile, prompt, position, at, caller="plot_top")
    probs = profile.top_log_probs[at, prompt, column, :k].exp().tolist()
    texts = [profile.text(t) for t in profile.top_tokens[at, prompt, column, :k].tolist()]
    own = shown(profile.text(int(profile.token[prompt, column])), 14)
    title = f"Next token at depth {at} of {profile.n_layers}, behind {own}"
    figure = go.Figure(
        go.Bar(
            x=probs,
            y=list(range(len(probs))),
            orientation="h",
            marker={"color": PALETTE["lens"], "line": {"width": 0}},
            text=[number(p) for p in probs],
            textposition="outside",
            cliponaxis=False,
            customdata=[
                f"{shown(text)}: {number(p)}" for text, p in zip(texts, probs, strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    )
    figure.update_layout(
        **house_layout(title),
        height=130 + 26 * len(probs),
        margin={"l": 110, "r": 60, "t": 60, "b": 48},
        bargap=0.35,
        showlegend=False,
    )
    figure.update_xaxes(
        title={"text": "probability", "standoff": 6, "font": {"size": 12.5}},
        range=[0, 1], gridcolor=RULE, zeroline=False, tickvals=[0, 0.25, 0.5, 0.75, 1],
    )  # fmt: skip
    figure.update_yaxes(
        autorange="reversed",
        tickvals=list(range(len(texts))),
        ticktext=[shown(text, 14) for text in texts],
        showgrid=False, zeroline=False, linecolor=RULE,
    )  # fmt: skip
    return figure


def followed_story(
    profile: "LensProfile",
    prompt: int,
    position: int,
    tokens: Int[Tensor, " followed"],
    log_prob: Float[Tensor, "depth prompt pos followed"],
    rank: Float[Tensor, "depth prompt pos followed"],
) -> go.Figure:
    """Two panels over depth: how likely some tokens are, and how many tokens are above each."""
    column = _column(profile, prompt, position, profile.n_layers, caller="plot_followed")
    names = [signed(profile.text(token)) for token in tokens.tolist()]
    panels = [
        Panel(
            title=title,
            curves=[
                Curve.from_interval(name, values[:, i].numpy(), role=BAR_ROLES[i % len(BAR_ROLES)])
                for i, name in enumerate(names)
            ],
        )
        for title, values in (
            ("probability", log_prob[:, prompt, column].exp()),
            ("log₁₀(1 + rank); 0 is the top", rank[:, prompt, column].log1p() / math.log(10)),
        )
    ]
    own = signed(profile.text(int(profile.token[prompt, column])), 14)
    title = f"{', '.join(names)} behind {own}, by depth"
    return depth_story(panels, n_layers=profile.n_layers, title=title)


def lenses_together(comparison: "LensComparison") -> go.Figure:
    """A panel a measure, a curve a lens, over relative depth."""
    from lensdepth.lens.compare import MEASURES as titles

    panels = []
    for measure, title in titles.items():
        values = getattr(comparison, measure)
        curves = []
        for i, name in enumerate(comparison.names):
            n_depths = int(comparison.n_layers[i]) + 1
            mine = values[i, :, :n_depths]
            known = ~mine.isnan().all(1)
            mine = mine[known]
            curves.append(
                Curve.of(
                    name,
                    mine,
                    units=take(comparison.provenance.units, known),
                    role=BAR_ROLES[i % len(BAR_ROLES)],
                    depths=comparison.relative_depth[i, :n_depths].numpy(),
                    dashed=i % 2 == 1,
                )
            )
        panels.append(Panel(title=title, curves=curves))
    return relative_story(panels, title="Lenses on one axis")
