"""Which depths to edit together, where only so many can be."""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples, is_index
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import ControlOptions, Folds
from lensdepth.cli.task_options import TaskOptions


@dataclass(frozen=True, kw_only=True)
class ChooseOptions:
    """How many places, of which stream, where, and on which pairs they are judged."""

    sites: Annotated[
        int,
        typer.Option(metavar="N", help="Places in the largest set.", min=1, rich_help_panel=PANEL),
    ] = 3
    stream: Annotated[
        Literal["attn_out", "mlp_out", "resid_pre", "resid_mid", "resid_post", "z"],
        typer.Option(
            help="What is put in; whole residual states overwrite one another.",
            rich_help_panel=PANEL,
        ),
    ] = "attn_out"
    position: Annotated[
        str,
        typer.Option(
            metavar="NAME|INDEX",
            help="Where to edit: input, prediction, or an index (from the end if negative).",
            rich_help_panel=PANEL,
        ),
    ] = "prediction"
    apart: Annotated[
        str,
        typer.Option(
            metavar="prompts|units|input|LABEL",
            help="What the pairs that choose share none of with those that judge.",
            rich_help_panel=PANEL,
        ),
    ] = "prompts"
    folds: Folds = 5
    permutations: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Orders that Shapley values are sampled from, an even number.",
            min=4,
            show_default="all sets of up to 9 places, else 64",
            rich_help_panel=PANEL,
        ),
    ] = None
    sweep: ControlOptions = field(default_factory=ControlOptions)

    def __post_init__(self) -> None:
        if self.position not in ("input", "prediction") and not is_index(self.position):
            raise ValueError(
                f"--position must be input, prediction or an index, got {self.position!r}."
            )

    @property
    def place(self) -> str | int:
        """The position as analyses take it."""
        return int(self.position) if is_index(self.position) else self.position


@app.command(
    epilog=examples(
        "choose --sites 2",
        "choose --stream mlp_out --apart input --out choice.html",
        "choose --json | jq .summary.redundancy",
    )
)
@spread
def choose(
    *,
    options: ChooseOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Which blocks or depths to edit together, and which of them do the same work again."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        depth_model, pairs = session.open_pairs(
            task, model, keep="correct", edited=True, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.locality import choose_depths

        choice = choose_depths(
            depth_model,
            pairs,
            stream=options.stream,
            position=options.place,
            n_sites=options.sites,
            apart=options.apart,
            n_folds=options.folds,
            n_permutations=options.permutations,
            **asdict(options.sweep),
            seed=task.seed,
            **model.bounds,
        )
        told = analysis("choice")
        summary = told.summary(choice)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title(f"Which to edit together ({options.sweep.mode})", depth_model, pairs)
        parts = tables.curve_tables(told.curves(choice), choice.n_layers)
        tables.show(title, *parts, "", *told.sentences(choice))

    session.deliver(choice, summary, output, show, pairs=pairs)
