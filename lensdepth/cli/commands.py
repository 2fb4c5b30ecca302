"""The commands themselves: options in, one analysis, a table or JSON out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lensdepth.cli import inventory, session
from lensdepth.cli.console import quiet, working
from lensdepth.cli.options import (
    DEFAULT_TASK,
    OUTPUT,
    DebugOption,
    ForceOption,
    JsonOption,
    ModelOptions,
    OutputOptions,
    TaskOptions,
    check_out,
    check_task,
    spread,
)

PANEL = "What to measure"

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModeOption = Annotated[
    Literal["denoise", "noise"],
    typer.Option(
        help="denoise: clean states into the corrupted run; noise: the reverse.",
        rich_help_panel=PANEL,
    ),
]


def examples(*commands: str) -> str:
    """The end of a help text."""
    return "\n".join(["Examples:", *(f"  lensdepth {command}" for command in commands)])


def _print_version(asked: bool) -> bool:
    if asked:
        from lensdepth.provenance import installed_versions

        found = installed_versions()
        ours = found.pop("lensdepth")
        typer.echo(f"lensdepth {ours} ({', '.join(f'{k} {v}' for k, v in found.items())})")
        raise typer.Exit
    return asked


@app.callback(
    epilog=examples(
        "report", 'lens "Two months from January is"', "patch --task weekdays", "models"
    ),
)
def _lensdepth(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print versions and leave."
        ),
    ] = False,
) -> None:
    """Where in its depth a language model stops reading its context and starts forming its
    prediction, and what it takes to change that prediction there.
    """


@app.command(
    epilog=examples(
        "report",
        "report --task weekdays --template all --out weekdays.html",
        "report --model ./my-model --prompts pairs.jsonl --force",
    )
)
@spread
def report(
    *,
    task: TaskOptions,
    model: ModelOptions,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The page; a folder of tables goes beside it.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("report.html"),
    force: ForceOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run every analysis and write one HTML page that opens offline, with its tables beside it."""
    check_out(out, force=force, suffixes=(".html",))
    with quiet(debug=debug):
        check_task(task)
        from lensdepth.report import build_report
        from lensdepth.report.build import check_output

        check_output(out, out.with_name(f"{out.stem}_tables"), overwrite=force)
        depth_model = session.open_model(model, debug=debug)
        pairs = session.open_task(task, depth_model, keep="correct")

        made = build_report(
            depth_model,
            pairs,
            out=out,
            seed=task.seed,
            batch_size=model.batch_size,
            overwrite=force,
        )
    if json:
        session.print_json(session.report_json(made))
    else:
        from lensdepth.cli import tables

        title = session.title("Report", depth_model, session.pairs_sentence(pairs))
        tables.show(title, tables.report_table(made), "", f"{made.path} (tables: {made.tables})")


@app.command(
    epilog=examples(
        'lens "Two months from January is"',
        'lens "Two months from January is" --positions all',
        "lens --task weekdays --out lens.html",
    )
)
@spread
def lens(
    *,
    prompt: Annotated[
        str | None, typer.Argument(help="One prompt, in place of a task.", show_default=False)
    ] = None,
    positions: Annotated[
        Literal["last", "all"],
        typer.Option(help="Read the last token or every token.", rich_help_panel=PANEL),
    ] = "last",
    top: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Most likely tokens to show for a prompt.",
            min=1,
            max=10,
            rich_help_panel=PANEL,
        ),
    ] = 3,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """What the model would predict if it stopped at each depth: the logit lens."""
    check_out(output.out, force=output.force)
    if prompt is not None:
        if task.task is not None or task.prompts is not None:
            raise ValueError("give a PROMPT, --task or --prompts: one of them.")
        if not prompt.strip():
            raise ValueError("the prompt is empty.")
    with quiet(debug=output.debug):
        if prompt is None:
            check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        from lensdepth.lens import logit_lens
        from lensdepth.summary import lens_summary
        from lensdepth.transition import find_transition

        pairs = session.open_task(task, depth_model, keep="all") if prompt is None else None
        profile = logit_lens(
            depth_model,
            pairs or prompt or "",
            positions=positions,
            top_k=min(max(top, 5), depth_model.d_vocab),
            batch_size=model.batch_size,
        )
        curved = depth_model.n_layers >= 3 and not profile.kl.isinf().any()
        transition = find_transition(profile, seed=task.seed) if curved else None
        summary = lens_summary(profile, transition)
        if pairs is not None:
            summary["pairs"] = session.pairs_summary(pairs)

    def show() -> None:
        from lensdepth import prose
        from lensdepth.cli import tables

        if pairs is not None:
            title = session.title("Logit lens", depth_model, session.pairs_sentence(pairs))
            verdict = prose.lens_verdict(transition, profile.n_layers)
            tables.show(title, *tables.lens_means(profile), "", verdict)
            return
        title = session.title("Logit lens", depth_model, repr(prompt))
        if positions == "all":
            parts = tables.lens_grid(profile)
        else:
            parts = tables.lens_table(profile, top=top)
        tables.show(title, *parts, "", tables.first_choice(profile))

    session.deliver(profile, summary, output, show)


