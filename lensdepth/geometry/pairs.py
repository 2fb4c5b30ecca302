"""Distances between prompts as rows of numbers, one a pair, ready to be correlated.

A row is standardised so that the product of two rows is their correlation: of ranks (Spearman), or
of U-centred distances (distance correlation; for inner products, linear CKA).
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from scipy.stats import rankdata
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.geometry.dimension import pairwise_distance

TOKENS_AT_ONCE = 1024
"""Of a vocabulary, whose probabilities are compared between prompts."""
DECIMALS = 6
"""Distances are rounded to so many, beside the largest there could be: rounding noise must not
rank pairs that are equally far."""


def pair_index(n: int) -> Int[Array, "prompt prompt"]:
    """Where each pair stands in a row, whichever of the two comes first; -1 for no pair."""
    index = np.full((n, n), -1)
    i, j = np.triu_indices(n, 1)
    index[i, j] = index[j, i] = np.arange(len(i))
    return index


def pairs_of(
    index: Int[Array, "prompt prompt"], prompts: Int[Array, "*draw chosen"]
) -> Int[Array, "*draw pair"]:
    """The pairs of some prompts in their order, as places in a row."""
    i, j = np.triu_indices(prompts.shape[-1], 1)
    return index[prompts[..., i], prompts[..., j]]


def upper(square: Float[Array, "*row prompt prompt"]) -> Float[Array, "*row pair"]:
    """Each pair once."""
    i, j = np.triu_indices(square.shape[-1], 1)
    return square[..., i, j]


def ranked(square: Float[Array, "*row prompt prompt"]) -> Float[Array, "*row pair"]:
    """Distances replaced by their ranks among all pairs; ties share the mean rank."""
    return rankdata(upper(square), axis=-1)


def standardised(rows: Float[Array, "*row pair"]) -> Float[Array, "*row pair"]:
    """Mean 0 and length 1 over pairs; NaN where all pairs have the same number."""
    return unit(rows - rows.mean(-1, keepdims=True))


def unit(rows: Float[Array, "*row pair"]) -> Float[Array, "*row pair"]:
    """Length 1; NaN where the row is 0 but for rounding."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, length, out=np.full(rows.shape, np.nan), where=length > 1e-9)


def u_centred(square: Float[Array, "*row prompt prompt"]) -> Float[Array, "*row pair"]:
    """Distances less what each prompt has on average, so that chance products average to 0.

    Zero with three prompts or fewer.
    Source: Szekely & Rizzo 2014, "Partial distance correlation with methods for dissimilarities";
        the same sums as in Song et al. 2012 for kernels.
    """
    n = square.shape[-1]
    if n < 4:
        return np.zeros_like(upper(square))
    # The diagonal takes no part: a prompt is no pair with itself.
    off = np.where(np.eye(n, dtype=bool), 0.0, square)
    row = off.sum(-1) / (n - 2)
    total = off.sum((-2, -1))[..., None, None] / ((n - 1) * (n - 2))
    return upper(off - row[..., :, None] - row[..., None, :] + total)


def state_distances(x: Float[Tensor, "sample d_model"]) -> Float[Array, "3 sample sample"]:
    """Angle in radians, difference of norms, and Euclidean distance, of every pair.

    Two lengths are over the largest norm. The zero state is at a right angle to every other.
    """
    wide = x.double()
    norm, u = polar.norm(wide), polar.direction(wide)
    cosine = u @ u.T
    # In float64 this is right to 1e-8, also at the ends, where an arccosine would not be.
    angle = 2 * torch.atan2((1 - cosine).clamp(min=0).sqrt(), (1 + cosine).clamp(min=0).sqrt())
    scale = norm.amax().clamp(min=1e-300)
    gap = (norm[:, None] - norm[None]).abs()
    stacked = np.stack([angle.numpy(), (gap / scale).numpy(), pairwise_distance(wide / scale)])
    return _settled(stacked)


def distribution_distances(
    final: Float[Tensor, "sample d_vocab"],
) -> dict[str, Float[Array, "sample sample"]]:
    """Jensen-Shannon divergence in nats and Hellinger distance of every pair, from log-probs.

    Jensen-Shannon is the entropy of the middle less the mean entropy: half as many logarithms as
    two divergences, and in float64 nothing is lost.
    """
    log_p = metrics.log_probs(final.double())
    n = len(log_p)
    js = torch.zeros(n, n, dtype=torch.float64)
    squares = torch.zeros_like(js)
    # Some tokens at a time: all pairs of these stay in the processor's cache.
    for some in log_p.split(TOKENS_AT_ONCE, dim=-1):
        p, root = some.exp(), (some / 2).exp()
        entropy = torch.special.entr(p).sum(-1)
        for i in range(n - 1):
            middle = torch.special.entr((p[i] + p[i + 1 :]) / 2).sum(-1)
            js[i, i + 1 :] += middle - (entropy[i] + entropy[i + 1 :]) / 2
            squares[i, i + 1 :] += (root[i] - root[i + 1 :]).square().sum(-1)
    hellinger = (squares / 2).sqrt()
    return {
        "js": _settled((js + js.T).numpy()),
        "hellinger": _settled((hellinger + hellinger.T).numpy()),
    }


def _settled(square: Float[Array, "*row sample sample"]) -> Float[Array, "*row sample sample"]:
    rounded = square.round(DECIMALS)
    rounded[..., np.arange(square.shape[-1]), np.arange(square.shape[-1])] = 0.0
    return rounded
