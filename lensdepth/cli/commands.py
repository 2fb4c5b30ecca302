"""Reading a model by depth: the report, the lens, the geometry."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.comparing import CompareOptions
from lensdepth.cli.console import note, quiet
from lensdepth.cli.drawing import FigureOptions
from lensdepth.cli.extent import ExtentOptions
from lensdepth.cli.fitting import FitOptions, fit_lens
from lensdepth.cli.foreseen import plan_of, show_plan
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import (
    OUTPUT,
    DebugOption,
    ForceOption,
    JsonOption,
    LensOptions,
    OutputOptions,
    check_out,
    spread,
)
from lensdepth.cli.task_options import TaskOptions, check_prompt, check_task
from lensdepth.outside import visible


@app.command(
    epilog=examples(
        "report",
        "report --task weekdays --template all --out weekdays.html",
        "report --model ./my-model --prompts pairs.jsonl --twins 0 --force",
        "report --tuned tuned.safetensors",
        "report --model smollm2 --task ioi --sections ablation,claims",
        "report --model smollm2 --task ioi --quick",
        "report --model smollm2 --task ioi --dry-run",
        "report --model step1000 --compare step2000 --quick",
        "report --task months --compare-task weekdays --quick",
        "report --quick --figures figures --figure-width two",
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
    which: LensOptions,
    extent: ExtentOptions,
    beside: CompareOptions,
    drawn: FigureOptions,
    force: ForceOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run every analysis and write one HTML page that opens offline, with its tables beside it.

    There is a page as soon as the lens has been read; it is replaced as sections arrive, and Ctrl-C
    leaves what is done.
    """
    measured = extent.settings()
    if not extent.dry_run:
        check_out(out, force=force, suffixes=(".html",))
    which.check()
    drawn.check(force=force, dry_run=extent.dry_run)
    with quiet(debug=debug):
        check_task(task)
        beside.check(task, dry_run=extent.dry_run)
        from lensdepth.report import build_report, write_figures
        from lensdepth.report.build import check_output, report_place

        if not extent.dry_run:
            check_output(*report_place(out), overwrite=force)
        depth_model = session.open_model(model, debug=debug)
        translators = session.open_translators(which, depth_model)
        pairs = session.open_task(task, depth_model, keep="correct", edited=True, asked=model)
        planned: dict[str, Any] = {**measured, "seed": task.seed, **model.bounds}
        plan = plan_of(depth_model, pairs, planned, always=extent.dry_run)
    if extent.dry_run:
        assert plan is not None
        return show_plan(plan, depth_model, pairs, json=json)
    with quiet(debug=debug):
        other = beside.open(depth_model, task, model, debug=debug)
        made = build_report(
            depth_model,
            pairs,
            out=out,
            translators=translators,
            compare=other,
            **measured,
            seed=task.seed,
            **model.bounds,
            overwrite=force,
        )
        if drawn.figures is not None:
            write_figures(made, drawn.figures, width=drawn.figure_width, overwrite=force)
            note(f"wrote figures to {visible(str(drawn.figures))}")
    if json:
        session.print_json(session.report_json(made))
    else:
        from lensdepth.claims import told
        from lensdepth.cli import tables

        title = session.title("Report", depth_model, pairs)
        written = visible(f"{made.path} (tables: {made.tables})")
        claims = [] if made.claims is None else [told.verdict(made.claims), ""]
        compared = [] if made.comparison is None else [*made.comparison.places, ""]
        tables.show(title, tables.report_table(made), "", *claims, *compared, written)


