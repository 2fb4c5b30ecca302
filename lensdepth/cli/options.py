"""Options that several commands share, and what can be checked about them before any work."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from lensdepth.outside import shown
from lensdepth.signals import put_off
from lensdepth.unfinished import sweep
from lensdepth.writing import check_writable

SUFFIXES = (".html", ".json", ".csv", ".parquet", ".safetensors")
PROMPTS, LENS, OUTPUT = "Prompts", "Lens", "Output"
"""Panels of the help."""


JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object: provenance, summary, rows.",
        rich_help_panel=OUTPUT,
    ),
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show tracebacks, and what other libraries say.",
        rich_help_panel=OUTPUT,
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Replace what is there.", rich_help_panel=OUTPUT),
]


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the result goes."""

    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write it, by the name's ending: .html (figure), .json, .csv, .parquet, "
            "or .safetensors (loads again with the result's own load).",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    force: ForceOption = False
    raw_csv: Annotated[
        bool,
        typer.Option(
            "--raw-csv",
            help="In a .csv, leave texts as they are that a spreadsheet takes for formulas.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    json: JsonOption = False
    debug: DebugOption = False


@dataclass(frozen=True, kw_only=True)
class LensOptions:
    """Which lens stands in front of the readout."""

    tuned: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A tuned lens: what lens --fit or fit_tuned_lens gave, saved; a folder of the "
            "tuned-lens package; or the .pt file of a Jacobian lens.",
            rich_help_panel=LENS,
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict/--no-strict",
            help="Refuse a folder of --tuned that was fitted on another unembedding.",
            rich_help_panel=LENS,
        ),
    ] = True

    def check(self) -> None:
        """Refuse a lens that is not there, before any work.

        Raises:
            FileNotFoundError: there is no such file or folder.
            ValueError: --no-strict without --tuned.
        """
        if self.tuned is not None and not self.tuned.exists():
            raise FileNotFoundError(
                f"--tuned {shown(str(self.tuned))}: there is no such file or folder."
            )
        if self.tuned is None and not self.strict:
            raise ValueError("--no-strict goes with --tuned.")


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Give typer a command whose parameters that are option groups are spread into options."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _options(groups[name])
        else:
            parameters.append(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
            )

    def run(**values: Any) -> None:
        gathered = {name: _gathered(kind, values) for name, kind in groups.items()}
        command(**values, **gathered)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options(group: Any) -> list[inspect.Parameter]:
    """A group's options in the order of the help: its own, then those that it shares; those of a
    group that is one of its fields stand where that does."""
    kinds, own = get_type_hints(group, include_extras=True), vars(group).get("__annotations__", {})
    found = []
    for field in sorted(fields(group), key=lambda field: field.name not in own):
        kind, only = kinds[field.name], inspect.Parameter.KEYWORD_ONLY
        if is_dataclass(kind):
            found += _options(kind)
            continue
        default = inspect.Parameter.empty if field.default is MISSING else field.default
        found.append(inspect.Parameter(field.name, only, default=default, annotation=kind))
    return found


def _gathered(group: Any, values: dict[str, Any]) -> Any:
    """A group of its options, which are taken out of `values`."""
    given = {}
    for name, kind in get_type_hints(group).items():
        given[name] = _gathered(kind, values) if is_dataclass(kind) else values.pop(name)
    return group(**given)


def check_out(
    path: Path | None,
    *,
    force: bool,
    suffixes: Sequence[str] = SUFFIXES,
    option: str = "--out",
) -> None:
    """Refuse an output that could not be written, before any work is done for it.

    Raises:
        ValueError: unknown ending, no such folder, something there already without `force`.
        OSError: the folder cannot be written.
    """
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise ValueError(
            f"{option} {shown(str(path))}: the name must end in {' or '.join(suffixes)}."
        )
    if path.is_dir():
        raise ValueError(f"{option} {shown(str(path))} is a folder; name a file.")
    with put_off():
        sweep(path.parent)  # a killed run may have finished what is asked for here
    if path.exists() and not force:
        raise ValueError(f"{option} {shown(str(path))} exists already; replace it with --force.")
    if not path.parent.is_dir():
        raise ValueError(
            f"{option} {shown(str(path))}: there is no folder {shown(str(path.parent))}."
        )
    try:
        check_writable(path)
    except OSError as error:
        raise OSError(f"{option} {error}") from error
