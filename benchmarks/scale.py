"""Sweeps: two Ray workers against one, and memory from a hundred to ten thousand prompts.

    python -m benchmarks.scale --workers --memory --out out/bench/scale.json

Workers: a Ray cluster of two CPUs is started once; sweeps of one model run on one actor and on two,
in turns, one thread each. What is timed is the work itself, from the first shard to the last, when
all actors hold the model; loading is told beside it. Memory: one sweep a process, of the lens
alone, since other analyses take more of the same for each pair; its peak resident memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import memory_gib
from lensdepth import run_sweep

PROMPTS = (100, 1000, 10_000)


def workers_config(model: str, pairs: int, workers: int) -> dict[str, Any]:
    """Many shards of equal size."""
    return {
        "pairs_per_shard": 32,
        "models": [{"model": model}],
        "tasks": [{"task": "months", "template": "all", "n": pairs}],
        "analyses": [{"analysis": "ablate"}],
        "ray": {"workers": workers},
    }


def timed(model: str, pairs: int, workers: int) -> dict[str, float]:
    """Seconds of a sweep: between the first receipts of all workers and the last, and in all.

    The pairs of the shards that are done before all actors are at work are not counted.
    """
    begun = time.perf_counter()
    ended: list[float] = []
    took: list[float] = []

    def watch(event: dict[str, Any]) -> None:
        if event["event"] == "shard":
            ended.append(time.perf_counter())
            took.append(event["seconds"])

    with tempfile.TemporaryDirectory() as folder:
        config = workers_config(model, pairs, workers)
        run_sweep(config, Path(folder) / "out", engine="ray", watch=watch)
    whole = time.perf_counter() - begun
    warm = 2 * workers  # shards in which actors begin
    window = ended[-1] - ended[warm]
    return {
        "shards_per_second": (len(ended) - 1 - warm) / window,
        "busy": sum(took[warm + 1 :]) / window / workers,  # of the time, whoever else has the cores
        "seconds": whole,
    }


def of_workers(model: str, pairs: int, repeats: int) -> dict[str, Any]:
    """One worker and two, in turns."""
    # Ray's workers give way to all other processes (15), which is no measure of two of them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    load = []
    for _ in range(repeats):
        for workers in found:
            load.append(os.getloadavg()[0])
            found[workers].append(timed(model, pairs, workers))
    ray.shutdown()
    rates = {
        n: statistics.median(one["shards_per_second"] for one in runs) for n, runs in found.items()
    }
    whole = {n: statistics.median(one["seconds"] for one in runs) for n, runs in found.items()}
    return {
        "model": model, "pairs": pairs, "runs": {str(n): runs for n, runs in found.items()},
        "times_faster": rates[2] / rates[1], "times_faster_with_start": whole[1] / whole[2],
        "load_before": load,
    }  # fmt: skip


def write_prompts(path: Path, n: int) -> None:
    """So many pairs of prompts that the bundled models read."""
    months = ["January", "February", "March", "April", "May", "June", "July", "August"]
    with path.open("w") as file:
        for i in range(n):
            one, other = months[i % 8], months[(i + 1 + i // 8 % 7) % 8]
            row = {
                "clean": f"Two months from {one} is", "corrupted": f"Two months from {other} is",
                "target": months[(i + 2) % 8], "foil": months[(i + 3) % 8], "row": i % 50,
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")


def memory_of(n: int) -> float:
    """MiB at the peak of a process that sweeps so many prompts; asked in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_prompts(place / "p.jsonl", n)
        config = {
            "pairs_per_shard": 50,
            "models": [{"model": "tiny"}],
            "tasks": [{"prompts": str(place / "p.jsonl")}],
            "analyses": [{"analysis": "lens"}],
        }
        made = run_sweep(config, place / "out")
        made.write_table(place / "t.parquet")
    return 2**10 * memory_gib("VmHWM")


def of_memory() -> dict[str, float]:
    """Peak memory by number of prompts."""
    found = {}
    for n in PROMPTS:
        asked = [sys.executable, "-m", "benchmarks.scale", "--one", str(n)]
        done = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True)
        found[str(n)] = float(done.stdout.split()[-1])
    return found


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", type=int)
    parser.add_argument("--model", default="calendar")
    parser.add_argument("--pairs", type=int, default=960)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.one:
        print(memory_of(given.one))
        return
    found: dict[str, Any] = {}
    if given.memory:
        found["peak_mib"] = of_memory()
    if given.workers:
        found["workers"] = of_workers(given.model, given.pairs, given.repeats)
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
