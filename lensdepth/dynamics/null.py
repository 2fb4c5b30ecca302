"""What a place looks like over training that has nothing sudden about it.

Neighbouring checkpoints are alike, for each comes from the one before: a path that wanders looks
cut in two more often than not, and so does one that drifts. So a jump is held against Brownian
motion over the logarithm of the step, whose increments are independent and as large as the gaps
between checkpoints make them; that there is any order at all, against the checkpoints in every
order.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array


def log_steps(steps: Float[Array, "*checkpoint"]) -> Float[Array, "*checkpoint"]:
    """log10(1 + step), where step 0 has its place as well."""
    return np.asarray(np.log10(1 + steps))


def explained(paths: Float[Array, "draw checkpoint"]) -> Float[Array, " draw"]:
    """Share of each path's variance over checkpoints that its best single cut explains; 0 of a path
    that does not move."""
    n = paths.shape[1]
    centred = paths - paths.mean(1, keepdims=True)
    k = np.arange(1, n)
    # About its mean, what is before a cut and what is behind add up to 0.
    gain = (np.cumsum(centred, axis=1)[:, :-1] ** 2 * n / (k * (n - k))).max(1)
    total = (centred**2).sum(1)
    moving = total > 1e-18 * np.maximum((paths**2).sum(1), 1.0)
    return np.divide(gain, total, out=np.zeros(len(paths)), where=moving)


def shuffled(
    path: Float[Array, " checkpoint"], n_draws: int, seed: int
) -> Float[Array, "draw checkpoint"]:
    """The path's checkpoints in random order."""
    return np.random.default_rng(seed).permuted(np.tile(path, (n_draws, 1)), axis=1)


def walks(
    at: Float[Array, " checkpoint"], n_draws: int, seed: int
) -> Float[Array, "draw checkpoint"]:
    """Brownian motion, read where the checkpoints are.

    Args:
        at: logarithms of their steps, ascending.
        n_draws: paths.
        seed: of the paths.
    """
    increments = np.random.default_rng(seed).normal(size=(n_draws, len(at) - 1))
    moved = np.cumsum(increments * np.sqrt(np.diff(at)), axis=1)
    return np.concatenate([np.zeros((n_draws, 1)), moved], axis=1)
