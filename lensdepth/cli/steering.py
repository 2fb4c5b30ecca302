"""Steering at the input against steering at the output."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import SweepOptions
from lensdepth.cli.task_options import TaskOptions
from lensdepth.cli.vector_options import SAVED, VectorOptions
from lensdepth.outside import visible

if TYPE_CHECKING:
    from lensdepth.applied import VectorResponse
    from lensdepth.cli.tables import Parts

N_FOLDS = 10
"""As of `steering_sweep`."""


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
        float | None,
        typer.Option(
            metavar="X",
            help="Factor of the vectors; with --apply, in the unit of its edit.",
            show_default="1; with --apply, the vector's own",
            rich_help_panel=PANEL,
        ),
    ] = None
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
        int | None,
        typer.Option(
            metavar="N",
            help="Parts of the prompts; centroids come from other parts than the steered prompts.",
            min=3,
            show_default=str(N_FOLDS),
            rich_help_panel=PANEL,
        ),
    ] = None
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
    doses: Annotated[
        list[float] | None,
        typer.Option(
            "--dose",
            metavar="X",
            help="With --apply, in place of --strength, several times: what the vector does by its "
            "strength.",
            show_default=False,
            rich_help_panel=SAVED,
        ),
    ] = None
    saved: VectorOptions = field(default_factory=VectorOptions)

    def __post_init__(self) -> None:
        if self.saved.apply is not None:
            self._check_applied()
        elif self.doses is not None:
            raise ValueError("--dose goes with --apply.")
        for name in self.position or ():
            if name not in ("input", "prediction"):
                raise ValueError(f"--position must be input or prediction, got {name!r}.")
        labels = {"input": self.input_label, "prediction": self.output_label}
        for name, label in labels.items():
            if label is not None and self.position and name not in self.position:
                option = "--input-label" if name == "input" else "--output-label"
                raise ValueError(f"{option} goes with --position {name}.")

    def _check_applied(self) -> None:
        """A vector has its own edit and site, and no centroids are taken."""
        given = {
            "--position": self.position,
            "--budget": self.budget,
            "--folds": self.folds,
            "--input-label": self.input_label,
            "--output-label": self.output_label,
            "--depths": self.sweep.depths,
        }
        odd = [option for option, value in given.items() if value is not None]
        if odd:
            raise ValueError(
                f"--apply brings its own edit and site; leave out {' and '.join(odd)}."
            )
        if self.doses is not None and self.strength is not None:
            raise ValueError(
                "--strength is one and --dose several strengths; leave out one of both."
            )


@app.command(
    epilog=examples(
        "steer",
        "steer --task ioi --budget 0.5",
        "steer --out steering.html",
        "steer --json | jq .summary.crossing",
        "steer --apply june.safetensors",
        "steer --apply june.safetensors --dose 0.5 --dose 1 --json",
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
    """Add differences of centroids at the input and at the last token: where does either work?

    With --apply, hold a saved vector on instead: what does it do to these pairs?
    """
    check_out(output.out, force=output.force)
    if options.saved.apply is not None:
        return _apply(options, task, model, output)
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
            strength=1.0 if options.strength is None else options.strength,
            budget=options.budget,
            n_folds=options.folds or N_FOLDS,
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


def _apply(
    options: SteerOptions, task: TaskOptions, model: ModelOptions, output: OutputOptions
) -> None:
    """What a saved vector does to the pairs."""
    with quiet(debug=output.debug):
        session.check_task(task, pairs=True)
        depth_model = session.open_model(model, debug=output.debug)
        vector = options.saved.vector(depth_model, options.strength)
        pairs = session.open_task(task, depth_model, keep="correct", edited=True, asked=model)
        from lensdepth.analyses import analysis
        from lensdepth.applied import vector_response

        result = vector_response(
            depth_model,
            pairs,
            vector,
            strengths=options.doses,
            mode=options.sweep.mode,
            control_pairs=options.sweep.control_pairs,
            seed=task.seed,
            **model.bounds,
        )
        told = analysis("steer-apply")
        summary = told.summary(result)

    def show() -> None:
        from lensdepth.cli import tables

        file = visible(str(options.saved.apply))
        title = session.title(f"Effect of {file} ({options.sweep.mode})", depth_model, pairs)
        tables.show(title, *response_table(result), "", *told.sentences(result))

    session.deliver(result, summary, output, show, pairs=pairs)


def response_table(result: "VectorResponse") -> "Parts":
    """One row a strength: what the vector does, and what random turns as far do."""
    from rich.table import Table

    from lensdepth.applied.told import MEASURES, measured

    table = Table(box=None, pad_edge=False)
    table.add_column("strength", justify="right", style="bold")
    edits = ("vector", "turn") if result.n_random else ("vector",)
    for name in MEASURES.values():
        table.add_column(name, justify="right")
        if "turn" in edits:
            table.add_column("under turns", justify="right")
    found = {(m, e): measured(result, m, e) for m in MEASURES for e in edits}
    for i, strength in enumerate(result.strengths):
        cells = [str(of[i]) if m == "kl" else of[i].percent for (m, _), of in found.items()]
        table.add_row(f"{strength:g}", *cells)
    return [table]
