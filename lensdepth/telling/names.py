"""The words for edits, controls, positions, streams, metrics and scopes: one for each thing.

Figures, tables, menus and sentences take them from here; keys of JSON and columns of frames are
the identifiers themselves.
"""

from dataclasses import dataclass

from lensdepth.provenance import Provenance

EDIT_NAMES = {
    "full": "whole state",
    "state": "whole state",
    "direction": "direction",
    "norm": "norm",
    "rotate": "rotated",
    "scale": "norm scaled",
    "mean": "mean of other prompts",
    "add": "vector added",
}
"""Edits, and the parts of a state that they replace or that something is read off."""

CONTROLS = {
    "shuffled_source": "another pair",
    "shuffled": "another pair",
    "random": "random direction",
    "random_direction": "random direction",
    "random_full": "random state",
    "random_norm": "another pair's norm",
}
"""What an edit is compared with."""

POSITIONS = {
    "input": "input position",
    "prediction": "prediction position",
    "before input": "tokens before the input (mean)",
    "input, earlier": "input's earlier tokens (mean)",
    "after input": "tokens after the input (mean)",
    "other tokens": "tokens that differ (mean)",
}

STREAMS = {
    "resid_pre": "residual stream",
    "resid_mid": "residual stream after attention",
    "resid_post": "residual stream after the block",
    "attn_out": "attention output",
    "mlp_out": "MLP output",
    "z": "head outputs",
}

SCOPES = {
    "local": "at one depth",
    "suffix": "from each depth on",
    "prefix": "up to each depth",
    "all": "at every depth",
    "window": "in the whole window",
}

RUNS = {"local": "here", "suffix": "from here on", "window": "whole window"}
"""The runs of one intervention, by scope."""

VERDICTS = ("supported", "contradicted", "cannot tell")
"""On claims and hypotheses, in the order in which they are listed."""


@dataclass(frozen=True)
class MetricWords:
    """What is said of a metric's effect on edited runs."""

    name: str
    """In a sentence or a heading."""
    scale: str
    """What its numbers are in."""
    unit: str
    """Both, on an axis."""
    less: str
    """What its negative numbers mean."""
    more: str


METRICS = {
    "logit_diff": MetricWords(
        "change of the logit difference", "nats",
        "change of logit(target) − logit(foil), nats", "towards foil", "towards target",
    ),
    "target_logit": MetricWords(
        "change of logit(target)", "nats",
        "change of logit(target), against tokens that are no answer, nats",
        "target lost",
        "target gained",
    ),
    "foil_logit": MetricWords(
        "change of logit(foil)", "nats",
        "change of logit(foil), against tokens that are no answer, nats",
        "foil lost",
        "foil gained",
    ),
    "log_prob": MetricWords(
        "change of the answer's log-probability", "nats",
        "change of log p(answer of the source), nats", "away from it", "towards it",
    ),
    "answer_probability": MetricWords(
        "change of the answer's probability", "probability",
        "change of p(answer of the source)", "away from it", "towards it",
    ),
    "kl": MetricWords("KL", "nats", "KL(base ‖ edited), nats", "", "other prediction"),
    "kl_to_source": MetricWords(
        "change of the KL to the source", "nats",
        "change of KL(source ‖ edited), nats", "towards the source", "away from the source",
    ),
    "js": MetricWords(
        "Jensen–Shannon divergence", "nats",
        "Jensen–Shannon divergence, nats", "", "other prediction",
    ),
    "flip": MetricWords(
        "flips", "share of pairs", "share whose most likely token changes", "", "changed"
    ),
    "success": MetricWords(
        "success", "share of pairs",
        "share that gives the source's answer", "less often", "more often",
    ),
    "preference": MetricWords(
        "preference", "share of pairs",
        "share that prefers the source's answer", "less often", "more often",
    ),
    "transferred": MetricWords(
        "transferred fraction", "transferred fraction",
        "transferred fraction (0 = base run, 1 = source run)",
        "away from the source", "towards the source",
    ),
}  # fmt: skip


def part_names(intended: str) -> tuple[str, str]:
    """What a transferred fraction is made of: the source's answer gained, the base's lost."""
    return ("target gain", "foil loss") if intended == "target" else ("foil gain", "target loss")


def edit_name(edit: str) -> str:
    """An edit, a part or a control as readers know it; a user's own by its own name."""
    return CONTROLS.get(edit) or EDIT_NAMES.get(edit) or edit.replace("_", " ")


def position_name(position: str) -> str:
    """`input position`; of one given by its index or as a span, what it is called."""
    return POSITIONS.get(position, f"position {position}")


def at_position(position: str) -> str:
    """In a sentence: `at the input position`, `at position 3`."""
    the = "the " if position in POSITIONS else ""
    return f"at {the}{position_name(position).removesuffix(' (mean)')}"


def stream_name(stream: str) -> str:
    """What is edited or read."""
    return STREAMS.get(stream, stream)


def metric_words(metric: str) -> MetricWords:
    """A metric's words; a user's own has no signs that are known."""
    change = f"change of {metric}"
    return METRICS.get(metric) or MetricWords(change, metric, change, "less", "more")


def moved_name(metric: str) -> str:
    """What an edit moves, in a sentence: `the logit difference`, `KL`, `the flip`."""
    words = metric_words(metric)
    if words.scale == "share of pairs":
        return f"the {metric}"
    return words.name.removeprefix("change of ")


def in_unit(metric: str) -> str:
    """What stands behind a number of a metric, in a sentence: ` nats`, or nothing."""
    return " nats" if metric_words(metric).scale == "nats" else ""


def success_words(provenance: Provenance) -> MetricWords:
    """What success means in a result: first choice, or preference where pairs were kept by it."""
    return METRICS["preference" if _by_preference(provenance) else "success"]


def answer_comes(provenance: Provenance) -> str:
    """The same in a sentence, of an answer: it `comes first`, or before the other one."""
    return "comes before the base's" if _by_preference(provenance) else "comes first"


def _by_preference(provenance: Provenance) -> bool:
    return provenance.pairs.get("keep") == "preferred"


def has_blocks(stream: str) -> bool:
    """Whether sites of this stream belong to blocks; else they are residual depths."""
    return stream != "resid_pre"
