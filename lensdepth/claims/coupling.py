"""Angles against predictions after the crossing and before it, on prompts that chose neither."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
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
    """The mean over groups of a function of their couplings; None where they have none.

    Each group's couplings are between its own prompts, at the depths that the other groups' pairs
    chose. Its standard error is the spread over halves of its prompts.
    """
    values, variances, n_prompts = [], [], 0
    for group in range(N_GROUPS):
        rows = _different(prompts, zones, group)
        if len(rows) < FEWEST:
            return None
        js = distribution_distances(geometry.log_probs[torch.from_numpy(rows)])["js"]
        distances = np.stack([state_distances(x[torch.from_numpy(rows)]) for x in geometry.states])
        table = PairTable(distances, js[None])
        early, late = zones.group_early[group], zones.group_late[group]

        def number(couplings: Float[Array, "coupling target depth"]) -> float:
            rho = couplings[:, 0]
            # Without any spread of the angles, as at the embedding, nothing is coupled.
            rho = np.nan_to_num(rho, nan=0.0)
            angle = rho[ANGLE_GIVEN_NORM]
            if word == "late angle":
                return float(angle[late].mean())  # noqa: B023 (called in this turn of the loop)
            if word == "late more than early":
                return float(angle[late].mean() - angle[early].mean())  # noqa: B023
            return float((rho[ANGLE] - rho[NORM])[late].mean())  # noqa: B023

        found = table.all_pairs()
        if np.isnan(found[ANGLE, 0, late]).all():
            return None
        values.append(number(found))
        halves = draw_halves(len(rows), N_HALVES, seed=group)
        variances.append(np.var([number(table.among(half)) for half in halves], ddof=1))
        n_prompts += len(rows)
    se = float(np.sqrt(np.sum(variances))) / N_GROUPS
    return Estimate(value=float(np.mean(values)), se=max(se, 1 / n_prompts), n=n_prompts)


def _different(prompts: Sequence[str], zones: Zones, group: int) -> Int[Array, " row"]:
    """One row for each different clean prompt of a group."""
    first: dict[str, int] = {}
    for row in np.flatnonzero(zones.group[:, 0] == group).tolist():
        first.setdefault(prompts[row], row)
    return np.array(list(first.values())[:MOST], dtype=int)
