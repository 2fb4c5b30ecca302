"""The study's claims as statements that a number can settle.

Each statement has an estimand, a threshold (the smallest effect that matters) and what is expected;
`docs/claims.md` gives the reasons. A claim is all of its statements together. C7 is three
questions, each with a verdict of its own.

Source: Haim & McNamee, arXiv 2602.04931: version 1 (4 February 2026), *Depth-Wise Emergence of
Prediction-Centric Geometry in Large Language Models*, and version 2 (26 May 2026), *Emergent
Causal-Geometric Dynamics Across Depth in Large Language Models*. Of both the abstract alone could
be read, so that "study" below means: what the abstract says, put as a number. That layers are
understood "only within the emergent global dynamical structure" stands there as an implication.
"""

from dataclasses import dataclass
from typing import Literal

from lensdepth.claims.verdict import Expectation

Origin = Literal["study", "variant", "ours"]
"""`study`: what its abstract says; `variant`: that, by other means or against another control;
`ours`: not said there."""
ORIGINS: dict[Origin, str] = {
    "study": "the study's",
    "variant": "a variant",
    "ours": "ours",
}
QUESTIONS = {
    "C7 no single depth": "C7a",
    "C7 through others": "C7b",
    "C7 not additive": "C7c",
}
"""Statements that are questions of their own."""


