"""Imports run one way, and what must not be in the package is not."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lensdepth"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LEVELS = (
    (
        "outside",
        "finite",
        "units",
        "provenance",
        "arguments",
        "devices",
        "fingerprints",
        "signals",
        "unfinished",
        "writing",
        "storage",
        "metrics",
        "polar",
        "coordinates",
        "telling",
        "covariance",
        "stats",
        "telling.curves",
        "telling.fractions",
        "colours",
        "plotting",
        "intervals",
        "heatmaps",
        "multiples",
        "images",
        "tokens",
        "interface",
        "sending",
        "plain_runs",
        "generation",
        "turns",
        "converted",
        "progress",
        "tally",
        "bounds",
    ),
    (
        "site",
        "edits",
        "outcome",
        "hooks",
        "hook_names",
        "backends",
        "moving",
        "passes",
        "adoption",
        "readout",
        "known",
        "tokenizing",
        "not_finite",
        "residual",
        "reading",
        "standing",
        "weight_files",
        "adapters",
        "beside",
        "packed",
        "gguf",
        "fetchable",
        "fetched",
        "ollama",
        "sources",
        "checkpoint",
        "hooked_settings",
        "conversion",
        "model",
        "loading",
        "untrained",
        "chat",
        "replay",
        "tasks",
        "prompts",
        "captures",
        "sweep",
    ),
    (
        "lens",
        "geometry",
        "patching",
        "circuit",
        "locality",
        "ablation",
        "steering",
        "intervention",
        "parting",
    ),
    (
        "transition",
        "gap",
        "until",
        "settled",
        "mistakes",
        "pairs",
        "continuation",
        "claims",
        "subspaces",
        "confidence",
        "applied",
        "landmarks",
        "dynamics",
        "analysis",
        "analyses",
        "saved",
    ),
    ("report", "scale", "explorer", "teaching"),
    ("cli", "__main__"),
)
"""Rooms from the ground up; a room imports lower levels, or rooms further left on its own."""

OUTSIDE = {"bundled": ("tasks", "bundled", "writing"), "bundled.card": None, "__init__": None}
"""What stands beside the levels: rooms it may import, None for all."""

STUB = ast.parse((PACKAGE / "__init__.pyi").read_text())
PUBLIC = {
    alias.name: (node.module or alias.name).split(".")[0]
    for node in STUB.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
"""Public name -> the room that it stands in."""

FOR_SURFACES_ONLY = {"dash", "typer", "ray", "submitit"}
ORDER = {
    room: (level, place) for level, rooms in enumerate(LEVELS) for place, room in enumerate(rooms)
}


def room_of(path: Path) -> str:
    """The room that a file belongs to: its module, or its folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return placed(parts)


def placed(parts: Sequence[str]) -> str:
    """The room of a dotted name; a file that has a place of its own is one."""
    own = ".".join(parts[:2])
    return own if own in ORDER or own in OUTSIDE else parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports when it runs, wherever the import stands."""
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level + (node.module or "")
            elif node.module == "lensdepth":
                yield from (f"lensdepth.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def home(name: str) -> str:
    """The room that `lensdepth.<name>` stands in, `name` being a module or a public name."""
    return PUBLIC.get(name, name)


def import_faults(room: str, tree: ast.AST) -> Iterator[str]:
    """What a file of this room imports and may not."""
    for name in imported(tree):
        top, *rest = name.split(".")
        if not top:
            yield f"{room} imports {name}: write the module's whole name"
        if top == "pickle":
            yield f"{room} imports pickle"
        if top in FOR_SURFACES_ONLY and ORDER.get(room, (0, 0))[0] < 4:
            yield f"{room} imports {top}"
        if top != "lensdepth":
            continue
        if not rest:
            yield f"{room} imports lensdepth whole: name what is needed"
            continue
        other = home(placed(rest))
        if other in (room, "__version__"):
            continue
        if room in OUTSIDE:
            allowed = OUTSIDE[room]
            if allowed is not None and other not in allowed:
                yield f"{room} imports {other}"
        elif other != "bundled" and (other not in ORDER or ORDER[other] > ORDER[room]):
            yield f"{room} imports {other}, which does not stand below it"


def call_faults(room: str, tree: ast.AST) -> Iterator[str]:
    """What a file of this room calls and may not."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called == "print" and room != "cli":
            yield f"{room} prints; library code logs"
        safe = any(
            keyword.arg == "weights_only" and ast.unparse(keyword.value) == "True"
            for keyword in node.keywords
        )
        if called == "torch.load" and not safe:
            yield f"{room} calls torch.load without weights_only=True"


def faults(room: str, source: str) -> list[str]:
    """Every way in which a file of this room breaks the rules of the house."""
    tree = ast.parse(source)
    return [*import_faults(room, tree), *call_faults(room, tree)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_rules_of_the_house_hold(path: Path) -> None:
    room = room_of(path)
    assert room in ORDER or room in OUTSIDE, f"give {room} a place in LEVELS"
    assert faults(room, path.read_text()) == []


def test_contributing_shows_the_house_as_it_is() -> None:
    """Each room in its place and on its level."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("```\nlensdepth/\n")[2]
    shown = re.findall(r"^  (\S+) +(\d) ", text.partition("```")[0], flags=re.MULTILINE)
    rooms = [
        (name.removesuffix(".py").rstrip("/").replace("/", "."), int(level))
        for name, level in shown
    ]
    assert rooms == [(room, level) for room, (level, _) in ORDER.items() if room != "__main__"]


LONGEST_CHAIN = 20
"""Most files that one import may run through, one importing the next."""
LONGEST_FILE = 400


def imports_at_once() -> dict[str, set[str]]:
    """The package's modules, and those of it that each imports when it is imported itself."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCES
    }
    found: dict[str, set[str]] = {}
    for name, path in names.items():
        asked = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                asked |= {one if one in names else str(node.module) for one in inner}
            elif isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
        found[name] = asked & names.keys() - {name}
    return found


