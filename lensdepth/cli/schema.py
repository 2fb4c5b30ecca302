"""`lensdepth schema`: what `--json` prints, as JSON Schema."""

import json
import sys
from typing import Annotated

import typer

from lensdepth.cli.app import app, examples
from lensdepth.cli.completion import complete_schemas
from lensdepth.cli.json_schema import command_of, schema_names, schema_of


@app.command(epilog=examples("schema", "schema patch", "schema ablate-dose > ablate-dose.json"))
def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            autocompletion=complete_schemas,
            help="Of which output; without it, all that there are are listed.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """The JSON Schema of what a command prints with --json."""
    if name is not None:
        sys.stdout.write(json.dumps(schema_of(name), indent=2) + "\n")
        return
    from lensdepth.cli import tables

    rows = [(one, f"lensdepth {command_of(one)} --json") for one in schema_names()]
    tables.show(tables.plain_table(("schema", "of what is printed by"), rows))
