"""Angles against predictions after the crossing and before it, on prompts that chose neither."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth.claims.deals import Number, over_deals
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.states import Geometry
from lensdepth.claims.zones import N_GROUPS, Zones
from lensdepth.covariance import variance_of_sum
from lensdepth.geometry.coupling import PairTable
from lensdepth.geometry.halves import FEWEST
from lensdepth.geometry.pairs import distribution_distances, state_distances
from lensdepth.units import FEWEST_UNITS, Units, count, take

MOST = 80
"""Prompts of one group between which all pairs are taken."""
ANGLE, NORM, ANGLE_GIVEN_NORM = 0, 1, 3
"""Places of a table's couplings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coupled:
    """The numbers of WORDS for one deal of the prompts into groups."""

    value: Mapping[str, float]
    """Mean over groups."""
    influence: Mapping[str, Float[Array, " pair"]]
    """How far each clean prompt pulls it, by a jackknife within its group; 0 where it has no part.
    """


def late_couplings(prompts: Sequence[str], geometry: Geometry, zones: Zones) -> Coupled | None:
    """For each of WORDS the mean over groups of a function of their couplings.

    Each group's couplings are between its own prompts, at the depths that the other groups' pairs
    chose.

    Args:
        prompts: the clean prompts; each different one counts once.
        geometry: their states and predictions.
        zones: one deal of the prompts into groups.
    Returns:
        None where a group has too few different prompts, or predictions that do not differ.
    """
    values: dict[str, list[float]] = {word: [] for word in WORDS}
    influence = {word: np.zeros(len(prompts)) for word in WORDS}
    for group in range(N_GROUPS):
        rows = _different(prompts, zones, group)
        if len(rows) < FEWEST:
            return None
        table = _table(geometry, rows)
        early, late = zones.group_early[group], zones.group_late[group]
        found = table.all_pairs()
        if np.isnan(found[ANGLE, 0, late]).all():
            return None
        left = _known(table.without_each())
        for word, number in WORDS.items():
            values[word].append(float(number(_known(found), early, late)))
            without = np.asarray(number(left, early, late))
            pull = (len(rows) - 1) / len(rows) * (without.mean() - without)
            influence[word][rows] = pull / N_GROUPS
    return Coupled(
        value={word: float(np.mean(found)) for word, found in values.items()}, influence=influence
    )


def coupled_over_deals(
    deals: Sequence[Coupled | None], word: str, prompts: Sequence[str], units: Units
) -> Number | None:
    """One of WORDS as a mean over deals, with its standard error over units.

    The deals are of the same prompts, so it is their mean pull on the mean over deals that counts,
    summed over the prompts that go together (`covariance`).

    Args:
        deals: of `late_couplings`.
        word: which number.
        prompts: the clean prompts.
        units: which of them go together.
    Returns:
        None where half of the deals or more have no number, or units are too few.
    """
    rows = _first_rows(prompts)
    whole = take(units, rows)
    n = count(whole, len(rows))
    found = [deal.influence[word][rows] for deal in deals if deal is not None]
    if not found or n < FEWEST_UNITS:
        return None
    variance, df = variance_of_sum(np.mean(found, axis=0)[:, None], whole)
    se = max(float(np.sqrt(variance[0])), 1 / len(rows))
    return over_deals(
        [
            None if deal is None else Estimate(value=deal.value[word], se=se, n=n, df=float(df[0]))
            for deal in deals
        ]
    )


def _first_rows(prompts: Sequence[str]) -> list[int]:
    """One row for each different prompt."""
    first: dict[str, int] = {}
    for row, prompt in enumerate(prompts):
        first.setdefault(prompt, row)
    return list(first.values())


def coupling_numbers(
    prompts: Sequence[str],
    geometry: Geometry,
    early: Bool[Array, " depth"],
    late: Bool[Array, " depth"],
) -> dict[str, float] | None:
    """The numbers of WORDS between all prompts, at given depths; None where they have none.

    For what needs no interval and chose its depths elsewhere.
    """
    rows = np.array(_first_rows(prompts)[:MOST], dtype=int)
    if len(rows) < FEWEST:
        return None
    found = _table(geometry, rows).all_pairs()
    if np.isnan(found[ANGLE, 0, late]).all():
        return None
    return {word: float(number(_known(found), early, late)) for word, number in WORDS.items()}


def _table(geometry: Geometry, rows: Int[Array, " row"]) -> PairTable:
    """Distances of states and of predictions between some prompts."""
    at = torch.from_numpy(rows)
    js = distribution_distances(geometry.log_probs[at])["js"]
    return PairTable(np.stack([state_distances(x[at]) for x in geometry.states]), js[None])


def _known(
    couplings: Float[Array, "coupling target depth *prompt"],
) -> Float[Array, "coupling depth *prompt"]:
    """Without any spread of the angles, as at the embedding, nothing is coupled."""
    return np.nan_to_num(couplings[:, 0], nan=0.0)


Function = Callable[
    [Float[Array, "coupling depth *prompt"], Bool[Array, " depth"], Bool[Array, " depth"]],
    Float[Array, "*prompt"],
]
WORDS: dict[str, Function] = {
    "late angle": lambda rho, early, late: rho[ANGLE_GIVEN_NORM, late].mean(0),
    "late more than early": lambda rho, early, late: (
        rho[ANGLE_GIVEN_NORM, late].mean(0) - rho[ANGLE_GIVEN_NORM, early].mean(0)
    ),
    "angle more than norm": lambda rho, early, late: (rho[ANGLE] - rho[NORM])[late].mean(0),
}
"""Statements of C4: couplings by depth, early and late depths -> a number."""


def _different(prompts: Sequence[str], zones: Zones, group: int) -> Int[Array, " row"]:
    """One row for each different clean prompt of a group."""
    mine = zones.group[:, 0] == group
    return np.array([row for row in _first_rows(prompts) if mine[row]][:MOST], dtype=int)
