"""Tokens as readers see them: letter by letter, with signs for what would not show.

`·` stands for a space in front, which most tokens have; spaces inside or behind stay as they are.
Text comes out unescaped: whoever shows it as HTML escapes it.
"""

from lensdepth.outside import visible

NOTHING = "∅"
"""Stands for a token without any text."""


def signed(token: str, limit: int | None = None) -> str:
    """A token with signs for white space, cut to `limit` characters."""
    text = visible(token)
    if not text.strip():
        text = "·" * len(text) or NOTHING
    elif text.startswith(" "):
        text = "·" + text[1:]
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return text
