"""What a model makes of the built-in tasks: `lensdepth tasks --model`, and where it fails one."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from lensdepth.cli.console import one_line, working
from lensdepth.cli.model_options import ModelOptions
from lensdepth.telling.numbers import UNKNOWN, percent
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.cli.tables import Parts
    from lensdepth.model import DepthModel
    from lensdepth.tasks import Task


def named(options: ModelOptions) -> str:
    """The options that open the same model again, as they are typed."""
    given = ["--model", options.model]
    for field in fields(options):
        value, name = getattr(options, field.name), f"--{field.name.replace('_', '-')}"
        if field.name != "model" and value != field.default:
            given += [name] if value is True else [name, str(value)]
    return shlex.join(given)


def which_tasks(options: ModelOptions) -> str:
    """Where to look when a model fails a built-in task."""
    return f"lensdepth tasks {named(options)} says which tasks it can do."


def try_task(model: "DepthModel", name: str, n: int, seed: int) -> Json:
    """How a model answers one built-in task and what to run next; or why it cannot be asked."""
    from lensdepth.claims.readiness import check_readiness
    from lensdepth.tasks import load_task

    with working(f"trying {name}"):
        try:
            pairs = load_task(name, model, n=n, seed=seed, on_multi_token="drop")
            if not pairs.has_pairs:
                refused = "plain prompts alone, for the lens and geometry"
                return {"refused": refused, "next": "lens"}
            found = check_readiness(model, pairs, probe=False, seed=seed)
        except ValueError as refusal:
            said = one_line(refusal).removeprefix(f"task {name!r}: ")
            return {"refused": said, "next": None}
    n_tried, right, preferred = found.n_one_token, sum(found.right), sum(found.preferred)
    return {
        "form": "few-shot" if is_few_shot(pairs) else "plain",
        "drawn": found.n_drawn,
        "one_token": n_tried,
        "right": right,
        "preferred": preferred,
        "share_right": right / n_tried,
        "share_preferred": preferred / n_tried,
        "pairs_for_claims": pairs_needed(right, n_tried),
        "next": next_command(right / n_tried, preferred / n_tried),
    }


def is_few_shot(pairs: "Task") -> bool:
    """Whether a built-in task was put behind examples."""
    from lensdepth.tasks import list_forms

    return pairs.name.endswith(" (few-shot)") or list_forms(pairs.name) == ("few-shot",)


def pairs_needed(right: int, tried: int) -> int | None:
    """Pairs to draw so that enough are right for the claims; None where too few are."""
    from math import ceil

    from lensdepth.claims.testable import FEWEST_PAIRS, LEAST_ACCURACY

    share = right / max(tried, 1)
    return None if share < LEAST_ACCURACY else ceil(FEWEST_PAIRS / share)


def next_command(right: float, preferred: float) -> str:
    """What to run on a task of which these shares of the pairs are right and preferred."""
    from lensdepth.claims.testable import LEAST_ACCURACY

    if right >= LEAST_ACCURACY:
        return "report"
    if preferred >= LEAST_ACCURACY:
        return "report --keep preferred"
    return "mistakes" if right else "lens"


def with_command(row: Json, options: ModelOptions) -> Json:
    """A task's row with the whole command that is to be run next."""
    verb, *more = (row["next"] or "").split(" ", 1)
    whole = " ".join(["lensdepth", verb, named(options), "--task", row["name"], *more])
    return row | {"next": whole if verb else None}


def tried_tasks(options: ModelOptions, rows: Sequence[Json]) -> "Parts":
    """One row a task, and how to read it."""
    from rich.text import Text

    from lensdepth.cli.tables import plain_table
    from lensdepth.outside import visible

    cells = [
        (
            row["name"],
            row.get("form", UNKNOWN),
            *(
                (f"{row['one_token']} of {row['drawn']}", _count(row, "right"),
                 _count(row, "preferred"), str(row["pairs_for_claims"] or "no"), row["next"])
                if "refused" not in row
                else (*(UNKNOWN,) * 4, _refused(row))
            ),
        )
        for row in rows
    ]  # fmt: skip
    heads = ("task", "form", "one\ntoken", "right", "preferred", "for\nclaims", "next")
    table = plain_table(heads, cells)
    for column in table.columns[:-1]:
        column.no_wrap = True
    return [
        Text(f"Tasks on {visible(options.model)}", style="bold"),
        table,
        "",
        "right: first choice on both prompts; preferred: likelier than the other prompt's answer, "
        "on both. for claims: pairs to draw (--n) for the 30 right ones that claims need at least; "
        "more for C4, which lensdepth check tells. next: what to run, as in lensdepth report "
        f"{named(options)} --task {_example(rows)}.",
    ]


def _count(row: Json, key: str) -> str:
    return f"{row[key]} ({percent(row[f'share_{key}'])})"


def _refused(row: Json) -> str:
    why = row["refused"].split(";")[0]
    return f"{row['next']} ({why})" if row["next"] else why


def _example(rows: Sequence[Json]) -> str:
    return next((row["name"] for row in rows if row["next"] == "report"), "NAME")
