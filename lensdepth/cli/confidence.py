"""What the norm decides: entropy, probability and first choices under scaled norms."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import CONTROL_PAIRS, DepthOptions, Twin, control_option
from lensdepth.cli.task_options import TaskOptions


@dataclass(frozen=True, kw_only=True)
class ConfidenceOptions(DepthOptions):
    """How much norms are scaled, where, and on how many pairs turns are run."""

    factor: Annotated[
        list[float] | None,
        typer.Option(
            metavar="F",
            help="Factor of the norm, above 0, up to 3, not 1; may be given several times.",
            show_default="0.5, 0.8, 1.25 and 2",
            rich_help_panel=PANEL,
        ),
    ] = None
    twin: Twin = False
    control_pairs: Annotated[Any, control_option("turns of equal length")] = CONTROL_PAIRS


@app.command(
    epilog=examples(
        "confidence",
        "confidence --task drinks --keep all --out confidence.html",
        "confidence --factor 0.5 --factor 2 --json | jq .summary.verdict",
    )
)
@spread
def confidence(
    *,
    options: ConfidenceOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Scale the last state's norm: does it tell how sure the model is, decide, or do nothing?"""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        depth_model, pairs = session.open_pairs(
            task, model, keep="all", edited=True, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.confidence import confidence_response
        from lensdepth.confidence.response import FACTORS

        profile = confidence_response(
            depth_model, pairs, factors=options.factor or FACTORS, depths=options.depths,
            twin=options.twin, control_pairs=options.control_pairs,
            seed=task.seed, **model.bounds,
        )  # fmt: skip
        told = analysis("confidence")
        summary = told.summary(profile)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.confidence.told import chief

        title = session.title("What the norm decides", depth_model, pairs)
        parts = tables.curve_tables(chief(profile), profile.n_layers)
        tables.show(title, *parts, "", *told.sentences(profile))

    session.deliver(profile, summary, output, show, pairs=pairs)
