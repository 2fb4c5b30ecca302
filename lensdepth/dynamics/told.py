"""What a training says: its summary, and sentences on when the switch appears and how it moves."""

from typing import TYPE_CHECKING

from lensdepth.dynamics.course import SMALLEST_MOVE
from lensdepth.dynamics.moment import LEARNED
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import of_depths
from lensdepth.telling.numbers import change, counted, number, p_value, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.dynamics.course import Course
    from lensdepth.dynamics.moment import Moment
    from lensdepth.dynamics.profile import TrainingDynamics

NAMES = {
    "crossing": "crossing",
    "gap": "gap",
    "none": "no crossing",
    "cannot tell": "cannot tell",
    "too few": "too few units",
    "not learned": "not learned",
}
"""Kinds of a checkpoint in a legend or a table."""


def curves(result: "TrainingDynamics") -> list[Curve]:
    """None: a training has its numbers by step."""
    return []


def summary(result: "TrainingDynamics") -> Json:
    """The two verdicts with what they rest on, and every checkpoint."""
    course = result.course
    return to_json(
        {
            "appears": vars(result.appears),
            "course": {
                "verdict": course.verdict,
                "reason": course.reason,
                "after": course.after,
                "by": course.by,
                "low": course.low,
                "high": course.high,
                "change": course.change,
                "stray": course.stray,
                "explained": course.explained,
                "p_units": course.p_units,
                "p_order": course.p_order,
                "p_walk": course.p_walk,
                "steps": course.steps,
                "location": course.location.tolist(),
                "n_pairs": course.n_pairs,
                "n_units": course.n_units,
            },
            "n_checkpoints": len(result.moments),
            "n_pairs": len(result.places),
            "checkpoints": [_moment(one) for one in result.moments],
        }
    )


def _moment(one: "Moment") -> Json:
    return {
        "step": one.step,
        "model": one.model.name,
        "fingerprint": one.model.fingerprint,
        "kind": one.kind,
        "reason": one.reason,
        "right": one.right,
        "preferred": one.preferred,
        "n_right": one.n_right,
        "n_units": one.n_units,
        "depth": one.depth,
        "relative_depth": one.relative.value,
        "width": one.width,
        "leaves": one.leaves,
        "arrives": one.arrives,
        "lens": one.lens or None,
        "lens_depth": one.lens_depth,
        "lens_width": one.lens_width,
        "coupling": one.coupling,
        "claims": one.claims,
    }


def sentences(result: "TrainingDynamics") -> list[str]:
    """When answers come, when the place where control passes does, how it moves, and what that
    rests on."""
    said = [_answers(result), _appears(result)]
    located = [one for one in result.moments if one.kind == "crossing"]
    if located:
        said += [_places(result, located), _course(result.course)]
    return said


def _answers(result: "TrainingDynamics") -> str:
    learned = [one for one in result.moments if one.kind != "not learned"]
    all_of = counted(len(result.moments), "checkpoint")
    if not learned:
        most = max(result.moments, key=lambda one: one.right.value)
        return (
            f"None of {all_of} answers {percent(LEARNED)} of the pairs rightly (at most "
            f"{percent(most.right.value)}, at step {most.step:,}): no place can be looked for."
        )
    since = result.appears.learned
    until = "" if since is None else f", all from step {since:,} on"
    return (
        f"{len(learned)} of {all_of} answer {percent(LEARNED)} of the pairs rightly or "
        f"more{until}; the others have no place, and none is shown."
    )


def _appears(result: "TrainingDynamics") -> str:
    found = result.appears
    after = "" if found.after is None else f", not yet by step {found.after:,}"
    if found.verdict == "not learned":
        return f"When the switch appears cannot be asked: {found.reason}."
    if found.verdict == "never":
        return f"Control is seen to pass at one place at no checkpoint: {found.reason}."
    if found.verdict == "cannot tell":
        return f"When control begins to pass at one place cannot be told ({found.reason})."
    if found.by is None:
        return f"Control passes at one place at some checkpoints, not to the end: {found.reason}."
    how = {
        "with the answers": "as soon as there are answers",
        "after the answers": f"after the answers: {found.reason}",
        "comes and goes": f"for good, but {found.reason}",
    }[found.verdict]
    return f"Control passes at one place from step {found.by:,} on{after}: {how}."


def _places(result: "TrainingDynamics", located: "list[Moment]") -> str:
    first, last = located[0], located[-1]
    n_layers = result.n_layers
    place = of_depths(last.depth.value, n_layers)
    if first is last:
        return f"At step {last.step:,}, the only one with a place, that is at {place}."
    return (
        f"At step {first.step:,} that is at {of_depths(first.depth.value, n_layers)} "
        f"({_ends(first)}), at step {last.step:,} at {place} ({_ends(last)})."
    )


def _ends(one: "Moment") -> str:
    if not one.depth.known:
        return "no interval"
    return f"{number(one.depth.low)} to {number(one.depth.high)}"


def _course(course: "Course") -> str:
    if course.verdict == "too few":
        return f"Whether the place moves over training cannot be told: {course.reason}."
    rests = (
        f"{counted(len(course.steps), 'checkpoint')}, {counted(course.n_pairs, 'pair')} that have "
        f"a place in all of them"
    )
    cut = (
        f"the best cut lies between steps {course.after:,} and {course.by:,}, explains "
        f"{percent(course.explained)} of what there is and changes the place by "
        f"{change(course.change.value)} depths"
    )
    nulls = (
        f"units drawn anew {p_value(course.p_units)}, any order {p_value(course.p_order)}, "
        f"a path that wanders {p_value(course.p_walk)}"
    )
    if course.verdict == "steady":
        return (
            f"From there the place stays: it strays by {course.stray} depths, less than the "
            f"{number(SMALLEST_MOVE)} that would be a move ({rests})."
        )
    how = {
        "jump": "The place jumps",
        "moves": "The place moves, and no jump is shown",
        "wanders": "The place differs between checkpoints in no order that is shown",
        "cannot tell": "That the place moves over training is not shown",
    }[course.verdict]
    return f"{how}: {cut} ({nulls}; {rests})."
