"""Options that several commands share, and what can be checked about them before any work."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from lensdepth.cli.completion import complete_tasks, complete_templates
from lensdepth.cli.rows import check_row
from lensdepth.outside import shown
from lensdepth.provenance import LARGEST_SEED
from lensdepth.signals import put_off
from lensdepth.unfinished import sweep
from lensdepth.writing import check_writable

SUFFIXES = (".html", ".json", ".csv", ".parquet", ".safetensors")
DEFAULT_TASK = "months"
PROMPTS, LENS, OUTPUT = "Prompts", "Lens", "Output"
"""Panels of the help."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which prompts."""

    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_tasks,
            help="A built-in task; see lensdepth tasks.",
            show_default=DEFAULT_TASK,
            rich_help_panel=PROMPTS,
        ),
    ] = None
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="In place of a task: a .jsonl, .csv or .parquet file with the columns clean, "
            "corrupted, target and foil (or prompt alone), or a Hugging Face data set.",
            rich_help_panel=PROMPTS,
        ),
    ] = None
    n: Annotated[
        int,
        typer.Option(
            "--n", metavar="N", help="So many pairs, if there are.", min=1, rich_help_panel=PROMPTS
        ),
    ] = 200
    template: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_templates,
            help="Wording of a built-in task, or all; may be given several times.",
            show_default="the task's own",
            rich_help_panel=PROMPTS,
        ),
    ] = None
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL=VALUE",
            help="Of what was drawn or read, only the pairs of this label, such as one wording: "
            "template=after; may be given several times.",
            show_default=False,
            rich_help_panel=PROMPTS,
        ),
    ] = None
    form: Annotated[
        Literal["auto", "plain", "few-shot"],
        typer.Option(
            help="A built-in task plain, or behind examples; auto: what the tokenizer knows.",
            rich_help_panel=PROMPTS,
        ),
    ] = "auto"
    on_multi_token: Annotated[
        Literal["error", "drop"],
        typer.Option(
            help="What to do about answers of several tokens: stop, or leave those pairs out.",
            rich_help_panel=PROMPTS,
        ),
    ] = "error"
    joining: Annotated[
        Literal["auto", "literal", "space"],
        typer.Option(
            help="How answers follow that are written without a space where one may belong.",
            rich_help_panel=PROMPTS,
        ),
    ] = "auto"
    units: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="What pairs go together by: a label, input or prompt; may be given several times.",
            show_default="input words and every label that repeats",
            rich_help_panel=PROMPTS,
        ),
    ] = None
    keep: Annotated[
        Literal["all", "correct", "preferred", "wrong"] | None,
        typer.Option(
            help="Pairs by the model's own answers: all; correct (its first choice on both "
            "prompts); preferred (likelier than the other prompt's answer); or wrong (not "
            "correct).",
            show_default="all for lens and geometry, correct for the others",
            rich_help_panel=PROMPTS,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Of the draw of pairs, the controls and the resampling.",
            min=0,
            max=LARGEST_SEED,
            rich_help_panel=PROMPTS,
        ),
    ] = 0

    chat: Annotated[
        bool,
        typer.Option(
            "--chat",
            help="Put prompts into the model's own chat template; the answer is then the first "
            "token that the assistant says.",
            rich_help_panel=PROMPTS,
        ),
    ] = False
    system: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="With --chat: what the model is told beforehand.",
            show_default=False,
            rich_help_panel=PROMPTS,
        ),
    ] = None

    @property
    def source(self) -> str:
        """The task or file that was asked for."""
        return self.prompts or self.task or DEFAULT_TASK


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


def check_prompt(prompt: str, options: TaskOptions) -> None:
    """Refuse what a PROMPT goes without: a task, and what chooses among its pairs.

    Raises:
        ValueError: the prompt is empty, or another option is of a task.
    """
    if options.task is not None or options.prompts is not None:
        raise ValueError("give a PROMPT, --task or --prompts: one of them.")
    if not prompt.strip():
        raise ValueError("the prompt is empty.")
    for field in fields(TaskOptions):
        own = ("seed", "chat", "system")
        if field.name not in own and getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise ValueError(f"--{name} chooses among the pairs of a task; a PROMPT has none.")


def check_task(options: TaskOptions, *, pairs: bool = False, labels: Sequence[str] = ()) -> None:
    """Refuse a task or file that is not there or will not do, before a model is loaded for it.

    Args:
        options: which task or file.
        pairs: whether plain prompts will not do.
        labels: columns that are needed.
    Raises:
        ValueError: task and prompts together, an unknown task or template, a template with a file,
            a file that cannot be read, plain prompts where pairs are needed, or no such column.
        FileNotFoundError: there is no such file; the nearest names are offered.
    """
    if options.task is not None and options.prompts is not None:
        raise ValueError("give --task or --prompts, not both.")
    wanted = only_labels(options)
    from lensdepth.tasks import list_templates
    from lensdepth.tasks.files import is_dataset_name, looks_like_path, read_rows
    from lensdepth.tasks.load import draw_rows

    rows = []
    if options.prompts is not None:
        if options.template:
            raise ValueError("--template chooses a wording of a --task; --prompts has none.")
        if options.form != "auto":
            raise ValueError("--form chooses how a --task is put; --prompts has none.")
        if Path(options.prompts).expanduser().exists() or not is_dataset_name(options.prompts):
            rows = read_rows(options.prompts)
    elif not looks_like_path(options.source):
        rows = draw_rows(options.source, n=1, form=options.form)
        known = (*list_templates(options.source, form=options.form), "all")
        wrong = [name for name in options.template or () if name not in known]
        if wrong:
            raise ValueError(
                f"task {options.source!r} has no template {wrong[0]!r}. "
                f"Templates: {', '.join(known)}."
            )
    if rows:
        check_row(rows[0], options.source, options.keep, pairs=pairs, labels=(*labels, *wanted))


def only_labels(options: TaskOptions) -> dict[str, list[str]]:
    """The values of each label that --only asks for.

    Raises:
        ValueError: it is not LABEL=VALUE.
    """
    wanted: dict[str, list[str]] = {}
    for asked in options.only or ():
        label, sign, value = asked.partition("=")
        if not (label and sign):
            raise ValueError(
                f"--only must be LABEL=VALUE, such as template=after, got {shown(asked)}."
            )
        wanted.setdefault(label, []).append(value)
    return wanted
