"""The work of a sweep, wherever it is done: find out about a model, and run a shard.

A worker is told in plain data what to do and answers in plain data, so that it can sit in this
process, in another one or on another machine. It holds one model at a time and the task that was
cut last, and lets everything else go. What it computes depends on the shard alone, and not on what
it did before.
"""

import gc
import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.outside import cut, out_of_memory, visible
from lensdepth.provenance import LARGEST_SEED, ModelInfo, installed_versions, text_fingerprint
from lensdepth.scale.config import AnalysisSpec, ModelSpec, SweepConfig
from lensdepth.scale.kept import keep_task, kept_task, place_of
from lensdepth.scale.kinds import KINDS
from lensdepth.scale.manifest import Manifest
from lensdepth.scale.parts import check_part, part_table, write_part
from lensdepth.scale.prompts import make_task
from lensdepth.scale.shards import Shard
from lensdepth.tasks import Task
from lensdepth.tasks.told import kept as kept_of
from lensdepth.telling.plain import Json
from lensdepth.units import Units, take

GIB = 2**30
NUMBER = "pair of the sweep"
"""The label by which pairs are known again of which an analysis leaves some out."""
LONGEST_FAULT = 400


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to do."""

    do: Literal["plan", "run"]
    model: int
    tasks: bool = True
    """Of a plan: whether the tasks are made as well."""
    shard: Shard | None = None


Answer = Json
"""Of a plan the model's part of the manifest; of a shard its receipt; or `failed`, a line."""
Answers = Generator[Answer, None, None]
"""One an item, as they come; closing it ends the work."""


