"""How many pairs or prompts there were, and why some were left out: as JSON and in words."""

from typing import TYPE_CHECKING

from lensdepth.provenance import Provenance
from lensdepth.telling.numbers import counted
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.tasks.task import Task


def noun(task: "Task") -> str:
    """What its rows are: `pair` or `prompt`."""
    return "pair" if task.has_pairs else "prompt"


def counts(task: "Task") -> Json:
    """The counts, under the keys that every summary has."""
    other = {"keep": task.keep, "unkept": task.n_unkept}
    return {
        "drawn": task.n_drawn,
        "used": len(task),
        "multi_token": task.n_multi_token,
        "wrong": task.n_wrong,
        **(other if task.keep in UNKEPT else {}),
        **({"alone": task.n_alone} if task.n_alone else {}),
    }


UNKEPT = {"preferred": "not answered preferably", "wrong": "answered rightly"}
"""Why pairs are left out by `keep`, wrong ones aside."""


def kept(task: "Task") -> Json:
    """The same for a result's provenance, with the kind of pairs that were kept."""
    return counts(task) | {"keep": task.keep}


def left_out(task: "Task") -> str:
    """Why some of those drawn are not used; empty where all are."""
    return reasons(counts(task))


def reasons(counts: Json) -> str:
    """The same of counts."""
    why = (
        (counts.get("multi_token", 0), "with an answer of several tokens"),
        (counts.get("wrong", 0), "answered wrongly"),
        (counts.get("unkept", 0), UNKEPT.get(counts.get("keep", ""), "")),
        (counts.get("alone", 0), "with a label of no other prompt"),
    )
    return ", ".join(f"{n:,} {reason}" for n, reason in why if n)


def on_which_pairs(provenance: Provenance) -> list[str]:
    """Beside the numbers of a result: how many pairs were left out and why, and what success means
    where it is not first choice. Nothing where all were used."""
    pairs = provenance.pairs
    if not pairs or not reasons(pairs):
        return []
    said = f"On {pairs['used']:,} of {counted(pairs['drawn'], 'pair')}; left out: {reasons(pairs)}."
    if pairs["keep"] == "preferred":
        said += (
            " Success is preference: the source's answer is likelier than the base's, if not the "
            "first choice."
        )
    elif pairs["keep"] in ("correct", "wrong"):
        said += " Success is first choice: no token is likelier than the source's answer."
    return [said]


def drawn(task: "Task") -> str:
    """`20 of 24 pairs of months; left out: 4 answered wrongly`."""
    out = f"; left out: {left_out(task)}" if left_out(task) else ""
    return f"{len(task):,} of {counted(task.n_drawn, noun(task))} of {task.name}{out}"
