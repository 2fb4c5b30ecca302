"""The figures of a report as files for a paper: SVG, PDF, PNG, caption, and the numbers behind."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure

from lensdepth.arguments import checked
from lensdepth.geometry.told import peak_of
from lensdepth.images import INCHES, Width, check_images, images
from lensdepth.outside import shown
from lensdepth.report.figures import still
from lensdepth.report.measured import Measured
from lensdepth.report.page import claims_part
from lensdepth.report.sections import Exhibit, numbered, sections
from lensdepth.report.side import comparison_part
from lensdepth.telling.numbers import counted
from lensdepth.writing import csv_text, write_bytes, write_text

PARTS = ("svg", "pdf", "png", "md", "csv")
"""Files of each figure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """One figure of a report."""

    number: int
    """As on the page."""
    key: str
    title: str
    caption: str
    """What to see in it."""
    note: str
    """How to read it."""
    figure: Figure
    frame: Callable[[], pd.DataFrame]

    @property
    def stem(self) -> str:
        """Of its files: `figure-05-patch`."""
        return f"figure-{self.number:02d}-{self.key.replace('_', '-')}"


def gallery(findings: Measured) -> list[Shown]:
    """All figures of a report, in the order and with the numbers of the page."""
    beside = comparison_part(findings)
    exhibits: list[Exhibit] = [] if beside is None else [*beside.exhibits]
    claims = claims_part(findings, number=len(exhibits) + 1)
    exhibits += [] if claims.exhibit is None else [claims.exhibit]
    found = [_exhibit(one, findings) for one in exhibits]
    for section in numbered(sections(findings), after=len(exhibits)):
        if section.figure is not None and section.frame is not None:
            found.append(
                Shown(
                    number=section.number, key=section.key, title=section.title,
                    caption=section.caption, note=section.note, figure=section.figure,
                    frame=section.frame,
                )
            )  # fmt: skip
        found += [_exhibit(one, findings) for one in section.exhibits]
    return found


def _exhibit(one: Exhibit, findings: Measured) -> Shown:
    figure, caption = one.figure, one.caption
    if one.key == "coupling" and findings.geometry is not None:
        depth = peak_of(findings.geometry.angle_js, findings.n_layers)
        figure, caption = still(figure, depth), f"{caption} Drawn at depth {depth}."
    return Shown(
        number=one.number, key=one.key, title=one.title, caption=caption, note=one.note,
        figure=figure, frame=one.frame,
    )  # fmt: skip


@checked
def write_figures(
    findings: Measured, folder: str | Path, *, width: Width = "one", overwrite: bool = False
) -> list[Path]:
    """Write every figure of a report as SVG, PDF and PNG, with its caption and its numbers.

    Args:
        findings: a report (`build_report`).
        folder: where to; it is made where its own folder is there.
        width: of one column (3.3 inches) or of two (7 inches).
        overwrite: replace figures that are there.
    Returns:
        The files: of each figure .svg, .pdf, .png, .md (caption) and .csv.
    Raises:
        ImportError, FileNotFoundError: kaleido or a browser is missing, or the folder cannot be.
        FileExistsError: there is a figure and `overwrite` is off.
    Example:
        >>> write_figures(build_report(model, task, out="report.html"), "figures")
    """
    check_images(caller="write_figures")
    found = gallery(findings)
    folder = Path(folder)
    check_folder(folder, overwrite=overwrite)
    drawn = images([one.figure for one in found], width=width)
    folder.mkdir(exist_ok=True)
    written = []
    for one, files in zip(found, drawn, strict=True):
        for ending, content in files.items():
            written.append(folder / f"{one.stem}.{ending}")
            write_bytes(written[-1], content)
        texts = {"md": _caption(findings, one, width), "csv": csv_text(one.frame())}
        for ending, text in texts.items():
            written.append(folder / f"{one.stem}.{ending}")
            write_text(written[-1], text)
    return written


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot take figures, or that has some.

    Raises:
        FileNotFoundError, NotADirectoryError, FileExistsError, PermissionError
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"figures: {shown(str(folder))} is a file; name a folder.")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"figures: there is no folder {shown(str(folder.parent))}.")
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"figures: {shown(str(folder))} cannot be written; write elsewhere.")
    known = sorted(path for part in PARTS for path in folder.glob(f"figure-[0-9]*.{part}"))
    if known and not overwrite:
        raise FileExistsError(
            f"figures: {shown(str(known[0]))} exists; write elsewhere, or replace it with --force "
            f"(overwrite=True)."
        )


def _caption(findings: Measured, one: Shown, width: Width) -> str:
    """What stands below the figure: title, what to see, how to read it, on what it was measured."""
    model, task = findings.lens.provenance.model, findings.task
    return (
        f"**Figure {one.number}. {one.title}.** {one.caption} {one.note}\n\n"
        f"{model.name} ({counted(model.n_layers, 'block')}, {model.dtype}, weights "
        f"{model.fingerprint}) on {counted(len(task), 'prompt')} of {task.name}, seed "
        f"{findings.seed}; {INCHES[width]} inches wide. Numbers: {one.stem}.csv.\n"
    )
