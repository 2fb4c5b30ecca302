"""A sigmoid through a curve over depth, by least squares on a grid: a fit that never fails."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

WIDTH_PER_SCALE = 2 * np.log(9)
"""10-90 % width of a logistic function over its scale parameter."""


def sigmoid_grid(at: Float[Array, " depth"]) -> tuple[Array, Array, Array]:
    """Locations, widths and centred unit sigmoids `[grid, depth]` to choose from."""
    span = at[-1] - at[0]
    gap = np.diff(at).min()
    location, width = np.meshgrid(
        np.linspace(at[0], at[-1], 241), np.geomspace(0.5 * gap, 2 * span, 24), indexing="ij"
    )
    location, width = location.ravel(), width.ravel()
    basis = unit_sigmoids(at, location, width)
    basis -= basis.mean(1, keepdims=True)
    # Sigmoids that hardly change between the depths seen fit rounding noise at a huge height.
    usable = (basis**2).sum(1) > 0.02
    return location[usable], width[usable], basis[usable]


def unit_sigmoids(
    at: Float[Array, " depth"], location: Float[Array, " curve"], width: Float[Array, " curve"]
) -> Float[Array, "curve depth"]:
    """From 0 to 1 about each location, 10 to 90 % of the way in each width."""
    scale = width[:, None] / WIDTH_PER_SCALE
    return (1 + np.tanh((at - location[:, None]) / scale / 2)) / 2


def fit_sigmoids(y: Float[Array, "curve depth"], at: Float[Array, " depth"]) -> dict[str, Array]:
    """Best sigmoid for each curve; grid points that fit equally well are averaged.

    Returns:
        By curve: `location`, `width`, `change` (after less before), `start` (before), `r_squared`
        and `explained`, the sum of squares about its mean that a sigmoid explains. A curve that
        does not move has neither location nor width.
    """
    location, width, basis = sigmoid_grid(at)
    mean = y.mean(1, keepdims=True)
    centred = y - mean
    total = (centred**2).sum(1)
    explained = (centred @ basis.T) ** 2 / (basis**2).sum(1)
    best = explained.max(1)
    moves = total > 1e-18 * np.maximum(1.0, (y**2).sum(1))
    # A step between two depths fits anywhere between them: take the middle of the ties.
    ties = explained >= (best - 1e-3 * total)[:, None]
    n_ties = ties.sum(1)
    found = {
        "location": (ties @ location) / n_ties,
        "width": np.exp((ties @ np.log(width)) / n_ties),
    }
    chosen = unit_sigmoids(at, found["location"], found["width"])
    middle = chosen.mean(1, keepdims=True)
    power = ((chosen - middle) ** 2).sum(1)
    along = ((chosen - middle) * centred).sum(1)
    change = np.divide(along, power, out=np.zeros(len(y)), where=moves)
    share = np.divide(along**2, power * total, out=np.zeros(len(y)), where=moves)
    return {
        **{name: np.where(moves, values, np.nan) for name, values in found.items()},
        "change": change,
        "start": np.where(moves, mean[:, 0] - change * middle[:, 0], y[:, 0]),
        "r_squared": share,
        "explained": np.where(moves, best, 0.0),
    }
