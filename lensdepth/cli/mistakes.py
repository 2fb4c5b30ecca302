"""Right against wrong answers: do these form at other depths?"""

from typing import Annotated, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.task_options import TaskOptions


@app.command(
    epilog=examples(
        "mistakes --task binding",
        "mistakes --prompts pairs.jsonl --by patch",
        "mistakes --task binding --json | jq .summary.verdict",
    )
)
@spread
def mistakes(
    *,
    by: Annotated[
        Literal["lens", "patch"],
        typer.Option(
            help="An answer stands where it is the lens's first choice, or where the last token's "
            "state brings it about, from there on.",
            rich_help_panel=PANEL,
        ),
    ] = "lens",
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Whether the model's wrong answers form at other depths than its right ones."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        depth_model, pairs = session.open_pairs(
            task, model, keep="all", edited=False, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.mistakes import compare_mistakes

        profile = compare_mistakes(depth_model, pairs, by=by, seed=task.seed, **model.bounds)
        told = analysis("mistakes")
        summary = told.summary(profile)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title("Right and wrong answers", depth_model, pairs)
        parts = tables.curve_tables(told.curves(profile), profile.n_layers)
        tables.show(title, *parts, "", *told.sentences(profile))

    session.deliver(profile, summary, output, show, pairs=pairs)
