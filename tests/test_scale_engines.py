"""Ray and Slurm give what the local engine gives, to the bit, also when a worker dies."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from lensdepth import Sweep, run_sweep
from lensdepth.scale.config import read_config
from lensdepth.scale.work import Item

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[1]
CONFIG: dict[str, Any] = {
    "pairs_per_shard": 2,
    "models": [{"model": "tiny", "dtypes": ["float32", "bfloat16"]}],
    "tasks": [{"task": "months", "n": 16, "template": "all", "keep": "correct"}],
    "analyses": [{"analysis": "lens"}, {"analysis": "ablate"}],
    "ray": {"workers": 2},
    "slurm": {"cluster": "local", "jobs": 3, "parameters": {"timeout_min": 5}},
}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of an undisturbed run in this process."""
    root = tmp_path_factory.mktemp("local")
    return table(run_sweep(CONFIG, root / "out"))


@pytest.fixture(autouse=True)
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of others import what is tested here."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster of this machine, of two CPUs."""
    ray = pytest.importorskip("ray", reason="lensdepth[ray] is not installed")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def table(made: Sweep) -> bytes:
    path = made.folder.with_suffix(".parquet")
    made.write_table(path)
    return path.read_bytes()


def actors() -> list[psutil.Process]:
    """Processes of Ray, of this cluster alone, in which workers sit."""
    mine = psutil.Process().children(recursive=True)
    return [one for one in mine if "MapWorker" in " ".join(one.cmdline())]


def test_ray_gives_the_same_table_when_a_worker_is_killed(
    cluster: None, local: bytes, tmp_path: Path
) -> None:
    killed: list[int] = []
    events: list[dict[str, Any]] = []

    def watch(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "shard" and not killed:
            there = actors()
            assert len(there) == 2
            killed.append(there[0].pid)
            there[0].kill()

    made = run_sweep(CONFIG, tmp_path / "out", engine="ray", watch=watch)
    assert killed
    assert not psutil.pid_exists(killed[0])
    done = [event["shard"] for event in events if event["event"] == "shard"]
    assert sorted(done) == [shard.number for shard in made.shards]
    assert table(made) == local


def test_slurm_gives_the_same_table(local: bytes, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="lensdepth[slurm] is not installed")
    made = run_sweep(CONFIG, tmp_path / "out", engine="slurm")
    assert table(made) == local


def test_a_job_that_is_requeued_does_only_what_is_left(local: bytes, tmp_path: Path) -> None:
    """What submitit does with a job at its time limit: `checkpoint`, and the same job again."""
    submitit = pytest.importorskip("submitit", reason="lensdepth[slurm] is not installed")
    from lensdepth.scale.engines.slurm import Job
    from lensdepth.scale.work import Worker, items_of

    made = run_sweep(CONFIG, tmp_path / "out")
    gone, *kept = made.shards[:4]
    (made.folder / gone.receipt).unlink()
    before = {one.receipt: (made.folder / one.receipt).read_bytes() for one in kept}
    worker = Worker(config=read_config(CONFIG), folder=made.folder, manifest=made.manifest)
    job, items = Job(worker), items_of([gone, *kept])
    again = job.checkpoint(items)
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    answers = [json.loads(answer) for answer in again.function(*again.args)]
    assert [answer["shard"] for answer in answers] == [gone.number, *(one.number for one in kept)]
    assert all((made.folder / name).read_bytes() == data for name, data in before.items())
    assert table(made) == local


def test_jobs_are_of_neighbours_and_of_one_model() -> None:
    pytest.importorskip("submitit", reason="lensdepth[slurm] is not installed")
    from lensdepth.scale.engines.slurm import _batches

    items = [Item(do="run", model=model) for model in (0, 0, 0, 1, 1, 2)]
    models = [[item.model for item in batch] for batch in _batches(items, 3)]
    assert models == [[0, 0], [0], [1, 1], [2]]