@dataclass(kw_only=True)
class Worker:
    """Does what it is told, item by item."""

    config: SweepConfig
    folder: Path
    manifest: Manifest | None = None
    """What the models must be; None while that is being found out."""
    keeps: bool = True
    """Whether tasks that are made for a plan are kept in the folder."""
    _held: dict[int, DepthModel] = field(default_factory=dict)
    _tasks: dict[tuple[int, int], Task] = field(default_factory=dict)
    _known: dict[tuple[int, int], tuple[Units, Units]] = field(default_factory=dict)
    """Of the same tasks, units and labels of all pairs."""

    def __call__(self, item: Item) -> Answer:
        """Do one item.

        Raises:
            OSError: a part cannot be written.
            ValueError: of a plan: a model or a task cannot be had. Of a shard: the model or the
                prompts have changed under way.
        """
        with _threads(self.config.threads):
            if item.do == "plan":
                return self._plan(item)
            assert item.shard is not None
            return self._run(item.shard)

    def let_go(self) -> None:
        """Hold no model any more."""
        self._held.clear()
        self._tasks.clear()
        self._known.clear()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def model(self, at: int) -> DepthModel:
        """The model, loaded where another one is held; the other one goes first."""
        if at not in self._held:
            self.let_go()
            self._held[at] = _load(self.config.models[at])
            if self.manifest is not None:
                self._check_model(at)
        return self._held[at]

    def task(self, model: int, at: int) -> Task:
        """The whole task of a model."""
        if (model, at) not in self._tasks:
            self._tasks.clear()
            self._known.clear()
            spec = self.config.tasks[at]
            made = self._kept(model, at)
            if made is None:
                made = make_task(spec, self.model(model), self.config.seed)
            if self.manifest is not None:
                there = self.manifest.models[model]["tasks"][at]
                if there != task_facts(made):
                    raise ValueError(
                        f"run_sweep: the prompts of {spec.name!r} have changed since the sweep "
                        f"began; take another folder, or put back what changed."
                    )
            self._tasks[model, at] = made
        return self._tasks[model, at]

    def _kept(self, model: int, at: int) -> Task | None:
        about = None if self.manifest is None else self.manifest.models[model]["kept"][at]
        if about is None:
            return None
        return kept_task(place_of(self.folder, model, at), about, self.model(model))

    def _check_model(self, at: int) -> None:
        assert self.manifest is not None
        there, here = self.manifest.models[at]["info"], asdict(self._held[at].info)
        for one in (f.name for f in fields(ModelInfo) if f.name not in ("name", "origin")):
            if there[one] != here[one]:
                raise ValueError(
                    f"run_sweep: {self.config.models[at].told} is another model than when the "
                    f"sweep began: its {one} was {there[one]}, and is {here[one]}."
                )

    def _plan(self, item: Item) -> Answer:
        info = asdict(self.model(item.model).info)
        at = range(len(self.config.tasks) if item.tasks else 0)
        facts, kept = [], []
        for number in at:
            task, place = self.task(item.model, number), place_of(self.folder, item.model, number)
            facts.append(task_facts(task))
            kept.append(keep_task(task, self.model(item.model), place) if self.keeps else None)
        versions = installed_versions()
        return {
            "model": item.model, "info": info, "tasks": facts, "kept": kept, "versions": versions
        }  # fmt: skip

    def _run(self, shard: Shard) -> Answer:
        assert self.manifest is not None
        found = check_part(self.folder, shard, self.manifest.sweep)
        if isinstance(found, dict):  # a worker that died had finished it
            return found
        task = self.task(shard.model, shard.task)
        start = time.perf_counter()
        try:
            table = self._rows(shard, task)
        except (ValueError, RuntimeError) as error:
            if out_of_memory(error):
                self.let_go()
            line = cut(visible(" ".join(str(error).split())), LONGEST_FAULT)
            return {"shard": shard.number, "failed": line}
        return write_part(
            self.folder,
            shard,
            table,
            sweep=self.manifest.sweep,
            seconds=time.perf_counter() - start,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _rows(self, shard: Shard, task: Task) -> Any:
        assert self.manifest is not None
        spec, model = self.config.models[shard.model], self.model(shard.model)
        analysis = self.config.analyses[shard.analysis]
        kind, result = KINDS[analysis.analysis], self.analyse(shard, task)
        numbers = _numbers(result, shard)
        key = shard.model, shard.task
        if key not in self._known:
            self._known[key] = task.units, task.groupings
        units, labels = (take(of_all, numbers) for of_all in self._known[key])
        whose = {
            "model": spec.name,
            "revision": spec.revision,
            "dtype": spec.dtype,
            "task": task.name,
            "analysis": analysis.analysis,
            "settings": json.dumps(analysis.settings, sort_keys=True),
            "shard": shard.number,
        }
        about = {
            "sweep": self.manifest.sweep,
            "shard": asdict(shard),
            "fingerprint": model.info.fingerprint,
            "prompts": self.manifest.models[shard.model]["tasks"][shard.task]["fingerprint"],
            "settings": result.provenance.settings,
            "seed": result.provenance.seed,
            "versions": self.manifest.versions,
        }
        frame = result.to_frame().drop(columns=list(kind.of_slice), errors="ignore")
        return part_table(frame, whose, numbers=numbers, units=units, labels=labels, about=about)

    def analyse(self, shard: Shard, task: Task, pairs: int | None = None) -> Any:
        """The result of the analysis on the slice, or on some of its first pairs."""
        analysis = self.config.analyses[shard.analysis]
        kind, model = KINDS[analysis.analysis], self.model(shard.model)
        memory = _memory(self.config, model)
        given = options_of(analysis, self.config, shard.start, task)
        stop = shard.stop if pairs is None else min(shard.stop, shard.start + pairs)
        some = task.select(slice(shard.start, stop)) if stop - shard.start < len(task) else task
        if not kind.sliced and kind.means:
            some = replace(some, labels=some.labels.assign(**{NUMBER: range(len(some))}))
        bounds = {"batch_size": self.config.batch_size, "max_memory": memory}
        return kind.run(model, some, **given, **bounds)


def options_of(
    analysis: AnalysisSpec, config: SweepConfig, start: int, task: Task
) -> dict[str, Any]:
    """The arguments of an analysis on a slice that begins at this pair.

    Whole tasks give what depends on other pairs: all depths, and means over the task's own source
    runs. What is drawn has another seed in each slice, and in the first one the sweep's own.
    """
    from lensdepth.arguments import option_names

    kind = KINDS[analysis.analysis]
    names, given = option_names(kind.run), dict(analysis.settings)
    if "seed" in names:
        given["seed"] = (given.get("seed", config.seed) + start) % (LARGEST_SEED + 1)
    if kind.sliced and "depths" in names:
        given.setdefault("depths", "all" if analysis.analysis in _FINDS else None)
    if "reference" in names and (
        given.get("to") == "mean" or given.get("coordinates") == "centred"
    ):
        given["reference"] = task
    return given


_FINDS = ("patch", "ablate", "dose")
"""Analyses that may find depths for themselves, which on a slice would be the slice's own."""


def task_facts(task: Task) -> Json:
    """What the manifest says of a task."""
    return {
        "task": task.name,
        "pairs": len(task),
        "fingerprint": text_fingerprint(
            [*task.clean, *(task.corrupted or ()), *(task.target or ()), *(task.foil or ())]
        ),
        "kept": kept_of(task),
        "units": [one.name for one in task.units],
    }


def _numbers(result: Any, shard: Shard) -> list[int]:
    """Of the pairs of a result, their numbers in the whole task."""
    for one in result.provenance.labels:
        if one.name == NUMBER:
            return [int(value) for value in one.values]
    return list(range(shard.start, shard.stop))


def _load(spec: ModelSpec) -> DepthModel:
    return load_model(
        spec.model, dtype=spec.dtype, revision=spec.revision or None, **spec.options
    )  # fmt: skip


def _memory(config: SweepConfig, model: DepthModel) -> int | None:
    """Bytes to plan with. On a GPU a fixed share of it: what is free differs from run to run, and
    with it what goes through together, and so the last digits."""
    if config.max_memory is not None:
        return int(config.max_memory * GIB)
    if model.device.type == "cuda":
        return torch.cuda.get_device_properties(model.device).total_memory // 4
    return None


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def items_of(shards: list[Shard]) -> list[Item]:
    """What there is to do for some shards."""
    return [Item(do="run", model=shard.model, shard=shard) for shard in shards]
