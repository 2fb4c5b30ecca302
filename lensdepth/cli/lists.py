"""What there is to run on: models and tasks."""

from typing import Annotated

import typer

from lensdepth.cli import checks, inventory, session
from lensdepth.cli.app import app, examples
from lensdepth.cli.console import quiet, working
from lensdepth.cli.options import (
    DEFAULT_TASK,
    MODEL,
    PROMPTS,
    DebugOption,
    HoldOptions,
    JsonOption,
    ModelOptions,
    spread,
)
from lensdepth.provenance import LARGEST_SEED

TRIED = 20
"""Pairs of each task that `tasks --model` tries."""


@app.command(epilog=examples("models", "models --json"))
def models(json: JsonOption = False, debug: DebugOption = False) -> None:
    """The bundled models, and which others can be loaded."""
    with quiet(debug=debug):
        from lensdepth.provenance import installed_versions

        bundled = inventory.bundled_models()
        with working("looking at the installed TransformerLens"):
            supported = inventory.architectures()
        versions = installed_versions()
    if json:
        session.print_json(
            {
                "provenance": {"versions": versions},
                "summary": {"architectures": supported},
                "rows": bundled,
            }
        )
        return
    from lensdepth.cli import tables

    tables.show(*tables.model_list(bundled, supported, versions))


@app.command(epilog=examples("tasks", "tasks --json", "tasks --model ./my-model --n 40"))
@spread
def tasks(
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Say of each task how this model answers it, and which claims can be judged.",
            show_default="list the tasks alone",
            rich_help_panel=MODEL,
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            metavar="N",
            help="Pairs of each task that are tried.",
            min=1,
            show_default=str(TRIED),
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Of the draws.",
            min=0,
            max=LARGEST_SEED,
            rich_help_panel=PROMPTS,
        ),
    ] = 0,
    hold: HoldOptions,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """The built-in tasks, with an example of each; with --model, how the model answers them."""
    if model is None and n is not None:
        raise ValueError("--n goes with --model: it is how many pairs of each task are tried.")
    with quiet(debug=debug):
        from lensdepth.provenance import installed_versions

        listed = inventory.tasks()
        if model is not None:
            options = ModelOptions(model=model, **vars(hold))
            held = session.open_model(options, debug=debug)
            listed = [one | checks.try_task(held, one["name"], n or TRIED, seed) for one in listed]
    summary: session.Json = {"default": DEFAULT_TASK}
    if json:
        session.print_json(
            {
                "provenance": {"versions": installed_versions()},
                "summary": summary | ({} if model is None else {"model": model, "n": n or TRIED}),
                "rows": listed,
            }
        )
        return
    from lensdepth.cli import tables

    if model is None:
        tables.show(*tables.task_list(listed))
    else:
        tables.show(*checks.tried_tasks(model, listed))
