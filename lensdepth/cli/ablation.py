"""Ablating a part of a state: its direction alone, its norm alone, or both."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples, is_index
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import SweepOptions
from lensdepth.cli.task_options import TaskOptions, check_task
from lensdepth.telling.names import SCOPES

if TYPE_CHECKING:
    from lensdepth.model import DepthModel
    from lensdepth.tasks import Task

REACHES = tuple(name for name in SCOPES if name != "window")


@dataclass(frozen=True, kw_only=True)
class AblateOptions:
    """What is replaced, by what, and where."""

    position: Annotated[
        str,
        typer.Option(
            metavar="NAME|INDEX",
            help="Where to edit: input, prediction, or an index (from the end if negative).",
            rich_help_panel=PANEL,
        ),
    ] = "prediction"
    to: Annotated[
        Literal["source", "mean", "shuffled", "random"],
        typer.Option(
            help="What goes in: the source run's part, the mean part, another pair's, or a random "
            "one (as far away in angle; a norm of the same prompts).",
            rich_help_panel=PANEL,
        ),
    ] = "source"
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(REACHES),
            help="Depths edited in one run: this one, it and all later ones, it and all earlier "
            "ones, or all; may be given several times.",
            show_default="local",
            rich_help_panel=PANEL,
        ),
    ] = None
    coordinates: Annotated[
        Literal["raw", "centred", "final_norm"],
        typer.Option(
            help="Where direction and norm are taken: from the origin, from the mean state, or "
            "less what a final LayerNorm subtracts.",
            rich_help_panel=PANEL,
        ),
    ] = "raw"
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Prompts that the means of --to mean and --coordinates centred are taken over.",
            show_default="the prompts themselves",
            rich_help_panel=PANEL,
        ),
    ] = None
    sweep: SweepOptions = field(default_factory=SweepOptions)
    dose: Annotated[
        bool,
        typer.Option(
            "--dose",
            help="Turn by shares of the angle and scale the norm: dose and response.",
            rich_help_panel=PANEL,
        ),
    ] = False
    decode: Annotated[
        bool,
        typer.Option(
            "--decode",
            help="What labels and predictions can be read off norm and direction.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.position not in ("input", "prediction") and not is_index(self.position):
            raise ValueError(
                f"--position must be input, prediction or an index, got {self.position!r}."
            )
        for name in self.scope or ():
            if name not in REACHES:
                raise ValueError(f"--scope must be one of {', '.join(REACHES)}, got {name!r}.")
        if self.dose and self.decode:
            raise ValueError("give --dose or --decode, not both.")
        special = "--dose" if self.dose else "--decode" if self.decode else None
        if special and (self.to != "source" or self.scope):
            raise ValueError(f"{special} has neither --to nor --scope.")
        if special and is_index(self.position):
            raise ValueError(f"{special} takes --position input or prediction.")
        if self.reference and (
            self.decode or (self.to != "mean" and self.coordinates != "centred")
        ):
            raise ValueError("--reference goes with --to mean or --coordinates centred.")
        if self.decode and self.sweep.depths is not None:
            raise ValueError("--decode reads every depth and has no --depths.")
        if self.decode and self.sweep.mode != "denoise":
            raise ValueError("--decode reads the clean prompts and has no --mode.")

    @property
    def place(self) -> str | int:
        """The position as analyses take it."""
        return int(self.position) if is_index(self.position) else self.position


@app.command(
    epilog=examples(
        "ablate",
        "ablate --to mean --scope local --scope prefix",
        "ablate --dose --out dose.html",
        "ablate --json | jq .summary.transferred.direction",
    )
)
@spread
def ablate(
    *,
    options: AblateOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Swap a state's direction alone, its norm alone, or both, one depth at a time."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        check_task(task, pairs=not options.decode)
        if options.reference is not None:
            check_task(
                replace(task, task=None, template=None, prompts=options.reference), pairs=True
            )
        depth_model = session.open_model(model, debug=output.debug)
        pairs = session.open_task(task, depth_model, keep="correct", edited=True, asked=model)
        shared: dict[str, Any] = {"seed": task.seed, "coordinates": options.coordinates}
        if options.reference is not None:
            from lensdepth.tasks import load_task

            shared["reference"] = load_task(Path(options.reference), depth_model)
        from lensdepth.analyses import analysis

        run = _decode if options.decode else _dose if options.dose else _sweep
        profile = run(depth_model, pairs, options, shared, model)
        key = "decoding" if options.decode else "dose" if options.dose else "ablation"
        told = analysis(key)
        summary = told.summary(profile)

    def show() -> None:
        from lensdepth.ablation import told as by_edit
        from lensdepth.cli import tables
        from lensdepth.telling.names import position_name

        n_layers, said = profile.n_layers, told.sentences(profile)
        if options.decode:
            what = f"Decoding ({position_name(options.position)})"
            title = session.title(what, depth_model, pairs)
            tables.show(title, *tables.curve_tables(told.curves(profile), n_layers), "", *said)
            return
        what = f"Transferred fraction ({position_name(options.position)}, {options.sweep.mode}"
        if options.dose:
            title = session.title(f"{what}, by dose)", depth_model, pairs)
            bare = [""]  # so many columns have room for their means alone
            parts = tables.curve_tables(told.curves(profile), n_layers, bands=bare)
            tables.show(title, *parts, "", *said)
            return
        put_in = "" if options.to == "source" else f", to {options.to}"
        for scope in profile.scopes:
            title = session.title(f"{what}{put_in}, {SCOPES[scope]})", depth_model, pairs)
            curves = by_edit.edit_curves(profile, scope=scope)
            tables.show(title, *tables.curve_tables(curves, n_layers), "")
            made_of = by_edit.beside_curves(profile, scope=scope)
            if made_of:
                tables.show(*tables.curve_tables(made_of, n_layers, bands=[""]), "")
        tables.show(*said)

    session.deliver(profile, summary, output, show, pairs=pairs)


def _sweep(
    model: "DepthModel", pairs: "Task", options: AblateOptions, shared: Any, limits: ModelOptions
) -> Any:
    from lensdepth.ablation import ablation_sweep

    return ablation_sweep(
        model,
        pairs,
        positions=(options.place,),
        to=options.to,
        scopes=options.scope or ("local",),  # type: ignore[arg-type]
        **asdict(options.sweep),
        **limits.bounds,
        **shared,
    )


def _dose(
    model: "DepthModel", pairs: "Task", options: AblateOptions, shared: Any, limits: ModelOptions
) -> Any:
    from lensdepth.ablation import dose_response

    return dose_response(
        model,
        pairs,
        position=options.place,
        **asdict(options.sweep),
        **limits.bounds,
        **shared,
    )


def _decode(
    model: "DepthModel", pairs: "Task", options: AblateOptions, shared: Any, limits: ModelOptions
) -> Any:
    from lensdepth.ablation import decode_parts

    return decode_parts(
        model,
        pairs,
        position=options.place,  # type: ignore[arg-type]
        **limits.bounds,
        **shared,
    )
