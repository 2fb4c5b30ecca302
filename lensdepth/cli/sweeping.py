"""Sweeps over models, tasks and analyses, in a command that can be stopped and gone on with."""

import json as jsons
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from tqdm import tqdm

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.console import MINUTE, hush_transformers, note, quiet, working
from lensdepth.cli.options import OUTPUT, DebugOption, ForceOption, JsonOption, check_out
from lensdepth.outside import shown
from lensdepth.telling.numbers import duration
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.scale import Sweep

STANDARD_ERROR = "-"


@app.command(
    epilog=examples(
        "sweep --init > sweep.toml",
        "sweep sweep.toml --validate",
        "sweep sweep.toml --dry-run",
        "sweep sweep.toml --out out/sweep",
        "sweep sweep.toml --out out/sweep --engine ray",
        "sweep --collect out/sweep --to sweep.parquet --figure sweep.html",
    )
)
def sweep(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG.toml", help="What is run on what.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where parts and manifest go; a sweep that was stopped is gone on with.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray", "slurm"],
        typer.Option(
            help="Where it is run: in this process, or by workers of Ray or jobs of Slurm.",
            rich_help_panel=PANEL,
        ),
    ] = "local",
    init: Annotated[
        bool,
        typer.Option(
            "--init",
            help="Print a commented configuration that runs as it is.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate",
            help="Say all that is wrong with configuration and prompts, and load nothing.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how many shards and runs there are, and what they will take.",
            rich_help_panel=PANEL,
        ),
    ] = False,
    collect: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Make one table of a sweep's parts.", rich_help_panel=OUTPUT
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --collect: the table, .parquet.", rich_help_panel=OUTPUT
        ),
    ] = None,
    means: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --collect: mean curves with their intervals, .csv or .parquet.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --collect: the curves of all models on relative depth, .html.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="With --collect: what there is of a sweep that is not done.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json_log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write each event as a line of JSON, - for standard error.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    force: ForceOption = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run every analysis on every task and model of a configuration, and lose nothing.

    The folder holds a part a shard and a manifest. However a run ended, the same command goes on
    where it was; a damaged part is made anew; a changed configuration, model or prompt is refused.
    """
    ways = {"--init": init, "--collect": collect is not None, "--validate": validate,
            "--dry-run": dry_run}  # fmt: skip
    asked = [name for name, given in ways.items() if given]
    if len(asked) > 1:
        raise ValueError(f"give {' or '.join(asked)}: one of them.")
    if (to or means or figure or partial) and collect is None:
        raise ValueError("--to, --means, --figure and --partial go with --collect FOLDER.")
    if init or collect is not None:
        if config is not None or out is not None:
            raise ValueError(f"{asked[0]} goes without CONFIG.toml and --out.")
    elif config is None:
        raise ValueError("name a configuration, CONFIG.toml; --init prints one.")
    if init:
        from lensdepth.scale.example import EXAMPLE

        sys.stdout.write(EXAMPLE)
        return
    if collect is not None:
        check_out(to, force=force, suffixes=(".parquet",), option="--to")
        check_out(means, force=force, suffixes=(".csv", ".parquet"), option="--means")
        check_out(figure, force=force, suffixes=(".html",), option="--figure")
        return _collect(collect, (to, means, figure), partial=partial, json=json, debug=debug)
    assert config is not None
    if validate:
        return _validate(config, json=json, debug=debug)
    if dry_run:
        return _plan(config, json=json, debug=debug)
    if out is None:
        raise ValueError("name a folder for the parts: --out FOLDER.")
    _run(config, out, engine, json_log, json=json, debug=debug)


def _run(
    config: Path, out: Path, engine: Any, json_log: Path | None, *, json: bool, debug: bool
) -> None:
    with _every_fault(), _told(json_log) as watch:
        try:
            with quiet(debug=debug):
                with working("loading"):
                    from lensdepth.progress import unwatched
                    from lensdepth.scale import run_sweep

                    if not debug:
                        hush_transformers()
                with unwatched():
                    done = run_sweep(config, out, engine=engine, watch=watch)
        except (KeyboardInterrupt, SystemExit):
            watch.stopped(out)
            raise
    if json:
        session.print_json(_summary(done))
    else:
        place = shown(str(out))
        said = f"{len(done.shards):,} shards are done in {place}; make one table of them"
        watch.say("done", f"{said}: lensdepth sweep --collect {out} --to TABLE.parquet")


def _validate(config: Path, *, json: bool, debug: bool) -> None:
    """Say what is wrong with a configuration, or that nothing is."""
    with _every_fault(), quiet(debug=debug), working("looking"):
        from lensdepth.scale.run import checked_config

        read = checked_config(config)
    counts = {"models": len(read.models), "tasks": len(read.tasks), "analyses": len(read.analyses)}
    if json:
        return session.print_json({"provenance": _versions(), "summary": counts, "rows": []})
    nouns = ("model", "task", "analysis")
    said = ", ".join(
        f"{n} {one if n == 1 else many}"
        for one, (many, n) in zip(nouns, counts.items(), strict=True)
    )
    note(f"{shown(str(config))} is in order: {said}")


def _plan(config: Path, *, json: bool, debug: bool) -> None:
    """Say what a sweep will take."""
    with _every_fault(), quiet(debug=debug), working("trying"):
        from lensdepth.scale.probe import plan_sweep

        if not debug:
            hush_transformers()
        plan = plan_sweep(config)
    if json:
        summary = {"shards": plan.n_shards, "edited_runs": plan.runs, "seconds": plan.seconds,
                   "bytes": plan.n_bytes, "told": plan.told}  # fmt: skip
        rows = session.records(plan.to_frame())
        return session.print_json({"provenance": _versions(), "summary": summary, "rows": rows})
    from lensdepth.cli import claim_tables, tables

    told = f"{plan.told[:1].upper()}{plan.told[1:]}; {claim_tables.size(plan.n_bytes)} of memory."
    tables.show(claim_tables.sweep_plan_table(plan), "", told)


def _collect(
    folder: Path,
    places: tuple[Path | None, Path | None, Path | None],
    *,
    partial: bool,
    json: bool,
    debug: bool,
) -> None:
    to, means, figure = places
    if to is None and means is None and figure is None:
        raise ValueError("say what is made of it: --to TABLE.parquet, --means or --figure.")
    with quiet(debug=debug), working("collecting"):
        from lensdepth.scale import Sweep
        from lensdepth.writing import csv_text, write_bytes, write_text

        done = Sweep.open(folder)
        rows = done.write_table(to, partial=partial) if to else None
        table = done.means(partial=partial) if means or figure else None
        if means and table is not None and means.suffix.lower() == ".csv":
            write_text(means, csv_text(table))
        elif means and table is not None:
            write_bytes(means, table.to_parquet(index=False))
        if figure and table is not None:
            from lensdepth.scale.figures import curves_figure

            drawn = curves_figure(table, f"Sweep: {done.folder.name}")
            write_text(figure, drawn.to_html(include_plotlyjs=True))
    for path in filter(None, places):
        note(f"wrote {path}" + (f" ({rows:,} rows)" if path == to and rows is not None else ""))
    if json:
        session.print_json(_summary(done))


def _summary(done: "Sweep") -> Json:
    manifest = done.manifest
    missing = [shard.number for shard in done.missing]
    return {
        "provenance": {"versions": manifest.versions, "sweep": manifest.sweep},
        "summary": {"folder": str(done.folder), "shards": len(done.shards), "missing": missing},
        "rows": [],
    }


def _versions() -> Json:
    from lensdepth.provenance import installed_versions

    return {"versions": installed_versions()}


@contextmanager
def _every_fault() -> Iterator[None]:
    """Have all errors of a configuration said, a line each."""
    from lensdepth.cli.console import one_line

    try:
        yield
    except ValueError as error:
        faults = getattr(error, "faults", ())
        if len(faults) < 2:
            raise
        for fault in faults:
            note(one_line(fault))
        raise ValueError(f"{len(faults)} errors; nothing was run.") from error


class _Watch:
    """What is said of a sweep while it runs: a bar on a terminal, a line a minute elsewhere, and
    each event as JSON where that is asked for."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.last = time.monotonic()
        self.state: Json = {}
        self.bar: tqdm[Any] | None = None

    def __call__(self, event: Json) -> None:
        if self.log is not None:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            self.log.write(jsons.dumps({"time": at, **event}) + "\n")
            self.log.flush()
        self.state |= event
        if self.log is sys.stderr:
            return
        match event["event"]:
            case "model" if time.monotonic() - self.last >= MINUTE:
                self.last = time.monotonic()
                note(f"sweep: {event['known']} of {event['models']} models have their tasks")
            case "damaged":
                note(f"the part {event['part']} is damaged and is made anew")
            case "failed":
                note(f"failed: {event['of']}: {event['why']}")
            case "resumed":
                note(f"{event['done']:,} of {event['total']:,} shards are done already")
        self._show(event)

    def _show(self, event: Json) -> None:
        if "total" not in self.state:
            return
        if sys.stderr.isatty():
            if self.bar is None:
                form = "{desc}: {n_fmt} of {total_fmt} shards |{bar}| {postfix}"
                self.bar = tqdm(total=self.state["total"], desc="sweep", bar_format=form)
            self.bar.n = self.state["done"]
            self.bar.set_postfix_str(self._how_fast())
            if event["event"] == "finished":
                self.close()
        elif time.monotonic() - self.last >= MINUTE and event["event"] == "shard":
            self.last = time.monotonic()
            done, total = self.state["done"], self.state["total"]
            note(f"sweep: {done:,} of {total:,} shards, {self._how_fast()}")

    def _how_fast(self) -> str:
        left = self.state.get("left_seconds")
        rate = f"{self.state.get('pairs_per_second', 0.0):.3g} pairs a second"
        return rate + ("" if left is None else f", about {duration(left)} left")

    def stopped(self, out: Path) -> None:
        """What one line says when a run is ended from outside."""
        self.close()
        done, total = self.state.get("done", 0), self.state.get("total")
        how = f"after {done:,} of {total:,} shards" if total else "before the first shard"
        self.say(
            "stopped", f"stopped {how}; the same command goes on with what is in {shown(str(out))}"
        )

    def say(self, event: str, text: str) -> None:
        """A line for people, or an event where standard error is for machines."""
        if self.log is sys.stderr:
            self({"event": event, "told": text})
        else:
            note(text)

    def close(self) -> None:
        """The bar goes."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


@contextmanager
def _told(json_log: Path | None) -> Iterator[_Watch]:
    with ExitStack() as stack:
        log: Any = None
        if json_log is not None and str(json_log) == STANDARD_ERROR:
            log = sys.stderr
        elif json_log is not None:
            from lensdepth.writing import writing_to

            with writing_to(json_log):
                log = stack.enter_context(json_log.open("a", encoding="utf-8"))
        watch = _Watch(log)
        stack.callback(watch.close)
        yield watch
