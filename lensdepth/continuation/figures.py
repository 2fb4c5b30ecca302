"""Figures along a written text: where its tokens are settled, and what the lens reads of them."""

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from lensdepth.colours import MUTED, PALETTE, RULE, house_layout, house_note, inert
from lensdepth.continuation.profile import BASE, EDITED
from lensdepth.continuation.told import ROLES, run_name
from lensdepth.edits import CONTROL
from lensdepth.lens.figures import CHARACTERS, shown, token_map
from lensdepth.lens.profile import LensProfile
from lensdepth.telling.depths import described
from lensdepth.telling.numbers import number

if TYPE_CHECKING:
    from lensdepth.continuation.profile import GenerationProfile

PANEL, GAP, COLUMN = 150, 60, 58
"""Pixels of a panel, between two of them, and of a token."""
TOP, BOTTOM = 112, 92
"""Above the first panel and below the last, where the tokens stand."""


def along_the_text(profile: "GenerationProfile") -> go.Figure:
    """Panels over the tokens: the depth at which each is settled, the model's entropy, and the
    divergence of the edited model along the base's text."""
    edited = EDITED in profile.runs
    titles = [f"depth from which on the token stands, 0 to {profile.n_layers}",
              "entropy of the model's prediction, nats"]  # fmt: skip
    values = [profile.settled, profile.entropy[:, -1]]
    if edited:
        titles.append("KL(base ‖ run) along the base's own tokens, nats")
        values.append(profile.forced_kl)
    total = len(titles) * PANEL + (len(titles) - 1) * GAP
    figure = make_subplots(
        rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=GAP / total
    )
    for row, (title, by_run) in enumerate(zip(titles, values, strict=True), start=1):
        forced = by_run is profile.forced_kl
        for run in profile.runs:
            if forced and run == BASE:  # nothing, by construction
                continue
            _add_run(figure, profile, run, by_run[profile.index(run)], row, forced=forced)
        if row == 1 and profile.settled_by_patching is not None:
            _add_patched(figure, profile, profile.settled_by_patching)
        top = next(figure.select_yaxes(row=row, col=1)).domain[1]
        note = house_note(f"<b>{inert(title)}</b>", y=top)
        figure.add_annotation(**note, name="heading", xshift=-34, yshift=7, align="left")
    first = profile.first_difference
    if first is not None:
        line = {"color": PALETTE["zone"], "width": 2}
        figure.add_vline(x=first, line=line, layer="below", row="all", col="all")  # type: ignore[arg-type]
        # In the legend, where it lies over nothing.
        figure.add_scatter(
            x=[None], y=[None], mode="lines", line=line, name="first difference", row=1, col=1
        )
    _style(figure, profile, total)
    figure.update_yaxes(range=[-0.04 * profile.n_layers, 1.06 * profile.n_layers], row=1, col=1)
    return figure


def _add_run(
    figure: go.Figure,
    profile: "GenerationProfile",
    run: str,
    values: Float[Tensor, " token"],
    row: int,
    *,
    forced: bool,
) -> None:
    """One run's line in one panel; where it is settled nowhere there is a gap."""
    texts = profile.str_tokens(BASE if forced else run)
    numbers = values[: len(texts)].tolist()
    said = [described(x, profile.n_layers) if row == 1 and x == x else number(x) for x in numbers]
    control = run.endswith(CONTROL)
    colour = PALETTE[ROLES[run]]
    name = inert(run_name(profile, run))
    figure.add_scatter(
        x=list(range(len(texts))),
        y=numbers,
        name=name,
        legendgroup=name,
        showlegend=row == 1 and (len(profile.runs) > 1 or profile.counterfactual is not None),
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": "4px,3px" if control else "solid"},
        marker={"size": 5 if control else 7, "color": colour},
        customdata=[
            f"token {i}: <b>{shown(text)}</b><br>{what}"
            for i, (text, what) in enumerate(zip(texts, said, strict=True))
        ],
        hovertemplate="%{customdata}<extra>%{fullData.name}</extra>",
        connectgaps=False,
        row=row,
        col=1,
    )


def _add_patched(
    figure: go.Figure, profile: "GenerationProfile", values: Float[Tensor, " token"]
) -> None:
    """Where the base's tokens are settled by patching; gaps where that shows nothing."""
    numbers = values.tolist()
    figure.add_scatter(
        x=list(range(len(numbers))),
        y=numbers,
        name="base, by patching",
        mode="lines+markers",
        line={"color": PALETTE["full"], "width": 2, "dash": "2px,2px"},
        marker={"size": 8, "symbol": "diamond-open", "color": PALETTE["full"]},
        customdata=[
            f"token {i}: <b>{shown(text)}</b><br>"
            + (described(x, profile.n_layers) if x == x else "shows nothing")
            for i, (text, x) in enumerate(zip(profile.str_tokens(BASE), numbers, strict=True))
        ],
        hovertemplate="%{customdata}<extra>base, by patching</extra>",
        connectgaps=False,
        row=1,
        col=1,
    )


