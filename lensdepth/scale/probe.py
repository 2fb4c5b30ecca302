"""What a sweep will take, before it is run: shards, edited runs, time and memory.

Models are loaded and tasks made, as the sweep itself does first. Patching a few pairs tells what a
token in a block costs on this machine; then one slice of each analysis is rehearsed (`tally`),
which counts what it puts through the model. Analyses without edited runs are timed on few prompts.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.plain_runs import anew
from lensdepth.progress import unwatched
from lensdepth.report.plan import Rates, Rehearsal
from lensdepth.scale.kinds import KINDS
from lensdepth.scale.run import checked_config
from lensdepth.scale.shards import Shard, cut
from lensdepth.scale.work import Item, Worker
from lensdepth.tally import clock, tallied
from lensdepth.tasks import Task
from lensdepth.telling.numbers import counted, duration

TRIED = 4, 12
"""Pairs or prompts on which something is timed: few and more, which tells what each one takes."""
WARM = 2
"""Pairs that are patched untimed, for what is found out about a model once."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """One analysis of one task on one model."""

    model: str
    revision: str
    dtype: str
    task: str
    analysis: str
    settings: dict[str, Any]
    pairs: int
    shards: int
    runs: int
    """Edited runs, the base runs among them."""
    seconds: float | None
    """None where it refuses so few prompts, so that nothing is known."""
    n_bytes: int
    """Most memory, beside the libraries: weights, states, keys and values, logits of a slice."""


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep will take, on one worker."""

    loads: tuple[Load, ...]

    @property
    def n_shards(self) -> int:
        return sum(load.shards for load in self.loads)

    @property
    def runs(self) -> int:
        return sum(load.runs for load in self.loads)

    @property
    def seconds(self) -> float:
        """Of all of which something is known."""
        return sum(load.seconds or 0.0 for load in self.loads)

    @property
    def n_bytes(self) -> int:
        return max(load.n_bytes for load in self.loads)

    @property
    def told(self) -> str:
        """In one line."""
        unknown = sum(load.seconds is None for load in self.loads)
        more = f", and {counted(unknown, 'analysis')} that could not be tried" if unknown else ""
        return (
            f"{counted(self.n_shards, 'shard')}, {self.runs:,} edited runs; about "
            f"{duration(self.seconds)} on one worker{more}".replace("analysiss", "analyses")
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a model, task and analysis."""
        return pd.DataFrame([vars(load) for load in self.loads]).rename(
            columns={"n_bytes": "bytes"}
        )


def plan_sweep(config: str | Path | Mapping[str, Any]) -> SweepPlan:
    """What a sweep will take, from a short probe; nothing is written.

    Args:
        config: as of `run_sweep`.
    Raises:
        ValueError: what is wrong with configuration and prompts; or a model or task cannot be had.
    """
    read = checked_config(config)
    worker = Worker(config=read, folder=Path(), keeps=False)
    loads: list[Load] = []
    with unwatched():
        for model in range(len(read.models)):
            plan = worker(Item(do="plan", model=model))
            found = [[0] * len(read.tasks) for _ in read.models]
            found[model] = [task["pairs"] for task in plan["tasks"]]
            shards = [one for one in cut(read, found) if one.model == model]
            rates: Rates | None = None
            for task in range(len(read.tasks)):
                mine = [one for one in shards if one.task == task]
                made = worker.task(model, task)
                if rates is None and made.has_pairs:
                    rates = _rates(worker.model(model), made)
                loads += _loads(worker, made, rates, mine)
    return SweepPlan(loads=tuple(loads))


def _loads(worker: Worker, task: Task, rates: Rates | None, shards: list[Shard]) -> list[Load]:
    """Of one task on one model, what each analysis takes."""
    config, at = worker.config, shards[0].model
    spec, depth_model, loads = config.models[at], worker.model(at), list[Load]()
    for number, analysis in enumerate(config.analyses):
        kind = KINDS[analysis.analysis]
        mine = [one for one in shards if one.analysis == number]
        first = mine[0]
        logits = 4 * depth_model.d_vocab * first.n_pairs
        seconds, runs, n_bytes = None, 0, logits
        with suppress(ValueError), anew():
            if kind.edits and rates is not None:
                with Rehearsal(rates, ()) as section:
                    found = section.take("", lambda one=first: worker.analyse(one, task))
                if found is not None:
                    seconds, runs, n_bytes = found[0], found[1], max(found[2], logits)
            elif not kind.edits:
                seconds = _timed(lambda n, one=first: worker.analyse(one, task, n), first.n_pairs)
        share = sum(one.n_pairs for one in mine) / first.n_pairs
        loads.append(
            Load(
                model=spec.name, revision=spec.revision, dtype=spec.dtype, task=task.name,
                analysis=analysis.analysis, settings=analysis.settings, pairs=len(task),
                shards=len(mine), runs=round(runs * share),
                seconds=None if seconds is None else round(seconds * share, 3),
                n_bytes=depth_model.passes.n_bytes + n_bytes,
            )
        )  # fmt: skip
    return loads


def _timed(analyse: Callable[[int], Any], n: int) -> float:
    """Seconds on so many prompts, from what few and some more take."""
    few, more = (min(k, n) for k in TRIED)
    took = {}
    for k in (few, few, more):  # what comes first finds out about the model
        start = clock()
        analyse(k)
        took[k] = clock() - start
    each = max(0.0, took[more] - took[few]) / max(more - few, 1)
    return took[few] + each * (n - few)


def _rates(model: DepthModel, task: Task) -> Rates:
    """Seconds of what goes through the model, from patching a few pairs."""
    few = task.select(slice(0, WARM))
    some = task.select(slice(0, TRIED[1]))
    depths = sorted({0, model.n_layers // 2, model.n_layers})
    patch_sweep(model, few, depths=depths)
    with tallied() as tally, anew():
        patch_sweep(model, some, depths=depths)
    return Rates(
        plain=tally.plain_seconds / max(tally.plain, 1),
        row=tally.row_seconds / max(tally.rows, 1),
        read=tally.read_seconds / max(tally.reads, 1),
    )
