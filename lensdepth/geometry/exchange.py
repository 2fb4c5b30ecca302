"""Prompts that change places, whole units at a time: what is related where nothing is.

A permutation of single prompts says how two kinds of distance go together by chance where prompts
are independent. Where they share words or templates, two of one word lie near each other in both,
whatever the word is, and chance gives more. So a unit takes another's place with all its prompts:
what is of one unit stays of one unit, and which one that is, is left to chance. Of several
groupings each is exchanged by itself, and what they do to the spread beyond single prompts is added
up, as in `covariance`.

Source: Mantel 1967, "The detection of disease clustering"; Winkler et al. 2015, "Multi-level Block
Permutation", on what may be exchanged. Blocks that differ in size are filled up with their own.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth.geometry.halves import together
from lensdepth.units import Grouping, Units


def exchanges(units: Units, distance: Float[Array, "prompt prompt"]) -> tuple[Grouping, ...]:
    """Groupings to exchange prompts by, for one distance between them; the first of several has
    each prompt by itself.

    A grouping is left out where the distance is no more than whether two prompts are of one unit:
    exchanging whole units would change nothing of it. Whether units differ can be asked of single
    prompts alone, and of what else they share.
    """
    n = len(distance)
    grouped = tuple(one for one in units if 1 < one.n < n and not _says_which(one, distance))
    alone = Grouping(name="prompt", values=tuple(map(str, range(n))))
    return grouped if len(grouped) == 1 else (alone, *grouped)


def exchanged(
    grouping: Grouping, rng: np.random.Generator, n_draws: int
) -> Int[Array, "draw prompt"]:
    """Which prompt takes each one's place: of another unit, drawn for each unit as a whole.

    Where that one has fewer prompts some of them come twice, where it has more some are left out.
    """
    unit = np.unique(grouping.values, return_inverse=True)[1]
    size = np.bincount(unit)
    theirs = rng.permuted(np.tile(np.arange(len(size)), (n_draws, 1)), axis=1)
    # Prompts unit by unit, in an order of chance within each.
    members = np.argsort(unit + rng.random((n_draws, len(unit))), axis=1)
    mine = np.sort(unit)
    start = np.cumsum(size) - size
    given = theirs[:, mine]
    place = start[given] + (np.arange(len(unit)) - start[mine]) % size[given]
    order = np.empty_like(members)
    np.put_along_axis(order, members, np.take_along_axis(members, place, axis=1), axis=1)
    return order


def nulls_of(
    parts: Sequence[Float[Array, "permutation *shape"]],
) -> list[Float[Array, "permutation *shape"]]:
    """What may be so by chance, of the nulls by single groupings; of several, the first is that of
    single prompts.

    Each grouping's prompts being of one unit moves the mean. How much they do together is known
    only where groupings are crossed freely (of two numbers and their sum each two fix the third, so
    that the same is seen twice); so there is one null for each sum of some of these moves, and what
    lies within any of them is chance.
    """
    if len(parts) == 1:
        return [*parts]
    means = [part.mean(0) for part in parts]
    strayed = together([part - mean for part, mean in zip(parts, means, strict=True)])
    moves = [mean - means[0] for mean in means[1:]]
    return [
        strayed + means[0] + sum((move for move, add in zip(moves, some, strict=True) if add), 0.0)
        for some in product((False, True), repeat=len(moves))
    ]


def _says_which(grouping: Grouping, distance: Float[Array, "prompt prompt"]) -> bool:
    values = np.array(grouping.values)
    apart: Bool[Array, "prompt prompt"] = values[:, None] != values[None]
    return len(np.unique(distance[apart])) <= 1 and bool((distance[~apart] == 0).all())
