"""Figures as SVG, PDF and PNG for print: sized to one column or two, with nothing cut off.

Plotly draws them in a browser, by kaleido 1 or later, which is an extra (`lensdepth[figures]`), and
a Chrome or Chromium that is on this computer. Nothing is fetched.
"""

import asyncio
import html
import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import plotly.graph_objects as go

from lensdepth.outside import outside, shown
from lensdepth.plotting import KEYS_AFTER, depth_ticks, layout_of

Width = Literal["one", "two"]
"""Columns of a page that a figure takes."""
INCHES: dict[Width, float] = {"one": 3.3, "two": 7.0}
DRAWN: dict[Width, int] = {"one": 440, "two": 900}
"""Pixels in which it is laid out: letters of 12.5 of them are 6.8 and 7 points on paper."""
FORMATS = ("svg", "pdf", "png")
PER_INCH = 96
"""Pixels of a browser."""
DOTS = 300
"""Of a PNG, an inch."""
LINE, LETTER, STROKE = 17, 7.0, 9.5
"""Pixels of a line of text, and of a letter and a stroke of it, or less."""
STROKES = "━╍\u2003"
HIGHEST = 9.0
"""Inches: no figure is higher than a page."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TITLE_HEIGHT = 40
"""Pixels of a figure's own title; on paper its caption has it."""


def check_images(*, caller: str) -> None:
    """Find out before any work whether figures can be written as images.

    Raises:
        ImportError: kaleido is not here, or an old one is; says what to install.
        FileNotFoundError: there is no Chrome or Chromium.
    """
    try:
        here = version("kaleido")
    except PackageNotFoundError:
        here = ""
    if not here or int(here.partition(".")[0]) < 1:
        found = f"kaleido {here} is older than 1" if here else "kaleido is not installed"
        raise ImportError(
            f"{caller}: figures as images need kaleido, and {found}: pip install "
            f'"lensdepth[figures]".'
        )
    named = os.environ.get("BROWSER_PATH")
    if named and not os.access(named, os.X_OK):
        raise FileNotFoundError(
            f"{caller}: BROWSER_PATH is {shown(named)}, which is no program; name a Chrome or "
            f"Chromium, or unset it."
        )
    if find_browser() is None:
        raise FileNotFoundError(
            f"{caller}: figures as images need Chrome or Chromium, and there is none: install one "
            f"(on Debian apt install chromium), or name it in BROWSER_PATH."
        )


def find_browser() -> str | None:
    """The browser that draws: that of `BROWSER_PATH`, or the first one that is installed."""
    named = os.environ.get("BROWSER_PATH")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def images(figures: Sequence[go.Figure], *, width: Width = "one") -> list[dict[str, bytes]]:
    """Each figure as SVG, PDF and PNG, by format.

    Raises:
        ImportError, FileNotFoundError: see `check_images`.
        ValueError: what the browser says.
    """
    check_images(caller="images")
    laid_out = [for_print(figure, width=width) for figure in figures]
    with ThreadPoolExecutor(1) as own:  # a notebook has a loop of its own in this thread
        drawn = own.submit(asyncio.run, _draw(laid_out, width)).result()
    return [
        {**one, "svg": _in_inches(one["svg"], figure, width)}
        for one, figure in zip(drawn, laid_out, strict=True)
    ]


async def _draw(figures: Sequence[go.Figure], width: Width) -> list[dict[str, bytes]]:
    import kaleido

    found = []
    with outside("figures cannot be drawn"):
        # No MathJax: it would be fetched, and no text of ours is mathematics.
        async with kaleido.Kaleido(n=1, mathjax=False, path=find_browser()) as browser:
            for figure in figures:
                on_paper = INCHES[width] * PER_INCH / layout_of(figure).width
                scales = {"svg": 1.0, "pdf": on_paper, "png": on_paper * DOTS / PER_INCH}
                one = {}
                for name in FORMATS:
                    opts: Any = {
                        "format": name, "width": layout_of(figure).width,
                        "height": layout_of(figure).height, "scale": scales[name],
                    }  # fmt: skip
                    one[name] = await browser.calc_fig(figure.to_plotly_json(), opts=opts)
                found.append(one)
    return found


def _in_inches(svg: bytes, figure: go.Figure, width: Width) -> bytes:
    """The SVG with the size that it has on paper; what is in it keeps its coordinates."""
    across, down = layout_of(figure).width, layout_of(figure).height
    high = INCHES[width] * down / across
    root = re.compile(rb"<svg[^>]*>")
    found = root.search(svg)
    assert found is not None
    tag = re.sub(rb'\s(width|height|viewBox)="[^"]*"', b"", found[0])
    size = f' width="{INCHES[width]}in" height="{high:.4f}in" viewBox="0 0 {across} {down}"'
    return svg[: found.start()] + tag[:-1] + size.encode() + b">" + svg[found.end() :]


