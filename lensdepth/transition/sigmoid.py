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
    basis = (1 + np.tanh((at - location[:, None]) / (width[:, None] / WIDTH_PER_SCALE) / 2)) / 2
    basis -= basis.mean(1, keepdims=True)
    # Sigmoids that hardly change between the depths seen fit rounding noise at a huge height.
    usable = (basis**2).sum(1) > 0.02
    return location[usable], width[usable], basis[usable]


def fit_sigmoids(y: Float[Array, "curve depth"], at: Float[Array, " depth"]) -> dict[str, Array]:
    """Best sigmoid for each curve; grid points that fit equally well are averaged."""
    location, width, basis = sigmoid_grid(at)
    power = (basis**2).sum(1)
    mean = y.mean(1, keepdims=True)
    centred = y - mean
    total = (centred**2).sum(1)
    out = {
        key: np.full(len(y), np.nan)
        for key in ("location", "width", "change", "start", "r_squared", "explained")
    }
    for i in range(len(y)):
        projection = basis @ centred[i]
        explained = projection**2 / power
        best = explained.max()
        out["explained"][i] = best
        if total[i] <= 1e-18 * max(1.0, float((y[i] ** 2).sum())):
            out["change"][i], out["r_squared"][i], out["explained"][i] = 0.0, 0.0, 0.0
            out["start"][i] = y[i, 0]
            continue
        # A step between two depths fits anywhere between them: take the middle of the ties.
        ties = explained >= best - 1e-3 * total[i]
        out["location"][i] = location[ties].mean()
        out["width"][i] = np.exp(np.log(width[ties]).mean())
        scale = out["width"][i] / WIDTH_PER_SCALE
        chosen = (1 + np.tanh((at - out["location"][i]) / scale / 2)) / 2
        design = np.stack([np.ones_like(at), chosen], axis=1)
        (out["start"][i], out["change"][i]), *_ = np.linalg.lstsq(design, y[i])
        out["r_squared"][i] = (
            1 - ((y[i] - design @ [out["start"][i], out["change"][i]]) ** 2).sum() / total[i]
        )
    return out


def explained_by_sigmoid(
    y: Float[Array, "curve depth"], at: Float[Array, " depth"]
) -> Float[Array, " curve"]:
    """Largest sum of squares about its mean that a sigmoid explains of each curve."""
    _, _, basis = sigmoid_grid(at)
    centred = y - y.mean(1, keepdims=True)
    return ((centred @ basis.T) ** 2 / (basis**2).sum(1)).max(1)
