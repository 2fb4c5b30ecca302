"""`lensdepth capture`: residual streams on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OUTPUT, DebugOption, JsonOption, spread
from lensdepth.cli.task_options import TaskOptions, check_task
from lensdepth.outside import shown
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.captures import Capture


@app.command(
    epilog=examples(
        "capture --out states",
        "capture --task ioi --readout --out states",
        "capture --prompts texts.jsonl --positions all --depth 4 --depth 8 --out states",
    )
)
@spread
def capture(
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="A new folder, or that of this capture, which is then completed.",
            rich_help_panel=OUTPUT,
        ),
    ],
    depth: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            help="A depth to keep; may be given several times.",
            show_default="all of them",
            rich_help_panel=PANEL,
        ),
    ] = None,
    positions: Annotated[
        Literal["last", "all", "input"],
        typer.Option(
            help="Keep each prompt's last token, every token, or the input position of a task.",
            rich_help_panel=PANEL,
        ),
    ] = "last",
    side: Annotated[
        Literal["clean", "corrupted"],
        typer.Option(help="Which prompts of a task's pairs.", rich_help_panel=PANEL),
    ] = "clean",
    readout: Annotated[
        bool,
        typer.Option(
            "--readout",
            help="Keep the final norm and the unembedding too, for lenses and couplings without "
            "the model.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    task: TaskOptions,
    model: ModelOptions,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Keep residual streams in a folder, to be read later without the model.

    A capture that was killed goes on when it is run again; damaged shards are made anew.
    """
    _check_folder(out)
    with quiet(debug=debug):
        check_task(task)
        depth_model = session.open_model(model, debug=debug)
        prompts = session.open_task(task, depth_model, keep="all", edited=False)
        from lensdepth.captures import capture as keep
        from lensdepth.telling.plain import provenance_json

        made = keep(
            depth_model,
            prompts,
            out,
            depths=None if depth is None else sorted(set(depth)),
            positions=positions,
            side=side,
            readout=readout,
            **model.bounds,
        )
        summary = _summary(made)
    if json:
        provenance = provenance_json(made.provenance)
        session.print_json({"provenance": provenance, "summary": summary, "rows": made.shards})
        return
    from lensdepth.cli import tables
    from lensdepth.outside import visible
    from lensdepth.telling.numbers import counted

    title = session.title("Residual states", depth_model, prompts)
    said = (
        f"{counted(len(made), 'prompt')} at {counted(len(made.depths), 'depth')} in "
        f"{counted(len(made.shards), 'shard')}, {summary['bytes'] / 1e6:,.1f} MB, {made.dtype}: "
        f"{visible(str(out))}"
    )
    tables.show(title, "", said, f'ResidualStream.open("{visible(str(out))}") reads them.')


def _check_folder(out: Path) -> None:
    """Refuse what can be no folder of a capture, before a model is loaded for it.

    Raises:
        ValueError: it is a file.
        FileNotFoundError: there is no folder to make it in.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {shown(str(out))} is a file; name a folder.")
    if not out.parent.is_dir():
        parent = shown(str(out.parent))
        raise FileNotFoundError(f"--out {shown(str(out))}: there is no folder {parent}.")


def _summary(made: "Capture") -> Json:
    return {
        "folder": str(made.folder),
        "prompts": len(made),
        "depths": list(made.depths),
        "dtype": made.dtype,
        "side": made.side,
        "readout": made.has_readout,
        "bytes": sum(shard["bytes"] for shard in made.shards),
    }
