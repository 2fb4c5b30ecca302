"""What there is to run on: models and tasks."""

from lensdepth.cli import inventory, session
from lensdepth.cli.app import app, examples
from lensdepth.cli.console import quiet, working
from lensdepth.cli.options import DEFAULT_TASK, DebugOption, JsonOption


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
    from lensdepth.cli import tables

    tables.show(*tables.task_list(listed))