def longest_chain(below: dict[str, set[str]]) -> list[str]:
    """The longest way down from one module to another; an error where modules go round in one."""
    found: dict[str, list[str]] = {}
    for name in TopologicalSorter(below).static_order():
        found[name] = [name, *max((found[other] for other in below[name]), key=len, default=[])]
    return max(found.values(), key=len)


def test_the_way_through_the_house_is_short() -> None:
    chain = longest_chain(imports_at_once())
    assert len(chain) <= LONGEST_CHAIN, " > ".join(chain)


def test_a_chain_is_counted_and_a_circle_found() -> None:
    below = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert longest_chain(below) == ["a", "b", "c"]
    with pytest.raises(CycleError):
        longest_chain(below | {"c": {"a"}})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


SWEEPS = {
    "patching", "circuit", "locality", "ablation", "steering", "intervention", "replay",
    "subspaces", "confidence", "applied",
}  # fmt: skip
"""Rooms that run models; what only reckons with their results imports none of them."""
RECKONING = [
    *sorted((PACKAGE / "transition").glob("*.py")),
    *(PACKAGE / "claims" / f"{name}.py" for name in ("statements", "verdict", "estimate")),
    *(PACKAGE / "claims" / f"{name}.py" for name in ("place", "places", "models")),
    *(PACKAGE / "claims" / f"{name}.py" for name in ("states", "zones", "coupling", "norms")),
]


@pytest.mark.parametrize("path", RECKONING, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_reckons_with_profiles_runs_no_sweep(path: Path) -> None:
    rooms = {name.split(".")[1] for name in imported(ast.parse(path.read_text())) if "." in name}
    assert not rooms & SWEEPS


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_annotations_are_checked_at_run_time(path: Path) -> None:
    """Postponed annotations would hide shapes from jaxtyping."""
    assert "from __future__ import annotations" not in path.read_text()


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("datasets", "explorer", "figures", "gguf", "peft", "ray", "slurm")
"""Those whose packages are imported by name; bitsandbytes is imported by transformers."""
BEHIND_EXTRAS = ("explorer", "scale/engines/ray.py", "scale/engines/slurm.py")
"""Rooms and files that only those open who have their extra."""


# Some packages are not called what they are imported as: scikit-learn is sklearn.
PACKAGES = packages_distributions()  # a second, so once


def declared(lines: list[str]) -> set[str]:
    """Names of packages, as modules are written."""
    names = (re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines)
    return {name.lower().replace("-", "_") for name in names}


def packages_of(sources: list[ast.Module]) -> dict[str, set[str]]:
    """Every module of others that is imported, with the packages that have it."""
    tops = {name.partition(".")[0] for source in sources for name in imported(source)}
    return {
        top: {name.lower().replace("-", "_") for name in PACKAGES.get(top, [top])}
        for top in tops - sys.stdlib_module_names - {"lensdepth"}
    }


def test_every_import_is_a_declared_dependency_and_every_dependency_is_imported() -> None:
    base = declared(PROJECT["dependencies"])
    extras = [line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra]]
    found = packages_of([ast.parse(path.read_text()) for path in SOURCES])
    known = base | declared(extras)
    assert {top for top, names in found.items() if not names & known} == set()
    assert base - set().union(*found.values()) == set()


def test_what_an_extra_brings_is_imported_where_it_is_needed_alone() -> None:
    base = declared(PROJECT["dependencies"])
    for path in SOURCES:
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(BEHIND_EXTRAS):
            body = ast.parse(path.read_text()).body
            first: list[ast.stmt] = [
                one for one in body if isinstance(one, ast.Import | ast.ImportFrom)
            ]
            found = packages_of([ast.Module(first, [])])
            assert {top for top, names in found.items() if not names & base} == set(), place


@pytest.mark.parametrize(
    ("room", "source", "n"),
    [
        ("metrics", "from lensdepth.model import load_model", 1),
        ("metrics", "from lensdepth import load_model", 1),
        ("metrics", "from lensdepth.attic import relic", 1),
        ("metrics", "import lensdepth", 1),
        ("report", "from .cli import main", 1),
        ("report", "from . import cli", 1),
        ("lens", "import typer", 1),
        ("lens", "from lensdepth import metrics, stats, load_model", 0),
        ("lens", "def f():\n    from lensdepth import transition", 1),
        ("report", "from lensdepth.cli import main", 1),
        ("report", "import dash", 0),
        ("geometry", "from lensdepth.lens import logit_lens\nimport pickle", 1),
        ("bundled", "from lensdepth.model import load_model", 1),
        ("bundled", "from lensdepth.tasks import calendar", 0),
        ("ablation", "if TYPE_CHECKING:\n    from lensdepth.report import Report", 0),
        ("ablation", "if TYPE_CHECKING:\n    pass\nelse:\n    from lensdepth import report", 1),
        ("lens", "print('here')", 1),
        ("cli", "print('here')", 0),
        ("loading", "import torch\ntorch.load('weights.pt')", 1),
        ("loading", "import torch\ntorch.load('weights.pt', weights_only=False)", 1),
        ("loading", "import torch\ntorch.load('weights.pt', weights_only=True)", 0),
    ],
)
def test_the_rules_can_be_broken(room: str, source: str, n: int) -> None:
    assert len(faults(room, source)) == n
