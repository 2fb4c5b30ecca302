"""docs/findings.md, made of the files of docs/findings/: its numbers stand in these."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lensdepth.claims.statements import TITLES, of_claim
from lensdepth.telling.numbers import Interval, number, percent

Record = dict[str, Any]
MODELS = {
    "smollm2": "SmolLM2-135M-Instruct, 30 blocks of width 576 (Q4_1)",
    "gemma3-270m": "Gemma 3 270M, 18 blocks of width 640 (Q4_K_M)",
}
DASH = "–"
VERDICTS = {"supported": "yes", "contradicted": "no", "cannot tell": "open"}
SWITCHES = {
    "patch": "crossing",
    "lens": "transition",
    "steering": "crossing",
}
"""Section of a record -> what was looked for there."""

HEAD = """# What holds on real models

Made by `python -m benchmarks.findings` from the files of [docs/findings](findings): every number
below stands there, with its provenance. `tests/real` recomputes some from plain Hugging Face hooks.

**What was done.** Each task was asked in its few-shot form (IOI, which needs no examples, as it
is), {pairs} pairs that the model prefers both ways, seed 0; where so many could not be had, as many
as there are. Whole states were edited at the depths that patching finds by itself (`depths="auto"`:
a coarse grid, and every depth where a curve moves). Nothing was chosen after a result was seen.
Success means preference: the source's answer is likelier than the base's. Intervals are of 95 %,
over independent units (words, templates, examples), and a verdict needs five of them.

