"""What a model makes of one task, before any sweep: `lensdepth check`."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from lensdepth.cli import session, trying
from lensdepth.cli.app import app, examples
from lensdepth.cli.console import one_line, quiet, working
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import DebugOption, JsonOption, spread
from lensdepth.cli.sweep_options import TwinOptions
from lensdepth.cli.task_options import TaskOptions, check_task
from lensdepth.telling.numbers import UNKNOWN, counted, duration, number, percent
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.claims.readiness import Readiness
    from lensdepth.cli.tables import Parts


@app.command(
    epilog=examples(
        "check --model ./my-model --task capitals",
        "check --model ./my-model --prompts pairs.jsonl",
        "check --task ioi --keep preferred",
    )
)
@spread
def check(
    *,
    task: TaskOptions,
    model: ModelOptions,
    judged: TwinOptions,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Before any sweep: how the model answers, which claims can be judged, time and memory."""
    if task.keep in ("correct", "wrong"):
        raise ValueError(
            f"check looks at all pairs; --keep preferred judges the claims by preference, got "
            f"--keep {task.keep}."
        )
    with quiet(debug=debug):
        check_task(task, pairs=True)
        depth_model = session.open_model(model, debug=debug)
        every = replace(task, keep="all", on_multi_token="drop")
        pairs = session.open_task(every, depth_model, keep="all", edited=True, asked=model)
        from lensdepth.claims.readiness import check_readiness

        with working("trying a few edited runs"):
            found = check_readiness(
                depth_model,
                pairs,
                keep="preferred" if task.keep == "preferred" else "correct",
                **asdict(judged),
                seed=task.seed,
                **model.bounds,
            )
    if json:
        from lensdepth.telling.plain import provenance_json

        rows = session.records(found.to_frame())
        whole = {
            "provenance": provenance_json(found.provenance),
            "summary": summary(found),
            "rows": rows,
        }
        session.print_json(whole)
        return
    from lensdepth.cli import tables

    tables.show(
        session.title("Check", depth_model, pairs), *_parts(found), *_others(found, task, model)
    )


def summary(found: "Readiness") -> Json:
    """The same as JSON, under fixed keys."""
    from lensdepth.claims.readiness import CLAIMS

    plan = found.plan
    return {
        "drawn": found.n_drawn,
        "one_token": found.n_one_token,
        "right": sum(found.right),
        "preferred": sum(found.preferred),
        "by": found.by,
        "units": found.n_units,
        "claims": [
            {"claim": claim, "can_be_judged": claim in found.judged,
             "missing": list(found.missing(claim))}
            for claim in CLAIMS
        ],
        "edited_runs": None if plan is None else plan.edited_runs,
        "sweeps": [] if plan is None else [
            {"name": name, "edited_runs": n, "seconds": took}
            for (name, n), (_, took) in zip(plan.sweeps, plan.timed, strict=True)
        ],
        "seconds": found.seconds,
        "weights_bytes": None if plan is None else plan.weights_bytes,
        "states_bytes": None if plan is None else plan.states_bytes,
    }  # fmt: skip


def _parts(found: "Readiness") -> "Parts":
    from lensdepth.claims.readiness import CLAIMS
    from lensdepth.claims.statements import TITLES
    from lensdepth.cli.tables import plain_table

    by_wording = [
        (
            str(row["template"]),
            str(row["pairs"]),
            _of(row["right"], row["pairs"]),
            _of(row["preferred"], row["pairs"]),
        )
        for row in found.to_frame().to_dict("records")
    ]
    judged = [
        (claim, TITLES[claim], "yes" if claim in found.judged else "no: see below")
        for claim in CLAIMS
    ]
    return [
        plain_table(("wording", "pairs", "right", "preferred"), by_wording),
        "",
        *answers_told(found),
        "",
        plain_table(("claim", "", "can be judged"), judged),
        *_lacking(found),
        "",
        *_costs(found),
    ]


def _of(some: int, n: int) -> str:
    return f"{some} ({percent(some / n)})" if n else UNKNOWN


def answers_told(found: "Readiness") -> list[str]:
    """How the model answers, and by what pairs are best kept."""
    n, right, preferred = found.n_one_token, sum(found.right), sum(found.preferred)
    said = [
        f"{n:,} of {counted(found.n_drawn, 'pair')} have answers of one token. Of these the first "
        f"choice of the model is right on both prompts of {_of(right, n)}, and it prefers the "
        f"right answer to the other prompt's on both prompts of {_of(preferred, n)}."
    ]
    if found.by == "right" and preferred >= 2 * right + 1:
        said.append(
            "Most of what it prefers is not its first choice: --keep preferred takes those pairs "
            "too, and success then means preference. A wording with examples may bring the answers "
            "to the first place."
        )
    return said


def _lacking(found: "Readiness") -> list[str]:
    said = [one_line(lack.told) for lack in found.lacks]
    if found.n_units:
        said.append(f"Intervals are over {found.n_units} units ({found.units}).")
    return ["", *said] if said else []


def _others(found: "Readiness", task: TaskOptions, model: ModelOptions) -> list[str]:
    """Of a built-in task that the model fails: what finds the ones that it can do."""
    return [trying.which_tasks(model)] if found.is_failed and task.prompts is None else []


def _costs(found: "Readiness") -> list[str]:
    from lensdepth.cli.claim_tables import size

    plan, seconds = found.plan, found.seconds
    if plan is None or plan.pace is None or seconds is None:
        return ["No pair is left for a sweep."]
    parts = "; ".join(f"{name} {duration(took)}" for name, took in plan.timed)
    at = f", at the {plan.pace.n_depths} depths that a few pairs led to" * plan.pace.found
    return [
        f"Time for the claims on these pairs: about {duration(seconds)} ({plan.edited_runs:,} "
        f"edited runs, {number(1000 * plan.pace.edited)} ms each as tried{at}): {parts}.",
        f"Memory: weights {size(plan.weights_bytes)}, states kept at most "
        f"{size(plan.states_bytes)}.",
    ]
