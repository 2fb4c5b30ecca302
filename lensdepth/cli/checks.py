"""What a model makes of a task, before any sweep: `lensdepth check`, and `tasks --model`."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from lensdepth.cli import session
from lensdepth.cli.app import app, examples
from lensdepth.cli.console import one_line, quiet, working
from lensdepth.cli.model_options import ModelOptions
from lensdepth.cli.options import (
    DebugOption,
    JsonOption,
    TaskOptions,
    check_task,
    spread,
)
from lensdepth.cli.sweep_options import TwinOptions
from lensdepth.telling.numbers import UNKNOWN, counted, duration, percent
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.claims.readiness import Readiness
    from lensdepth.cli.tables import Parts
    from lensdepth.model import DepthModel
    from lensdepth.tasks import Task


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
        pairs = session.open_task(every, depth_model, keep="all")
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

    tables.show(session.title("Check", depth_model, pairs), *_parts(found))


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


def _costs(found: "Readiness") -> list[str]:
    from lensdepth.cli.claim_tables import size

    plan, seconds = found.plan, found.seconds
    if plan is None or plan.pace is None or seconds is None:
        return ["No pair is left for a sweep."]
    parts = "; ".join(f"{name} {duration(took)}" for name, took in plan.timed)
    at = f", at the {plan.pace.n_depths} depths that a few pairs led to" * plan.pace.found
    return [
        f"Time for the claims on these pairs: about {duration(seconds)} ({plan.edited_runs:,} "
        f"edited runs, {1000 * plan.pace.edited:.1f} ms each as tried{at}): {parts}.",
        f"Memory: weights {size(plan.weights_bytes)}, states kept at most "
        f"{size(plan.states_bytes)}.",
    ]


# All built-in tasks


def try_task(model: "DepthModel", name: str, n: int, seed: int) -> Json:
    """How a model answers one built-in task; or why it cannot be asked."""
    from lensdepth.claims.readiness import check_readiness
    from lensdepth.tasks import load_task

    with working(f"trying {name}"):
        try:
            pairs = load_task(name, model, n=n, seed=seed, on_multi_token="drop")
            if not pairs.has_pairs:
                return {"refused": "plain prompts alone, for the lens and geometry"}
            found = check_readiness(model, pairs, probe=False, seed=seed)
        except ValueError as refusal:
            return {"refused": one_line(refusal).removeprefix(f"task {name!r}: ")}
    n_tried, counts = found.n_one_token, summary(found)
    asked = {key: counts[key] for key in ("drawn", "one_token", "right", "preferred")}
    return {
        "form": "few-shot" if is_few_shot(pairs) else "plain",
        **asked,
        "share_right": sum(found.right) / n_tried,
        "share_preferred": sum(found.preferred) / n_tried,
        "pairs_for_claims": pairs_needed(found),
    }


def is_few_shot(pairs: "Task") -> bool:
    """Whether a built-in task was put behind examples."""
    from lensdepth.tasks import list_forms

    return pairs.name.endswith(" (few-shot)") or list_forms(pairs.name) == ("few-shot",)


def pairs_needed(found: "Readiness") -> int | None:
    """Pairs to draw so that enough are right for the claims; None where too few are."""
    from math import ceil

    from lensdepth.claims.testable import FEWEST_PAIRS, LEAST_ACCURACY

    share = sum(found.right) / max(found.n_one_token, 1)
    return None if share < LEAST_ACCURACY else ceil(FEWEST_PAIRS / share)


def tried_tasks(model: str, rows: Sequence[Json]) -> "Parts":
    """One row a task."""
    from rich.text import Text

    from lensdepth.cli.tables import plain_table
    from lensdepth.outside import visible

    cells = [
        (
            row["name"],
            row.get("form", UNKNOWN),
            *(
                (f"{row['one_token']} of {row['drawn']}", percent(row["share_right"]),
                 percent(row["share_preferred"]), str(row["pairs_for_claims"] or "no"))
                if "refused" not in row
                else (UNKNOWN, UNKNOWN, UNKNOWN, row["refused"].split(";")[0])
            ),
        )
        for row in rows
    ]  # fmt: skip
    return [
        Text(f"Tasks on {visible(model)}", style="bold"),
        plain_table(("task", "form", "one token", "right", "preferred", "for claims"), cells),
        "",
        "right: first choice on both prompts; preferred: likelier than the other prompt's answer, "
        "on both. for claims: pairs to draw (--n) for the 30 right ones that claims need at least; "
        "more for C4, which lensdepth check tells.",
    ]