def for_print(figure: go.Figure, *, width: Width = "one") -> go.Figure:
    """The figure laid out for paper: its width, without its title, keys and ticks that fit.

    A map that needs more room than its columns have is laid out wider, with smaller letters.
    """
    paper = go.Figure(figure)
    layout = layout_of(paper)
    across = max(DRAWN[width], layout.width or 0)
    top, bottom = (layout.margin.t or 80) - TITLE_HEIGHT, (layout.margin.b or 80) + LINE // 2
    layout.sliders = ()
    paper.update_layout(
        title=None, width=across, height=(layout.height or 450) - TITLE_HEIGHT + LINE // 2,
        margin_t=max(top, 30), margin_b=bottom, paper_bgcolor="white", plot_bgcolor="white",
    )  # fmt: skip
    paper.update_yaxes(automargin=True)
    paper.update_xaxes(title_font_size=12.5)
    paper.update_yaxes(title_font_size=12.5)
    _thin_ticks(paper, across)
    _break_headings(paper, across - 24)
    _break_axes(paper)
    paper.update_layout(height=min(layout.height, int(HIGHEST / INCHES[width] * across)))
    _break_legend(paper, across)
    return paper


def _grow(figure: go.Figure, lines: int, *, top: bool = False) -> None:
    """Room for more lines above or below what is drawn."""
    margin, more = layout_of(figure).margin, lines * LINE
    figure.update_layout(height=layout_of(figure).height + more)
    figure.update_layout(
        {"margin_t" if top else "margin_b": (margin.t if top else margin.b) + more}
    )


def _thin_ticks(figure: go.Figure, across: int) -> None:
    """Fewer depths on an axis of depths, as many as have room."""
    meta = layout_of(figure).meta or {}
    if "n_layers" not in meta:
        return
    at, _ = depth_ticks(meta["n_layers"], most=max(3, min(12, (across - 90) // 46)))
    figure.update_xaxes(
        tickvals=[depth * meta["scale"] for depth in at],
        ticktext=[meta["labels"][depth] for depth in at],
    )


def _break_headings(figure: go.Figure, room: float | int) -> None:
    """A panel's heading and the keys behind it on as many lines as they need."""
    most = 2
    notes: Any = layout_of(figure).annotations
    for note in notes:
        heading, found, keys = (note.text or "").partition(f"</b>{KEYS_AFTER}")
        if not found or text_width(note.text) <= room:
            continue
        lines = [f"{heading}</b>", *packed(keys.split("\u2002"), room)]
        note.text = "<br>".join(lines)
        most = max(most, len(lines))
    _grow(figure, most - 2, top=True)


def _break_legend(figure: go.Figure, across: int) -> None:
    """Room for the lines of a legend that lies below the figure; two of them it has."""
    if not layout_of(figure).showlegend or (layout_of(figure).legend.orientation or "v") != "h":
        return
    traces: Any = figure.data
    names = dict.fromkeys(
        trace.name for trace in traces if trace.name and trace.showlegend is not False
    )
    margin = layout_of(figure).margin
    room = across - (margin.l or 0) - (margin.r or 0)
    lines = packed([f"------{name}" for name in names], room)
    extra = max(0, len(lines) - 2)
    height, below = layout_of(figure).height, layout_of(figure).legend.y
    inner = height - margin.t - margin.b
    _grow(figure, extra)
    if below is not None and below < 0:  # as far below the axis as before
        now = layout_of(figure).height - layout_of(figure).margin.t - layout_of(figure).margin.b
        figure.update_layout(legend_y=below * inner / now)


def _break_axes(figure: go.Figure) -> None:
    """Titles of axes on two lines where one has no room for them."""
    margin, broken = layout_of(figure).margin, False
    room = layout_of(figure).width - (margin.l or 80) - (margin.r or 80)
    axes: Any = figure.select_xaxes()
    for axis in axes:
        share = (axis.domain[1] - axis.domain[0]) if axis.domain else 1.0
        text = axis.title.text
        if text and text_width(text) > share * room:
            words = text.split(" ")
            half = (len(words) + 1) // 2
            axis.title.text = f"{' '.join(words[:half])}<br>{' '.join(words[half:])}"
            broken = True
    _grow(figure, int(broken))


def text_width(text: str) -> float:
    """Pixels that a text with markup takes, or less."""
    plain = html.unescape(re.sub(r"<[^>]*>", "", text))
    strokes = sum(letter in STROKES for letter in plain)
    return LETTER * (len(plain) - strokes) + STROKE * strokes


def packed(keys: Sequence[str], room: float | int) -> list[str]:
    """Keys side by side on as few lines as have room for them."""
    lines: list[str] = []
    for key in keys:
        if lines and text_width(f"{lines[-1]}  {key}") <= room:
            lines[-1] += f"\u2002{key}"
        else:
            lines.append(key)
    return lines
