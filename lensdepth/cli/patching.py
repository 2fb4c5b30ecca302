"""Patching in another run's states."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, check_positions, examples, is_index
from lensdepth.cli.completion import complete_depths
from lensdepth.cli.console import note, quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import ControlOptions
from lensdepth.cli.task_options import TaskOptions
from lensdepth.outside import shown
from lensdepth.telling.names import METRICS, STREAMS

if TYPE_CHECKING:
    from lensdepth.site import Stream as StreamWord
    from lensdepth.tasks import Task

    MetricWord = str
else:  # the words of the one table, which needs no torch
    StreamWord = Literal[tuple(STREAMS)]
    MetricWord = Literal[tuple(name for name in METRICS if name != "transferred")]


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """What is patched, and what is read off."""

    curves: Annotated[
        bool,
        typer.Option(
            "--curves",
            help="The pair of curves by depth at the input and the prediction position, in place "
            "of the map over all tokens.",
            rich_help_panel=PANEL,
        ),
    ] = False
    position: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|INDEX",
            help="all, input, prediction, or an index (from the end if negative); may be given "
            "several times.",
            show_default="all tokens where the prompts of each pair line up, else input and "
            "prediction",
            rich_help_panel=PANEL,
        ),
    ] = None
    stream: Annotated[
        StreamWord,
        typer.Option(help="What is patched.", rich_help_panel=PANEL),
    ] = "resid_pre"
    # Not those of DepthOptions: a map may be asked for single places, which are blocks in the
    # streams that only patch has.
    depths: Annotated[
        str | None,
        typer.Option(
            metavar="auto|all|D,D,...",
            autocompletion=complete_depths,
            help="Which depths, or blocks: auto measures a coarse grid, and every depth where a "
            "curve moves.",
            show_default="auto in models of more than 16 blocks, else all",
            rich_help_panel=PANEL,
        ),
    ] = None
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="DEPTHS",
            help="With --curves: measure pairs in batches, until the crossing is known to so many "
            "depths to either side.",
            rich_help_panel=PANEL,
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            help="With --curves: begin no batch of pairs that would end later.",
            rich_help_panel=PANEL,
        ),
    ] = None
    heads: Annotated[
        bool,
        typer.Option("--heads", help="At --stream z, head by head.", rich_help_panel=PANEL),
    ] = False
    metric: Annotated[
        MetricWord,
        typer.Option(help="What an effect is measured by.", rich_help_panel=PANEL),
    ] = "logit_diff"
    edit: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What is done to the state: full, direction, norm ...",
            rich_help_panel=PANEL,
        ),
    ] = "full"
    sweep: ControlOptions = field(default_factory=ControlOptions)
    attribution: Annotated[
        bool,
        typer.Option(
            "--attribution",
            help="Estimate every effect from one gradient: a screen for large models.",
            rich_help_panel=PANEL,
        ),
    ] = False
    verify: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="With --attribution, compute the N largest sites exactly as well.",
            min=0,
            rich_help_panel=PANEL,
        ),
    ] = 0

    def __post_init__(self) -> None:
        _ = self.places
        if self.curves and self.position:
            raise ValueError("--curves is a pair of curves; leave out --position, or --curves.")
        if self.curves and (self.heads or self.attribution):
            raise ValueError("--curves are of whole streams, computed exactly.")
        if self.in_batches and not (self.curves and self.is_plain):
            raise ValueError(
                "--precision and --minutes go with --curves of whole residual states: leave out "
                "--stream, --edit and --metric."
            )
        for name in ("precision", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name} must be above 0, got {value}.")
        if self.heads and self.stream != "z":
            raise ValueError("--heads go with --stream z.")
        if self.verify and not self.attribution:
            raise ValueError("--verify goes with --attribution.")
        check_positions(self.position or ())

    @property
    def in_batches(self) -> bool:
        """Whether pairs are measured until it is clear, or time is up."""
        return self.precision is not None or self.minutes is not None

    @property
    def is_plain(self) -> bool:
        """Whether control is read off, as a crossing is of it."""
        return (self.stream, self.edit, self.metric) == ("resid_pre", "full", "logit_diff")

    @property
    def places(self) -> "list[int] | str | None":
        """The depths as `patch_sweep` takes them."""
        if self.depths in (None, "auto", "all"):
            return self.depths
        try:
            return [int(depth) for depth in self.depths.split(",")]
        except ValueError:
            raise ValueError(
                f"--depths must be auto, all, or whole numbers between commas, got "
                f"{shown(self.depths)}."
            ) from None


@app.command(
    epilog=examples(
        "patch",
        "patch --task ioi --mode noise --out patch.html",
        "patch --stream z --heads --position prediction",
        "patch --curves --json | jq .summary.crossing",
        "patch --curves --task ioi --n 400 --precision 0.5",
    )
)
@spread
def patch(
    *,
    options: PatchOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Put the source run's state into the base run, one site at a time, and see what follows."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        from lensdepth.edits import SWEPT

        if options.edit not in SWEPT:
            raise ValueError(
                f"--edit must be one of {', '.join(SWEPT)}, got {shown(options.edit)}."
            )
        depth_model, pairs = session.open_pairs(
            task, model, keep="correct", edited=not options.in_batches, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.gap import find_holder
        from lensdepth.patching import patch_sweep
        from lensdepth.patching.sweep import ALSO
        from lensdepth.transition import find_crossing
        from lensdepth.until import locate_crossing

        located = None
        if options.in_batches:
            located = locate_crossing(
                depth_model,
                pairs,
                precision=options.precision,
                minutes=options.minutes,
                depths=options.places,  # type: ignore[arg-type]
                mode=options.sweep.mode,
                seed=task.seed,
                **model.bounds,
            )
            profile = located.profile
        else:
            profile = patch_sweep(
                depth_model,
                pairs,
                depths=options.places,  # type: ignore[arg-type]
                positions=_positions(options, pairs),
                heads="all" if options.heads else None,
                metric=options.metric,
                also=() if options.attribution else ALSO,
                method="attribution" if options.attribution else "exact",
                verify=options.verify,
                stream=options.stream,
                edit=options.edit,
                **asdict(options.sweep),
                seed=task.seed,
                **model.bounds,
            )
        # Control passes in the residual stream, whatever else is patched here.
        curves, both = profile, {"input", "prediction"}
        plain = options.stream == "resid_pre" and options.edit == "full"
        if not (plain and profile.is_curves) and pairs.input_positions is not None:
            # What was asked for may be other depths, or another metric, than control is read off.
            alike = options.is_plain and options.places is None and not options.attribution
            curves = (profile.at_ends(pairs) if alike else None) or patch_sweep(
                depth_model,
                pairs,
                controls=(),
                **asdict(options.sweep),
                seed=task.seed,
                **model.bounds,
            )
        crossing = None if located is None else located.crossing
        if located is None and both <= {*curves.positions} and not pairs.no_handover:
            crossing = find_holder(
                depth_model,
                pairs,
                find_crossing(curves, seed=task.seed),
                mode=options.sweep.mode,
                seed=task.seed,
                **model.bounds,
            )
        told = analysis("patch")
        summary = told.summary(profile, crossing, curves=curves)
        if located is not None:
            summary |= located.summary

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.cli.patch_tables import patch_map
        from lensdepth.patching.told import efficacy_curves, fraction_curves
        from lensdepth.telling.names import stream_name
        from lensdepth.telling.numbers import number
        from lensdepth.transition.told import patching_verdict

        as_curves = profile.is_curves
        what = "Efficacy of patching" if as_curves else f"Effect of patching on {profile.metric}"
        title = session.title(
            f"{what} ({stream_name(options.stream)}, {options.sweep.mode})",
            depth_model,
            pairs,
        )
        parts = patch_map(profile)
        if as_curves:
            parts = tables.curve_tables(efficacy_curves(profile), profile.n_layers)
            made_of = fraction_curves(profile)
            parts += ["", *tables.curve_tables(made_of, profile.n_layers, bands=[""])]
        said = []
        if crossing is not None:
            said = [patching_verdict(crossing, profile.n_layers)]
            said += [] if located is None else [located.told]
        else:
            said = told.sentences(profile)[:1] if as_curves else []
            if pairs.no_handover and not (as_curves and pairs.input_positions is None):
                said.insert(0, f"No crossing was sought: {pairs.no_handover}.")
        if profile.rank_correlation is not None:
            said.append(
                f"Estimated and exact effects at the {options.verify} largest sites agree in rank "
                f"by {number(profile.rank_correlation)} (Spearman)."
            )
        tables.show(title, *parts, "", *said, *told.notes(profile))

    def figure() -> Any:
        from lensdepth.report import figures

        if profile.is_curves and profile is curves:
            return figures.with_zone(profile.plot(), figures.crossing_zone(crossing))
        return profile.plot()

    session.deliver(profile, summary, output, show, figure, pairs=pairs)


def _positions(options: PatchOptions, pairs: "Task") -> Any:
    """What was asked for; without a word, every token wherever that can be had."""
    if options.position:
        if options.position == ["all"]:
            return "all"
        return [int(name) if is_index(name) else name for name in options.position]
    if (options.curves and pairs.input_positions is not None) or pairs.corrupted_tokens is None:
        return ("input", "prediction")
    if options.curves:
        note(
            "nothing tells which part of the prompts varies: one curve, at the prediction "
            "position; the columns input and corrupted_input give the other"
        )
        return ("prediction",)
    from lensdepth.sweep.spans import unaligned_pairs

    strange = len(unaligned_pairs(pairs))
    if not strange:
        return "all"
    note(
        f"the prompts of {strange} of {len(pairs)} pairs have different token counts and too "
        f"little in common to line up: patched at named positions"
    )
    return None
