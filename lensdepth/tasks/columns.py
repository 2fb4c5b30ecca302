"""What the columns of a table of pairs are called: in files, in memory, and in `Task.to_frame`.

A table needs `clean, corrupted, target, foil`, or else one column `prompt`; every other column is a
label. The table of a task has numbers too, which are found again and not read, and calls a label
that is named like one of its own columns `label_...`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

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


def is_of_a_task(columns: Iterable[str]) -> bool:
    """Whether `Task.to_frame` made the table."""
    return {"pair", "prediction_position"} <= set(columns)


def prompt_column(columns: Sequence[str]) -> str | None:
    """Where plain prompts stand; None in a table of pairs."""
    if is_of_a_task(columns) and {*PAIR}.intersection(columns) == {"clean"}:
        return "clean"
    return "prompt" if "prompt" in columns and not {*PAIR}.intersection(columns) else None


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


def check_columns(columns: Sequence[str], source: str) -> None:
    """Refuse a table that holds neither pairs nor plain prompts, and say what it lacks."""
    if prompt_column(columns) is not None:
        return  # whatever else there is, is a label
    missing = [c for c in PAIR if c not in columns and IDS.get(c) not in columns]
    if not missing:
        return
    lacks = f" ({', '.join(missing)} missing)" if len(missing) < len(PAIR) else ""
    near = [c for c in columns if c != c.strip().lower() in (*missing, "prompt")]
    hint = f" Write {shown(near[0])} as {near[0].strip().lower()!r}." if near else ""
    if "prompt" in columns:
        hint = " Pairs or plain prompts, not half of each."
    there = cut(visible(", ".join(columns[:20])), 300) + (", ..." if len(columns) > 20 else "")
    raise ValueError(f"{source} needs {NEEDED}{lacks}; it has {there or 'none'}.{hint}")
