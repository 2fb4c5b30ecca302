"""The lowest versions that pyproject.toml allows, as requirements: `python tools/lowest.py EXTRA ...`

Without torch: old CPU builds of it are on PyTorch's own index alone, so `make test-lowest` takes the
one that is pinned. Without TransformerLens, whose two lines are asked for by name.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ELSEWHERE = ("torch", "transformer-lens")
ROOT = Path(__file__).resolve().parents[1]


def lowest(extras: list[str]) -> list[str]:
    """`name==version` of every direct dependency of lensdepth and of these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    found = []
    for wanted in map(Requirement, lines):
        bounds = [one.version for one in wanted.specifier if one.operator in (">=", "==", "~=")]
        if wanted.name not in ELSEWHERE:
            (bound,) = bounds
            found.append(f"{wanted.name}=={bound}")
    return found


if __name__ == "__main__":
    print("\n".join(lowest(sys.argv[1:])))
