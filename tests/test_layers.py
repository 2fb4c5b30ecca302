"""Imports run one way, and what must not be in the package is not."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lensdepth"

LEVELS = (
    ("provenance", "storage", "metrics", "polar", "stats", "plotting", "tokens"),
    ("hooks", "residual", "conversion", "loading", "model", "tasks", "roles"),
    ("lens", "geometry", "patching", "ablation"),
    ("transition", "summary"),
    ("prose", "report"),
    ("cli", "__main__"),
)
"""Rooms from the ground up; a room imports lower levels, or rooms further left on its own."""

OUTSIDE = {"bundled": ("tasks", "bundled"), "bundled.card": None, "__init__": None}
"""What stands beside the levels: rooms it may import, None for all."""

FOR_SURFACES_ONLY = {"dash", "typer", "ray"}
ORDER = {
    room: (level, place) for level, rooms in enumerate(LEVELS) for place, room in enumerate(rooms)
}


def room_of(path: Path) -> str:
    """The room that a file belongs to: its module, or its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] == "bundled" and parts[-1] == "card":
        return "bundled.card"
    return parts[0]


def imported(source: str) -> Iterator[str]:
    """Every module that a source imports when it runs, wherever the import stands."""
    tree = ast.parse(source)
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "lensdepth":
                yield from (f"lensdepth.{alias.name}" for alias in node.names)
            else:
                yield node.module


def violations(room: str, source: str) -> list[str]:
    """What a file of this room imports and may not."""
    found = []
    for name in imported(source):
        top, *rest = name.split(".")
        if top == "pickle":
            found.append(f"{room} imports pickle")
        if top in FOR_SURFACES_ONLY and ORDER.get(room, (0, 0))[0] < 4:
            found.append(f"{room} imports {top}")
        if top != "lensdepth" or not rest or rest[0] == room or rest[0] == "__version__":
            continue
        if room in OUTSIDE:
            allowed = OUTSIDE[room]
            if allowed is not None and rest[0] not in allowed:
                found.append(f"{room} imports {rest[0]}")
        elif rest[0] != "bundled" and ORDER[rest[0]] > ORDER[room]:
            found.append(f"{room} imports {rest[0]}, which stands above it")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_run_one_way(path: Path) -> None:
    room = room_of(path)
    assert room in ORDER or room in OUTSIDE, f"give {room} a place in LEVELS"
    assert violations(room, path.read_text()) == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_annotations_are_checked_at_run_time(path: Path) -> None:
    """Postponed annotations would hide shapes from jaxtyping."""
    assert "from __future__ import annotations" not in path.read_text()


@pytest.mark.parametrize(
    ("room", "source", "n"),
    [
        ("metrics", "from lensdepth.model import load_model", 1),
        ("lens", "import typer", 1),
        ("lens", "from lensdepth import metrics, stats", 0),
        ("lens", "def f():\n    from lensdepth import transition", 1),
        ("report", "from lensdepth.cli import main", 1),
        ("geometry", "from lensdepth.lens import logit_lens\nimport pickle", 1),
        ("bundled", "from lensdepth.model import load_model", 1),
        ("ablation", "if TYPE_CHECKING:\n    from lensdepth.report import Report", 0),
    ],
)
def test_the_rule_can_be_broken(room: str, source: str, n: int) -> None:
    assert len(violations(room, source)) == n
