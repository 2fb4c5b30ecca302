"""The study's claims as statements that a number can settle.

Each statement has an estimand, a threshold (the smallest effect that matters) and what is expected;
`docs/claims.md` gives the reasons. A claim is all of its statements together.

Source: Haim & McNamee, arXiv 2602.04931, for the claims; the statements are this package's.
"""

from dataclasses import dataclass

from lensdepth.claims.verdict import Expectation


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

    @property
    def claim(self) -> str:
        """`C1` ... `C7`."""
        return self.key.split(" ", 1)[0]


TITLES = {
    "C1": "sharp causal transition",
    "C2": "input control, then output control",
    "C3": "gradual geometric reorganisation",
    "C4": "angular code",
    "C5": "direction carries the prediction, norm does not",
    "C6": "norm carries context",
    "C7": "global, not local",
}

STATEMENTS = (
    Statement(
        key="C1 handover",
        says="success of patching: what the input position loses from early to late depths and "
        "the prediction position gains, their mean, is more than 0.5",
        unit="share of pairs",
        expect="greater",
        threshold=0.5,
    ),
    Statement(
        key="C1 width",
        says="10 to 90 % of the handover takes less than a quarter of the depth",
        unit="fraction of the depth",
        expect="less",
        threshold=0.25,
    ),
    Statement(
        key="C2 input works early",
        says="steering at the input position before the crossing succeeds more often than a random "
        "vector of the same norm, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C2 output works late",
        says="the same at the prediction position after the crossing",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C2 input stops",
        says="steering at the input position succeeds more often before the crossing than after "
        "it, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C2 output starts",
        says="steering at the prediction position succeeds more often after the crossing than "
        "before it, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C3 similarity",
        says="10 to 90 % of all changes of the mean cosine between prompts' states take a larger "
        "fraction of the depth than the handover, by more than 0.1",
        unit="fraction of the depth",
        expect="greater",
        threshold=0.1,
    ),
    Statement(
        key="C3 dimensionality",
        says="the same for changes of the participation ratio of the states",
        unit="fraction of the depth",
        expect="greater",
        threshold=0.1,
    ),
    Statement(
        key="C3 curvature",
        says="the same for changes of the curvature over tokens",
        unit="fraction of the depth",
        expect="greater",
        threshold=0.1,
    ),
    Statement(
        key="C4 late angle",
        says="after the crossing, angles between states correlate (Spearman, norms held) with "
        "Jensen-Shannon divergences of the predictions by more than 0.2",
        unit="correlation",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C4 late more than early",
        says="this correlation is larger after the crossing than before it, by more than 0.2",
        unit="difference of correlations",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C4 angle more than norm",
        says="after the crossing the correlation of angles exceeds that of differences of norm by "
        "more than 0.1",
        unit="difference of correlations",
        expect="greater",
        threshold=0.1,
    ),
    Statement(
        key="C5 beats random",
        says="after the crossing the direction swap gives the source's answer more often than a "
        "turn by the same angle in a random direction, by more than 0.2",
        unit="share of pairs",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C5 beats norm",
        says="after the crossing the direction swap transfers more of the logit difference than "
        "the norm swap, by more than 0.2",
        unit="transferred fraction",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C5 norm does nothing",
        says="after the crossing the norm swap transfers no more than 0.1 of the logit difference "
        "in either direction",
        unit="transferred fraction",
        expect="equivalent",
        threshold=0.1,
    ),
    Statement(
        key="C6 norm tells context",
        says="class means of a context label, learned on other prompts, explain more than 0.1 of "
        "the variance of the norm",
        unit="share of variance, out of sample",
        expect="greater",
        threshold=0.1,
    ),
    Statement(
        key="C6 norm decides nothing",
        says="after the crossing the norm swap transfers no more than 0.1 of the logit difference "
        "in either direction",
        unit="transferred fraction",
        expect="equivalent",
        threshold=0.1,
    ),
    Statement(
        key="C7 no single depth",
        says="the best single block's attention at the prediction position falls short of all "
        "blocks' together by more than 0.2 of their effect",
        unit="share of the window's effect",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C7 through others",
        says="of the best block's effect, more than 0.2 is made by the later layers and the final "
        "norm, beyond what reaches the readout directly",
        unit="share of the block's effect",
        expect="greater",
        threshold=0.2,
    ),
    Statement(
        key="C7 not additive",
        says="effects of single blocks do not add up: the additivity gap, in the direction that "
        "other pairs show, is more than 0.2 of the window's effect",
        unit="share of the window's effect",
        expect="greater",
        threshold=0.2,
    ),
)  # fmt: skip

BESIDE = {
    "C5 norm halved or doubled": (
        "after the crossing, halving or doubling the norm changes the model's first choice: the "
        "mean of both",
        "share of pairs",
    ),
    "C7 persistence": (
        "angle from the base trajectory at the last depth over that right after the best block's "
        "edit",
        "ratio",
    ),
}
"""Measured beside a claim and part of no verdict: key -> (what it is, unit)."""


def of_claim(claim: str) -> tuple[Statement, ...]:
    """The statements of `C1` ... `C7`."""
    return tuple(one for one in STATEMENTS if one.claim == claim)
