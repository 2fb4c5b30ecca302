"""The explorer in a browser."""

from functools import partial
from typing import Annotated

import typer

from lensdepth.cli.app import app, examples
from lensdepth.cli.completion import complete_models, complete_tasks
from lensdepth.cli.console import hush_transformers, note, quiet
from lensdepth.cli.model_options import MODEL, HoldOptions
from lensdepth.cli.options import PROMPTS, DebugOption, spread
from lensdepth.cli.session import suit_threads

SERVER = "Server"


@app.command(
    epilog=examples(
        "explore",
        "explore --model gpt2 --model ./my-model --task ioi",
        "explore --prompts pairs.csv --no-browser --port 9000",
    )
)
@spread
def explore(
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_models,
            help="A bundled model, a folder, or a name on the hub; may be given several times. "
            "The bundled ones are offered too.",
            show_default="calendar",
            rich_help_panel=MODEL,
        ),
    ] = None,
    held: HoldOptions,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_tasks,
            help="The built-in task to start on; all are offered.",
            show_default="months",
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A prompt file to offer as a task (.jsonl, .csv, .parquet); may be given several "
            "times.",
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Beyond this computer a token is asked for.",
            rich_help_panel=SERVER,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Where to listen.",
            min=1,
            max=65535,
            show_default="8050, or the next free one",
            rich_help_panel=SERVER,
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option(help="Open the page in a browser.", rich_help_panel=SERVER)
    ] = True,
    debug: DebugOption = False,
) -> None:
    """Poke at a model in the browser: read, patch, sweep, compare, and take it all with you."""
    with quiet(debug=debug):
        try:
            import dash  # noqa: F401
        except ModuleNotFoundError as error:
            raise ValueError(
                'the explorer needs Dash: pip install "lensdepth[explorer]".'
            ) from error
        from lensdepth.cli.explore_offers import make_offers

        if held.quantize is not None:
            raise ValueError(
                "--quantize is not for the explorer, whose programs load plain weights; take a "
                "narrower --dtype."
            )
        offers = make_offers(
            model or [],
            task=task,
            prompts=prompts or [],
            backend=held.backend,
            device=held.device,
            dtype=held.dtype,
            trust_remote_code=held.trust_remote_code,
            double_bos=not held.single_bos,
        )
        if not debug:
            hush_transformers()
        from lensdepth.explorer import serve

        suit = partial(suit_threads, beside_browser=True)
        serve(offers, host=host, port=port, browser=browser, said=note, loaded=suit)
