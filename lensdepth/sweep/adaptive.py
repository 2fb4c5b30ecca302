"""Depths where they matter: a coarse grid first, then every depth where a curve moves.

A curve over depth is flat in most places and moves in few. Between two measured depths that differ
by more than `MOVES` in any curve another one is measured, in the middle, until they are neighbours:
then the step is known as exactly as from all depths; and so are those between which one curve takes
the lead from another for the last time, however little both move. What lies between two depths that
are alike stays unmeasured; no number is filled in.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.tally import counting

Depths = Sequence[int] | Literal["auto", "all"] | None
"""Depths of a sweep: some, those where a curve moves, or all of them. None: `auto` in models of
more than `MOST_BLOCKS` blocks, where it takes much less time, else `all`."""
MOST_BLOCKS = 16
PARTS = 6
"""Steps of the coarse grid."""
MOVES = 0.1
"""Share of a whole effect by which a mean curve moves between two depths that are not alike."""
PILOT = 24
"""Most pairs on which depths are found, before all pairs are measured there."""
LEADS = 0.05
"""By how much one curve is clearly ahead of another."""


def as_setting(depths: Depths) -> list[int] | str | None:
    """Depths that were asked for, as provenance writes them."""
    return depths if depths is None or isinstance(depths, str) else list(depths)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Means over pairs at one depth."""

    curves: Float[Array, " curve"]
    """Of everything that must not move between two depths, for those between them to stay
    unmeasured."""
    lead: float = 0.0
    """Of the curve that leads early over the one that leads late; 0 where there are no two."""


def finds_depths(depths: object, n_layers: int, *, whole: bool, caller: str) -> bool:
    """Whether the depths are to be found.

    Args:
        depths: as they were given.
        n_layers: of the model.
        whole: whether this is a sweep of the residual stream, in exact runs.
        caller: for errors.
    Raises:
        ValueError: they are to be found and cannot be.
    """
    if depths == "auto" and not whole:
        raise ValueError(
            f"{caller}: depths='auto' follows curves of the residual stream in exact runs; other "
            f"streams and estimates have none that could be followed: leave depths out or name "
            f"them."
        )
    return depths == "auto" or (depths is None and whole and n_layers > MOST_BLOCKS)


def pilot(n_pairs: int) -> slice:
    """Up to `PILOT` pairs, spread over all of them."""
    return slice(0, None, max(1, -(-n_pairs // PILOT)))


def coarse_grid(n_layers: int) -> list[int]:
    """Every so many depths, and the last two: what is so at depth L by construction, and before."""
    step = max(1, round(n_layers / PARTS))
    return sorted({*range(0, n_layers, step), n_layers - 1, n_layers})


def between(known: Mapping[int, Watched]) -> list[int]:
    """The depths in the middle of two measured ones that are neither alike nor neighbours."""
    at = sorted(known)
    lead = np.array([known[depth].lead for depth in at])
    behind = np.flatnonzero(lead < -LEADS)
    ahead = np.flatnonzero(lead > LEADS)
    ahead = ahead[ahead < behind.max(initial=-1)]
    handing = range(0)
    if len(ahead):
        first = ahead[-1]
        handing = range(first, first + 1 + int(np.flatnonzero(lead[first + 1 :] < 0)[0]))
    return [
        (low + high) // 2
        for step, (low, high) in enumerate(pairwise(at))
        if high - low > 1 and (step in handing or _moves(known[low], known[high]))
    ]


def _moves(low: Watched, high: Watched) -> bool:
    change = np.nan_to_num(np.abs(high.curves - low.curves))
    return bool(change.max(initial=0.0) > MOVES)


def find_depths(
    measure: Callable[[list[int]], Mapping[int, Watched]], first: list[int]
) -> list[int]:
    """All depths that have to be measured, ascending.

    Args:
        measure: what is watched at some depths; called for each depth once.
        first: depths to begin with: the coarse grid, or what was found on fewer pairs.
    """
    known: dict[int, Watched] = {}
    wanted, tally = first, counting()
    while wanted:
        known |= measure(wanted)
        if tally is not None and tally.rehearsed:
            wanted = _towards(sorted(known), tally.depths)
        else:
            wanted = between(known)
    return sorted(known)


def _towards(known: list[int], found: Collection[int]) -> list[int]:
    """In a rehearsal, where no curve moves: the way to depths that were found beforehand."""
    return [
        (low + high) // 2
        for low, high in pairwise(known)
        if any(low < depth < high for depth in found)
    ]
