"""What patching a set of components says: summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.circuit.answers import LITTLE, MOST, Answer
from lensdepth.outcome import ANSWERS
from lensdepth.telling.names import answer_comes, at_position
from lensdepth.telling.numbers import counted, number, p_value, percent
from lensdepth.telling.plain import Json, to_json
from lensdepth.units import FEWEST_UNITS

if TYPE_CHECKING:
    from lensdepth.circuit.result import CircuitResult

MOST_NAMED = 4
"""Places that are named one by one."""
SHORTCUT = (
    "At a token in which the prompts differ, what a component writes tells which of them stands "
    "there: to exchange it comes close to exchanging the input itself, which changes the answer "
    "whatever the circuit is. So this does not show who makes the answer; patch at the prediction "
    "position for that."
)


def run_names(result: "CircuitResult") -> dict[str, str]:
    """Each kind of run as readers know it, in the order in which they are shown."""
    n, whole = result.n_heads + result.n_mlps, result.n_components
    others, every = f"all others ({whole - n})", f"everything ({whole})"
    if any("@" in name for name in result.components):
        others, every = "all others at these tokens", "everything at these tokens"
    draws = len(result.random_values)
    sets = f"{draws} random sets of {n}"
    return {
        "base": "nothing (base run)",
        "circuit": f"the circuit ({n} of {whole})",
        "shared": "the circuit, at shared tokens alone",
        "random": sets,
        "complement": others,
        "everything": every,
        "source": "source run",
        "circuit removed": "source run, circuit set back",
        "shared removed": "the same, at shared tokens alone",
        "random removed": f"source run, {sets} set back",
    }


def summary(result: "CircuitResult") -> Json:
    """The two answers, and each metric of each kind of run, with intervals."""
    runs: Json = {}
    for row in result.mean_frame().to_dict("records"):
        runs[row["patched"]] = {
            name: {"mean": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
            for name in (*result.outcome.metrics, *result.fractions, "brought")
        }
    return to_json(
        {
            "runs": runs,
            "enough": _answer(result.enough),
            "needed": _answer(result.needed),
            "components": list(result.components),
            "n_heads": result.n_heads,
            "n_mlps": result.n_mlps,
            "n_components": result.n_components,
            "positions": list(result.positions),
            "n_random": len(result.random_values),
            "random_p": result.random_p,
            "mode": result.mode,
            "self_patch_error": result.self_patch_error,
        }
    )


def _answer(answer: Answer) -> Json:
    shared = answer.shared
    return {
        "verdict": answer.verdict,
        "share": answer.share.value,
        "low": answer.share.low,
        "high": answer.share.high,
        "n_pairs": answer.n_pairs,
        "at_shared_tokens": None if shared is None else shared.value,
        "random": {
            "n": answer.n_random,
            "as_much": answer.as_much,
            "mean": answer.random_mean,
            "quantile_95": answer.random_high,
            "p": answer.p,
            "stands_out": answer.stands_out if answer.n_random else None,
        },
    }


def sentences(result: "CircuitResult") -> list[str]:
    """Where was patched, whether the set is enough, whether it is needed, and what others do."""
    where = ", ".join(map(at_position, result.positions[:MOST_NAMED]))
    more = len(result.positions) - MOST_NAMED
    enough, needed = result.enough, result.needed
    said = [
        f"Patched in one run {where}{f' and {more} more' if more > 0 else ''}.",
        f"Is the set enough? {_graded(enough)}: with the source run's outputs it brings "
        f"{_shares(enough)} of {_what(result)}{_first(result)}.{_beside(enough, 'bring')}",
        f"Is it needed? {_graded(needed)}: with the base run's outputs in the source run, "
        f"{_shares(needed)} of it is lost.{_beside(needed, 'lose')}",
    ]
    if enough.n_units < FEWEST_UNITS:
        said.append(f"{counted(enough.n_pairs, 'pair')} cannot speak for others.")
    if enough.by_input or needed.by_input:
        said.append(SHORTCUT)
    return [*said, *_others(result)]


def _graded(answer: Answer) -> str:
    """The answer; of few pairs, for these alone."""
    if answer.n_pairs == 0:
        return "There is no pair to tell by"
    few = answer.verdict == "too few"
    if answer.verdict == "shortcut" or (few and answer.by_input):
        return "Only by the input" + few * ", here"
    if answer.verdict == "cannot tell":
        return f"Cannot tell (yes from {number(MOST)} on, no up to {number(LITTLE)})"
    if not few:
        return answer.verdict.capitalize()
    mean = answer.share.value
    return ("Yes" if mean >= MOST else "No" if mean <= LITTLE else "In part") + ", here"


def _shares(answer: Answer) -> str:
    """How much, and how much of it at tokens that both prompts share."""
    if answer.shared is None:
        return str(answer.share)
    return f"{answer.share} ({number(answer.shared.value)} at the tokens that both prompts share)"


def _what(result: "CircuitResult") -> str:
    """What the shares are of."""
    if result.judged in ANSWERS:
        return "what the source's answer gains from base to source run"
    return f"the change of {result.judged} from base to source run"


def _first(result: "CircuitResult") -> str:
    """The share of the difference of two answers, and how often the source's comes first."""
    said = ""
    if result.judged in ANSWERS:
        said = f", {number(float(result.transferred[0].nanmean()))} of the logit difference"
    if "success" not in result.outcome.metrics:
        return said
    first, comes = percent(float(result.success[0].nanmean())), answer_comes(result.provenance)
    return f"{said}, and that answer {comes} in {first} of the pairs"


def _beside(answer: Answer, verb: str) -> str:
    """What random sets of the same make-up do, and what follows."""
    n = answer.n_random
    if not n:
        return " No random sets were drawn to hold it against."
    said = (
        f" Of {counted(n, 'random set')} of the same make-up {answer.as_much or 'none'} "
        f"{verb}{'s' if answer.as_much == 1 or not answer.as_much else ''} as much (mean "
        f"{number(answer.random_mean)}, 95th percentile {number(answer.random_high)}; "
        f"{p_value(answer.p)})"
    )
    if answer.stands_out or answer.share.value <= LITTLE:
        return said + "."
    if not answer.as_much:
        return said + ", which is too few sets to say that it stands out."
    return said + ", so in this it does not stand out from others."


def _others(result: "CircuitResult") -> list[str]:
    """What everything brings, and what all others do without the set."""
    every, others = (result.brought(run).value for run in ("everything", "complement"))
    if every < MOST:
        return [
            f"All heads and MLPs together bring no more than {number(every)} there, so that no "
            f"set can be enough: the rest comes by "
            + ("the embedding there, or by " if result.patches_input else "")
            + "tokens that were not patched."
        ]
    said = f"All others together bring {number(others)}"
    if others <= LITTLE:
        return [f"{said}."]
    if result.needed.share.value > LITTLE:
        return [f"{said}, the set being free to follow what they change."]
    return [f"{said}: the answer has other ways than this set."]
