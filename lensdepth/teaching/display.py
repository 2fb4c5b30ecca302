"""Sentences with computed numbers, and figures that every notebook can draw.

Notebooks choose among the forms in which a cell's last value offers itself. A figure offers two:
Plotly's own, which JupyterLab and VS Code draw, and HTML, which Colab and plain Jupyter draw.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PLOTLY_MIME = "application/vnd.plotly.v1+json"


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
    return Prose(" ".join(sentences))


@dataclass(frozen=True, eq=False)
class Shown:
    """A figure in the forms that notebooks draw."""

    figure: "Figure"
    offline: bool = False

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        html = self.figure.to_html(
            full_html=False, include_plotlyjs=True if self.offline else "cdn"
        )
        if self.offline:
            return {"text/html": html}
        return {PLOTLY_MIME: json.loads(str(self.figure.to_json())), "text/html": html}


def show(figure: "Figure", *, offline: bool = False) -> Shown:
    """A figure as the last value of a cell.

    Args:
        figure: what a result's `plot()` gives, or any Plotly figure.
        offline: for where a figure stays blank: the HTML form alone, with plotly.js in it (some
            5 MB a figure). It draws in whatever shows HTML, without a network or an extension.
    Example:
        >>> show(logit_lens(model, task).plot())
    """
    return Shown(figure, offline)
