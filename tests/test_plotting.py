"""Figures: what is on the axes, what is drawn behind, and that text stays text."""

import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import results

from lensdepth import colours, plotting
from lensdepth.plotting import Panel, Zone, layout_of
from lensdepth.telling.curves import Curve

HOSTILE = '<a href="javascript:alert(1)">x</a><script>alert(1)</script> & <|endoftext|>'


def curve(name: str = "curve", *, role: str = "input", dashed: bool = False) -> Curve:
    return Curve.from_interval(name, *results.interval(results.step(4.0)), role=role, dashed=dashed)


def traces(figure: go.Figure) -> list[Any]:
    return list(figure.select_traces())


@pytest.fixture(params=["figure", "panels", "story"])
def drawn(request: pytest.FixtureRequest) -> go.Figure:
    curves = [curve(HOSTILE), curve("other", role="norm", dashed=True)]
    if request.param == "figure":
        return plotting.depth_figure(
            curves, n_layers=8, title=HOSTILE, y_title=HOSTILE, zone=(3.5, 4.0, 4.5)
        )
    if request.param == "panels":
        return plotting.depth_panels(curves, n_layers=8, title=HOSTILE, zone=(3.5, 4.0, 4.5))
    return plotting.depth_story(
        [Panel(title=HOSTILE, curves=curves), Panel(title="second", curves=curves[:1])],
        n_layers=8,
        title=HOSTILE,
        zones=[Zone(name=HOSTILE, low=3.5, at=4.0, high=4.5)],
    )


def test_text_is_inert(drawn: go.Figure) -> None:
    text = json.dumps(drawn.to_plotly_json(), default=str)
    for tag in ("<a ", "<script", "<|endoftext"):
        assert tag not in text
    assert "&lt;script&gt;" in text
    assert "&amp;" in text


def test_the_axis_is_labelled_by_depth_and_fraction(drawn: go.Figure) -> None:
    axis = list(drawn.select_xaxes())[-1]
    assert len(axis.tickvals) == len(axis.ticktext) == 9
    assert axis.ticktext[0].startswith("0<br>")
    assert axis.ticktext[1].startswith("1<br>")
    assert axis.ticktext[-1].startswith("8<br>")
    assert ">0.5<" in axis.ticktext[4]
    scale = layout_of(drawn).meta["scale"]
    assert axis.tickvals[-1] == 8 * scale


def test_the_zone_lies_behind_every_panel(drawn: go.Figure) -> None:
    scale = layout_of(drawn).meta["scale"]
    bands = [s for s in layout_of(drawn).shapes if s.type == "rect"]
    assert len(bands) == len(list(drawn.select_xaxes()))
    assert all((s.x0, s.x1) == (3.5 * scale, 4.5 * scale) for s in bands)


def test_bands_hold_the_interval_and_hover_says_it() -> None:
    figure = plotting.depth_figure([curve()], n_layers=8, title="t", y_title="y")
    band, line = traces(figure)
    assert band["fill"] == "toself"
    np.testing.assert_allclose(band["y"][:9], results.interval(results.step(4.0))[2])
    hover = line["customdata"]
    assert hover[4].startswith("depth 4 of 8 (50%), after block 3<br>0.50 (0.40 to 0.60)")
    assert hover[0].startswith("depth 0 of 8 (0%), the embedding")


def test_no_interval_no_band() -> None:
    blank = np.full(9, np.nan)
    alone = Curve.from_interval("one prompt", np.arange(9.0), blank, blank, role="lens")
    figure = plotting.depth_figure([alone], n_layers=8, title="t", y_title="y")
    (line,) = traces(figure)
    assert "(" not in line["customdata"][0].partition("<br>")[2]


@pytest.mark.parametrize("n_layers", [1, 2, 3, 10, 12, 24, 32, 80])
def test_ticks_are_few_and_hold_both_ends(n_layers: int) -> None:
    at, labels = plotting.depth_ticks(n_layers)
    assert at[0] == 0
    assert at[-1] == n_layers
    assert len(at) == len(labels) <= 14
    assert labels[-1].startswith(f"{n_layers}<br>")
    gaps = np.diff(at)
    assert gaps.min() * 2 >= gaps.max()


def test_every_colour_has_its_dark_counterpart() -> None:
    for colour in (*colours.PALETTE.values(), colours.INK, colours.MUTED, colours.PAPER):
        assert colour in colours.DARK
    assert colours.dark_colours()["rgba(0,114,178,"].startswith("rgba(")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_words_stand_out_from_the_page(dark: bool) -> None:
    """WCAG AA asks 4.5 for text."""
    ink, muted, paper = (
        colours.DARK[c] if dark else c for c in (colours.INK, colours.MUTED, colours.PAPER)
    )
    for text in (ink, muted):
        low, high = sorted([luminance(text), luminance(paper)])
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_a_marked_depth_is_in_the_legend() -> None:
    figure = plotting.depth_figure([curve(), curve("b")], n_layers=8, title="t", y_title="y")
    plotting.mark_depth(figure, 8, "<identity>", y=0.0)
    mark = traces(figure)[-1]
    assert mark["name"] == "&lt;identity&gt;"
    assert list(mark["x"]) == [8]