def claim_of(key: str) -> str:
    """The claim that a statement, or what is measured beside one, belongs to."""
    return QUESTIONS.get(key, key.split(" ", 1)[0])


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One sentence with a number in it."""

    key: str
    """The claim and a word: `C5 beats norm`."""
    says: str
    """The estimand in words, and the threshold."""
    unit: str
    expect: Expectation
    threshold: float
    origin: Origin
    """Whose statement it is."""
    bounds: tuple[float, float] | None = None
    """Least and largest value that the estimand can have; None where there is no such bound."""

    @property
    def claim(self) -> str:
        """`C1` ... `C6`, `C7a`, `C7b`, `C7c`."""
        return claim_of(self.key)


def _norm_swap(key: str) -> Statement:
    """That the norm decides nothing: of C5, and again of C6, whose norm tells something else."""
    return Statement(
        key=key,
        says="after the crossing the norm swap transfers no more than 0.1 of the logit "
        "difference in either direction",
        unit="transferred fraction",
        expect="equivalent",
        threshold=0.1,
        origin="variant",
    )


def _norm_scaled(key: str) -> Statement:
    """The same by norms halved and doubled."""
    return Statement(
        key=key,
        says="after the crossing, halving or doubling the norm changes the model's first choice "
        "in fewer than 0.1 of the pairs: the mean of both",
        unit="share of pairs",
        expect="less",
        threshold=0.1,
        origin="ours",
        bounds=(0.0, 1.0),
    )


TITLES = {
    "C1": "sharp causal transition",
    "C2": "input control, then output control",
    "C3": "gradual geometric reorganisation",
    "C4": "angular code",
    "C5": "direction carries the prediction, norm does not",
    "C6": "norm carries context",
    "C7a": "global: no single depth does it",
    "C7b": "global: through other layers",
    "C7c": "global: effects do not add up",
}

STATEMENTS = (
    Statement(
        key="C1 handover",
        says="success of patching: what the input position loses from early to late depths and "
        "the prediction position gains, their mean, is more than 0.5",
        unit="share of pairs",
        expect="greater",
        threshold=0.5,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C1 width",
        says="10 to 90 % of a pair's own handover, in transferred logit difference, takes less "
        "than a quarter of the depth: the median over pairs",
        unit="fraction of the depth",
        expect="less",
        threshold=0.25,
        origin="variant",
        bounds=(0.0, 1.0),
    ),
    Statement(
        key="C2 input works early",
        says="steering at the input position before the crossing succeeds more often than the "
        "vector of another label, of the same norm, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C2 output works late",
        says="the same at the prediction position after the crossing",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C2 input stops",
        says="steering at the input position succeeds more often before the crossing than after "
        "it, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C2 output starts",
        says="steering at the prediction position succeeds more often after the crossing than "
        "before it, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C2 crossing",
        says="the two curves of steering cross: before the crossing the input position leads, "
        "after it the prediction position; the smaller of the two leads is more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C3 similarity",
        says="10 to 90 % of all changes of a prompt's mean cosine with the others take a larger "
        "fraction of the depth than those of the pair's handover, by more than 0.1",
        unit="fraction of the depth",
        expect="greater",
        threshold=0.1,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C3 dimensionality",
        says="the same for changes of the participation ratio, as each prompt's state sees it",
        unit="fraction of the depth",
        expect="greater",
        threshold=0.1,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C3 curvature",
        says="the same for changes of the curvature over tokens",
        unit="fraction of the depth",
        expect="greater",
        threshold=0.1,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C4 late angle",
        says="after the crossing, angles between states correlate (Spearman, norms held) with "
        "Jensen-Shannon divergences of the predictions by more than 0.2",
        unit="correlation",
        expect="greater",
        threshold=0.2,
        origin="study",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C4 late more than early",
        says="this correlation is larger after the crossing than before it, by more than 0.2",
        unit="difference of correlations",
        expect="greater",
        threshold=0.2,
        origin="study",
        bounds=(-2.0, 2.0),
    ),
    Statement(
        key="C4 angle more than norm",
        says="after the crossing the correlation of angles exceeds that of differences of norm "
        "by more than 0.1",
        unit="difference of correlations",
        expect="greater",
        threshold=0.1,
        origin="variant",
        bounds=(-2.0, 2.0),
    ),
    Statement(
        key="C5 beats random",
        says="after the crossing the direction swap gives the source's answer more often than a "
        "turn by the same angle in a random direction, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C5 beats a stretch",
        says="after the crossing the direction swap transfers more of the logit difference than a "
        "stretch that moves the state equally far moves it, either way, by more than 0.2",
        unit="transferred fraction",
        expect="greater",
        threshold=0.2,
        origin="ours",
    ),
    _norm_swap("C5 norm does nothing"),
    _norm_scaled("C5 norm halved or doubled"),
    Statement(
        key="C5 selective",
        says="after the crossing, the rotation that leads one answer's state to another's changes "
        "that answer to the other more often than the rotation between two other answers changes "
        "this prompt's first choice, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
        origin="variant",
        bounds=(-1.0, 1.0),
    ),
    Statement(
        key="C6 norm tells context",
        says="after the crossing, class means of a context label, learned on other prompts, "
        "explain more than 0.1 of the variance of the norm",
        unit="share of variance, out of sample",
        expect="greater",
        threshold=0.1,
        origin="variant",
    ),
    Statement(
        key="C6 beats projections",
        says="that share exceeds the one of 95 of 100 random projections of the state, by more "
        "than 0.05",
        unit="difference of shares of variance",
        expect="greater",
        threshold=0.05,
        origin="ours",
    ),
    _norm_swap("C6 norm decides nothing"),
    _norm_scaled("C6 halved or doubled"),
    Statement(
        key="C7 no single depth",
        says="the best single block's attention at the prediction position falls short of all "
        "blocks' together by more than 0.2 of their effect",
        unit="share of the window's effect",
        expect="greater",
        threshold=0.2,
        origin="ours",
    ),
    Statement(
        key="C7 through others",
        says="of what the block with the largest effect does, directly or in all, later blocks "
        "make or undo more than 0.2",
        unit="share of the block's effect",
        expect="greater",
        threshold=0.2,
        origin="ours",
    ),
    Statement(
        key="C7 not additive",
        says="effects of single blocks do not add up: the additivity gap, in the direction that "
        "other pairs show, is more than 0.2 of the window's effect",
        unit="share of the window's effect",
        expect="greater",
        threshold=0.2,
        origin="ours",
    ),
)  # fmt: skip

BESIDE = {
    "C1 spread": (
        "distance of a pair's own handover from the median one: prompts that switch at different "
        "depths, however sharply",
        "fraction of the depth",
    ),
    **{
        f"C6 {what}, norm {edit}": (
            f"after the crossing, {says}, once the norm is {edit}; norms that set the confidence "
            f"(Tell-Tale Norm, arXiv 2606.06188; entropy neurons, Stolfo et al., arXiv 2406.16254)",
            unit,
        )
        for what, says, unit in (
            ("entropy", "how much the entropy of the prediction rises", "nats"),
            (
                "confidence",
                "how much the probability of the model's own answer rises",
                "probability",
            ),
        )
        for edit in ("halved", "doubled", "swapped")
    },
    "C7 persistence": (
        "angle from the base trajectory at the last depth over that right after the best block's "
        "edit",
        "ratio",
    ),
}
"""Measured beside a claim and part of no verdict: key -> (what it is, unit)."""


def of_claim(claim: str) -> tuple[Statement, ...]:
    """The statements of one of TITLES."""
    return tuple(one for one in STATEMENTS if one.claim == claim)
