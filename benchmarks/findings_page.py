"""docs/findings.md, made of the files of docs/findings/."""

from typing import Any


def page(records: list[dict[str, Any]]) -> str:
    """The whole page."""
    return ""
