"""Steering at the input against steering at the output."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import SweepOptions
from lensdepth.cli.task_options import TaskOptions


@dataclass(frozen=True, kw_only=True)
class SteerOptions:
    """Where is steered, how strongly, and from which labels."""

    position: Annotated[
        list[str] | None,
        typer.Option(
            metavar="input|prediction",
            help="Where to steer; may be given twice.",
            show_default="both, where the prompts have an input",
            rich_help_panel=PANEL,
        ),
    ] = None
    strength: Annotated[
        float, typer.Option(help="Factor of the vectors.", rich_help_panel=PANEL)
    ] = 1.0
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Norm of all that a run adds, as a share of the states' mean norm there.",
            show_default="the differences of centroids as they are",
            rich_help_panel=PANEL,
        ),
    ] = None
    folds: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Parts of the prompts; centroids come from other parts than the steered prompts.",
            min=3,
            rich_help_panel=PANEL,
        ),
    ] = 10
    input_label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Label column at the input position (with a twin corrupted_COLUMN).",
            show_default="the words that vary",
            rich_help_panel=PANEL,
        ),
    ] = None
    output_label: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="The same at the prediction position.",
            show_default="the answers",
            rich_help_panel=PANEL,
        ),
    ] = None
    sweep: SweepOptions = field(default_factory=SweepOptions)

    def __post_init__(self) -> None:
        for name in self.position or ():
            if name not in ("input", "prediction"):
                raise ValueError(f"--position must be input or prediction, got {name!r}.")
        labels = {"input": self.input_label, "prediction": self.output_label}
        for name, label in labels.items():
            if label is not None and self.position and name not in self.position:
                option = "--input-label" if name == "input" else "--output-label"
                raise ValueError(f"{option} goes with --position {name}.")


@app.command(
    epilog=examples(
        "steer",
        "steer --task ioi --budget 0.5",
        "steer --out steering.html",
        "steer --json | jq .summary.crossing",
    )
)
@spread
def steer(
    *,
    options: SteerOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Add differences of centroids at the input and at the last token: where does either work?"""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        named = [name for name in (options.input_label, options.output_label) if name]
        depth_model, pairs = session.open_pairs(
            task, model, keep="correct", edited=True, debug=output.debug,
            labels=[column for name in named for column in (name, f"corrupted_{name}")],
        )  # fmt: skip
        from lensdepth.analyses import analysis
        from lensdepth.gap import find_holder
        from lensdepth.steering import steering_sweep
        from lensdepth.transition import find_steering_crossing

        profile = steering_sweep(
            depth_model,
            pairs,
            positions=options.position,  # type: ignore[arg-type]
            strength=options.strength,
            budget=options.budget,
            n_folds=options.folds,
            input_label=options.input_label,
            output_label=options.output_label,
            **asdict(options.sweep),
            seed=task.seed,
            **model.bounds,
        )
        crossing, sustained = (
            None
            if pairs.no_handover
            else find_steering_crossing(profile, scope=scope, seed=task.seed)
            for scope in profile.scopes
        )
        if crossing is not None:
            crossing = find_holder(
                depth_model,
                pairs,
                crossing,
                mode=options.sweep.mode,
                seed=task.seed,
                **model.bounds,
            )
        told = analysis("steer")
        summary = told.summary(profile, crossing, sustained)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.steering.told import efficacy_curves, fraction_curves

        title = session.title(f"Efficacy of steering ({options.sweep.mode})", depth_model, pairs)
        n_steered = len(profile.provenance.prompts)
        if n_steered < len(pairs):
            title.append(f"; {n_steered} of them steered")
        curves = efficacy_curves(profile, profile.edits)
        whole = [curve.key for curve in curves if curve.key.endswith("_full")]
        parts = tables.curve_tables(curves, profile.n_layers, bands=whole)
        made_of = fraction_curves(profile)
        if made_of:  # so many columns have room for their means alone
            parts += ["", *tables.curve_tables(made_of, profile.n_layers, bands=[""])]
        tables.show(title, *parts, "", *told.sentences(profile, crossing, sustained))

    def figure() -> Any:
        from lensdepth.report import figures

        return figures.with_zone(profile.plot(), figures.crossing_zone(crossing))

    session.deliver(profile, summary, output, show, figure, pairs=pairs)
