"""Depths that are found against all depths: how many are measured, and whether they say the same.

Pairs of simulated patching curves: each has its own depth of switch and width, so that the mean
does what means of real models do. Success is 0 or 1 in each pair and wrong now and then; the share
that is transferred is gradual. Depths are found on a pilot of pairs as `patch_sweep` finds them,
and completed on all; then `find_crossing` reads both. Columns: share of cases in which the verdict
is the same, the location is the same to a hundredth of a depth, and all depths over measured ones.

    python -m benchmarks.adaptive [--cases 200]
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from scipy.special import expit

from lensdepth.sweep.adaptive import Watched, coarse_grid, find_depths, pilot
from lensdepth.transition.crossing import find_crossing

N_PAIRS, LAPSES = 60, 0.02
Pairs = Float[Array, "position pair depth"]


def curves(
    at: Float[Array, "position pair"], width: float, n_layers: int, random: np.random.Generator
) -> tuple[Pairs, Pairs]:
    """Transferred share and success of the input and the prediction position.

    Args:
        at: where control leaves the input, and where it reaches the prediction position.
        width: of a pair's own rise, as the scale of a sigmoid.
        n_layers: depths are 0 ... n_layers.
        random: of lapses.
    """
    depths = np.arange(n_layers + 1)
    moved = expit((depths - at[..., None]) / width)
    moved[0] = 1 - moved[0]
    moved[:, :, -1] = [[0.0], [1.0]]
    success = (moved > 0.5).astype(float)
    wrong = random.random(success.shape) < LAPSES
    return moved, np.where(wrong, 1 - success, success)


def together(at: Float[Array, " pair"]) -> Float[Array, "position pair"]:
    """Control reaches the one position where it leaves the other."""
    return np.stack([at, at])


Kind = Callable[[np.random.Generator, int], tuple[Float[Array, "position pair"], float]]
KINDS: dict[str, Kind] = {
    "one step": lambda random, n: (together(np.full(N_PAIRS, random.uniform(1, n - 2))), 0.05),
    "narrow": lambda random, n: (
        together(random.normal(random.uniform(0.2, 0.8) * n, 0.03 * n, N_PAIRS)), 0.5
    ),
    "wide": lambda random, n: (
        together(random.normal(random.uniform(0.3, 0.7) * n, 0.12 * n, N_PAIRS)), 1.0
    ),
    "two groups": lambda random, n: (
        together(np.where(random.random(N_PAIRS) < random.uniform(0.3, 0.7), 0.3 * n, 0.7 * n)), 0.3
    ),
    "two steps nearby": lambda random, n: (
        together(np.where(random.random(N_PAIRS) < 0.5, 0.68 * n, 0.79 * n)), 0.3
    ),
    "gradual in each": lambda random, n: (
        together(random.normal(random.uniform(0.4, 0.6) * n, 1.0, N_PAIRS)), 0.08 * n
    ),
    "gap": lambda random, n: (
        np.stack([np.full(N_PAIRS, random.uniform(0.15, 0.35) * n),
                  np.full(N_PAIRS, random.uniform(0.55, 0.8) * n)]), 0.3
    ),
    "in the last blocks": lambda random, n: (
        together(np.full(N_PAIRS, n - random.uniform(1.2, 3.0))), 0.2
    ),
}  # fmt: skip


def compared(kind: str, n_layers: int, seed: int) -> tuple[bool, bool, float]:
    """Whether the verdict and the location are the same, and how many times fewer depths."""
    random = np.random.default_rng(seed)
    moved, success = curves(*KINDS[kind](random, n_layers), n_layers, random)
    every = np.concatenate([moved, success])

    def watched(depths: list[int], pairs: slice = slice(None)) -> dict[int, Watched]:
        means = {depth: every[:, pairs, depth].mean(1) for depth in depths}
        return {d: Watched(curves=at, lead=float(at[2] - at[3])) for d, at in means.items()}

    some = pilot(N_PAIRS)
    depths = find_depths(watched, find_depths(lambda d: watched(d, some), coarse_grid(n_layers)))

    def crossing(at: list[int]) -> tuple[str, float]:
        at = [depth for depth in at if depth < n_layers]
        first, second = (torch.from_numpy(one[:, at]) for one in success)
        found = find_crossing(first, second, depths=at, n_resamples=200)
        return found.verdict, found.depth

    whole, few = crossing(list(range(n_layers + 1))), crossing(depths)
    same = whole[0] != "crossing" or abs(whole[1] - few[1]) < 0.01
    return whole[0] == few[0], same, (n_layers + 1) / len(depths)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    cases = parser.parse_args().cases
    print("| pairs switch | blocks | verdict | location | fewer |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind in KINDS:
        for n_layers in (18, 30, 80):
            found = np.array([compared(kind, n_layers, seed) for seed in range(cases)])
            verdict, location, fewer = found.mean(0)
            print(f"| {kind} | {n_layers} | {verdict:.1%} | {location:.1%} | {fewer:.1f} |")


if __name__ == "__main__":
    main()
