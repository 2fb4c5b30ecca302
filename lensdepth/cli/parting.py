"""Two models of one architecture, or one in two precisions: where their runs part."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.completion import complete_models
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.task_options import TaskOptions, check_task

OTHER = "Other model"
"""Panel of the help."""


@dataclass(frozen=True, kw_only=True)
class OtherOptions:
    """How the other model is held, where that is another way."""

    other_dtype: Annotated[
        Literal["float32", "float16", "bfloat16", "float64"] | None,
        typer.Option(
            help="Numbers that the other one computes in.",
            show_default="--dtype",
            rich_help_panel=OTHER,
        ),
    ] = None
    other_backend: Annotated[
        Literal["auto", "hooked", "bridge"] | None,
        typer.Option(
            help="What holds the other one.", show_default="--backend", rich_help_panel=OTHER
        ),
    ] = None
    other_quantize: Annotated[
        Literal["int8", "nf4"] | None,
        typer.Option(
            help="Keep the other one's matrices packed.",
            show_default="--quantize",
            rich_help_panel=OTHER,
        ),
    ] = None

    def held(self, own: ModelOptions, name: str | None) -> ModelOptions:
        """What opens the other model."""
        other = replace(
            own,
            dtype=self.other_dtype or own.dtype,
            backend=self.other_backend or own.backend,
            quantize=self.other_quantize or own.quantize,
        )
        if name is None:
            return other
        # Which files of a repository is said of the first one.
        return replace(other, model=name, file=None, revision=None, subfolder="")


@app.command(
    epilog=examples(
        "compare --model step1000 step2000",
        "compare --other-dtype bfloat16 --json | jq .summary.first_depth",
        "compare --n 40 --other-backend bridge --out compare.html",
    )
)
@spread
def compare(
    *,
    other: Annotated[
        str | None,
        typer.Argument(
            help="The other model, of the same architecture, shape and tokenizer.",
            autocompletion=complete_models,
            show_default="--model",
        ),
    ] = None,
    positions: Annotated[
        Literal["all", "last"],
        typer.Option(
            help="Compare and swap all tokens, or the last one of each prompt.",
            rich_help_panel=PANEL,
        ),
    ] = "all",
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Distance, in shares of a state's norm, below which a write is noise.",
            min=0.0,
            show_default="12 last digits of the coarser dtype",
            rich_help_panel=PANEL,
        ),
    ] = None,
    held: OtherOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Where two models of one architecture part, which block adds what, and whose writes decide."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        check_task(task)
        model_a = session.open_model(model, debug=output.debug)
        model_b = session.open_model(held.held(model, other), debug=output.debug)
        prompts = session.open_task(task, model_a, keep="all", edited=True, asked=model)
        from lensdepth.analyses import analysis
        from lensdepth.parting import compare_runs

        result = compare_runs(
            model_a,
            model_b,
            prompts,
            positions=positions,
            tolerance=tolerance,
            **model.bounds,
        )
        told = analysis("compare")
        summary = told.summary(result)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.parting.told import CHIEF

        chief = [curve for curve in told.curves(result) if curve.key in CHIEF]
        parts = tables.curve_tables(chief, result.n_layers)
        title = session.title("Two runs side by side", model_a, prompts)
        tables.show(title, *parts, "", *told.sentences(result))

    session.deliver(result, summary, output, show, pairs=prompts)
