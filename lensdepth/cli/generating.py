"""Watch a model write: where each token of its text is settled, with an edit held on or without."""

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.task_options import TaskOptions, check_prompt
from lensdepth.provenance import LARGEST_SEED

if TYPE_CHECKING:
    from lensdepth.cli.tables import Parts
    from lensdepth.continuation import ContinuationDose
    from lensdepth.model import DepthModel
    from lensdepth.steering import SteeringVector

PAIR = re.compile(r"(\d{1,6}):(\d{1,6})")
OF_VECTORS = ("apply", "depth_map", "allow_other_model")
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

    apply: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="In place of --edit: a saved steering vector, or a control vector of repeng "
            "(.gguf).",
            show_default="none",
            rich_help_panel=HELD,
        ),
    ] = None
    depth_map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="D:E",
            help="With --apply, the vector's depth (or block) D goes to E; may be given several "
            "times.",
            show_default="its own",
            rich_help_panel=HELD,
        ),
    ] = None
    allow_other_model: Annotated[
        bool,
        typer.Option(
            "--allow-other-model",
            help="With --apply, take the vector to a model that it was not made on.",
            rich_help_panel=HELD,
        ),
    ] = False

    def __post_init__(self) -> None:
        # 0 is a strength and a head, and equals False.
        given = {
            name for name, value in asdict(self).items() if value is not None and value is not False
        }
        if self.stream == "resid_pre":
            given.remove("stream")
        if {"strength", "doses"} <= given:
            raise ValueError(
                "--strength is one and --dose several strengths; leave out one of both."
            )
        if self.apply is None and given & {"depth_map", "allow_other_model"}:
            raise ValueError("--depth-map and --allow-other-model go with --apply.")
        if self.apply is not None and given - {"strength", "doses", *OF_VECTORS}:
            raise ValueError(
                "--apply brings its own edit and site; only --strength, --dose, --depth-map and "
                "--allow-other-model go with it."
            )
        if self.apply is None and self.edit is None and given - {"stream"}:
            raise ValueError(
                "--strength, --dose, --source, --depth, --position, --onward and --head go with "
                "--edit; name one, or leave them out."
            )

    @property
    def mapped(self) -> dict[int, int] | None:
        """`depth_map` of `apply_vector`.

        Raises:
            ValueError: an entry is no D:E.
        """
        if self.depth_map is None:
            return None
        pairs = [PAIR.fullmatch(one) for one in self.depth_map]
        found = {int(pair[1]): int(pair[2]) for pair in pairs if pair}
        if len(found) < len(self.depth_map):
            raise ValueError(
                f"--depth-map must be D:E, two depths (or blocks), each D once; got "
                f"{' '.join(self.depth_map)}."
            )
        return found

    def options(self, model: "DepthModel") -> dict[str, Any]:
        """What `generation_profile` is told, or `continuation_dose`.

        Raises:
            ValueError: there is no such vector, or it does not fit the model.
        """
        doses = {} if self.doses is None else {"strengths": self.doses}
        if self.apply is None:
            told = {name: value for name, value in asdict(self).items() if value is not None}
            return {n: told[n] for n in told if n not in ("doses", *OF_VECTORS)} | doses
        return {"vector": applied(self, model)} | doses


def applied(held: HeldOptions, model: "DepthModel") -> "SteeringVector":
    """The vector of --apply, for this model.

    Raises:
        FileNotFoundError, ValueError: there is none, it is damaged, or it does not fit the model.
    """
    from lensdepth.gguf import is_gguf
    from lensdepth.steering import SteeringVector, load_repeng_vector

    assert held.apply is not None
    if is_gguf(held.apply):
        vector = load_repeng_vector(held.apply, model, allow_other_model=held.allow_other_model)
    else:
        vector = SteeringVector.load(held.apply)
    if held.strength is not None:
        vector = replace(vector, strength=held.strength)
    return vector.moved_to(model, depth_map=held.mapped, allow_other_model=held.allow_other_model)


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
