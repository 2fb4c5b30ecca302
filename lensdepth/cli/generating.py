"""Watch a model write: where each token of its text is settled, with an edit held on or without."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.task_options import TaskOptions, check_prompt
from lensdepth.cli.vector_options import VectorOptions
from lensdepth.provenance import LARGEST_SEED

if TYPE_CHECKING:
    from lensdepth.cli.tables import Parts
    from lensdepth.continuation import ContinuationDose
    from lensdepth.model import DepthModel

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
    doses: Annotated[
        list[float] | None,
        typer.Option(
            "--dose",
            metavar="X",
            help="In place of --strength, several times: how the text changes by the strength, "
            "beside three random turns each.",
            show_default=False,
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

    saved: VectorOptions = field(default_factory=VectorOptions)

    def __post_init__(self) -> None:
        # 0 is a strength and a head, and equals False.
        own = {name: value for name, value in asdict(self).items() if name != "saved"}
        given = {name for name, value in own.items() if value is not None and value is not False}
        if self.stream == "resid_pre":
            given.remove("stream")
        if {"strength", "doses"} <= given:
            raise ValueError(
                "--strength is one and --dose several strengths; leave out one of both."
            )
        applied = self.saved.apply is not None
        if applied and given - {"strength", "doses"}:
            raise ValueError(
                "--apply brings its own edit and site; only --strength, --dose, --depth-map and "
                "--allow-other-model go with it."
            )
        if not applied and self.edit is None and given - {"stream"}:
            raise ValueError(
                "--strength, --dose, --source, --depth, --position, --onward and --head go with "
                "--edit; name one, or leave them out."
            )

    def options(self, model: "DepthModel") -> dict[str, Any]:
        """What `generation_profile` is told, or `continuation_dose`.

        Raises:
            ValueError: there is no such vector, or it does not fit the model.
        """
        doses = {} if self.doses is None else {"strengths": self.doses}
        if self.saved.apply is None:
            told = {name: value for name, value in asdict(self).items() if value is not None}
            return {n: told[n] for n in told if n not in ("doses", "saved")} | doses
        return {"vector": self.saved.vector(model, self.strength)} | doses


@app.command(
    epilog=examples(
        'write "Two months from January is"',
        'write "Two months from January is" --edit full --source "Two months from June is" '
        "--depth 8",
        'write "Two months from January is" --counterfactual "Two months from June is"',
        'write "Two months from January is" --edit full --source "Two months from June is" '
        "--depth 8 --dose 0.25 --dose 0.5 --dose 1",
        'write "Two months from January is" --apply june.safetensors',
        'write "Two months from January is" --apply june.safetensors --strength 2 --json',
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
    counterfactual: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Another prompt: from which depth on does the last token's state, put into the "
            "run behind it, bring each token along?",
            show_default="none",
            rich_help_panel=PANEL,
        ),
    ] = None,
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
    beside: dict[str, str] = {}
    if counterfactual is not None:
        if held.doses is not None:
            raise ValueError("--counterfactual goes without --dose.")
        check_prompt(counterfactual, TaskOptions())
        beside = {"counterfactual": counterfactual}
    with quiet(debug=output.debug):
        depth_model = session.open_model(model, debug=output.debug)
        for text in (prompt, counterfactual):
            session.as_given(text, TaskOptions(), depth_model)
        from lensdepth.analyses import analysis
        from lensdepth.continuation import continuation_dose, generation_profile

        measure = generation_profile if held.doses is None else continuation_dose
        result: Any = measure(
            depth_model,
            prompt,
            n_tokens=n_tokens,
            temperature=temperature,
            **beside,
            seed=seed,
            **held.options(depth_model),
            **model.bounds,
        )
        told = analysis("write" if held.doses is None else "write-dose")
        summary = told.summary(result)

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title("What is written", depth_model, repr(prompt))
        table = tables.written_table if held.doses is None else dose_table
        tables.show(title, *table(result), "", *told.sentences(result))

    session.deliver(result, summary, output, show)


def dose_table(result: "ContinuationDose") -> "Parts":
    """One row a strength: KL and divergence point of the edit and of its turns, and the text."""
    from rich.table import Table
    from rich.text import Text

    from lensdepth.continuation.dose_told import token_name
    from lensdepth.outside import visible
    from lensdepth.telling.numbers import number

    table = Table(box=None, pad_edge=False)
    table.add_column("strength", justify="right", style="bold")
    heads = ("KL, nats", "differs from token")
    turns = ("at random", "low to high", "differ from tokens") if result.n_random else ()
    for head in (*heads, *turns):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("it writes", overflow="fold")
    points = result.divergence.tolist()
    for row, point in zip(result.dose_frame().to_dict("records"), points, strict=True):
        cells = [f"{row['strength']:g}", number(row["kl"]), token_name(point[0])]
        if turns:
            low, high = (number(row[f"control_kl_{end}"]) for end in ("low", "high"))
            cells += [number(row["control_kl"]), f"{low} to {high}"]
            cells.append(", ".join(map(token_name, point[1:])))
        table.add_row(*cells, Text(visible(row["text"])))
    return [f"without the edit: {visible(result.base_text)}", table]
