"""Angles against predictions after the crossing and before it, on prompts that chose neither."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth.claims.estimate import Estimate
from lensdepth.claims.states import Geometry
from lensdepth.claims.zones import N_GROUPS, Zones
from lensdepth.geometry.coupling import PairTable
from lensdepth.geometry.halves import FEWEST, draw_halves
from lensdepth.geometry.pairs import distribution_distances, state_distances

N_HALVES = 100
MOST = 80
"""Prompts of one group between which all pairs are taken."""
ANGLE, NORM, ANGLE_GIVEN_NORM = 0, 1, 3
"""Places of a table's couplings."""


def late_coupling(
    prompts: Sequence[str], geometry: Geometry, zones: Zones, word: str
) -> Estimate | None:
    """One of WORDS by itself; see `late_couplings`."""
    found = late_couplings(prompts, geometry, zones)
    return None if found is None else found[word]


def late_couplings(
    prompts: Sequence[str], geometry: Geometry, zones: Zones, *, n_halves: int = N_HALVES
) -> dict[str, Estimate] | None:
    """For each of WORDS the mean over groups of a function of their couplings.

    Each group's couplings are between its own prompts, at the depths that the other groups' pairs
    chose. Its standard error is the spread over halves of its prompts.

    Args:
        prompts: the clean prompts; each different one counts once.
        geometry: their states and predictions.
        zones: one deal of the prompts into groups.
        n_halves: halves of each group.
    Returns:
        None where a group has too few different prompts, or predictions that do not differ.
    """
    values: dict[str, list[float]] = {word: [] for word in WORDS}
    variances: dict[str, list[float]] = {word: [] for word in WORDS}
    n_prompts = 0
    for group in range(N_GROUPS):
        rows = _different(prompts, zones, group)
        if len(rows) < FEWEST:
            return None
        table = _table(geometry, rows)
        early, late = zones.group_early[group], zones.group_late[group]
        found = table.all_pairs()
        if np.isnan(found[ANGLE, 0, late]).all():
            return None
        halves = [table.among(half) for half in draw_halves(len(rows), n_halves, seed=group)]
        for word, number in WORDS.items():
            values[word].append(number(_known(found), early, late))
            spread = [number(_known(half), early, late) for half in halves]
            variances[word].append(float(np.var(spread, ddof=1)))
        n_prompts += len(rows)
    return {
        word: Estimate(
            value=float(np.mean(values[word])),
            se=max(float(np.sqrt(np.sum(variances[word]))) / N_GROUPS, 1 / n_prompts),
            n=n_prompts,
        )
        for word in WORDS
    }


def coupling_numbers(
    prompts: Sequence[str],
    geometry: Geometry,
    early: Bool[Array, " depth"],
    late: Bool[Array, " depth"],
) -> dict[str, float] | None:
    """The numbers of WORDS between all prompts, at given depths; None where they have none.

    For what needs no interval and chose its depths elsewhere.
    """
    first: dict[str, int] = {}
    for row, prompt in enumerate(prompts):
        first.setdefault(prompt, row)
    rows = np.array(list(first.values())[:MOST], dtype=int)
    if len(rows) < FEWEST:
        return None
    found = _table(geometry, rows).all_pairs()
    if np.isnan(found[ANGLE, 0, late]).all():
        return None
    return {word: number(_known(found), early, late) for word, number in WORDS.items()}


def _table(geometry: Geometry, rows: Int[Array, " row"]) -> PairTable:
    """Distances of states and of predictions between some prompts."""
    at = torch.from_numpy(rows)
    js = distribution_distances(geometry.log_probs[at])["js"]
    return PairTable(np.stack([state_distances(x[at]) for x in geometry.states]), js[None])


def _known(couplings: Float[Array, "coupling target depth"]) -> Float[Array, "coupling depth"]:
    """Without any spread of the angles, as at the embedding, nothing is coupled."""
    return np.nan_to_num(couplings[:, 0], nan=0.0)


Number = Callable[
    [Float[Array, "coupling depth"], Bool[Array, " depth"], Bool[Array, " depth"]], float
]
WORDS: dict[str, Number] = {
    "late angle": lambda rho, early, late: float(rho[ANGLE_GIVEN_NORM, late].mean()),
    "late more than early": lambda rho, early, late: float(
        rho[ANGLE_GIVEN_NORM, late].mean() - rho[ANGLE_GIVEN_NORM, early].mean()
    ),
    "angle more than norm": lambda rho, early, late: float((rho[ANGLE] - rho[NORM])[late].mean()),
}
"""Statements of C4: couplings by depth, early and late depths -> a number."""


def _different(prompts: Sequence[str], zones: Zones, group: int) -> Int[Array, " row"]:
    """One row for each different clean prompt of a group."""
    first: dict[str, int] = {}
    for row in np.flatnonzero(zones.group[:, 0] == group).tolist():
        first.setdefault(prompts[row], row)
    return np.array(list(first.values())[:MOST], dtype=int)
