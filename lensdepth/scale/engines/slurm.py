"""By Slurm, through submitit: the items in a job array, which Slurm requeues when it must.

A job does several items, so that a model is loaded once for them. One that is preempted or runs
out of its time goes back into the queue as it was: what it had done has receipts, and is not done
again.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit

from lensdepth.scale.engines import LOGS
from lensdepth.scale.parts import read_receipt
from lensdepth.scale.work import Answer, Answers, Item, Worker

JOBS = 4
POLL = 2.0
"""Seconds between two looks at what is done."""


class Job(submitit.helpers.Checkpointable):
    """Some items, one after the other; submitted again it goes on where the receipts end."""

    def __init__(self, worker: Worker) -> None:
        self.worker = Worker(config=worker.config, folder=worker.folder, manifest=worker.manifest)

    def __call__(self, items: Sequence[Item]) -> list[str]:
        """The answers, as JSON."""
        return [json.dumps(self.worker(item)) for item in items]


def run(worker: Worker, items: Sequence[Item], options: Mapping[str, Any]) -> Answers:
    """Have all items done by jobs, and give the answers as they come.

    Args:
        worker: what works in each job.
        items: neighbours go into one job, as far as they are of one model.
        options: `cluster` (`slurm`; `local` starts processes here), `jobs` in the array, `folder`
            of their logs, and `parameters` of submitit: `timeout_min`, `slurm_partition`, ...
    """
    folder = Path(options.get("folder", worker.folder / LOGS))
    executor = submitit.AutoExecutor(folder=folder, cluster=options.get("cluster"))
    executor.update_parameters(**options.get("parameters", {}))
    batches = _batches(items, options.get("jobs", JOBS))
    jobs = executor.map_array(Job(worker), batches)
    try:
        yield from _as_they_come(worker, batches, jobs)
    finally:
        for job in jobs:
            if not job.done():
                job.cancel(check=False)


def _batches(items: Sequence[Item], n: int) -> list[list[Item]]:
    """Items in about so many batches of neighbours, each of one model."""
    longest = -(-len(items) // n)
    batches: list[list[Item]] = []
    for item in items:
        if not batches or len(batches[-1]) == longest or batches[-1][0].model != item.model:
            batches.append([])
        batches[-1].append(item)
    return batches


def _as_they_come(worker: Worker, batches: Sequence[list[Item]], jobs: Sequence[Any]) -> Answers:
    """Receipts as they appear in the folder, and of each job that ended the rest of its answers.

    Raises:
        RuntimeError: a job ended without answers, which is said when all others have ended.
    """
    seen: set[int] = set()
    open_jobs, lost = dict(enumerate(jobs)), []
    while open_jobs:
        for at, job in list(open_jobs.items()):
            ended = job.done()
            for item in batches[at]:
                receipt = _receipt(worker, item)
                if receipt is not None and receipt["shard"] not in seen:
                    seen.add(receipt["shard"])
                    yield receipt
            if not ended:
                continue
            del open_jobs[at]
            if job.exception() is not None:
                lost.append(job)
                continue
            for answer in map(json.loads, job.result()):
                if answer.get("shard") not in seen:
                    yield answer
        if open_jobs:
            time.sleep(POLL)
    if lost:
        last = str(lost[0].exception()).strip().splitlines()[-1]
        raise RuntimeError(
            f"run_sweep: {len(lost)} of {len(jobs)} jobs failed, the first with: {last}; their "
            f"logs are in {lost[0].paths.folder}."
        )


def _receipt(worker: Worker, item: Item) -> Answer | None:
    if item.shard is None or worker.manifest is None:
        return None
    return read_receipt(worker.folder, item.shard, worker.manifest.sweep)
