"""Build a report: check where it goes, measure, and write it whole or not at all."""

import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from lensdepth.analyses import ANALYSES
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.evaluate import TwinsOf
from lensdepth.lens.tuned import TunedLens
from lensdepth.model import DepthModel
from lensdepth.outside import reason, shown
from lensdepth.report import figures
from lensdepth.report.compare import compare_reports
from lensdepth.report.measure import stages, summarize
from lensdepth.report.measured import PENDING, STOPPED, USUAL, Measured, Section
from lensdepth.report.page import render
from lensdepth.signals import put_off
from lensdepth.sweep.adaptive import Depths
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs
from lensdepth.tasks.task import Task
from lensdepth.telling.curves import WHERE
from lensdepth.telling.plain import Json
from lensdepth.unfinished import complete, sweep, whole_name
from lensdepth.writing import (
    check_writable,
    real_place,
    whole_files,
    write_bytes,
    write_text,
    writing_to,
)

log = logging.getLogger(__name__)

PAGES = (".html", ".htm")
IN_FRAME = ("lens", "patch", "steering", "ablation", "geometry")
"""Analyses whose tables are joined in `Report.to_frame`."""
FIRST_PAGE, NEXT_PAGE = 3.0, 20.0
"""Seconds of measuring after which there is a page of what is known, and then another: much more
than writing one takes."""
OURS = {".parquet", ".json"}
"""What a folder of tables holds; a folder with anything else in it is never replaced."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Report(Measured):
    """What was measured, and where it was written."""

    path: Path
    """The HTML page."""
    tables: Path
    """Folder of Parquet tables and `summary.json`."""
    summary: Json
    """What `summary.json` holds."""

    def to_frame(self) -> pd.DataFrame:
        """The tables by depth of all analyses side by side: one row a depth."""
        frames = []
        for one in ANALYSES:
            result = getattr(self, one.key, None)
            table = one.table(result) if result is not None and one.key in IN_FRAME else None
            if table is not None:
                frames.append(table.frame.set_index(list(WHERE)).add_prefix(f"{one.name}_"))
        return frames[0].join(frames[1:]).copy().reset_index()

    def plot(self) -> Figure:
        """All analyses on one depth axis, with the transition zones."""
        return figures.story(self)


@checked
@bounded
def build_report(
    model: DepthModel,
    task: Task,
    *,
    out: str | Path,
    sections: Collection[Section] | None = None,
    translators: TunedLens | None = None,
    compare: tuple[DepthModel, Task] | None = None,
    twins: int = N_TWINS,
    twins_of: TwinsOf = "supported",
    depths: Depths = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
    overwrite: bool = False,
) -> Report:
    """Run every analysis and write one HTML page that opens offline, with its tables beside it.

    Where that takes long there is a page as soon as the lens has been read, which says what is
    still being measured and is replaced as sections arrive. Ctrl-C leaves a page of what is done.

    Args:
        model: any wrapped model.
        task: pairs; plain prompts give the lens and the geometry alone.
        out: the page, `NAME.html`; the tables go to the folder `NAME_tables` beside it. Both
            appear, or replace old ones, as one, whatever ends the run.
        sections: what is measured beside the lens and patching, of `steering`, `locality`,
            `ablation`, `dose`, `decoding`, `geometry` and `claims`, which is all of them by
            default, and of `subspaces`, `confidence`, `landmarks` and `choice`.
        translators: a lens fitted on this model (`fit_tuned_lens`, `load_tuned_lens`): what it
            reads, and where that switches, stands beside the logit lens's.
        compare: another model or checkpoint, or the same one, and what of its pairs: a report of
            the same sections is measured of it, and stands beside this one (`compare_reports`).
        twins: untrained twins of the model that stand beside the claims' numbers; 0 for none.
        twins_of: the claims that they are measured for, see `evaluate_claims`.
        depths: at which whole states are edited, see `patch_sweep`.
        control_pairs: pairs that controls are run on, drawn at random; `"all"` of them.
        seed: of every analysis.
        overwrite: replace a report that is there.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        Report.
    Raises:
        FileExistsError: there is a report and `overwrite` is off, or something that is no report.
        OSError: the folder is not there or cannot be written; found out before any long work.
        ValueError: translators of another model, or no such section; likewise.
    Example:
        >>> build_report(model, load_task("months", model), out="report.html").path
    """
    page, folder = report_place(out)
    check_output(page, folder, overwrite=overwrite)
    if translators is not None:
        translators.check_model(model, caller="build_report")
    settings: dict[str, Any] = {
        "sections": USUAL if sections is None else sections, "twins": twins,
        "twins_of": twins_of, "depths": depths, "control_pairs": control_pairs, "seed": seed,
        "batch_size": batch_size,
    }  # fmt: skip
    arriving = stages(model, task, translators=translators, **settings)
    if compare is not None:
        arriving = _beside(arriving, lambda: stages(*compare, **settings), seed)
    return write_report(_last(arriving, page, folder), page, folder)


def _beside(
    arriving: Iterable[Measured], theirs: Callable[[], Iterable[Measured]], seed: int
) -> Iterator[Measured]:
    """A report as it arrives, and then beside the other one, which is measured after it."""
    known: Measured | None = None
    for known in arriving:
        yield replace(known, absent={**known.absent, "comparison": PENDING})
    assert known is not None
    *_, other = theirs()
    yield replace(known, comparison=compare_reports(known, other, seed=seed))


def _last(arriving: Iterable[Measured], page: Path, folder: Path) -> Measured:
    """What is measured in the end, with pages of what is known on the way there."""
    known: Measured | None = None
    since, wait = time.monotonic(), FIRST_PAGE
    try:
        for known in arriving:
            if PENDING in known.absent.values() and time.monotonic() - since > wait:
                write_report(known, page, folder)
                since, wait = time.monotonic(), NEXT_PAGE
    except BaseException as error:
        asked = isinstance(error, KeyboardInterrupt | SystemExit)
        if known is not None and (asked or wait == NEXT_PAGE):
            write_report(_stopped(known), page, folder)
            log.warning("build_report: stopped; %s holds what was measured", shown(str(page)))
        raise
    assert known is not None
    return known


def _stopped(known: Measured) -> Measured:
    """The same, where nothing more is to come."""
    why = {name: STOPPED if why == PENDING else why for name, why in known.absent.items()}
    return replace(known, absent=why)


def report_place(out: str | Path) -> tuple[Path, Path]:
    """The page that a name leads to, behind links, and the folder of its tables beside it.

    That is `NAME_tables` for `NAME.html`, and for others the whole name, so that no two pages
    share one: `r.HTML` has `r.HTML_tables`, and `r.HTML.html` has `r.HTML.html_tables`.
    """
    page = Path(out)
    if page.is_symlink():
        page = Path(os.path.realpath(page))
    plain = page.suffix == ".html" and Path(page.stem).suffix.lower() not in PAGES
    return page, page.with_name(f"{page.stem if plain else page.name}_tables")


def check_output(page: Path, folder: Path, *, overwrite: bool) -> None:
    """Refuse what cannot be written, or must not be replaced; clear up after a killed run first.

    Raises:
        FileExistsError, NotADirectoryError, FileNotFoundError, PermissionError, IsADirectoryError
    """
    if page.is_dir():
        raise IsADirectoryError(
            f"build_report: {shown(str(page))} is a folder; name a file in it, such as "
            f"{shown(str(page / 'report.html'))}."
        )
    if page.suffix.lower() not in PAGES:
        raise ValueError(f"build_report: the report is an .html file, got {shown(str(page))}.")
    if not page.parent.exists():
        raise FileNotFoundError(
            f"build_report: there is no folder {shown(str(page.parent))}; make it, or write "
            f"elsewhere."
        )
    with writing_to(page), put_off():
        sweep(page.parent)
        complete(whole_name(real_place(page)))
    for there in (page, folder):
        if os.path.lexists(there) and not overwrite:
            raise FileExistsError(
                f"build_report: {shown(str(there))} exists; write elsewhere, or replace it with "
                f"--force (overwrite=True)."
            )
    _check_tables(folder)
    try:
        check_writable(page)
    except OSError as error:
        raise type(error)(
            f"build_report: cannot write into {shown(str(page.parent))} "
            f"({reason(error.__cause__ or error)}); choose another folder."
        ) from error


def _check_tables(folder: Path) -> None:
    """Refuse a folder of tables that cannot be replaced, or must not be."""
    said = f"build_report: the tables go to the folder {shown(str(folder))}"
    if folder.is_symlink():
        raise FileExistsError(f"{said}, which is a link; remove it, or write elsewhere.")
    if folder.is_dir():
        foreign = sorted(p.name for p in folder.iterdir() if p.is_dir() or p.suffix not in OURS)
        if foreign:
            raise FileExistsError(
                f"build_report: {shown(str(folder))} holds {shown(foreign[0])}, which is no table "
                f"of a report, so it is not replaced; move it, or write elsewhere."
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{said}, which is write-protected; write elsewhere.")
    elif os.path.lexists(folder):
        raise FileExistsError(f"{said}, which is a file; move it, or write elsewhere.")


def write_report(findings: Measured, page: Path, folder: Path) -> Report:
    """Write page and tables as one; if anything fails, what was there before is there still."""
    summary = summarize(findings)
    text = render(findings, tables_folder=folder.name)
    tables = {
        f"{name}.parquet": frame.to_parquet(index=False)
        for name, frame in tables_of(findings).items()
    }
    said = json.dumps(summary, indent=1, allow_nan=False)
    with whole_files(page, folder) as (new_page, new_folder):
        new_folder.mkdir()
        for name, content in tables.items():
            write_bytes(new_folder / name, content)
        write_text(new_folder / "summary.json", said)
        write_text(new_page, text)
    return Report(path=page, tables=folder, summary=summary, **vars(findings))


def tables_of(findings: Measured) -> dict[str, pd.DataFrame]:
    """The whole table of each result by name, and the task's own."""
    results = {one.key: getattr(findings, one.key, None) for one in ANALYSES} | {
        "steering_crossing": findings.steering_crossing,
        "transition": findings.transition,
        "crossing": findings.crossing,
        "tuned_lens": findings.tuned,
        "tuned_transition": findings.tuned_transition,
    }
    frames = {name: r.to_frame() for name, r in results.items() if r is not None}
    if findings.comparison is not None:
        frames["comparison"] = findings.comparison.to_frame()
    if findings.geometry is not None:
        frames["geometry_maps"] = findings.geometry.map_frame()
    task = findings.task.to_frame()
    # Labels come from users' files and may mix kinds, which Parquet's columns cannot.
    mixed = [name for name in task.columns if task[name].dtype == object]
    frames["task"] = task.astype(dict.fromkeys(mixed, "string"))
    return frames
