"""Colours, and what all figures share: paper, font, texts that Plotly cannot read as markup.

Names and titles may come from users: they are made inert, because Plotly reads a subset of HTML.
"""

import html
from typing import Any

PALETTE = {
    "input": "#0072B2", "prediction": "#D55E00", "full": "#444444", "direction": "#009E73",
    "norm": "#CC79A7", "control": "#999999", "lens": "#0072B2", "entropy": "#E69F00",
    "agree": "#009E73", "zone": "#E8B23A", "lens_zone": "#56B4E9",
}  # fmt: skip
"""Okabe and Ito's colours, which colour-blind readers can tell apart."""

INK, MUTED, RULE, PAPER = "#1B1F24", "#5A6472", "#E1E5EA", "#FFFFFF"

DARK = {
    INK: "#E6E9ED", MUTED: "#A3ADBA", RULE: "#30363F", PAPER: "#15181D",
    "#0072B2": "#5CB8F0", "#D55E00": "#FF9A57", "#444444": "#C9CED6", "#009E73": "#35CFA3",
    "#CC79A7": "#EBA6CB", "#999999": "#8B93A0", "#E69F00": "#F4BD4A", "#E8B23A": "#D9A62E",
    "#56B4E9": "#4A97C9",
    # Maps: what is pale on white is near black here.
    "#F7F7F5": "#1D2229", "#BFE0F4": "#22455C", "#6DBDEB": "#2A6B91", "#7FB9DA": "#2F6F96",
    "#F0A977": "#9A5A2C",
}  # fmt: skip
"""What each colour becomes on a dark page."""


def inert(text: str) -> str:
    """The text as Plotly will show it letter by letter: no tag, link or entity is read."""
    return html.escape(text, quote=False)


def _channels(colour: str) -> str:
    """`rgba(1,2,3,`: a colour without its opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},"


def rgba(colour: str, alpha: float) -> str:
    """A colour with an opacity."""
    return f"{_channels(colour)}{alpha})"


def dark_colours() -> dict[str, str]:
    """Every spelling of a light colour in a figure's JSON, and what it becomes on a dark page."""
    return DARK | {_channels(light): _channels(dark) for light, dark in DARK.items()}


def house_layout(title: str, *, font_size: float = 12.5) -> dict[str, Any]:
    """Title (inert already), paper, font and hover label, which all figures share."""
    return {
        "title": {
            "text": title,
            "font": {"size": 17},
            "x": 0.012,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 14},
        },
        "template": "none",
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif",
            "size": font_size,
            "color": INK,
        },
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": RULE, "font": {"color": INK}},
    }


def house_note(
    text: str, *, y: float = 1.0, right: bool = False, colour: str = INK
) -> dict[str, Any]:
    """Text (inert already) set level above a height of the paper, at its left or right end."""
    return {
        "text": text,
        "x": int(right),
        "xref": "paper",
        "xanchor": "right" if right else "left",
        "y": y,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12.5, "color": colour},
    }
