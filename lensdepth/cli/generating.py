"""Watch a model write: where each token of its text is settled, with an edit held on or without."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.task_options import TaskOptions, check_prompt
from lensdepth.provenance import LARGEST_SEED

HELD = "Held edit"
"""Panel of the help."""


@dataclass(frozen=True, kw_only=True)
class HeldOptions:
    """An edit that stays while the model writes."""

    edit: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Write once more with this edit held on: full, direction, norm, reflect, rotate, "
            "scale or random; beside it as far a turn at random.",
            show_default="none",
            rich_help_panel=HELD,
        ),
    ] = None
    strength: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Of the edit, in its own unit.",
            show_default="the edit's own",
            rich_help_panel=HELD,
        ),
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The prompt that gives the states.", rich_help_panel=HELD
        ),
    ] = None
    depths: Annotated[
        list[int] | None,
        typer.Option(
            "--depth",
            metavar="D",
            help="Where to edit: a depth, or a block of other streams; may be given several times.",
            show_default=False,
            rich_help_panel=HELD,
        ),
    ] = None
    positions: Annotated[
        list[int] | None,
        typer.Option(
            "--position",
            metavar="I",
            help="Which tokens of the prompt, from the end if negative; may be given several "
            "times.",
            show_default="the last",
            rich_help_panel=HELD,
        ),
    ] = None
    onward: Annotated[
        bool,
        typer.Option(
            "--onward", help="Edit every token that is written as well.", rich_help_panel=HELD
        ),
    ] = False
    stream: Annotated[
        Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z"],
        typer.Option(help="What to edit.", rich_help_panel=HELD),
    ] = "resid_pre"
    head: Annotated[
        int | None,
        typer.Option(
            metavar="H",
            help="With --stream z, the one head.",
            show_default="all heads",
            rich_help_panel=HELD,
        ),
    ] = None

    def __post_init__(self) -> None:
        given = [name for name, value in asdict(self).items() if value not in (None, False)]
        if self.edit is None and set(given) - {"stream"}:
            raise ValueError(
                "--strength, --source, --depth, --position, --onward and --head go with --edit."
            )


@app.command(
    epilog=examples(
        'write "Two months from January is"',
        'write "Two months from January is" --edit full --source "Two months from June is" '
        "--depth 8",
        'write "Two months from January is" --n-tokens 3 --out text.html',
        'write "Two months from January is" --json | jq .summary.runs.base.settled',
    )
)
@spread
def write(
    *,
    prompt: Annotated[str, typer.Argument(help="The text to continue.", show_default=False)],
    n_tokens: Annotated[
        int,
        typer.Option(metavar="N", help="Tokens at most.", min=1, rich_help_panel=PANEL),
    ] = 20,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="0 takes the most likely token each time; higher ones draw.",
            min=0.0,
            rich_help_panel=PANEL,
        ),
    ] = 0.0,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Of the drawing and of the random turns.",
            min=0,
            max=LARGEST_SEED,
            rich_help_panel=PANEL,
        ),
    ] = 0,
    held: HeldOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Let the model write, and say from which depth on each of its tokens stands."""
    check_out(output.out, force=output.force)
    check_prompt(prompt, TaskOptions())
    with quiet(debug=output.debug):
        depth_model = session.open_model(model, debug=output.debug)
        session.as_given(prompt, TaskOptions(), depth_model)
        from lensdepth.analyses import analysis
        from lensdepth.continuation import generation_profile

        options = {name: value for name, value in asdict(held).items() if value is not None}
        profile = generation_profile(
            depth_model,
            prompt,
            n_tokens=n_tokens,
            temperature=temperature,
            seed=seed,
            **options,
            **model.bounds,
        )
        told = analysis("write")
        summary = told.summary(profile)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title("What is written", depth_model, repr(prompt))
        tables.show(title, *tables.written_table(profile), "", *told.sentences(profile))

    session.deliver(profile, summary, output, show)
