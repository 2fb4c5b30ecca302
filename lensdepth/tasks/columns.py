"""What the columns of a table of pairs are called: in files, in memory, and in `Task.to_frame`.

A table needs `clean, corrupted, target, foil`, or else one column `prompt`; every other column is a
label. The table of a task has numbers too, which are found again and not read, and calls a label
that is named like one of its own columns `label_...`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lensdepth.outside import cut, shown, visible

PAIR = ("clean", "corrupted", "target", "foil")
OPTIONAL = ("input", "corrupted_input")
IDS = {"target": "target_id", "foil": "foil_id"}
NUMBERS = (
    "pair",
    "input_position",
    "corrupted_input_position",
    "prediction_position",
    "corrupted_prediction_position",
)
"""What `Task.to_frame` counts."""
OWN = frozenset((*PAIR, *IDS.values(), *OPTIONAL, *NUMBERS, "prompt"))
LABEL = "label_"
NEEDED = f"the columns {', '.join(PAIR)} (pairs) or prompt (plain prompts)"


RENAMED = {
    "corrupt": "corrupted",
    "correct_idx": "target_id",
    "incorrect_idx": "foil_id",
    "one_prefix_prefix": "prompt",
    "one_prefix_word_good": "target",
    "one_prefix_word_bad": "foil",
}
"""Columns of EAP, auto-circuit and BLiMP as published, and what they are called here."""
LISTED = {"answers": "target", "wrong_answers": "foil"}
"""Columns of auto-circuit: lists of answers, of which one is one."""
REWRITE = "requested_rewrite"
"""Where CounterFact keeps prompt, subject and answers of a row."""


def is_of_a_task(columns: Iterable[str]) -> bool:
    """Whether `Task.to_frame` made the table."""
    return {"pair", "prediction_position"} <= set(columns)


def prompt_column(columns: Sequence[str]) -> str | None:
    """Where plain prompts stand, with or without their answers; None in a table of pairs."""
    if is_of_a_task(columns) and {*PAIR}.intersection(columns) == {"clean"}:
        return "clean"
    return "prompt" if "prompt" in columns and not {*PAIR[:2]}.intersection(columns) else None


def label_column(label: str) -> str:
    """The column of a task's table in which a label stands."""
    return f"{LABEL}{label}" if _is_own(label) else label


def label_columns(columns: Sequence[str]) -> dict[str, str]:
    """The columns that hold labels, with the labels' names."""
    plain = prompt_column(columns)
    used = {*PAIR, *IDS.values(), *OPTIONAL} if plain is None else {plain, "input"}
    if not is_of_a_task(columns):
        return {column: column for column in columns if column not in used}
    return {
        column: column.removeprefix(LABEL) if _is_own(column) else column
        for column in columns
        if column not in used and column not in NUMBERS
    }


def _is_own(name: str) -> bool:
    """Whether it is a column's own name, or that with `label_` in front however often."""
    while name.startswith(LABEL):
        name = name.removeprefix(LABEL)
    return name in OWN


def check_once(columns: Sequence[str], source: str) -> None:
    """Refuse a table in which two columns have one name."""
    twice = sorted(c for c, n in Counter(columns).items() if n > 1)
    if twice:
        raise ValueError(f"{source}: the column {shown(twice[0])} stands there twice.")


def lacking(columns: Sequence[str]) -> list[str]:
    """What a table of pairs needs and has not; nothing where it is one, or of plain prompts."""
    if prompt_column(columns) is not None:
        return []
    return [c for c in PAIR if c not in columns and IDS.get(c) not in columns]


def our_names(columns: Sequence[str]) -> list[str]:
    """The names of a table's columns; of one as others publish it, what these are called here."""
    if not lacking(columns):
        return list(columns)
    ours = [RENAMED.get(c, LISTED.get(c, c)) for c in columns]
    return ["prompt" if c == REWRITE else c for c in ours]


def our_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as others publish it, under our names for its columns."""
    found = dict(record)
    rewrite = found.get(REWRITE)
    if isinstance(rewrite, Mapping) and "prompt" not in found:
        found = _of_counterfact(found.pop(REWRITE)) | found
    for theirs, ours in RENAMED.items():
        if theirs in found and ours not in found and ours.removesuffix("_id") not in found:
            found[ours] = found.pop(theirs)
    for theirs, ours in LISTED.items():
        value = found.get(theirs)
        if isinstance(value, list) and len(value) == 1 and "clean" in found and ours not in found:
            found[ours] = found.pop(theirs)[0]
    return found


def _of_counterfact(rewrite: Mapping[str, Any]) -> dict[str, Any]:
    """One fact: its prompt with the subject put in, the true answer and the false one."""
    found: dict[str, Any] = {}
    prompt, subject = rewrite.get("prompt"), rewrite.get("subject")
    if isinstance(prompt, str) and isinstance(subject, str):
        found |= {"prompt": prompt.replace("{}", subject), "input": subject}
    for theirs, ours in (("target_true", "target"), ("target_new", "foil")):
        answer = rewrite.get(theirs)
        if isinstance(answer, Mapping):
            found[ours] = answer.get("str")
    return found | {"relation": rewrite.get("relation_id")}


def check_columns(columns: Sequence[str], source: str, *, nested: Sequence[str] = ()) -> None:
    """Refuse a table that holds neither pairs nor plain prompts, and say what it lacks.

    Args:
        columns: their names.
        source: how the error names the table.
        nested: those whose cells are objects, in which nothing is looked for.
    """
    missing = lacking(columns)
    if not missing:
        return  # whatever else there is, is a label
    lacks = f" ({', '.join(missing)} missing)" if len(missing) < len(PAIR) else ""
    near = [c for c in columns if c != c.strip().lower() in (*missing, "prompt")]
    hint = f" Write {shown(near[0])} as {near[0].strip().lower()!r}." if near else ""
    if "prompt" in columns:
        hint = " Pairs or plain prompts, not half of each."
    elif nested:
        hint = f" Objects in cells are not looked into: bring what {shown(nested[0])} holds up."
    there = cut(visible(", ".join(columns[:20])), 300) + (", ..." if len(columns) > 20 else "")
    raise ValueError(f"{source} needs {NEEDED}{lacks}; it has {there or 'none'}.{hint}")
