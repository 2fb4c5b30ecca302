"""Landmarks of geometry and lens, beside the depth at which control passes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import DepthOptions, Twin
from lensdepth.cli.task_options import TaskOptions


@dataclass(frozen=True, kw_only=True)
class LandmarkOptions(DepthOptions):
    """What stands beside this model's own landmarks."""

    twin: Twin = False
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Landmarks of another model or task, saved by --out FILE.safetensors; may be "
            "given several times. Then it is said whether landmarks go with the switch.",
            show_default="none",
            rich_help_panel=PANEL,
        ),
    ] = None


@app.command(
    epilog=examples(
        "landmarks",
        "landmarks --task capitals --out capitals.safetensors",
        "landmarks --twin --json | jq .summary.landmarks",
    )
)
@spread
def landmarks(
    *,
    options: LandmarkOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Do geometry's landmarks and the lens come before, at or after the depth control passes at?"""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        from lensdepth.landmarks import Landmarks

        # Read before anything is measured: a file that is none is refused at once.
        others = [Landmarks.load(path) for path in options.beside or ()]
        depth_model, pairs = session.open_pairs(
            task, model, keep="correct", edited=True, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.landmarks import across_told, compare_landmarks, find_landmarks

        found = find_landmarks(
            depth_model, pairs, depths=options.depths, twin=options.twin, seed=task.seed,
            **model.bounds,
        )  # fmt: skip
        told = analysis("landmarks")
        summary = told.summary(found)
        together = compare_landmarks([found, *others], seed=task.seed) if others else None
        if together is not None:
            summary["beside"] = across_told.summary(together)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title("Landmarks", depth_model, pairs)
        parts = tables.curve_tables(told.curves(found), found.n_layers)
        said = [] if together is None else ["", *across_told.sentences(together)]
        tables.show(title, *parts, "", *told.sentences(found), *said)

    session.deliver(found, summary, output, show, pairs=pairs)
