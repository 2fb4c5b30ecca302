"""By Ray: one row of a data set is one item, and a pool of actors that hold a model takes them.

Ray starts the actors, gives them their share of CPUs and GPUs, and has the item of one that died
done by another. Which items are left is not Ray's to know: our receipts say it, since its blocks
may be others in the next run.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import ray.data

from lensdepth.scale.config import SweepConfig
from lensdepth.scale.manifest import Manifest
from lensdepth.scale.shards import Shard
from lensdepth.scale.work import Answers, Item, Worker

WORKERS = 2
AHEAD = 2
"""Items that an actor is given at a time: the next one is there when one is done."""
Batch = dict[str, Any]


class Actor:
    """A worker in a process of Ray's; its model stays with it from item to item."""

    def __init__(self, config: SweepConfig, folder: str, manifest: Manifest | None) -> None:
        self.worker = Worker(config=config, folder=Path(folder), manifest=manifest)

    def __call__(self, batch: Batch) -> Batch:
        """One row: an item as JSON, and back the answer."""
        given = json.loads(str(batch["item"][0]))
        shard = given.pop("shard")
        item = Item(**given, shard=None if shard is None else Shard(**shard))
        return {"answer": [json.dumps(self.worker(item))]}


def run(worker: Worker, items: Sequence[Item], options: Mapping[str, Any]) -> Answers:
    """Have all items done by actors, and give the answers as they come.

    Args:
        worker: what the actors are like.
        items: in the order in which they are begun.
        options: `address` of a cluster (else one is started here), `workers`, and `cpus` and
            `gpus` of each.
    """
    ours = not ray.is_initialized()
    if ours:
        given = {"address": options["address"]} if "address" in options else {}
        ray.init(**given, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every run of a data set
        n_workers = min(options.get("workers", WORKERS), len(items))
        rows = [{"item": json.dumps(asdict(item))} for item in items]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=n_workers, max_tasks_in_flight_per_actor=AHEAD),
            fn_constructor_args=(worker.config, str(worker.folder), worker.manifest),
            num_cpus=options.get("cpus", worker.config.threads),
            num_gpus=options.get("gpus", 0),
        )
        for row in done.iter_rows():
            yield json.loads(row["answer"])
    finally:
        if ours:
            ray.shutdown()