**What may not be compared.** Both models are quantised, and what was measured are the weights as
they were rounded. SmolLM2 is the Instruct model, asked without its chat template. A task's pairs
are those that the model knows, so that tasks differ in more than what they ask. {twins} {where}
"""


def page(records: Sequence[Record]) -> str:
    """The whole page."""
    measured = [one for one in records if "claims" in one]
    if not measured:
        return HEAD.format(pairs="–", twins="", where="") + "\nNothing has been measured yet.\n"
    n_pairs = max(one["pairs"]["used"] for one in measured)
    parts = [HEAD.format(pairs=n_pairs, twins=_on_twins(measured), where=_where(measured))]
    for model in dict.fromkeys(one["model"] for one in records):
        own = [one for one in records if one["model"] == model]
        parts += [f"## {MODELS.get(model, model)}", *_of_model(own)]
    parts += ["## Over tasks and models", *_over_all(measured)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _on_twins(measured: Sequence[Record]) -> str:
    """Whether untrained twins stand beside the claims."""
    n = sum(one["claims"]["n_twins"] > 0 for one in measured)
    if n == len(measured):
        return "Untrained twins stand beside every claim."
    return (
        f"Untrained twins stand beside the claims of {n} of the {len(measured)} measurements; in "
        f"the others no twin answers enough of the pairs in two ways, and it is not known what of "
        f"a claim holds by architecture."
    )


def _where(measured: Sequence[Record]) -> str:
    """On which kinds of device."""
    devices = Counter(one["provenance"]["model"]["device"].split(":")[0] for one in measured)
    return (
        "Measured in float32: "
        + ", ".join(f"{n} on {device}" for device, n in devices.most_common())
        + "."
    )


def _of_model(records: Sequence[Record]) -> list[str]:
    """The tables of one model."""
    measured = [one for one in records if "claims" in one]
    asked = table(
        ("task", "right", "preferred", "pairs, units", "an example's last line"),
        [
            (
                one["task"],
                percent(one["answers"]["right"]),
                percent(one["answers"]["preferred"]),
                f"{one['pairs']['used']}, {one['units']['n']}" if "pairs" in one else DASH,
                _example(one),
            )
            for one in records
        ],
    )
    refused = [f"*{one['task']}* was not measured: {one['refused']}" for one in records
               if "refused" in one]  # fmt: skip
    parts = [
        f"**Known.** Share of {records[0]['answers']['n']} pairs answered rightly by first choice, "
        f"and preferred, on both prompts.",
        asked,
        *refused,
    ]
    if not measured:
        return parts
    return [*parts, *_switches(measured), *_parts(measured), *_couplings(measured),
            *_claims(measured)]  # fmt: skip


def _switches(measured: Sequence[Record]) -> list[str]:
    n_layers = measured[0]["patch"]["depths"][-1]
    rows = [
        (one["task"], _switch(one, "patch"), _switch(one, "lens"), _width(one),
         _switch(one, "steering"), _order(one))
        for one in measured
    ]  # fmt: skip
    return [
        f"**Where control passes** (patching), where the lens's contrast switches, and where "
        f"steering passes, of {n_layers} depths; in brackets the interval. Order: share of pairs "
        f"in which control comes first, less that in which the lens does.",
        table(("task", "patching", "lens", "its width in a pair", "steering", "order"), rows),
    ]


def _parts(measured: Sequence[Record]) -> list[str]:
    edits = ("direction", "random_direction", "norm")
    rows = [
        (one["task"], *(_late(one, edit) for edit in edits),
         _statement(one, "C5 norm halved or doubled"))
        for one in measured
    ]  # fmt: skip
    return [
        "**Direction against norm** at the prediction position, late (mean over the depths after "
        "control has passed, the last left out): transferred fraction of the logit difference. "
        "Halved or doubled: share of first choices that a norm of half or twice the size changes.",
        table(
            ("task", "direction", "random turn by the same angle", "norm", "halved or doubled"),
            rows,
        ),
    ]


def _couplings(measured: Sequence[Record]) -> list[str]:
    return [
        "**Coupling** of angles between states with divergences of predictions (rank "
        "correlation): the depth where it is largest, and beside it that of norms there; and at "
        "the depth before control passes.",
        table(
            ("task", "largest at depth", "angles", "norms there", "angles before control passes"),
            [(one["task"], *_coupling(one)) for one in measured],
        ),
    ]


def _claims(measured: Sequence[Record]) -> list[str]:
    return [
        "**Claims** (see [claims.md](claims.md)): yes is supported, no contradicted; twins: how "
        "many untrained ones could be measured.",
        table(
            ("task", *TITLES, "twins"),
            [
                (one["task"], *(_verdict(one, claim) for claim in TITLES), _n_twins(one))
                for one in measured
            ],
        ),
        "Why claims stay open, and what is a weak test:",
        "\n".join(_reasons(measured)),
    ]


ON_TWINS = re.compile(
    r"No untrained twin|\d+ of \d+ untrained|By architecture, |That these are not by architecture"
)
"""How sentences on twins begin, which the tables tell instead."""
A_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _reasons(measured: Sequence[Record]) -> list[str]:
    """Each reason once, with its tasks; its first number, where it differs, as a range."""
    found: dict[str, list[tuple[str, float]]] = {}
    for one in measured:
        for said in one["claims"]["sentences"]:
            if ON_TWINS.match(said):
                continue
            claims, _, why = said.rstrip(".").partition(": ")
            for part in [why] if claims == "All claims" else why.split("; "):
                text, first = A_NUMBER.sub("{}", part, count=1), A_NUMBER.search(part)
                value = float(first.group()) if first else 0.0
                found.setdefault(f"{claims}: {text}", []).append((one["task"], value))
    lines = []
    for text, cases in found.items():
        low, high = (end([value for _, value in cases]) for end in (min, max))
        shown = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        which = "all" if len(cases) == len(measured) else ", ".join(task for task, _ in cases)
        lines.append(f"- {text.replace('{}', shown)} (*{which}*).")
    return sorted(lines)


def _n_twins(one: Record) -> str:
    return str(one["claims"]["n_twins"])


def _passing(found: Sequence[Record]) -> str:
    """Share of all twins that pass a statement."""
    n = sum(one["n_twins"] or 0 for one in found)
    passing = sum((one["twin_passing"] or 0) * (one["n_twins"] or 0) for one in found)
    return percent(passing / n) if n else DASH


def _over_all(measured: Sequence[Record]) -> list[str]:
    """Each statement over all tasks, and how alike the models are."""
    rows = []
    for claim in TITLES:
        verdicts = [_verdict(one, claim) for one in measured]
        rows.append(
            (f"{claim} {TITLES[claim]}", *(verdicts.count(word) for word in VERDICTS.values()))
        )
    statements = []
    for claim in TITLES:
        for one in of_claim(claim):
            found = [s for s in (_found(r, one.key) for r in measured) if s is not None]
            if found:
                values = [s["effect"] for s in found]
                sides = [_side(s) for s in found]
                statements.append(
                    (one.key, f"{number(float(np.median(values)))}",
                     f"{number(min(values))} to {number(max(values))}", str(len(found)),
                     str(sides.count(1)), str(sides.count(-1)), _passing(found))
                )  # fmt: skip
    places = [
        (model, [p for p in (_relative(r) for r in measured if r["model"] == model) if p])
        for model in dict.fromkeys(one["model"] for one in measured)
    ]
    where = "; ".join(
        f"on {model} between {number(min(found))} and {number(max(found))} of the depth in "
        f"{len(found)} tasks"
        for model, found in places
        if found
    )
    return [
        f"Control passes (patching) {where}.",
        table(("claim", "supported", "contradicted", "open"), rows),
        *_against_the_study(measured),
        "Statement by statement: the number over tasks and models, in how many of them it could be "
        "measured, in how many its interval lies wholly on the statement's side of the threshold, "
        "or wholly on the other, and what share of all untrained twins passes it.",
        table(
            ("statement", "median", "range", "measured", "on its side", "on the other", "twins"),
            statements,
        ),
    ]


def _against_the_study(measured: Sequence[Record]) -> list[str]:
    """What agrees with the study, what does not, and what stays open, by the verdicts alone."""
    agrees, differs, opened = [], [], []
    for claim in TITLES:
        found = [
            row for one in measured for row in one["claims"]["claims"] if row["claim"] == claim
        ]
        no = Counter(row["decisive"] for row in found if row["verdict"] == "contradicted")
        yes = sum(row["verdict"] == "supported" for row in found)
        if no:
            by = ", ".join(f"{n} by *{key.split(' ', 1)[1]}*" for key, n in no.most_common())
            differs.append(f"{claim} (in {no.total()} of {len(found)}: {by})")
        if yes:
            agrees.append(f"{claim} (in {yes} of {len(found)})")
        if not yes and not no:
            opened.append(claim)
    said = {"Supported": agrees, "Contradicted": differs, "Open everywhere": opened}
    return [f"**{name}**: {'; '.join(which)}." for name, which in said.items() if which]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _example(one: Record) -> str:
    if "example" not in one:
        return DASH
    prompt, answer = one["example"]
    line = prompt.splitlines()[-1] if "\n" in prompt else prompt
    shown = line if len(line) <= 60 else f"… {line[-58:]}"
    return f"`{shown.replace('|', '/')}` → `{answer}`"


def _switch(one: Record, key: str) -> str:
    """Where a switch lies, or the verdict that there is none."""
    found = (one.get(key) or {}).get(SWITCHES[key])
    if found is None:
        return DASH
    if found["depth"] is None:
        return found["verdict"]
    kind = " (rise)" if found["verdict"] == "rise" else ""
    return (
        Interval(value=found["depth"], low=_end(found["low"]), high=_end(found["high"])).__str__()
        + kind
    )


def _end(value: float | None) -> float:
    return float("nan") if value is None else value


def _width(one: Record) -> str:
    found = one["lens"]["transition"]
    return DASH if not found or found["pair_width"] is None else number(found["pair_width"])


def _order(one: Record) -> str:
    found = one.get("order")
    if found is None:
        return DASH
    return f"{Interval(value=found['lead'], low=_end(found['low']), high=_end(found['high']))}"


def _passed(one: Record) -> float | None:
    """Where control passes, by patching."""
    found = (one.get("patch") or {}).get("crossing")
    return None if found is None else found["depth"]


def _relative(one: Record) -> float | None:
    depth = _passed(one)
    return None if depth is None else depth / one["patch"]["depths"][-1]


def _late(one: Record, edit: str) -> str:
    """Mean over the depths after control has passed."""
    passed, found = _passed(one), one.get("ablation")
    if passed is None or found is None:
        return DASH
    late = [i for i, d in enumerate(found["depths"][:-1]) if d > passed]
    if not late:
        return DASH
    return number(float(np.mean([found["transferred"][edit][i] for i in late])))


def _coupling(one: Record) -> tuple[str, ...]:
    found = one["geometry"]
    angle, norm = found["angle_js"], found["norm_js"]
    values = np.array([np.nan if v is None else v for v in angle["value"]][:-1])
    if np.isnan(values).all():
        return (DASH,) * 4
    peak, passed = int(np.nanargmax(values)), _passed(one)
    before = DASH if passed is None else _at(angle, int(passed))
    return str(angle["depth"][peak]), _at(angle, peak), _at(norm, peak), before


def _at(measure: Record, place: int) -> str:
    ends = (measure[name][place] for name in ("value", "low", "high"))
    value, low, high = (_end(end) for end in ends)
    return str(Interval(value=value, low=low, high=high))


def _verdict(one: Record, claim: str) -> str:
    (found,) = [row for row in one["claims"]["claims"] if row["claim"] == claim]
    return VERDICTS[found["verdict"]]


def _found(one: Record, key: str) -> Record | None:
    """A statement with a number."""
    rows = [s for s in one["claims"]["statements"] if s["statement"] == key]
    return next((s for s in rows if s["effect"] is not None), None)


def _statement(one: Record, key: str) -> str:
    found = _found(one, key)
    if found is None:
        return DASH
    return str(Interval(value=found["effect"], low=_end(found["low"]), high=_end(found["high"])))


def _side(found: Record) -> int:
    """1 where the interval lies on the statement's side of the threshold, -1 on the other."""
    bar, low, high = found["threshold"], found["low"], found["high"]
    if bar is None or low is None or high is None:
        return 0
    sides: dict[str, Callable[[], int]] = {
        "greater": lambda: (low > bar) - (high < bar),
        "less": lambda: (high < bar) - (low > bar),
        "equivalent": lambda: (-bar < low and high < bar) - (low > bar or high < -bar),
    }
    return sides[found["expect"]]()