@app.command(
    epilog=examples(
        'lens "Two months from January is"',
        'lens "Two months from January is" --positions all --out map.html',
        'lens "Two months from January is" --tuned tuned.safetensors',
        "lens --task weekdays --out lens.html",
        "lens --fit --text corpus.txt --out tuned.safetensors",
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
    value: Annotated[
        Literal["kl", "entropy", "probability", "rank"] | None,
        typer.Option(
            help="Colour of the map of a prompt's tokens (--positions all --out FILE.html).",
            show_default="kl",
            rich_help_panel=PANEL,
        ),
    ] = None,
    which: LensOptions,
    fitting: FitOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """What the model would predict if it stopped at each depth: the logit lens, or a tuned one.

    With --fit a tuned lens is fitted and written to --out, for --tuned of lens and report.
    """
    check_out(output.out, force=output.force)
    which.check()
    if fitting.fit:
        others = (prompt is not None, which.tuned is not None, positions != "last", value, top != 3)
        if any(others):
            raise ValueError("--fit goes without PROMPT, --tuned, --positions, --top and --value.")
        return fit_lens(fitting, task, model, output)
    fitting.check_unused()
    if prompt is not None:
        check_prompt(prompt, task)
    by_token = prompt is not None and positions == "all"
    if value is not None and not (by_token and output.out and output.out.suffix == ".html"):
        raise ValueError("--value goes with a PROMPT, --positions all and --out FILE.html.")
    with quiet(debug=output.debug):
        if prompt is None:
            check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        prompt = session.as_given(prompt, task, depth_model)
        from lensdepth.analyses import analysis
        from lensdepth.lens import logit_lens
        from lensdepth.transition import find_transition
        from lensdepth.transition.find import why_not_sought

        translators = session.open_translators(which, depth_model)
        pairs = (
            session.open_task(task, depth_model, keep="all", edited=False, asked=model)
            if prompt is None
            else None
        )
        profile = logit_lens(
            depth_model,
            pairs or prompt or "",
            positions=positions,
            top_k=min(max(top, 5), depth_model.d_vocab),
            translators=translators,
            **model.bounds,
        )
        sought = why_not_sought(profile) is None
        transition = find_transition(profile, seed=task.seed) if sought else None
        summary = analysis("lens").summary(profile, transition)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.lens import told as lens_told

        told = analysis("lens")
        if pairs is not None:
            title = session.title(profile.name, depth_model, pairs)
            curves = lens_told.curves(profile, lens_told.CHIEF)
            parts = tables.curve_tables(curves, profile.n_layers)
            tables.show(title, *parts, "", told.sentences(profile, transition)[0])
            return
        title = session.title(profile.name, depth_model, repr(prompt))
        if positions == "all":
            parts = tables.lens_grid(profile)
        else:
            parts = tables.lens_table(profile, top=top)
        tables.show(title, *parts, "", tables.first_choice(profile))

    figure = partial(profile.plot_tokens, value=value or "kl") if by_token else None
    session.deliver(profile, summary, output, show, figure, pairs=pairs)


@app.command(
    epilog=examples(
        "geometry",
        "geometry --task ioi --n 400 --json",
        "geometry --prompts texts.csv --out geometry.html",
        "geometry --figure coupling --out coupling.html",
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
    sample: Annotated[
        int,
        typer.Option(
            min=3,
            metavar="N",
            help="Most prompts between which pairs are measured.",
            rich_help_panel=PANEL,
        ),
    ] = 160,
    figure: Annotated[
        Literal["depth", "cka", "procrustes", "coupling"] | None,
        typer.Option(
            help="What --out FILE.html draws: all measures by depth, one of two maps of depth by "
            "depth, or angle against divergence with a slider over depth.",
            show_default="depth",
            rich_help_panel=PANEL,
        ),
    ] = None,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Norms, angles, dimensions, and whether angles follow the prediction, by depth."""
    check_out(output.out, force=output.force)
    if figure is not None and not (output.out and output.out.suffix == ".html"):
        raise ValueError("--figure goes with --out FILE.html.")
    with quiet(debug=output.debug):
        check_task(task)
        depth_model = session.open_model(model, debug=output.debug)
        pairs = session.open_task(task, depth_model, keep="all", edited=False, asked=model)
        from lensdepth.analyses import analysis
        from lensdepth.geometry import geometry_profile

        profile = geometry_profile(
            depth_model,
            pairs,
            include_first=include_first,
            sample=sample,
            seed=task.seed,
            **model.bounds,
        )
        summary = analysis("geometry").summary(profile)

    def show() -> None:
        from lensdepth.cli import tables
        from lensdepth.geometry import told

        title = session.title("Geometry", depth_model, pairs)
        parts = tables.curve_tables(told.curves(profile, told.CHIEF), profile.n_layers)
        tables.show(title, *parts, "", told.coupling_verdict(profile))

    drawn = {
        "coupling": profile.plot_coupling,
        "cka": partial(profile.plot_map, "cka"),
        "procrustes": partial(profile.plot_map, "procrustes"),
    }.get(figure or "depth")
    session.deliver(profile, summary, output, show, drawn, pairs=pairs)
