"""How many dimensions a cloud of states fills: by its spectrum, and by its nearest neighbours.

NaN where all states are the same but for rounding.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.geometry.halves import Halves


def centred_cloud(states: Float[Tensor, "prompt d_model"]) -> Float[Tensor, "prompt d_model"]:
    """States less their mean, in float64; all zero where that is no more than rounding."""
    wide = states.double()
    centred = wide - wide.mean(0)
    rounding = polar.UNDEFINED**2 * wide.square().sum()
    return centred if centred.square().sum() > rounding else torch.zeros_like(centred)


@checked
def effective_rank(states: Float[Tensor, "prompt d_model"]) -> float:
    """exp of the entropy of the normalised eigenvalues of the covariance.

    1 for a line, n for a ball in n dimensions; its logarithm is the matrix entropy.
    Source: Roy & Vetterli 2007, "The effective rank", with squared singular values; Skean et al.
        2025, arXiv 2502.02013.
    """
    return _spectral(centred_cloud(states))[0]


@checked
def participation_ratio(states: Float[Tensor, "prompt d_model"]) -> float:
    """(sum of eigenvalues)^2 / sum of their squares, of the covariance.

    Never more than the effective rank. n states from a ball in d dimensions give about
    1 / (1/d + 1/n). Source: Gao et al. 2017, "A theory of multineuronal dimensionality".
    """
    return _spectral(centred_cloud(states))[1]


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
    return _two_nn(pairwise_distance(cloud), float(cloud.norm(dim=-1).amax()))


def measure_dimension(
    states: Float[Tensor, "sample d_model"], halves: Halves | Int[Array, "resample half"]
) -> dict[str, tuple[float, Float[Array, " resample"]]]:
    """All three at one depth: in all of the sample, and in its halves."""
    cloud = centred_cloud(states)
    distance, radius = pairwise_distance(cloud), float(cloud.norm(dim=-1).amax())
    sets = [np.arange(len(states)), *halves]
    spectral = np.array([_spectral(centred_cloud(cloud[torch.from_numpy(s)])) for s in sets])
    neighbours = np.array([_two_nn(distance[np.ix_(s, s)], radius) for s in sets])
    columns = {
        "effective_rank": spectral[:, 0],
        "participation_ratio": spectral[:, 1],
        "two_nn": neighbours,
    }
    return {name: (float(values[0]), values[1:]) for name, values in columns.items()}


def pairwise_distance(cloud: Float[Tensor, "prompt d_model"]) -> Float[Array, "prompt prompt"]:
    """Euclidean distances, symmetric, 0 on the diagonal."""
    # Differences rather than inner products: neighbours may be far nearer than the cloud is wide.
    return torch.cdist(cloud, cloud, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def _spectral(centred: Float[Tensor, "prompt d_model"]) -> tuple[float, float]:
    """(effective rank, participation ratio)."""
    n, d = centred.shape
    gram = centred @ centred.T if n < d else centred.T @ centred
    spectrum = torch.linalg.eigvalsh(gram)
    total = spectrum.sum()
    if total <= 0:
        return float("nan"), float("nan")
    # Eigenvalues of 0 may come out a little below it.
    p = (spectrum / total).clamp(min=0)
    return torch.special.entr(p).sum().exp().item(), (1 / p.square().sum()).item()


def _two_nn(distance: Float[Array, "prompt prompt"], radius: float) -> float:
    """The estimate from distances; states nearer than rounding, beside the radius, are the same."""
    same = distance <= polar.UNDEFINED * radius
    first = ~np.tril(same, -1).any(1)
    if first.sum() < 3:
        return float("nan")
    apart = distance[np.ix_(first, first)]
    np.fill_diagonal(apart, np.inf)
    nearest = np.partition(apart, 1, axis=1)[:, :2]
    total = np.log(nearest[:, 1] / nearest[:, 0]).sum()
    return float((len(apart) - 1) / total) if total > 1e-9 else float("nan")
