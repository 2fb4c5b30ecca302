"""Centroids of states by label, and the vectors that lead from one label to another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.model import DepthModel
from lensdepth.steering.labels import Labelled, Pool, centroid_sizes, members, outside_groups
from lensdepth.sweep.blocks import pair_blocks

COINCIDE = 1e-5
"""Centroids closer than this, beside the mean norm of the states, are one point."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Vectors:
    """What leads each pair from its base's label to its source's, at one position."""

    labelled: Labelled
    vector: Float[Tensor, "depth pair d_model"]
    """Source centroid - base centroid, over prompts outside the pair's folds."""
    sizes: Int[Tensor, "end pair"]
    """Prompts behind the base centroid and behind the source centroid."""
    state_norm: Float[Tensor, " depth"]
    """Mean norm of the states there."""


def steering_vectors(
    model: DepthModel,
    pool: Pool,
    labelled: Labelled,
    folds: Int[Tensor, " prompt"],
    hooks: Sequence[str],
) -> Vectors:
    """Differences of centroids for every pair, from the prompts outside its two folds.

    Args:
        pool: the distinct prompts.
        labelled: their labels, and the position that these belong to.
        folds: the fold of each prompt.
        hooks: depths.
    """
    n_folds, n_labels = int(folds.max()) + 1, len(labelled.names)
    at = pool.positions[labelled.position]
    share = (
        torch.nn.functional.one_hot(folds, n_folds)[:, :, None] * members(pool, labelled)[:, None]
    )
    sums = torch.zeros(len(hooks), n_folds, n_labels, model.d_model, dtype=torch.float64)
    norms = torch.zeros(len(hooks), dtype=torch.float64)
    for block in pair_blocks(len(pool), len(hooks) * model.d_model):
        states = model.activations(pool.tokens[block], hooks, at[block])[:, :, 0]
        for depth, x in enumerate(states.double()):
            sums[depth] += torch.einsum("pfl,pd->fld", share[block].double(), x)
        norms += polar.norm(states).double().sum(1)
    sizes = centroid_sizes(pool, labelled, folds)
    ends = [
        torch.stack([outside_groups(at_depth, pool, folds, label) for at_depth in sums])
        / n[:, None]
        for label, n in zip((labelled.base, labelled.source), sizes, strict=True)
    ]
    vector = (ends[1] - ends[0]).float()
    state_norm = (norms / len(pool)).float()
    # What is left of equal centroids is rounding, and a budget would blow it up.
    near = polar.norm(vector) <= COINCIDE * state_norm[:, None]
    return Vectors(
        labelled=labelled,
        vector=torch.where(near[..., None], 0.0, vector),
        sizes=sizes,
        state_norm=state_norm,
    )
