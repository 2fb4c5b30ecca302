"""Do the states of different prompts point the same way, and is it a few coordinates that do it?

Source: Timkey & van Schijndel 2021, "All Bark and No Bite", arXiv 2109.04404.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import polar
from lensdepth.geometry.halves import Halves

LARGEST = 3
"""The share of the mean cosine is that of so many coordinates."""
HALF = 0.5


def measure_anisotropy(
    x: Float[Tensor, "sample d_model"],
    mean: Float[Tensor, " d_model"],
    variance: Float[Tensor, " d_model"],
    halves: Halves | Int[Array, "resample half"],
) -> dict[str, tuple[float, Float[Array, " resample"]]]:
    """Mean cosines and rogue dimensions of one depth: in all of the sample, and in its halves.

    Args:
        x: states.
        mean: of every coordinate, over more prompts than the sample perhaps.
        variance: likewise.
        halves: indices into the sample.
    """
    wide = x.double()
    largest = float(wide.abs().amax())
    spread = variance.sqrt()
    # What rounding leaves of equal states has no direction, and no coordinate to be standardised.
    moved = torch.where(spread > polar.UNDEFINED * largest, wide - mean, 0.0)
    clouds = {
        "cosine": wide,
        "centred_cosine": moved,
        "standardized_cosine": torch.where(moved != 0, moved / spread, 0.0),
    }
    members = np.concatenate([np.ones((1, len(x))), _indicator(halves, len(x))])
    found = {}
    for name, cloud in clouds.items():
        contribution = _contributions(polar.direction(cloud).numpy(), members)
        found[name] = contribution.sum(1)
        if name == "cosine":
            found["rogue_dimensions"], found["rogue_share"] = _rogue(contribution)
    return {name: (float(values[0]), values[1:]) for name, values in found.items()}


def _indicator(
    halves: Halves | Int[Array, "resample half"], n: int
) -> Float[Array, "resample sample"]:
    """1 where a prompt is in the half."""
    members = np.zeros((len(halves), n))
    for row, half in zip(members, halves, strict=True):
        row[half] = 1.0
    return members


def _contributions(
    u: Float[Array, "sample d_model"], members: Float[Array, "set sample"]
) -> Float[Array, "set d_model"]:
    """What each coordinate adds to the mean cosine of two different members of each set."""
    n = members.sum(1, keepdims=True)
    return ((members @ u) ** 2 - members @ u**2) / (n * (n - 1))


def _rogue(
    contribution: Float[Array, "set d_model"],
) -> tuple[Float[Array, " set"], Float[Array, " set"]]:
    """Fewest coordinates that make half of all contributions, and the share of the largest."""
    ordered = -np.sort(-np.abs(contribution), axis=1)
    total = ordered.sum(1, keepdims=True)
    share = np.divide(ordered.cumsum(1), total, out=np.full(ordered.shape, np.nan), where=total > 0)
    count = np.where(total[:, 0] > 0, (share < HALF).sum(1) + 1.0, np.nan)
    return count, share[:, min(LARGEST, share.shape[1]) - 1]
