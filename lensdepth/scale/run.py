"""`run_sweep`: many models, on many prompts, by many analyses, into one folder; nothing is lost.

First every model is asked once: which it is, and how many pairs each task has. With that the sweep
is cut into shards and its manifest written. Then an engine does what is not done yet. A run that
was ended in any way is gone on with by the same call.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lensdepth.arguments import checked
from lensdepth.outside import shown
from lensdepth.scale import manifest as manifests
from lensdepth.scale.config import ConfigError, SweepConfig, read_config
from lensdepth.scale.engines import LOGS, Engine, EngineName, engine_of
from lensdepth.scale.kept import FOLDER as TASKS
from lensdepth.scale.manifest import Manifest
from lensdepth.scale.pace import Pace, Watch
from lensdepth.scale.parts import check_part
from lensdepth.scale.prompts import prompt_faults
from lensdepth.scale.result import Sweep
from lensdepth.scale.shards import Shard
from lensdepth.scale.work import Answer, Item, Worker, items_of
from lensdepth.telling.plain import Json
from lensdepth.unfinished import alone_in
from lensdepth.writing import writing_to

log = logging.getLogger(__name__)


@checked
def run_sweep(
    config: str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    engine: EngineName = "local",
    watch: Watch | None = None,
) -> Sweep:
    """Run every analysis on every task and model of a configuration, and keep the rows in a folder.

    Args:
        config: a TOML file, or what stands in one; `lensdepth sweep --init` prints an example.
        out: the folder. Where it holds this very sweep, what is done is kept: parts are held
            against their checksums, and missing or damaged ones made anew.
        engine: `"local"`, in this process; `"ray"`, which needs `lensdepth[ray]`; or `"slurm"`,
            which needs `lensdepth[slurm]`. The numbers are the same.
        watch: is called with each event, a dict: how far it is, what it has found.
    Returns:
        Sweep, with all parts.
    Raises:
        ValueError: what is wrong with configuration and prompts, all of it; the folder holds
            another sweep, with what differs; another run is at work in it; or some shards could not
            be run, when all others have been.
        OSError: the folder cannot be written. What is done is kept.
    Example:
        >>> run_sweep("sweep.toml", "out/sweep").means()
    """
    tell = watch or _log
    read = checked_config(config)
    do = engine_of(engine)
    folder = _folder(out)
    with alone_in(folder, caller="run_sweep"):
        there = manifests.read_manifest(folder)
        here = manifests.begun(read)
        if there is not None:
            manifests.check_same(there, here, folder)
        worker = Worker(config=read, folder=folder)
        told = read.engines.get(engine, {})
        whole = replace(here, models=_planned(do, worker, told, there, tell))
        if there is not None:
            manifests.check_same(there, whole, folder)
        whole.write(folder)
        worker.manifest = whole
        failed = _run(do, worker, told, whole, tell)
        worker.let_go()
    if failed:
        first = failed[0]
        raise ValueError(
            f"run_sweep: {len(failed)} of {len(whole.shards)} shards could not be run, the first, "
            f"{_named(whole, first[0])}: {first[1]} The others are done; mend it and run again."
        )
    return Sweep.open(folder)


def _log(event: Json) -> None:
    """Where nobody watches, what went wrong goes to the log."""
    if event["event"] == "damaged":
        log.warning("run_sweep: the part %s is damaged and is made anew.", event["part"])
    elif event["event"] == "failed":
        log.warning("run_sweep: %s could not be run: %s", event["of"], event["why"])


def checked_config(config: str | Path | Mapping[str, Any]) -> SweepConfig:
    """A configuration whose prompts are in order as well.

    Raises:
        ConfigError: what is wrong with both.
    """
    try:
        read = read_config(config)
    except ConfigError as error:
        prompts = prompt_faults(error.tasks, error.analyses)
        raise ConfigError([*error.faults, *prompts]) from error
    faults = prompt_faults(read.tasks, read.analyses)
    if faults:
        raise ConfigError(faults)
    return read


def _folder(out: str | Path) -> Path:
    """The folder of a sweep, made where it is not there.

    Raises:
        ValueError: it holds something else.
        OSError: it cannot be made.
    """
    folder = Path(out).expanduser()
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    others = [name for name in names if name not in (TASKS, LOGS)]  # a run killed in its plan
    if others and manifests.NAME not in others:
        raise ValueError(
            f"run_sweep: {shown(str(out))} holds other things ({shown(others[0])}) and no sweep; "
            f"take a new folder."
        )
    return folder.resolve()


def _planned(
    do: Engine, worker: Worker, told: Mapping[str, Any], there: Manifest | None, tell: Watch
) -> tuple[Json, ...]:
    """What each model is, and its tasks; these are made anew only where nobody has made them yet,
    and else when the first shard of theirs is run."""
    items = [
        Item(do="plan", model=i, tasks=there is None) for i in range(len(worker.config.models))
    ]
    found: dict[int, Answer] = {}
    with closing(do(worker, items, told)) as answers:
        for answer in answers:
            found[answer["model"]] = answer
            known = worker.config.models[answer["model"]].told
            tell({"event": "model", "model": known, "known": len(found), "models": len(items)})
    plans = [found[i] for i in range(len(items))]
    versions = manifests.begun(worker.config).versions
    for plan in plans:
        if plan["versions"] != versions:
            what = next(iter(manifests.differences(versions, plan["versions"])))
            raise ValueError(f"run_sweep: the workers have other libraries than this: {what}.")
    return tuple(
        {"info": p["info"], **_tasks(p if there is None else there.models[i])}
        for i, p in enumerate(plans)
    )


def _tasks(model: Json) -> Json:
    return {key: model[key] for key in ("tasks", "kept")}


def _run(
    do: Engine, worker: Worker, told: Mapping[str, Any], whole: Manifest, tell: Watch
) -> list[tuple[int, str]]:
    """Run what is not done, and say what could not be."""
    shards = whole.shards
    pace, receipts, left = Pace(shards=shards), dict[int, Json](), list[Shard]()
    for shard in shards:
        found = check_part(worker.folder, shard, whole.sweep)
        if isinstance(found, dict):
            receipts[shard.number] = found
            pace.known(shard, found["seconds"])
        else:
            left.append(shard)
            if found == "damaged":
                tell({"event": "damaged", "part": shard.part})
    event = "resumed" if receipts else "planned"
    pairs = sum(shard.n_pairs for shard in shards)
    tell({"event": event, "shards": len(shards), "pairs": pairs, **pace.told()})
    failed: list[tuple[int, str]] = []
    with _settled(worker.folder, whole, receipts):
        if left:
            with closing(do(worker, items_of(left), told)) as answers:
                for answer in answers:
                    at = answer["shard"]
                    if "failed" in answer:
                        failed.append((at, answer["failed"]))
                        named = _named(whole, at)
                        tell({"event": "failed", "shard": at, "of": named, "why": failed[-1][1]})
                        continue
                    receipts[at] = answer
                    pace.finished(shards[at], answer["seconds"])
                    tell(
                        {
                            "event": "shard", "shard": at, "of": _named(whole, at),
                            "rows": answer["rows"], "seconds": answer["seconds"], **pace.told(),
                        }
                    )  # fmt: skip
    tell({"event": "finished", "failed": len(failed), **pace.told()})
    return sorted(failed)


@contextmanager
def _settled(folder: Path, whole: Manifest, receipts: Mapping[int, Json]) -> Iterator[None]:
    """Write what is done into the manifest as well, however a run ends that can still do so."""
    try:
        yield
    except BaseException:
        try:
            replace(whole, receipts=tuple(receipts.values())).write(folder)
        except OSError as error:
            log.warning("run_sweep: %s The receipts beside the parts say it all the same.", error)
        raise
    replace(whole, receipts=tuple(receipts.values())).write(folder)


def _named(whole: Manifest, number: int) -> str:
    """A shard in a line: its model, task, analysis and pairs."""
    shard, config = whole.shards[number], whole.config
    return (
        f"{config.models[shard.model].told}, {config.tasks[shard.task].name}, "
        f"{config.analyses[shard.analysis].analysis}, pairs {shard.start} to {shard.stop - 1}"
    )
