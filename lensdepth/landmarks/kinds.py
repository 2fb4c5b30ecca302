"""The landmarks: of which curve, in what shape, in what words, after whom."""

from dataclasses import dataclass

from lensdepth.transition.landmark import Shape


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One landmark, as curves, tables and sentences know it."""

    key: str
    name: str
    """What is located, in a sentence and as the name of a row."""
    shape: Shape
    curve: str
    """What its curve is called."""
    unit: str
    role: str
    """Colour of its curve."""


KINDS = (
    # arXiv 2405.15471 has its peak, and a dip late; TwoNN after Facco et al. 2017.
    Kind(
        key="dimension", name="lowest intrinsic dimension", shape="dip",
        curve="intrinsic dimension", unit="", role="norm",
    ),
    # Hosseini & Fedorenko 2023, arXiv 2311.04930.
    Kind(
        key="curvature", name="highest curvature", shape="peak",
        curve="curvature", unit="rad", role="direction",
    ),
    Kind(
        key="turn", name="sharpest turn", shape="peak",
        curve="turn in the block before", unit="rad", role="entropy",
    ),
    Kind(
        key="readability", name="readability half risen", shape="rise",
        curve="lens contrast", unit="probability", role="lens",
    ),
    # After arXiv 2605.17084, by which small models lose late what large ones keep: either way.
    Kind(
        key="alignment", name="alignment with the unembedding half changed", shape="step",
        curve="alignment", unit="share", role="full",
    ),
)  # fmt: skip
KEYS = tuple(one.key for one in KINDS)
BY_KEY = {one.key: one for one in KINDS}
