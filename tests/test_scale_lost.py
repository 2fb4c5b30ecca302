"""Nothing of a sweep is lost: kills at random moments, full disks, workers that die."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lensdepth import Sweep, run_sweep
from lensdepth.unfinished import LOCK

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]
CONFIG: dict[str, Any] = {
    "pairs_per_shard": 4,
    "models": [{"model": "tiny"}],
    "tasks": [{"task": "months", "n": 24, "template": "all"}],
    "analyses": [{"analysis": "lens"}, {"analysis": "patch"}],
}


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """36 strikes on 12 sweeps, each three times in a row; see `swept`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.swept", tmp_path], cwd=ROOT, check=True, text=True,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    tally = told["tally"]
    assert tally["SIGKILL: struck"] >= 12
    assert tally["SIGTERM: struck"] >= 12


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few parts."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("mounting a small file system needs root and Linux")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_a_sweep_which_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    whole = run_sweep(CONFIG, tmp_path / "whole")
    whole.write_table(tmp_path / "whole.parquet")
    folder = small_disk / "out"
    with pytest.raises(OSError, match=r"cannot be written: No space left on device"):
        run_sweep(CONFIG, folder)
    there = Sweep.open(folder)
    n_missing = len(there.missing)
    assert 0 < n_missing < len(there.shards)
    grow = ["mount", "-o", "remount,size=10m", str(small_disk)]
    subprocess.run(grow, check=True)
    events: list[dict[str, Any]] = []
    run_sweep(CONFIG, folder, watch=events.append).write_table(tmp_path / "after.parquet")
    assert sum(event["event"] == "shard" for event in events) == n_missing
    assert {path.name for path in folder.rglob(".*")} <= {LOCK}
    after, before = ((tmp_path / f"{n}.parquet").read_bytes() for n in ("after", "whole"))
    assert after == before
