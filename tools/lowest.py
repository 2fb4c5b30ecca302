"""What `make test-lowest` installs: direct dependencies at the lowest version that is allowed.

    python tools/lowest.py > constraints

Tools of the tests keep their pins, and so does torch, whose old CPU builds pip's own index lacks.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("datasets", "explorer", "gguf", "peft")
"""Those that the tests bring along."""
PINNED = ("torch",)


def lowest() -> list[str]:
    """A line `name==version` each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    found = []
    for wanted in map(Requirement, lines):
        if wanted.name not in PINNED:
            (bound,) = (one.version for one in wanted.specifier if one.operator == ">=")
            found.append(f"{wanted.name}=={bound}")
    tools = {canonicalize_name(Requirement(line).name) for line in (*PINNED, *extras["test"])}
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    return found + [pin for pin in pins if canonicalize_name(pin.partition("==")[0]) in tools]


if __name__ == "__main__":
    print("\n".join(lowest()))
