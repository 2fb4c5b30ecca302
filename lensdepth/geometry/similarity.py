"""How alike the clouds of two depths are: linear CKA, and what a rotation carries over.

Both forget where the cloud lies, how large it is and how it is turned. NaN where a cloud has no
extent. With more coordinates than prompts a rotation fits much by chance, and `procrustes_chance`
says how much: what it fits once the prompts of one depth are shuffled.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.geometry.dimension import centred_cloud
from lensdepth.geometry.halves import Halves, half_interval
from lensdepth.geometry.pairs import u_centred, unit
from lensdepth.units import Units

Map = Float[Array, "depth depth"]


def linear_cka(
    x: Float[Tensor, "depth sample d_model"], halves: Halves | Int[Array, "resample half"]
) -> tuple[Map, Map, Map]:
    """Centred kernel alignment of every two depths, (value, low, high).

    The correlation of inner products between prompts, with the diagonal left out (the unbiased
    estimate of HSIC), so that unrelated clouds have about 0 however few the prompts are.
    Source: Kornblith et al. 2019, arXiv 1905.00414; Song et al. 2012, "Feature Selection via
        Dependence Maximization".
    """
    clouds = torch.stack([centred_cloud(states) for states in x])
    # Of the size of 1, whatever the norms are: what is below 1e-9 of that is rounding.
    size = clouds.square().sum(-1).mean(-1)[:, None, None]
    gram = torch.where(size > 0, clouds @ clouds.mT / size, 0.0).numpy()

    def among(prompts: Int[Array, " chosen"]) -> Map:
        rows = unit(u_centred(gram[:, prompts[:, None], prompts[None]]))
        return rows @ rows.T

    value = among(np.arange(x.shape[1]))
    drawn = np.array([among(half) for half in halves]).reshape(-1, *value.shape)
    low, high = half_interval(value, drawn, halves if isinstance(halves, Halves) else None)
    return value, low, high


def procrustes(
    x: Float[Tensor, "depth sample d_model"], *, units: Units = (), n_resamples: int, seed: int
) -> tuple[Map, Map, Map, Map]:
    """Share of variance that the best rotation and scale give: (value, low, high, chance).

    1 less the disparity of `scipy.spatial.procrustes`. In a resample of prompts the rotation is
    held: it is the best one, so to first order its change changes nothing.
    Source: Schonemann 1966; Razzhigaev et al. 2024, arXiv 2405.12250, who let any linear map take
        the rotation's place, which fits everything where prompts are fewer than coordinates.
    """
    clouds = [_coordinates(states) for states in x]
    n_depths, n = len(clouds), x.shape[1]
    shuffle = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    maps = np.full((4, n_depths, n_depths), np.nan)
    size = torch.stack([cloud.square().sum(-1) for cloud in clouds], dim=1).numpy()
    mean_size = size.mean(0)
    for a in range(n_depths):
        if mean_size[a] == 0:
            continue
        for b in range(a, n_depths):
            if mean_size[b] == 0:
                continue
            left, singular, right = torch.linalg.svd(clouds[a].T @ clouds[b], full_matrices=False)
            # What each prompt adds to the sum of singular values.
            part = ((clouds[a] @ left @ right) * clouds[b]).sum(-1, keepdim=True).numpy()
            drawn, *sizes = stats.drawn_means(
                part, size[:, a], size[:, b], units=units, n_resamples=n_resamples, seed=seed
            )
            scale = n**2 * mean_size[a] * mean_size[b]
            shuffled = torch.linalg.svdvals(clouds[a].T @ clouds[b][shuffle]).sum()
            value = float(singular.sum() ** 2) / scale
            # A cloud drawn so small that it has no size has no share.
            bottom = sizes[0] * sizes[1]
            drawn = drawn[:, 0] ** 2
            share = np.divide(drawn, bottom, out=np.full(len(drawn), np.nan), where=bottom > 0)
            low, high = stats.corrected_interval(share, value)
            found = (value, low, min(high, 1.0), float(shuffled**2) / scale)
            maps[:, a, b] = maps[:, b, a] = [float(number) for number in found]
    value, low, high, chance = maps
    return value, low, high, chance


def _coordinates(states: Float[Tensor, "sample d_model"]) -> Float[Tensor, "sample axis"]:
    """The centred cloud along its own axes: as many as there are prompts or coordinates."""
    cloud = centred_cloud(states)
    n, d = cloud.shape
    if d <= n:
        return cloud
    u, singular, _ = torch.linalg.svd(cloud, full_matrices=False)
    return u * singular
