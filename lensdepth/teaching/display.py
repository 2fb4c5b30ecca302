"""Sentences with computed numbers, and figures and tables that every notebook can draw.

Notebooks choose among the forms in which a cell's last value offers itself. A figure offers two:
Plotly's own, which JupyterLab and VS Code draw, and HTML, which Colab and plain Jupyter draw.

Run as a script (`python notebooks/01_the_residual_stream.py`) nobody looks at last values. There
sentences and tables are printed, and of a figure its title: a line where it would stand, or its
file, if `LENSDEPTH_FIGURES` names a folder.
"""

import html
import itertools
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lensdepth.writing import write_text

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from rich.console import Console, RenderableType

PLOTLY_MIME = "application/vnd.plotly.v1+json"
FOLDER = "LENSDEPTH_FIGURES"
"""The variable of the environment that names a folder for a script's figures."""
NARROWEST = 100
"""Columns for what is written where no terminal says how many it has."""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Prose:
    """Markdown that a notebook renders."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def say(*sentences: str) -> Prose:
    """Sentences, or paragraphs with blank lines in them, as the last value of a cell.

    Example:
        >>> say(f"The norm grows by a factor of {growth:.1f}.")
    """
    prose = Prose(" ".join(sentences))
    if in_script():
        from rich.markdown import Markdown

        write(Markdown(prose.text))
    return prose


@dataclass(frozen=True, eq=False)
class Shown:
    """A figure in the forms that notebooks draw."""

    figure: "Figure"
    offline: bool = False

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        page = self.figure.to_html(
            full_html=False, include_plotlyjs=True if self.offline else "cdn"
        )
        if self.offline:
            return {"text/html": page}
        return {PLOTLY_MIME: json.loads(str(self.figure.to_json())), "text/html": page}


@overload
def show(shown: "pd.DataFrame", *, offline: bool = False) -> "pd.DataFrame": ...
@overload
def show(shown: "Figure", *, offline: bool = False) -> Shown: ...
def show(shown: "Figure | pd.DataFrame", *, offline: bool = False) -> "Shown | pd.DataFrame":
    """A figure or a table as the last value of a cell.

    Args:
        shown: what a result's `plot()` gives, any Plotly figure, or a table, which is given back.
        offline: for where a figure stays blank: the HTML form alone, with plotly.js in it (some
            5 MB a figure). It draws in whatever shows HTML, without a network or an extension.
    Example:
        >>> show(logit_lens(model, task).plot())
    """
    import pandas as pd

    if isinstance(shown, pd.DataFrame):
        if in_script():
            write(_table(shown))
        return shown
    if in_script():
        write_line(_stand_in(shown))
    return Shown(shown, offline)


def in_script() -> bool:
    """Whether a file is run: Python's own prompt, IPython's and every kernel set `sys.ps1`."""
    return not hasattr(sys, "ps1")


def write_line(text: str) -> None:
    """One line on standard output, however long, with a blank one behind it."""
    _console().print(text, "", sep="\n", markup=False, highlight=False, soft_wrap=True)


def write(rendered: "RenderableType") -> None:
    """Something of several lines on standard output, with a blank one behind it."""
    _console().print(rendered, "")


def _console() -> "Console":
    from rich.console import Console

    # Made anew each time: standard output may have been put elsewhere meanwhile.
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=NARROWEST)


def _table(frame: "pd.DataFrame") -> "RenderableType":
    """Columns beside one another, long words within them broken into lines."""
    from rich import box
    from rich.table import Table

    named = frame.index.names != [None]
    table = Table(box=box.SIMPLE_HEAD)
    held = frame.reset_index() if named else frame
    for name in held.columns:
        side = "right" if held[name].dtype.kind in "fiu" else "left"
        table.add_column(str(name), justify=side, overflow="fold")
    for row in held.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> Any:
    from rich.text import Text

    if isinstance(value, float):
        return Text("–" if value != value else f"{value + 0.0:g}")  # no minus before a zero
    return Text(str(value))


def _stand_in(figure: "Figure") -> str:
    """Where a figure would stand, or where it was written to."""
    number = next(_numbers)
    # Titles are HTML to Plotly.
    title = html.unescape(re.sub(r"<.*?>", " ", figure.layout.title.text or ""))  # type: ignore[union-attr]
    said = f"Figure {number}" + (f": {title}" if title else "")
    folder = os.environ.get(FOLDER)
    if not folder:
        return f"[{said}. {FOLDER}=FOLDER writes figures there.]"
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{Path(sys.argv[0]).stem or 'figure'}-{number:02d}.html"
    write_text(path, figure.to_html(include_plotlyjs=True))
    return f"[{said}: {path}]"
