"""Which components write the answer, and whether a set of them is enough."""

from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, check_positions, examples, is_index
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import EditOptions
from lensdepth.cli.task_options import TaskOptions, check_prompt, check_task


@app.command(
    epilog=examples(
        "attribute",
        'attribute "Two months from January is"',
        'attribute "Two months from January is" --answer March --foil May',
        "attribute --task ioi --out ioi.html",
        "attribute --json | jq .summary.components[0]",
    )
)
@spread
def attribute(
    *,
    prompt: Annotated[
        str | None, typer.Argument(help="One prompt, in place of a task.", show_default=False)
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="With a PROMPT, the answer whose logit is split.",
            show_default="what the model finds most likely",
            rich_help_panel=PANEL,
        ),
    ] = None,
    foil: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="With a PROMPT, what the answer is compared with.",
            show_default="the mean over the vocabulary",
            rich_help_panel=PANEL,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            metavar="N", help="Components to list.", min=1, max=100, rich_help_panel=PANEL
        ),
    ] = 15,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """What each head, MLP, embedding and bias adds to the answer's logit: they add up to it."""
    check_out(output.out, force=output.force)
    if prompt is not None:
        check_prompt(prompt, task)
    elif answer is not None or foil is not None:
        raise ValueError("--answer and --foil go with a PROMPT; a task has its own.")
    with quiet(debug=output.debug):
        if prompt is None:
            check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        prompt = session.as_given(prompt, task, depth_model)
        from lensdepth.analyses import analysis
        from lensdepth.circuit import attribute_logits

        pairs = (
            session.open_task(task, depth_model, keep="correct", edited=False, asked=model)
            if prompt is None
            else None
        )
        profile = attribute_logits(
            depth_model,
            prompt if prompt is not None else pairs,  # type: ignore[arg-type]
            answers=None if answer is None else [answer],
            foils=None if foil is None else [foil],
            **model.bounds,
        )
        summary = analysis("attribution").summary(profile)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title("Direct logit attribution", depth_model, pairs or repr(prompt))
        tables.show(title, *tables.attribution_table(profile, top))

    session.deliver(profile, summary, output, show, pairs=pairs)


@dataclass(frozen=True, kw_only=True)
class CircuitOptions:
    """What is patched together."""

    components: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="With commas: L5H3 is head 3 of block 5, MLP7 the MLP of block 7, ATTN4 all "
            "heads of block 4; MLP0@input is patched at the input position alone.",
            rich_help_panel=PANEL,
        ),
    ]
    position: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|INDEX",
            help="Of components that name none: all, input, prediction, or an index (from the end "
            "if negative); may be given several times, and all of them are patched in one run.",
            show_default="prediction",
            rich_help_panel=PANEL,
        ),
    ] = None
    sweep: EditOptions = field(default_factory=EditOptions)
    random: Annotated[
        int,
        typer.Option(
            "--random",
            metavar="N",
            help="Random sets of as many heads and MLPs, as a control; of fewer than 19 none can "
            "stand out.",
            min=0,
            rich_help_panel=PANEL,
        ),
    ] = 20

    def __post_init__(self) -> None:
        if not self.components.strip(" ,"):
            raise ValueError("--components is empty; name some, such as L5H3,MLP7.")
        check_positions(self.position or ())


@app.command(
    epilog=examples(
        "circuit --components MLP7,MLP9,L7H0",
        "circuit --components MLP0@input,ATTN6,MLP7 --out circuit.html",
        "circuit --task ioi --components L4H1,L6H2 --json | jq .summary.runs",
    )
)
@spread
def circuit(
    *,
    options: CircuitOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Give heads and MLPs the source run's outputs, and take them away: enough, and needed?"""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        check_task(task, pairs=True)
        depth_model = session.open_model(model, debug=output.debug)
        from lensdepth.analyses import analysis
        from lensdepth.circuit import patch_components
        from lensdepth.circuit.components import named_components

        # Before the task is made, which may take a while.
        size = depth_model.n_layers, depth_model.info.n_heads
        named = named_components(options.components, *size, caller="--components")
        pairs = session.open_task(task, depth_model, keep="correct", edited=True, asked=model)
        asked = [int(name) if is_index(name) else name for name in options.position or ()]
        result = patch_components(
            depth_model,
            pairs,
            named,
            positions="all" if asked == ["all"] else asked or None,
            n_random=options.random,
            **asdict(options.sweep),
            seed=task.seed,
            **model.bounds,
        )
        summary = analysis("circuit").summary(result)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title(
            f"Patching {', '.join(result.components)} ({result.mode})",
            depth_model,
            pairs,
        )
        tables.show(title, *tables.circuit_table(result))

    session.deliver(result, summary, output, show, pairs=pairs)
