"""Figures as files for a paper, beside what a command writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from lensdepth.cli.options import OUTPUT


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Figures as files for a paper."""

    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Also write every figure as SVG, PDF and PNG, each with its caption (.md) and the "
            "numbers behind it (.csv); needs lensdepth[figures] and a Chrome or Chromium.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None
    figure_width: Annotated[
        Literal["one", "two"],
        typer.Option(
            help="How wide they are: one column of a paper (3.3 inches) or two (7).",
            rich_help_panel=OUTPUT,
        ),
    ] = "one"

    def check(self, *, force: bool, dry_run: bool) -> None:
        """Find out before any work that they can be written.

        Raises:
            ImportError, OSError: kaleido or a browser is missing, or the folder cannot be, or has
                figures already without `force`.
            ValueError: a width without a folder, or a plan, which draws nothing.
        """
        if self.figures is None:
            if self.figure_width != "one":
                raise ValueError("--figure-width goes with --figures.")
            return
        if dry_run:
            raise ValueError("--dry-run draws nothing; leave out --figures.")
        from lensdepth.images import check_images
        from lensdepth.report.gallery import check_folder

        check_images(caller="--figures")
        check_folder(self.figures, overwrite=force)
