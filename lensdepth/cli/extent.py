"""How much of a report is measured."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer

from lensdepth.cli.app import PANEL
from lensdepth.cli.sweep_options import N_TWINS, DepthOptions, twins_option
from lensdepth.outside import shown

MANY_TWINS = 20
"""With which "more than one twin in twenty passes" can be told from "none does"."""


@dataclass(frozen=True, kw_only=True)
class ExtentOptions:
    """Which sections, at which depths, beside how many twins."""

    sections: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="What is measured beside the lens and patching: of steering, locality, ablation, "
            "dose, decoding, geometry and claims, and, where they are named, of subspaces, "
            "confidence, landmarks and choice. usual stands for the first seven.",
            show_default="usual",
            rich_help_panel=PANEL,
        ),
    ] = None
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Lens, patching and ablation alone.", rich_help_panel=PANEL),
    ] = False
    thorough: Annotated[
        bool,
        typer.Option(
            "--thorough",
            help=f"Edits at every depth, controls on all pairs, and {MANY_TWINS} untrained twins "
            "for all claims.",
            rich_help_panel=PANEL,
        ),
    ] = False
    # None, for as many as --thorough then asks for.
    twins: Annotated[int | None, twins_option(show_default=str(N_TWINS))] = None
    edited: DepthOptions = field(default_factory=DepthOptions)
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how long each section would take, and how much memory, from a short probe; "
            "write nothing.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def settings(self) -> dict[str, Any]:
        """What `build_report` is told.

        Raises:
            ValueError: a section that there is not, or options that do not go together.
        """
        from lensdepth.report.measured import QUICK, SECTIONS, USUAL

        if self.quick and (self.thorough or self.sections is not None):
            raise ValueError("--quick goes with neither --thorough nor --sections.")
        sections = QUICK if self.quick else None
        if self.sections is not None:
            named = [name.strip() for name in self.sections.split(",")]
            sections = tuple(
                one for name in named for one in (USUAL if name == "usual" else (name,))
            )
            for name in sections:
                if name not in SECTIONS:
                    raise ValueError(
                        f"--sections: there is no section {shown(name)}; there is "
                        f"{', '.join(SECTIONS)}, and usual."
                    )
        twins = self.twins if self.twins is not None else MANY_TWINS if self.thorough else N_TWINS
        depths = self.edited.depths or ("all" if self.thorough else None)
        whole = {"control_pairs": "all", "twins_of": "all"} if self.thorough else {}
        asked = {**asdict(self.edited), "depths": depths, **whole}
        return {"sections": sections, "twins": twins, **asked}
