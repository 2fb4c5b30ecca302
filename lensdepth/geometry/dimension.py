"""How many dimensions a cloud of states fills: by its spectrum, and by its nearest neighbours.

NaN where all states are the same but for rounding.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.geometry.halves import Halves

SETS_AT_ONCE = 64
"""Halves in one batch of matrices."""


def centred_cloud(
    states: Float[Tensor, "*set prompt d_model"],
) -> Float[Tensor, "*set prompt d_model"]:
    """States less their mean, in float64; all zero where that is no more than rounding."""
    wide = states.double()
    centred = wide - wide.mean(-2, keepdim=True)
    total, rounding = (
        cloud.square().sum((-2, -1), keepdim=True) for cloud in (centred, polar.UNDEFINED * wide)
    )
    return torch.where(total > rounding, centred, 0.0)


@checked
def effective_rank(states: Float[Tensor, "prompt d_model"]) -> float:
    """exp of the entropy of the normalised eigenvalues of the covariance.

    1 for a line, n for a ball in n dimensions; its logarithm is the matrix entropy.
    Source: Roy & Vetterli 2007, "The effective rank", with squared singular values; Skean et al.
        2025, arXiv 2502.02013.
    """
    return float(_spectral(centred_cloud(states))[0])


@checked
def participation_ratio(states: Float[Tensor, "prompt d_model"]) -> float:
    """(sum of eigenvalues)^2 / sum of their squares, of the covariance.

    Never more than the effective rank. n states from a ball in d dimensions give about
    1 / (1/d + 1/n). Source: Gao et al. 2017, "A theory of multineuronal dimensionality".
    """
    return float(_spectral(centred_cloud(states))[1])


@checked
def two_nn(states: Float[Tensor, "prompt d_model"]) -> float:
    """Intrinsic dimension from the ratio of the distances to the two nearest neighbours.

    The ratio has a Pareto law with the dimension as its exponent; this is that exponent's unbiased
    estimate. Equal states count once. NaN with fewer than three of them, or where every state has
    its two neighbours at the same distance, as on a grid.
    Source: Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information"; Denti et al. 2022, "The generalized ratios intrinsic dimension
        estimator", for the estimate without bias.
    """
    cloud = centred_cloud(states)
    return float(_two_nn(pairwise_distance(cloud), float(cloud.norm(dim=-1).amax())))


def measure_dimension(
    states: Float[Tensor, "sample d_model"], halves: Halves | Int[Array, "resample half"]
) -> dict[str, tuple[float, Float[Array, " resample"]]]:
    """All three at one depth: in all of the sample, and in its halves."""
    cloud = centred_cloud(states)
    distance, radius = pairwise_distance(cloud), float(cloud.norm(dim=-1).amax())
    if len(cloud) < cloud.shape[1]:  # in axes of their own, which changes no angle and no distance
        cloud = torch.linalg.qr(cloud.T).R.T
    sets = [np.arange(len(states)), *halves]
    spectral = np.empty((len(sets), 2))
    for some in _together(sets):
        members = np.stack([sets[i] for i in some])
        spectral[some] = _spectral(centred_cloud(cloud[torch.from_numpy(members)]))
    columns = {
        "effective_rank": spectral[:, 0],
        "participation_ratio": spectral[:, 1],
        "two_nn": _two_nn_in(distance, radius, sets),
    }
    return {name: (float(values[0]), values[1:]) for name, values in columns.items()}


def two_nn_in(
    states: Float[Tensor, "sample d_model"], sets: Sequence[Int[Array, "_"]]
) -> Float[Array, " set"]:
    """`two_nn` of some of the states, for each set of them."""
    cloud = centred_cloud(states)
    return _two_nn_in(pairwise_distance(cloud), float(cloud.norm(dim=-1).amax()), sets)


def _two_nn_in(
    distance: Float[Array, "sample sample"], radius: float, sets: Sequence[Int[Array, "_"]]
) -> Float[Array, " set"]:
    found = np.full(len(sets), np.nan)
    for some in _together(sets):
        members = np.stack([sets[i] for i in some])
        if members.shape[1] > 2:
            found[some] = _two_nn(distance[members[:, :, None], members[:, None]], radius)
    return found


def pairwise_distance(cloud: Float[Tensor, "prompt d_model"]) -> Float[Array, "prompt prompt"]:
    """Euclidean distances, symmetric, 0 on the diagonal."""
    # Differences rather than inner products: neighbours may be far nearer than the cloud is wide.
    return torch.cdist(cloud, cloud, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def _together(sets: Sequence[Int[Array, "_"]]) -> Iterator[list[int]]:
    """Places of the sets that have as many members, some at a time."""
    sizes = defaultdict[int, list[int]](list)
    for i, members in enumerate(sets):
        sizes[len(members)].append(i)
    for places in sizes.values():
        yield from (places[i : i + SETS_AT_ONCE] for i in range(0, len(places), SETS_AT_ONCE))


def _spectral(centred: Float[Tensor, "*set prompt d_model"]) -> Float[Array, "*set 2"]:
    """(effective rank, participation ratio)."""
    n, d = centred.shape[-2:]
    gram = centred @ centred.mT if n < d else centred.mT @ centred
    spectrum = torch.linalg.eigvalsh(gram)
    total = spectrum.sum(-1, keepdim=True)
    # Eigenvalues of 0 may come out a little below it.
    p = torch.where(total > 0, spectrum / total, torch.nan).clamp(min=0)
    found = torch.special.entr(p).sum(-1).exp(), 1 / p.square().sum(-1)
    return torch.stack(found, dim=-1).numpy()


def _two_nn(distance: Float[Array, "*set prompt prompt"], radius: float) -> Float[Array, "*set"]:
    """The estimate from distances; states nearer than rounding, beside the radius, are the same."""
    same = distance <= polar.UNDEFINED * radius
    again = np.array(np.tril(same, -1).any(-1))
    gone = again[..., None, :] | np.eye(distance.shape[-1], dtype=bool)
    nearest = np.partition(np.where(gone, np.inf, distance), 1, axis=-1)[..., :2]
    n = (~again).sum(-1, keepdims=True)
    asked = ~again & (n >= 3)
    ratio = np.divide(nearest[..., 1], nearest[..., 0], out=np.ones(again.shape), where=asked)
    total = np.log(ratio).sum(-1, keepdims=True)
    found = np.divide(n - 1, total, out=np.full(n.shape, np.nan), where=total > 1e-9)
    return found[..., 0]
