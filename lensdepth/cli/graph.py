"""A circuit as a graph: nodes at tokens, and what goes from one to another."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, check_positions, examples, is_index
from lensdepth.cli.console import note, quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import EditOptions
from lensdepth.cli.task_options import TaskOptions


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What is kept, measured and written."""

    top: Annotated[
        int,
        typer.Option(
            metavar="N", help="Nodes to keep, pinned ones counted.", min=1, max=60,
            rich_help_panel=PANEL,
        ),
    ] = 10  # fmt: skip
    edges: Annotated[
        int,
        typer.Option(
            metavar="N", help="Edges to measure, the largest estimates first.", min=0, max=2000,
            rich_help_panel=PANEL,
        ),
    ] = 60  # fmt: skip
    paths: Annotated[
        Literal["total", "direct"],
        typer.Option(
            help="How a changed output goes on from the downstream node: through the whole model, "
            "or straight to the logits.",
            rich_help_panel=PANEL,
        ),
    ] = "total"
    pin: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Nodes to keep whatever they do, with commas: L5H3@4, MLP7@prediction, "
            "EMBED@input.",
            rich_help_panel=PANEL,
            show_default="none",
        ),
    ] = ""
    position: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|INDEX",
            help="Tokens at which there are nodes: input, prediction, or an index (from the end if "
            "negative); may be given several times.",
            show_default="all of one wording, else input and prediction",
            rich_help_panel=PANEL,
        ),
    ] = None
    sweep: EditOptions = field(default_factory=EditOptions)
    random: Annotated[
        int,
        typer.Option(
            "--random",
            metavar="N",
            help="Random sets of as many heads and MLPs, beside the kept ones patched together.",
            min=0,
            rich_help_panel=PANEL,
        ),
    ] = 20
    neuronpedia: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the graph as JSON for the viewers of circuit-tracer and Neuronpedia; of "
            "one pair, --n 1.",
            rich_help_panel=PANEL,
            show_default=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        check_positions(self.position or ())
        if "all" in (self.position or ()):
            raise ValueError("--position all is what graph takes of one wording; leave it out.")


@app.command(
    epilog=examples(
        "graph --n 1",
        "graph --top 6 --paths direct --out graph.html",
        "graph --n 1 --neuronpedia graph.json",
        "graph --json | jq .summary.edges[0]",
    )
)
@spread
def graph(
    *,
    options: GraphOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Which heads and MLPs at which tokens matter, and what each passes on to which."""
    check_out(output.out, force=output.force)
    check_out(options.neuronpedia, force=output.force, suffixes=(".json",), option="--neuronpedia")
    with quiet(debug=output.debug):
        depth_model, pairs = session.open_pairs(
            task, model, keep="correct", edited=True, debug=output.debug
        )
        from lensdepth.analyses import analysis
        from lensdepth.circuit import circuit_graph, graph_faithfulness

        if options.neuronpedia is not None and len(pairs) > 1:
            raise ValueError(
                f"--neuronpedia: the viewers show one prompt, and there are {len(pairs)} pairs; "
                f"add --n 1."
            )
        found = circuit_graph(
            depth_model,
            pairs,
            top=options.top,
            edges=options.edges,
            paths=options.paths,
            pinned=[name for name in options.pin.split(",") if name.strip()],
            positions=[int(p) if is_index(p) else p for p in options.position or ()] or None,
            **asdict(options.sweep),
            **model.bounds,
        )
        summary = analysis("graph").summary(found)
        together = None
        if found.components:
            together = graph_faithfulness(
                depth_model, pairs, found, n_random=options.random, seed=task.seed, **model.bounds
            )
            whole = analysis("circuit").summary(together)
            summary |= {name: whole[name] for name in ("enough", "needed")}
    if options.neuronpedia is not None:
        found.to_neuronpedia(options.neuronpedia, slug=options.neuronpedia.stem)
        note(f"wrote {options.neuronpedia}")

    def show() -> None:
        from lensdepth.cli import tables

        title = session.title(f"Paths ({found.paths}, {found.mode})", depth_model, pairs)
        tables.show(title, *tables.graph_table(found))
        if together is not None:
            said = analysis("circuit").sentences(together)
            tables.show("", f"The {len(found.components)} heads and MLPs patched together:", *said)

    session.deliver(found, summary, output, show, pairs=pairs)
