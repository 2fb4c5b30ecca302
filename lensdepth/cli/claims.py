"""The study's claims, or anybody's hypotheses, with verdicts."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensdepth.cli import session
from lensdepth.cli.app import PANEL, app, examples
from lensdepth.cli.completion import complete_models
from lensdepth.cli.console import note, one_line, quiet
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import OutputOptions, check_out, spread
from lensdepth.cli.sweep_options import JudgeOptions
from lensdepth.cli.task_options import TaskOptions, check_task
from lensdepth.cli.trying import which_tasks

if TYPE_CHECKING:
    from lensdepth.claims import Hypothesis
    from lensdepth.claims.plan import Workload
    from lensdepth.model import DepthModel
    from lensdepth.tasks import Task


@dataclass(frozen=True, kw_only=True)
class ClaimOptions:
    """What is tested, and on which further models."""

    hypotheses: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Test the hypotheses in this TOML file in place of the study's claims.",
            rich_help_panel=PANEL,
        ),
    ] = None
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete_models,
            help="A further model or checkpoint for the same table; may be given several times.",
            rich_help_panel=PANEL,
        ),
    ] = None
    mix_numerics: Annotated[
        bool,
        typer.Option(
            "--mix-numerics",
            help="Allow models of other dtypes, or processed beside raw weights, in one table.",
            rich_help_panel=PANEL,
        ),
    ] = False
    judged: JudgeOptions = field(default_factory=JudgeOptions)
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be run, how many forward passes, time and memory; run nothing.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.hypotheses is not None and self.against:
            raise ValueError("--against goes with the study's claims, not with --hypotheses.")
        if self.mix_numerics and not self.against:
            raise ValueError("--mix-numerics goes with --against.")
        if self.dry_run and self.against:
            raise ValueError("--dry-run plans one model; leave out --against.")


@app.command(
    epilog=examples(
        "claims",
        "claims --model ./my-model --task months --json",
        "claims --hypotheses mine.toml --dry-run",
        "claims --model step1000 --against step2000 --out models.html",
    )
)
@spread
def claims(
    *,
    options: ClaimOptions,
    task: TaskOptions,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Supported, contradicted, or cannot tell: the study's claims or your own hypotheses."""
    check_out(output.out, force=output.force)
    if options.dry_run and output.out is not None:
        raise ValueError("--dry-run writes no file; leave out --out, or take --json.")
    if options.against and output.out is not None and output.out.suffix == ".safetensors":
        raise ValueError(
            "--out .safetensors holds one model's result; use .json, .csv or .parquet."
        )
    hypotheses = None
    with quiet(debug=output.debug):
        check_task(task, pairs=True)
        if options.hypotheses is not None:
            from lensdepth.claims import load_hypotheses

            hypotheses = load_hypotheses(options.hypotheses)
            _check_before_loading(options.hypotheses, hypotheses, task, model)
        depth_model = session.open_model(model, debug=output.debug)
    with session.shared_runs():
        with quiet(debug=output.debug):
            keep = "correct" if hypotheses else "all"
            pairs = session.open_task(task, depth_model, keep=keep, edited=True, asked=model)
        if options.dry_run:
            _dry_run(depth_model, pairs, hypotheses, options, output)
        elif hypotheses is not None:
            _hypotheses(depth_model, pairs, hypotheses, options, model, task, output)
        elif options.against:
            _models(depth_model, pairs, options, task, model, output)
        else:
            _claims(depth_model, pairs, options, task, model, output)


def _check_before_loading(
    path: Path, hypotheses: "list[Hypothesis]", task: TaskOptions, model: ModelOptions
) -> None:
    """Labels that the prompts lack, and depths that the model lacks, without loading it."""
    from lensdepth.checkpoint import read_n_layers
    from lensdepth.claims.experiment import check_hypothesis_depths, check_labels

    with _named_lines(path):
        labels = session.read_labels(task)
        if labels is not None:
            check_labels(hypotheses, {name: labels[name].astype(str) for name in labels.columns})
        n_layers = read_n_layers(
            model.model, trust_remote_code=model.trust_remote_code, **model.where
        )
        if n_layers is not None:
            check_hypothesis_depths(hypotheses, n_layers)