def _style(figure: go.Figure, profile: "GenerationProfile", total: int) -> None:
    n_tokens = profile.tokens.shape[1]
    figure.update_xaxes(
        tickvals=list(range(n_tokens)),
        ticktext=_labels(profile),
        range=[-0.6, n_tokens - 0.4],
        tickangle=0,
        showgrid=False, zeroline=False, showline=True, linecolor=RULE,
        ticks="outside", ticklen=4, tickcolor=RULE,
    )  # fmt: skip
    under = "token written · its number"
    if EDITED in profile.runs:
        under += ", below it the edited run's where it is another"
    rows = len(list(figure.select_xaxes()))
    figure.update_xaxes(
        title={"text": under, "standoff": 8, "font": {"size": 12.5}}, row=rows, col=1
    )
    figure.update_yaxes(gridcolor=RULE, zeroline=False, nticks=5, ticklabelstandoff=5)
    figure.update_layout(
        **house_layout("Where each token is settled, along the text"),
        width=max(640, 90 + COLUMN * n_tokens),
        height=total + TOP + BOTTOM,
        margin={"l": 44, "r": 30, "t": TOP, "b": BOTTOM},
        legend={
            "orientation": "h", "x": 0, "y": 1 + 34 / total, "yanchor": "bottom",
            "itemsizing": "trace",
        },
        hovermode="closest",
    )  # fmt: skip


def _labels(profile: "GenerationProfile") -> list[str]:
    """Tick labels: the base's token, its number, and the edited run's token where it is another."""
    base = profile.str_tokens(BASE)
    other = profile.str_tokens(EDITED) if EDITED in profile.runs else []
    labels = []
    for i in range(profile.tokens.shape[1]):
        mine = shown(base[i], CHARACTERS - 2) if i < len(base) else ""
        label = f'{mine}<br><span style="color:{MUTED}">{i}</span>'
        if i < len(other) and (i >= len(base) or other[i] != base[i]):
            colour = PALETTE[ROLES[EDITED]]
            label += f'<br><span style="color:{colour}">{shown(other[i], CHARACTERS - 2)}</span>'
        labels.append(label)
    return labels


def written_map(profile: "GenerationProfile", run: str, value: Any) -> go.Figure:
    """What the lens reads of each token written, depth upwards, with where it is settled."""
    i = profile.index(run)
    n = len(profile.str_tokens(run))
    if not n:
        raise ValueError(f"plot_map: the run {run!r} wrote nothing, so that there is no map of it.")
    figure = token_map(_as_lens(profile, i, n), 0, value)
    # Along the lower edges of the cells from which on the token stands, so that no word is crossed.
    settled = [None if at != at else at - 0.5 for at in profile.settled[i, :n].tolist()]
    figure.add_scatter(
        x=[edge for column in range(n) for edge in (column - 0.5, column + 0.5)],
        y=[at for at in settled for _ in range(2)],
        mode="lines",
        line={"color": PALETTE[ROLES[EDITED]], "width": 2.5},
        hoverinfo="skip",
        showlegend=False,
        connectgaps=False,
        name="settled",
    )
    figure.update_xaxes(title_text="token written · position")
    model = inert(profile.provenance.model.name)
    whose = "" if run == BASE else f", {inert(run_name(profile, run))}"
    figure.update_layout(title_text=f"What {model} writes{whose}: the line is where it is settled")
    return figure


def _as_lens(profile: "GenerationProfile", run: int, n: int) -> LensProfile:
    """A run's cells as those of a lens, each under the token that was written, not under the one
    before it, whose state was read."""
    cells = (slice(None), slice(None, n))
    tokens = profile.tokens[run, :n]
    return LensProfile(
        provenance=profile.provenance,
        position=(len(profile.prompt_tokens) + torch.arange(n))[None],
        token=tokens[None],
        kl=profile.kl[run][cells][:, None],
        entropy=profile.entropy[run][cells][:, None],
        top1_agreement=(profile.final_rank[run][cells] == 0).float()[:, None],
        top_tokens=profile.top_tokens[run][cells][:, None],
        top_log_probs=profile.top_log_probs[run][cells][:, None],
        final_rank=profile.final_rank[run][cells][:, None],
        target_log_prob=None,
        target_rank=None,
        foil_log_prob=None,
        foil_rank=None,
        vocabulary=profile.vocabulary,
    )
