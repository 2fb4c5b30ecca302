"""The subspaces that are tried, and their controls: their names."""

from typing import Literal

BasisName = Literal["pca", "unembedding", "das"]
"""Where a subspace comes from: `pca` the leading directions of the differences between source and
base states of other pairs; `unembedding` those of what the readout weighs the answers of other
pairs by, beyond the final norm; `das` a basis learned by gradient so that the interchange brings
about the source's answer in other pairs (Geiger et al. 2023)."""
FULL = "full"
"""The whole state, a plain patch: what all subspaces are held against."""
SHUFFLED = "_shuffled"
"""Behind the name of a basis, or of the whole state, that of its control with arbitrary labels."""
RANDOM, MATCHED = "random", "matched"
"""A random subspace of equal dimension; and one in which the state moves as far as in the first
basis that was asked for."""

NAMES = {
    "full": "whole state",
    "full_shuffled": "another pair's whole state",
    "pca": "differences",
    "pca_shuffled": "differences, pairs shuffled",
    "unembedding": "unembedding",
    "unembedding_shuffled": "unembedding, other tokens",
    "das": "learned (DAS)",
    "das_shuffled": "learned on arbitrary answers",
    "random": "random subspace",
    "matched": "random subspace, as far",
}
"""As readers know them."""


def is_control(name: str) -> bool:
    """Whether it is what others are compared with."""
    return name.endswith(SHUFFLED) or name in (RANDOM, MATCHED)


def with_controls(bases: tuple[str, ...], *, shuffled: bool) -> tuple[str, ...]:
    """The whole state and the bases, then the controls of all of them.

    Args:
        bases: as they were asked for.
        shuffled: whether there are other pairs whose labels could stand in.
    """
    arbitrary = [name + SHUFFLED for name in (FULL, *bases)] if shuffled else []
    return (FULL, *bases, *arbitrary, RANDOM, MATCHED)
