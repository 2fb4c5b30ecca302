"""The prompts of a sweep: what is wrong with them, which they are, and the task made of them.

Files are read as every prompt file is (`tasks.files`). Of a data set, or of a file of many rows,
the first rows can be streamed (`first`): the rest is neither fetched nor read.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lensdepth.model import DepthModel
from lensdepth.outside import outside, shown
from lensdepth.scale.config import AnalysisSpec, TaskSpec
from lensdepth.scale.kinds import KINDS
from lensdepth.tasks import Task, load_task
from lensdepth.tasks.files import LINES, NEEDS_DATASETS, PARQUET, TABLES, read_rows
from lensdepth.tasks.records import Faults, rows_of
from lensdepth.tasks.rows import Row

MOST_FAULTS = 50
"""Lines of one file that are named; of more their number is said."""
BUILDERS = {
    suffix: kind
    for kind, suffixes in (("json", LINES), ("csv", TABLES), ("parquet", PARQUET))
    for suffix in suffixes
}
"""How the package datasets calls what reads a file."""


def prompt_faults(tasks: Sequence[TaskSpec], analyses: Sequence[AnalysisSpec]) -> list[str]:
    """What is wrong with all prompts that lie here, with lines; data sets of the hub are not asked.

    A file of plain prompts is wrong where an analysis needs pairs.
    """
    found: list[str] = []
    needing = [one.analysis for one in analyses if KINDS[one.analysis].pairs]
    for spec in tasks:
        if not spec.is_file or not (os.path.lexists(spec.source) or spec.source.startswith("/")):
            continue
        faults: list[str] = []
        rows: list[Row] = []
        try:
            rows = _rows(spec, faults)
        except (ValueError, OSError) as error:
            faults.append(str(error))
        if len(faults) > MOST_FAULTS:
            more = len(faults) - MOST_FAULTS
            faults[MOST_FAULTS:] = [f"prompt file {shown(spec.source)}: {more:,} more errors."]
        found += faults
        if rows and rows[0].corrupted is None and needing:
            found.append(
                f"prompt file {shown(spec.source)} has plain prompts alone, and {needing[0]} needs "
                f"pairs, with the columns clean, corrupted, target and foil."
            )
    return found


def source_digest(spec: TaskSpec) -> str:
    """SHA-256 of a prompt file or folder; "" of what does not lie here."""
    if not spec.is_file or not os.path.exists(spec.source):
        return ""
    place, digest = Path(spec.source), hashlib.sha256()
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    with outside(f"prompt file {shown(spec.source)} cannot be read", kind=OSError):
        for file in files:
            if file != place:
                digest.update(str(file.relative_to(place)).encode() + b"\0")
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def make_task(spec: TaskSpec, model: DepthModel, seed: int) -> Task:
    """The task for one model: the same pairs whatever slices are cut of it.

    Raises:
        ValueError: as of `load_task`.
    """
    options: dict[str, Any] = {"seed": seed, **spec.options, "name": spec.name}
    if spec.first is not None:
        return load_task(_first(spec), model, **options)
    return load_task(Path(spec.source) if _is_here(spec) else spec.source, model, **options)


def _is_here(spec: TaskSpec) -> bool:
    return spec.is_file and os.path.exists(spec.source)


def _rows(spec: TaskSpec, faults: Faults) -> list[Row]:
    if spec.first is None:
        return read_rows(spec.source, faults=faults)
    source = f"prompt file {shown(spec.source)}"
    records = [(f"row {i}", record) for i, record in enumerate(_first(spec), start=1)]
    return rows_of(records, source, faults=faults)


def _first(spec: TaskSpec) -> list[dict[str, Any]]:
    """The first rows of a file, a folder or a data set, streamed."""
    path, _, split = spec.source.partition(":")
    builder = BUILDERS.get(Path(path).suffix.lower()) if os.path.isfile(path) else None
    with outside(
        f"streaming {shown(spec.source)} needs the package 'datasets'", hint=f"{NEEDS_DATASETS}."
    ):
        import datasets
    with outside(f"{shown(spec.source)} cannot be streamed as a data set"):
        if builder is not None:
            read: Any = datasets.load_dataset(builder, data_files=path, streaming=True)
        else:
            read = datasets.load_dataset(path, streaming=True)
        names = list(read)
        chosen = split or ("train" if "train" in names else names[0])
        rows: Iterable[dict[str, Any]] = read[chosen] if chosen in names else ()
        found = [dict(row) for row in islice(rows, spec.first)]
    if chosen not in names:
        there = ", ".join(names)
        raise ValueError(f"data set {shown(path)} has no split {shown(chosen)}; it has {there}.")
    return found
