"""The typer app, and what several commands say alike."""

from collections.abc import Sequence
from typing import Annotated

import typer

PANEL = "What to measure"

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def is_index(text: str) -> bool:
    """Whether an option names a position by its number."""
    return text.removeprefix("-").isdigit()


def check_positions(names: Sequence[str]) -> None:
    """Refuse what `--position` cannot be.

    Raises:
        ValueError: the name of no position, or all tokens and others.
    """
    for name in names:
        if name not in ("all", "input", "prediction") and not is_index(name):
            raise ValueError(
                f"--position must be all, input, prediction or an index, got {name!r}."
            )
    if "all" in names and len(names) > 1:
        raise ValueError("--position all is every token; leave out the others.")


def examples(*commands: str) -> str:
    """The end of a help text."""
    return "\n".join(["Examples:", *(f"  lensdepth {command}" for command in commands)])


EXIT_CODES = {
    0: "done",
    1: "a fault of lensdepth, or output that nobody reads any more",
    2: "bad input, said in one line on standard error",
    130: "interrupted, by Ctrl-C",
    143: "told to end, as schedulers do",
}
"""What the command line leaves with, and what that means."""


def _exit_codes() -> str:
    return "\n".join(["Exit codes:", *(f"  {code:<4} {what}" for code, what in EXIT_CODES.items())])


def _print_version(asked: bool) -> bool:
    if asked:
        from lensdepth.provenance import installed_versions

        found = installed_versions()
        ours = found.pop("lensdepth")
        typer.echo(f"lensdepth {ours} ({', '.join(f'{k} {v}' for k, v in found.items())})")
        raise typer.Exit
    return asked


@app.callback(
    epilog=examples(
        "report", 'lens "Two months from January is"', "patch --task weekdays", "doctor"
    )
    + "\n\n"
    + _exit_codes(),
)
def _lensdepth(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print versions and leave."
        ),
    ] = False,
) -> None:
    """Where in its depth a language model stops reading its context and starts forming its
    prediction, and what it takes to change that prediction there.
    """