@app.command(
    epilog=examples(
        "geometry",
        "geometry --task ioi --n 400 --json",
        "geometry --prompts texts.csv --out geometry.html",
    )
)
@spread
def geometry(
    *,
    include_first: Annotated[
        bool,
        typer.Option(
            "--include-first",
            help="Allow position 0, an attention sink with a huge norm.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Norms, angles, dimensions, and whether angles follow the prediction, by depth."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        pairs = session.open_task(task, depth_model, keep="all")
        from lensdepth.geometry import geometry_profile
        from lensdepth.summary import geometry_summary

        profile = geometry_profile(
            depth_model,
            pairs,
            include_first=include_first,
            seed=task.seed,
            batch_size=model.batch_size,
        )
        summary = geometry_summary(profile)

    def show() -> None:
        from lensdepth import prose
        from lensdepth.cli import tables

        title = session.title("Geometry", depth_model, session.pairs_sentence(pairs))
        tables.show(title, *tables.geometry_table(profile), "", prose.coupling_verdict(profile))

    session.deliver(profile, {**summary, "pairs": session.pairs_summary(pairs)}, output, show)


@app.command(
    epilog=examples(
        "ablate",
        "ablate --position input --mode noise",
        "ablate --json | jq .summary.transferred.direction",
    )
)
@spread
def ablate(
    *,
    position: Annotated[
        Literal["input", "prediction"],
        typer.Option(help="Where to edit.", rich_help_panel=PANEL),
    ] = "prediction",
    mode: ModeOption = "denoise",
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Swap a state's direction alone, its norm alone, or both, one depth at a time."""
    check_out(output.out, force=output.force)
    with quiet(debug=output.debug):
        check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        pairs = session.open_task(task, depth_model, keep="correct")
        from lensdepth.ablation import ablation_sweep
        from lensdepth.summary import ablation_summary

        profile = ablation_sweep(
            depth_model,
            pairs,
            position=position,
            mode=mode,
            seed=task.seed,
            batch_size=model.batch_size,
        )
        summary = ablation_summary(profile)
        summary["pairs"] = session.pairs_summary(pairs)

    def show() -> None:
        from lensdepth import prose
        from lensdepth.cli import tables

        title = session.title(
            f"Transferred fraction ({position} position, {mode})",
            depth_model,
            session.pairs_sentence(pairs),
        )
        tables.show(title, *tables.ablation_table(profile), "", prose.ablation_verdict(profile))

    session.deliver(profile, summary, output, show)


@app.command(
    epilog=examples(
        "patch",
        "patch --task ioi --mode noise --out patch.html",
        "patch --curves --json | jq .summary.crossing",
    )
)
@spread
def patch(
    *,
    curves: Annotated[
        bool,
        typer.Option(
            "--curves",
            help="The pair of curves at the input and the prediction position; the default.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    position: Annotated[
        Literal["both", "input", "prediction"],
        typer.Option(help="Where to patch.", rich_help_panel=PANEL),
    ] = "both",
    mode: ModeOption = "denoise",
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Put the source run's state into the base run, one depth at a time, and see what follows."""
    check_out(output.out, force=output.force)
    if curves and position != "both":
        raise ValueError("--curves is a pair of curves; leave out --position, or --curves.")
    with quiet(debug=output.debug):
        check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        pairs = session.open_task(task, depth_model, keep="correct")
        from lensdepth.patching import patch_sweep
        from lensdepth.summary import patch_summary
        from lensdepth.transition import find_crossing

        both = position == "both"
        profile = patch_sweep(
            depth_model,
            pairs,
            positions=("input", "prediction") if both else (position,),
            mode=mode,
            seed=task.seed,
            batch_size=model.batch_size,
        )
        crossing = find_crossing(profile, seed=task.seed) if both else None
        summary = patch_summary(profile, crossing)
        summary["pairs"] = session.pairs_summary(pairs)

    def show() -> None:
        from lensdepth import prose
        from lensdepth.cli import tables

        title = session.title(
            f"Efficacy of patching ({mode})", depth_model, session.pairs_sentence(pairs)
        )
        verdict = (
            prose.patch_sentences(profile, None)[0]
            if crossing is None
            else prose.crossing_verdict(crossing, profile.n_layers)
        )
        tables.show(title, *tables.patch_table(profile), "", verdict)

    session.deliver(profile, summary, output, show)


@app.command(epilog=examples("models", "models --json"))
def models(json: JsonOption = False, debug: DebugOption = False) -> None:
    """The bundled models, and which others can be loaded."""
    with quiet(debug=debug):
        from lensdepth.provenance import installed_versions

        bundled = inventory.bundled_models()
        with working("looking at the installed TransformerLens"):
            supported = inventory.architectures()
        versions = installed_versions()
    if json:
        session.print_json(
            {
                "provenance": {"versions": versions},
                "summary": {"architectures": supported},
                "rows": bundled,
            }
        )
        return
    from lensdepth.cli import tables

    tables.show(*tables.model_list(bundled, supported, versions))


@app.command(epilog=examples("tasks", "tasks --json"))
def tasks(json: JsonOption = False, debug: DebugOption = False) -> None:
    """The built-in tasks, with an example of each."""
    with quiet(debug=debug):
        from lensdepth.provenance import installed_versions

        listed = inventory.tasks()
    if json:
        session.print_json(
            {
                "provenance": {"versions": installed_versions()},
                "summary": {"default": DEFAULT_TASK},
                "rows": listed,
            }
        )
        return
    from lensdepth.cli import tables

    tables.show(*tables.task_list(listed))
