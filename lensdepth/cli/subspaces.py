"""Exchange within subspaces: how many dimensions carry the prediction."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import Folds, SweepOptions, Twin
from lensdepth.cli.task_options import TaskOptions

BASES = ("pca", "unembedding", "das")


@dataclass(frozen=True, kw_only=True)
class SubspaceOptions:
    """Which subspaces, of how many dimensions, where, and what they are kept apart from."""

    basis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="|".join(BASES),
            help="Where subspaces come from: differences of other pairs, what the readout weighs "
            "their answers by, or learned by gradient (takes long); may be given several times.",
            show_default="pca and unembedding",
            rich_help_panel=PANEL,
        ),
    ] = None
    dim: Annotated[
        list[int] | None,
        typer.Option(
            metavar="K",
            help="Dimensions; may be given several times.",
            min=0,
            show_default="1, 2, 4 ... 32",
            rich_help_panel=PANEL,
        ),
    ] = None
    depth: Annotated[
        list[int] | None,
        typer.Option(
            metavar="D",
            help="Depths, in place of --depths; may be given several times.",
            min=0,
            rich_help_panel=PANEL,
        ),
    ] = None
    position: Annotated[
        Literal["input", "prediction"],
        typer.Option(help="Where states are exchanged.", rich_help_panel=PANEL),
    ] = "prediction"
    apart: Annotated[
        str,
        typer.Option(
            metavar="prompts|units|LABEL",
            help="What the pairs behind a subspace share none of with those that it is tried on.",
            rich_help_panel=PANEL,
        ),
    ] = "prompts"
    folds: Folds = 5
    twin: Twin = False
    sweep: SweepOptions = field(default_factory=SweepOptions)

    def __post_init__(self) -> None:
        for name in self.basis or ():
            if name not in BASES:
                raise ValueError(f"--basis must be one of {', '.join(BASES)}, got {name!r}.")
        if self.depth and self.sweep.depths is not None:
            raise ValueError("give --depth or --depths, not both.")


@app.command(
    epilog=examples(
        "subspaces",
        "subspaces --apart beta --dim 1 --dim 2 --dim 16",
        "subspaces --basis das --depth 2 --dim 2 --folds 2 --twin --out subspaces.html",
        "subspaces --json | jq .summary.needed.pca.k",
    )
)
@spread
def subspaces(
    *,
    options: SubspaceOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Put in the source's part within k dimensions: how many carry the answer at each depth?"""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        depth_model, pairs = session.open_pairs(
            task, model, keep="correct", edited=True, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.subspaces import subspace_sweep

        asked: dict[str, Any] = asdict(options.sweep)
        if options.depth:
            asked["depths"] = options.depth
        if options.basis:
            asked["bases"] = options.basis
        profile = subspace_sweep(
            depth_model,
            pairs,
            positions=(options.position,),
            dims=options.dim,
            apart=options.apart,
            n_folds=options.folds,
            twin=options.twin,
            **asked,
            seed=task.seed,
            **model.bounds,
        )
        told = analysis("subspaces")
        summary = told.summary(profile)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.subspaces.told import chief
        from lensdepth.telling.names import position_name

        what = f"Exchange in subspaces ({position_name(options.position)}, {options.sweep.mode})"
        title = session.title(what, depth_model, pairs)
        parts = tables.curve_tables(chief(profile), profile.n_layers)
        tables.show(title, *parts, "", *told.sentences(profile))

    session.deliver(profile, summary, output, show, pairs=pairs)
