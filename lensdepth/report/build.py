"""Build a report: check where it goes, measure, and write it whole or not at all."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure

from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.report import figures
from lensdepth.report.findings import Findings, measure, summarize
from lensdepth.report.page import render
from lensdepth.storage import write_text
from lensdepth.summary import Json
from lensdepth.tasks import Task

OURS = {".parquet", ".json"}
"""What a folder of tables holds; a folder with anything else in it is never replaced."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Report(Findings):
    """What was measured, and where it was written."""

    path: Path
    """The HTML page."""
    tables: Path
    """Folder of Parquet tables and `summary.json`."""
    summary: Json
    """What `summary.json` holds."""

    def plot(self) -> Figure:
        """All analyses on one depth axis, with the transition zones."""
        return figures.story(self)


@checked
def build_report(
    model: DepthModel,
    task: Task,
    *,
    out: str | Path,
    seed: int = 0,
    batch_size: int | None = None,
    overwrite: bool = False,
) -> Report:
    """Run every analysis and write one HTML page that opens offline, with its tables beside it.

    Args:
        model: any wrapped model.
        task: pairs; plain prompts give the lens and the geometry alone.
        out: the page, `NAME.html`; the tables go to the folder `NAME_tables` beside it.
        seed: of every analysis.
        overwrite: replace a report that is there.
    Returns:
        Report.
    Raises:
        FileExistsError: there is a report and `overwrite` is off, or something that is no report.
        OSError: the folder is not there or cannot be written; found out before any long work.
    Example:
        >>> build_report(model, load_task("months", model), out="report.html").path
    """
    page = Path(out)
    folder = page.with_name(f"{page.stem}_tables")
    check_output(page, folder, overwrite=overwrite)
    findings = measure(model, task, seed=seed, batch_size=batch_size)
    return write_report(findings, page, folder)


def check_output(page: Path, folder: Path, *, overwrite: bool) -> None:
    """Refuse what cannot be written, or must not be replaced.

    Raises:
        FileExistsError, NotADirectoryError, FileNotFoundError, PermissionError, IsADirectoryError
    """
    if page.is_dir():
        raise IsADirectoryError(
            f"build_report: {str(page)!r} is a folder; name a file in it, such as "
            f"{str(page / 'report.html')!r}."
        )
    if page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"build_report: the report is an .html file, got {str(page)!r}.")
    parent = page.parent
    if not parent.exists():
        raise FileNotFoundError(
            f"build_report: there is no folder {str(parent)!r}; make it, or write elsewhere."
        )
    for there in (page, folder):
        if (there.exists() or there.is_symlink()) and not overwrite:
            raise FileExistsError(
                f"build_report: {str(there)!r} exists; write elsewhere, or replace it with --force "
                f"(overwrite=True)."
            )
    if folder.is_dir():
        foreign = sorted(p.name for p in folder.iterdir() if p.is_dir() or p.suffix not in OURS)
        if foreign:
            raise FileExistsError(
                f"build_report: {str(folder)!r} holds {foreign[0]!r}, which is no table of a "
                f"report, so it is not replaced; move it, or write elsewhere."
            )
    elif folder.exists():
        raise FileExistsError(
            f"build_report: the tables go to the folder {str(folder)!r}, which is a file; move it, "
            f"or write elsewhere."
        )
    try:
        Path(tempfile.mkdtemp(dir=parent, prefix=f".{page.name}.")).rmdir()
    except OSError as error:
        raise type(error)(
            f"build_report: cannot write into {str(parent)!r} "
            f"({error.strerror or error}); choose another folder."
        ) from error


def write_report(findings: Findings, page: Path, folder: Path) -> Report:
    """Write page and tables; if anything fails, what was there before is there again."""
    summary = summarize(findings)
    text = render(findings, tables_folder=folder.name)
    scratch = Path(tempfile.mkdtemp(dir=page.parent, prefix=f".{page.name}."))
    try:
        fresh, old = scratch / "new", scratch / "old"
        fresh.mkdir()
        for name, frame in tables_of(findings).items():
            frame.to_parquet(fresh / f"{name}.parquet", index=False)
        write_text(fresh / "summary.json", json.dumps(summary, indent=1, allow_nan=False))
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
            write_text(page, text)
        except BaseException:
            if folder.exists():
                shutil.rmtree(folder)
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Report(path=page, tables=folder, summary=summary, **vars(findings))


def tables_of(findings: Findings) -> dict[str, pd.DataFrame]:
    """The whole table of each result by name, and the task's own."""
    results = {
        "lens": findings.lens,
        "patch": findings.patch,
        "steering": findings.steering,
        "steering_crossing": findings.steering_crossing,
        "locality": findings.locality,
        "ablation": findings.ablation,
        "dose": findings.dose,
        "decoding": findings.decoding,
        "geometry": findings.geometry,
        "claims": findings.claims,
        "transition": findings.transition,
        "crossing": findings.crossing,
    }
    frames = {name: r.to_frame() for name, r in results.items() if r is not None}
    if findings.geometry is not None:
        frames["geometry_maps"] = findings.geometry.map_frame()
    task = findings.task.to_frame()
    # Labels come from users' files and may mix kinds, which Parquet's columns cannot.
    mixed = [name for name in task.columns if task[name].dtype == object]
    frames["task"] = task.astype(dict.fromkeys(mixed, "string"))
    return frames
