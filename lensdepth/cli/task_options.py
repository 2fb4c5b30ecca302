"""Which prompts: options of every command that reads a task or a file of prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from lensdepth.cli.completion import complete_tasks, complete_templates
from lensdepth.cli.options import PROMPTS
from lensdepth.cli.rows import check_row
from lensdepth.outside import shown
from lensdepth.provenance import LARGEST_SEED

DEFAULT_TASK = "months"
PAIRS = 200
"""Pairs where none are asked for."""
MOST_BLOCKS = 16
"""Of models in which depths are not found, as in all sweeps."""
PAIRS_EDITED = 48
"""Pairs whose runs are edited, in deeper models. Words and wordings are what is independent, and
tasks have some tens of them: of more pairs intervals become little narrower, and a report takes
four times as long."""


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
        int | None,
        typer.Option(
            "--n",
            metavar="N",
            help="So many pairs, if there are.",
            min=1,
            show_default=f"{PAIRS}; {PAIRS_EDITED} for edited runs in models of more than "
            f"{MOST_BLOCKS} blocks",
            rich_help_panel=PROMPTS,
        ),
    ] = None
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

    def n_pairs(self, n_layers: int, *, edited: bool, keep: str) -> int:
        """So many as were asked for, or as are usual.

        Args:
            n_layers: blocks of the model.
            edited: whether runs are edited, for each pair many.
            keep: half as many again are drawn where `"all"` are kept, of which those that the
                model answers wrongly are left out later.
        """
        if self.n is not None:
            return self.n
        if not edited or n_layers <= MOST_BLOCKS:
            return PAIRS
        return PAIRS_EDITED * 3 // 2 if keep == "all" else PAIRS_EDITED

    @property
    def source(self) -> str:
        """The task or file that was asked for."""
        return self.prompts or self.task or DEFAULT_TASK


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
