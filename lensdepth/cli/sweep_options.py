"""Options of commands that edit runs, one group for each set of commands that take the same.

A command passes a group on whole, `**asdict(options.sweep)`: an option that such commands come to
share is one field here, under the name that the analyses have for it.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from lensdepth.cli.app import PANEL
from lensdepth.outside import shown

N_TWINS = 5
"""Twins where none are asked for, as of `evaluate_claims`."""


def twins_option(**more: Any) -> Any:
    """`--twins`; report has a default of its own and shows it by `show_default`."""
    return typer.Option(
        "--twins",
        metavar="N",
        min=0,
        help="Untrained twins of the model that stand beside claims that would be supported, to "
        "tell what is by architecture; each costs about as much as the claims do on 60 pairs. "
        "0 for none.",
        rich_help_panel=PANEL,
        **more,
    )


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Of commands that edit one run of a pair: circuit and those of ControlOptions."""

    mode: Annotated[
        Literal["denoise", "noise"],
        typer.Option(
            help="denoise: clean states into the corrupted run; noise: the reverse.",
            rich_help_panel=PANEL,
        ),
    ] = "denoise"


CONTROL_PAIRS = 64
"""Pairs that controls are run on where none are asked for, as in all sweeps."""


def how_many(given: str | int) -> Any:
    """`all`, or a number of one or more; the default is one already.

    Raises:
        BadParameter: it is neither.
    """
    text = str(given)
    if text == "all":
        return text
    if text.isascii() and text.isdecimal() and int(text):
        return int(text)
    raise typer.BadParameter(f"a number of pairs or all, got {shown(text)}.")


def control_option(what: str) -> Any:
    """`--control-pairs`, where one says what is run on them."""
    return typer.Option(
        metavar="N|all",
        parser=how_many,
        help=f"Pairs that {what} are run on, drawn at random; or all of them.",
        rich_help_panel=PANEL,
    )


Twin = Annotated[
    bool,
    typer.Option(
        "--twin",
        help="Measure an untrained twin of the model besides.",
        rich_help_panel=PANEL,
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Parts of these; each pair is judged without its own.",
        min=2,
        rich_help_panel=PANEL,
    ),
]
"""Below `--apart`, which says what the parts are of."""


@dataclass(frozen=True, kw_only=True)
class ControlOptions(EditOptions):
    """Of commands that run controls beside every edit: patch and those of SweepOptions."""

    control_pairs: Annotated[Any, control_option("controls")] = CONTROL_PAIRS


@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """Of commands that edit whole states depth by depth: report, SweepOptions, JudgeOptions."""

    depths: Annotated[
        Literal["auto", "all"] | None,
        typer.Option(
            help="At which depths whole states are edited; auto: a coarse grid, and every depth "
            "where patching moves.",
            show_default="auto in models of more than 16 blocks, else all",
            rich_help_panel=PANEL,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TwinOptions:
    """Of commands that judge claims: check and those of JudgeOptions."""

    twins: Annotated[int, twins_option()] = N_TWINS


@dataclass(frozen=True, kw_only=True)
class SweepOptions(ControlOptions, DepthOptions):
    """Of one sweep of whole states: ablate and steer."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions(DepthOptions, TwinOptions):
    """Of all sweeps behind the claims, which choose the run that is edited themselves: claims."""
