"""Right and wrong dealt out anew, within units: what their difference is by chance.

Pairs of one input word or one template go together, in depth and in whether they are answered
rightly. So nothing is dealt across units that holds the two apart: in a unit that has both kinds
they are dealt among its own pairs, and units of one kind only deal their kinds among themselves,
each as a whole. Where depths come of the unit and of chance, and neither has to do with whether an
answer is right, every such deal is as likely as the one that was found.
"""

from math import comb

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array


def difference(
    depth: Float[Array, " pair"], wrong: Bool[Array, "*deal pair"]
) -> Float[Array, "*deal"]:
    """Mean depth of the wrong answers less that of the right ones."""
    kinds = wrong.astype(float)
    n_wrong = kinds.sum(-1)
    right = ((1 - kinds) @ depth) / (kinds.shape[-1] - n_wrong)
    return np.asarray((kinds @ depth) / n_wrong - right)


def kinds_of_units(
    wrong: Bool[Array, " pair"], unit: Int[Array, " pair"]
) -> tuple[Float[Array, " unit"], Bool[Array, " unit"]]:
    """Share of wrong answers in each unit, and whether it has both kinds."""
    share = np.bincount(unit, wrong) / np.bincount(unit)
    return share, (share > 0) & (share < 1)


def n_deals(wrong: Bool[Array, " pair"], unit: Int[Array, " pair"], most: int = 10**6) -> int:
    """How many deals there are, counted up to `most`."""
    share, mixed = kinds_of_units(wrong, unit)
    pure = share[~mixed]
    n = comb(len(pure), int(pure.sum()))
    for one in np.flatnonzero(mixed):
        mine = wrong[unit == one]
        n = min(most, n) * comb(len(mine), int(mine.sum()))
    return min(most, n)


def deals(
    wrong: Bool[Array, " pair"], unit: Int[Array, " pair"], n: int, seed: int
) -> Bool[Array, "deal pair"]:
    """So many deals, drawn at random."""
    rng = np.random.default_rng(seed)
    share, mixed = kinds_of_units(wrong, unit)
    inside = np.flatnonzero(mixed[unit])
    by_unit = inside[np.argsort(unit[inside], kind="stable")]
    pure = np.flatnonzero(~mixed)
    made = np.repeat(wrong[None], n, axis=0)
    for row in made:
        keys = rng.random(len(by_unit))
        row[by_unit] = wrong[by_unit[np.lexsort((keys, unit[by_unit]))]]
        dealt = np.zeros(len(share), dtype=bool)
        dealt[pure] = rng.permutation(share[pure] == 1)
        outside = ~mixed[unit]
        row[outside] = dealt[unit[outside]]
    return made