class _named_lines:
    """Say the file and line of the hypothesis that a task or model cannot test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from lensdepth.claims.experiment import WrongHypothesis
        from lensdepth.claims.hypothesis_file import line_of

        if isinstance(error, WrongHypothesis):
            place = line_of(self.path, error.hypothesis.name, error.key)
            raise ValueError(f"{place}: {error}") from error


def _dry_run(
    model: "DepthModel",
    pairs: "Task",
    hypotheses: "list[Hypothesis] | None",
    options: ClaimOptions,
    output: OutputOptions,
) -> None:
    from lensdepth.claims.plan import plan_claims, plan_hypotheses
    from lensdepth.tasks.told import counts

    with quiet(debug=output.debug):
        if hypotheses is None:
            plan = plan_claims(model, pairs, **asdict(options.judged))
        else:
            assert options.hypotheses is not None
            with _named_lines(options.hypotheses):
                plan = plan_hypotheses(model, pairs, hypotheses)
    if output.json:
        session.print_json({"plan": plan.to_json(), "pairs": counts(pairs)})
        return
    _show_plan(model, pairs, plan)


def _show_plan(model: "DepthModel", pairs: "Task", plan: "Workload") -> None:
    from lensdepth.cli import claim_tables, tables

    title = session.title("Plan", model, pairs)
    tables.show(title, claim_tables.plan_table(plan), "", *claim_tables.plan_sentences(plan))


def _claims(
    model: "DepthModel",
    pairs: "Task",
    asked: ClaimOptions,
    task: TaskOptions,
    options: ModelOptions,
    output: OutputOptions,
) -> None:
    with quiet(debug=output.debug):
        from lensdepth.analyses import analysis
        from lensdepth.claims import evaluate_claims
        from lensdepth.claims.readiness import CLAIMS, check_readiness

        keep = "preferred" if pairs.keep == "preferred" else "correct"
        ready = check_readiness(model, pairs, keep=keep, probe=False, seed=task.seed)
        for lack in [one for one in ready.lacks if one.claims == CLAIMS] or ready.lacks:
            note(f"note: before anything is run: {one_line(lack.told)}")
        if task.prompts is None and ready.is_failed:
            note(f"note: {which_tasks(options)}")
        table = evaluate_claims(
            model, pairs, **asdict(asked.judged), seed=task.seed, **options.bounds
        )
        summary = analysis("claims").summary(table)

    def show() -> None:
        from lensdepth.cli import claim_tables, tables

        title = session.title("Claims", model, pairs)
        tables.show(title, claim_tables.claims_table(table), "", *claim_tables.notes(table))

    session.deliver(table, summary, output, show, pairs=pairs)


def _hypotheses(
    model: "DepthModel",
    pairs: "Task",
    hypotheses: "list[Hypothesis]",
    options: ClaimOptions,
    loading: ModelOptions,
    task: TaskOptions,
    output: OutputOptions,
) -> None:
    from lensdepth.telling.plain import to_json

    with quiet(debug=output.debug):
        from lensdepth.claims import evaluate_hypotheses, prompts_needed

        assert options.hypotheses is not None
        with _named_lines(options.hypotheses):
            table = evaluate_hypotheses(model, pairs, hypotheses, seed=task.seed, **loading.bounds)
        sizes = {one.family: 0 for one in table.hypotheses}
        for one in table.hypotheses:
            sizes[one.family] += 1
        needed = [
            None if found.effect is None else prompts_needed(found, n_tests=sizes[one.family])
            for one, found in zip(table.hypotheses, table.findings, strict=True)
        ]
        keys = ("effect", "low", "high", "threshold", "expect", "unit", "n", "says", "reason")
        rows = [
            {"hypothesis": one.name, "family": one.family, "verdict": one.verdict, "p": one.p}
            | {key: getattr(found, key) for key in keys}
            | {"prompts_for_90_percent_power": n}
            for one, found, n in zip(table.hypotheses, table.findings, needed, strict=True)
        ]
        summary = to_json({"hypotheses": rows})

    def show() -> None:
        from lensdepth.cli import claim_tables, tables

        title = session.title("Hypotheses", model, pairs)
        tables.show(title, claim_tables.hypotheses_table(table, needed), "",
                    *claim_tables.hypothesis_notes(table))  # fmt: skip

    session.deliver(table, summary, output, show, pairs=pairs)


def _models(
    model: "DepthModel",
    pairs: "Task",
    options: ClaimOptions,
    task: TaskOptions,
    loading: ModelOptions,
    output: OutputOptions,
) -> None:
    from lensdepth.analyses import analysis
    from lensdepth.claims import evaluate_claims, places_told
    from lensdepth.claims.figures import handovers
    from lensdepth.claims.models import ModelsTable, check_alike

    with quiet(debug=output.debug):
        given: dict[str, Any] = {**asdict(options.judged), "seed": task.seed, **loading.bounds}
        tables_of = [evaluate_claims(model, pairs, **given)]
        for name in options.against or ():
            other = session.open_model(replace(loading, model=name), debug=output.debug)
            theirs = session.open_task(
                task, other, keep="all", edited=True, asked=replace(loading, model=name)
            )
            tables_of.append(evaluate_claims(other, theirs, **given))
            # Found out after each model, not when all have run.
            check_alike(tables_of, allow_mixed=options.mix_numerics)
    mixed = check_alike(tables_of, allow_mixed=options.mix_numerics)
    together = ModelsTable(tables=tuple(tables_of), allow_mixed=options.mix_numerics)
    if mixed:
        note(f"note: mixed numerics: {mixed}")
    summary = {
        "models": [
            {"model": name} | analysis("claims").summary(one)
            for name, one in zip(together.names, tables_of, strict=True)
        ],
        "mixed_numerics": mixed or None,
        "depths": None if together.depths is None else places_told.summary(together.depths),
    }

    def show() -> None:
        from lensdepth.cli import claim_tables, tables

        title = session.title("Claims on several models, from the first", model, pairs.name)
        places = [] if together.depths is None else places_told.sentences(together.depths)
        tables.show(title, claim_tables.models_table(together), "", *places,
                    *([f"Mixed numerics: {mixed}."] if mixed else []))  # fmt: skip

    session.deliver(together, summary, output, show, lambda: handovers(tables_of, together.names))
