"""What stands in tools/: which torch an environment gets, and which versions are the lowest."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from blocks import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

INDEX = "https://index.example/cpu"
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
)


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A folder with what the script calls, and a `python` that notes what pip was to install.

    It has the torch that `there` names, and finds one where `found` says: "" beside, or at INDEX.
    """
    python = tmp_path / "python"
    python.write_text(
        f"""#!/bin/sh
[ "$3" = show ] && {{ sed 's/^/Version: /' {tmp_path}/there; exit 0; }}
echo "$*" >> {tmp_path}/asked
grep -q . {tmp_path}/found || exit 0
case "$*" in *"$(cat {tmp_path}/found)"*) exit 0 ;; *) echo loud >&2; exit 1 ;; esac
"""
    )
    python.chmod(0o755)
    for name in ("sh", "sed", "grep", "cat"):
        found = next(p for p in ("/usr/bin", "/bin") if os.access(f"{p}/{name}", os.X_OK))
        (tmp_path / name).symlink_to(f"{found}/{name}")
    uname = tmp_path / "uname"
    uname.write_text("#!/bin/sh\necho Linux\n")
    uname.chmod(0o755)
    for name in ("there", "found", "asked"):
        (tmp_path / name).write_text("")
    return tmp_path


def cpu_torch(folder: Path) -> tuple[int, list[str], str]:
    """Exit code, what pip was asked to install, and what is said."""
    done = subprocess.run(
        [folder / "sh", "tools/cpu_torch.sh", folder / "python"],
        cwd=ROOT,
        env={"PATH": str(folder), "CPU_INDEX": INDEX},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (folder / "asked").read_text().splitlines(), done.stdout + done.stderr


def test_the_cpu_build_is_asked_for_by_name_and_at_the_index_only_where_it_is_not_beside(
    environment: Path,
) -> None:
    code, asked, said = cpu_torch(environment)
    assert (code, len(asked), said) == (0, 1, "")
    assert asked[0].endswith(f" torch=={PINS['torch']}+cpu")
    assert INDEX not in asked[0]
    (environment / "asked").write_text("")
    (environment / "found").write_text(INDEX)
    code, asked, said = cpu_torch(environment)
    assert (code, [INDEX in line for line in asked], said) == (0, [False, True], "")


def test_without_a_cpu_build_one_line_says_what_to_do(environment: Path) -> None:
    (environment / "found").write_text("nowhere")
    code, asked, said = cpu_torch(environment)
    assert (code, len(asked), said.count("\n")) == (1, 2, 1)
    assert "TORCH_INDEX=URL" in said
    assert "CUDA=1" in said


def test_nothing_is_installed_where_torch_is_there_or_a_gpu(environment: Path) -> None:
    for there in (PINS["torch"], f"{PINS['torch']}+cu130"):
        (environment / "there").write_text(f"{there}\n")
        assert cpu_torch(environment) == (0, [], "")
    (environment / "there").write_text("2.0.0\n")
    assert len(cpu_torch(environment)[1]) == 1
    (environment / "asked").write_text("")
    gpu = environment / "nvidia-smi"
    gpu.write_text("#!/bin/sh\n")
    gpu.chmod(0o755)
    code, asked, said = cpu_torch(environment)
    assert (code, asked, "TORCH_INDEX" in said) == (0, [], True)


def test_pins_and_lowest_versions_lie_within_the_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    ranges = {str(canonicalize_name(one.name)): one.specifier for one in map(Requirement, lines)}
    pins = {str(canonicalize_name(name)): version for name, version in PINS.items()}
    done = subprocess.run(
        [sys.executable, "tools/lowest.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lowest = dict(line.split("==") for line in done.stdout.splitlines())
    base = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert base <= {canonicalize_name(name) for name in lowest}
    for name, version in [*pins.items(), *lowest.items()]:
        wanted = ranges.get(canonicalize_name(name))
        assert wanted is None or wanted.contains(version), (name, version)
    assert lowest["torch"] == pins["torch"]
    assert re.search(rf">={re.escape(lowest['typer'])}\b", str(ranges["typer"]))
