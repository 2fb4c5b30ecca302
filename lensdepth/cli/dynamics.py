"""When in training the switch appears: checkpoint after checkpoint."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.completion import complete_models
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.task_options import TaskOptions, check_task

if TYPE_CHECKING:
    from pathlib import Path

    from lensdepth.model import DepthModel


@app.command(
    epilog=examples(
        "dynamics tiny@all --task months",
        "dynamics runs/checkpoints --prompts pairs.jsonl --out training.html",
        "dynamics tiny@1714 tiny@2333 tiny@8000 --json | jq .summary.appears",
    )
)
@spread
def dynamics(
    *,
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            help="Checkpoints of one training, each with its step at the end (NAME@step1000, "
            "FOLDER/step-1000); or one folder of such folders; or NAME@all, those that are here of "
            "a bundled model.",
            autocompletion=complete_models,
            show_default="--model",
        ),
    ] = None,
    claims: Annotated[
        bool,
        typer.Option(
            "--claims",
            help="Evaluate the claims at every checkpoint that answers: a minute or more each.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """When in training control begins to pass at one place, and how that place moves."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        check_task(task, pairs=True)
        from lensdepth.dynamics.listed import listed

        given = checkpoints or [model.model]
        found = listed(given[0] if len(given) == 1 else given, caller="dynamics")

        def load(name: "str | Path") -> "DepthModel":
            return session.open_model(replace(model, model=str(name)), debug=output.debug)

        *_, last = found.values()
        # The last one has learned most, should somebody ask what it answers.
        tokenizes = load(str(last))
        pairs = session.open_task(task, tokenizes, keep="all", edited=True, asked=model)
        title = session.title("When in training", tokenizes, pairs)
        del tokenizes
        from lensdepth.analyses import analysis
        from lensdepth.dynamics import training_dynamics

        result = training_dynamics(
            {step: str(name) for step, name in found.items()}, pairs, claims=claims, load=load,
            seed=task.seed, **model.bounds,
        )  # fmt: skip
        told = analysis("dynamics")
        summary = told.summary(result)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.cli.training_tables import checkpoint_table

        tables.show(title, checkpoint_table(result), "", *told.sentences(result))

    session.deliver(result, summary, output, show, pairs=pairs)
