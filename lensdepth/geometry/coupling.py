"""Do prompts whose states lie apart have other predictions, or other contexts?

Distances between states (angle, difference of norms, Euclidean distance) are correlated, over pairs
of prompts, with distances between what the prompts lead to or hold. Pairs that share a prompt are
not independent, so intervals come from halves of the prompts, and p-values from prompts that
change places (Mantel 1967, "The detection of disease clustering"), both by whole units.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.geometry.exchange import exchanged, exchanges, nulls_of
from lensdepth.geometry.halves import Halves, half_interval
from lensdepth.geometry.pairs import (
    pair_index,
    pairs_of,
    ranked,
    standardised,
    state_distances,
    u_centred,
    unit,
)
from lensdepth.units import Units

COUPLINGS = (
    "angle_{}", "norm_{}", "distance_{}", "angle_{}_given_norm", "norm_{}_given_angle",
    "angle_{}_dcor", "norm_{}_dcor", "distance_{}_dcor",
)  # fmt: skip
"""What the coupling to each target is called."""
PARTIAL = range(3, 5)
"""Places of the partial correlations among them; rank correlations before, distance ones behind."""
RANK, CENTRED = slice(0, PARTIAL.start), slice(PARTIAL.stop, len(COUPLINGS))
ORDERS_AT_ONCE = 64
"""Permutations in one product: more of them leave the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coupling:
    """Correlations by coupling, target and depth."""

    value: Float[Array, "coupling target depth"]
    low: Float[Array, "coupling target depth"]
    high: Float[Array, "coupling target depth"]
    p: Float[Array, "coupling target depth"]
    """By permutation: two-sided for rank correlations, one-sided for distance correlations, 1 where
    there is no correlation, and NaN for partial ones."""


class PairTable:
    """The rows of all depths and of all targets over all pairs of the sample."""

    def __init__(
        self,
        distances: Float[Array, "depth 3 sample sample"],
        targets: Float[Array, "target sample sample"],
    ) -> None:
        self.distances, self.targets = distances, targets
        self.index = pair_index(targets.shape[-1])
        self.x_ranks, self.t_ranks = ranked(distances), ranked(targets)
        self.x = standardised(self.x_ranks)
        self.t = standardised(self.t_ranks)
        self.x_centred, self.t_centred = unit(u_centred(distances)), unit(u_centred(targets))

    def all_pairs(self) -> Float[Array, "coupling target depth"]:
        """Every coupling in the whole sample."""
        return _couplings(self.x, self.t, self.x_centred, self.t_centred)

    def among(self, prompts: Int[Array, " half"]) -> Float[Array, "coupling target depth"]:
        """The couplings among some prompts; ranks are those of the whole sample."""
        pairs = pairs_of(self.index, prompts)
        square = prompts[:, None], prompts[None]
        return _couplings(
            standardised(self.x_ranks[..., pairs]),
            standardised(self.t_ranks[..., pairs]),
            unit(u_centred(self.distances[:, :, *square])),
            unit(u_centred(self.targets[:, *square])),
        )

    def without_each(self) -> Float[Array, "rank target depth sample"]:
        """The rank correlations and partial ones of all pairs but those of one prompt, for each
        prompt: what the sample is without it, for a jackknife. Ranks are those of all."""
        n = self.targets.shape[-1]
        i, j = np.triu_indices(n, 1)
        of_prompt = np.zeros((len(i), n))
        of_prompt[np.arange(len(i)), i] = of_prompt[np.arange(len(i)), j] = 1.0
        n_left = (n - 1) * (n - 2) / 2

        def left(a: Float[Array, "*row pair"], b: Float[Array, "*row pair"]) -> Array:
            """Covariance of two rows of mean 0, over the pairs that are left."""
            product = (a * b).sum(-1, keepdims=True) - (a * b) @ of_prompt
            return product - (a @ of_prompt) * (b @ of_prompt) / n_left

        def correlation(a: Float[Array, "*row pair"], b: Float[Array, "*row pair"]) -> Array:
            spread = left(a, a) * left(b, b)
            some = spread > 1e-18
            return np.divide(
                left(a, b), np.sqrt(np.abs(spread)), out=np.full(spread.shape, np.nan), where=some
            )

        x = rearrange(self.x, "depth distance pair -> distance 1 depth pair")
        rho = correlation(*np.broadcast_arrays(x, self.t[:, None]))
        between = correlation(self.x[:, 0], self.x[:, 1]).reshape(-1)
        angle, norm = (
            rearrange(r, "target depth prompt -> target (depth prompt)") for r in rho[:2]
        )
        held = [partial(angle, norm, between), partial(norm, angle, between)]
        return np.stack([*rho, *(one.reshape(rho[0].shape) for one in held)])

    def permuted(
        self, orders: Int[Array, "draw sample"]
    ) -> Float[Array, "draw coupling target depth"]:
        """The couplings once the prompts of the targets have changed places; NaN for partial ones.

        Pairs of one prompt that stands in two places have no distance and no say.
        """
        rows = [
            (RANK, self.t, rearrange(self.x, "depth distance pair -> pair (depth distance)")),
            (CENTRED, self.t_centred,
             rearrange(self.x_centred, "depth distance pair -> pair (depth distance)")),
        ]  # fmt: skip
        found = np.full((len(orders), len(COUPLINGS), len(self.t), len(self.x)), np.nan)
        for start in range(0, len(orders), ORDERS_AT_ONCE):
            some = slice(start, start + ORDERS_AT_ONCE)
            pairs = pairs_of(self.index, orders[some])
            for which, t, x in rows:
                found[some, which] = rearrange(
                    _moved(t, pairs) @ x,
                    "draw target (depth distance) -> draw distance target depth",
                    distance=self.x.shape[1],
                )
        return found


def couple(
    states: Float[Tensor, "depth sample d_model"],
    targets: Mapping[str, Float[Array, "sample sample"]],
    halves: Halves | Int[Array, "resample half"],
    *,
    units: Mapping[str, Units] | None = None,
    n_permutations: int,
    seed: int,
) -> Coupling:
    """Correlate distances between states with every target.

    Partial correlations are of ranks, with those of the other part of the state held. They have an
    interval and no p: every way of permuting them raises false alarms where the two parts go
    together (Guillot & Rousset 2013, "Dismantling the Mantel tests"; one in three at 0.05 where
    the norm leans on the direction). Distance correlation: bias-corrected, on the squared scale, 0
    on average where nothing is related (Szekely & Rizzo 2014).

    Args:
        states: of the sample.
        targets: distances between its prompts, by name.
        halves: for the intervals.
        units: by target, which prompts go together and change places as one; None: none do.
        n_permutations: of prompts, by each grouping of theirs.
        seed: of the permutations.
    """
    distances = np.stack([state_distances(x) for x in states])
    table = PairTable(distances, np.stack(list(targets.values())))
    value = table.all_pairs()
    drawn = np.array([table.among(half) for half in halves]).reshape(-1, *value.shape)
    low, high = half_interval(value, drawn, halves if isinstance(halves, Halves) else None)
    rng = np.random.default_rng(seed)
    by_target = [
        exchanges(() if units is None else units[name], target) for name, target in targets.items()
    ]
    nulls = {
        one: table.permuted(exchanged(one, rng, n_permutations))
        for one in dict.fromkeys(one for groupings in by_target for one in groupings)
    }
    p = np.ones(value.shape)
    p[PARTIAL] = np.nan
    for i, groupings in enumerate(by_target):
        by_chance = nulls_of([nulls[one][:, :, i] for one in groupings])
        for coupling, depth in np.argwhere(~np.isnan(value[:, i])).tolist():
            if coupling in PARTIAL:
                continue
            sided = np.abs if coupling < PARTIAL.start else np.asarray
            own = float(sided(value[coupling, i, depth]))
            p[coupling, i, depth] = max(
                stats.permutation_p(own, sided(null[:, coupling, depth])) for null in by_chance
            )
    return Coupling(value=value, low=low, high=high, p=p)


def coupling_names(target: str) -> list[str]:
    """What the couplings to a target are called, in their order."""
    return [name.format(target) for name in COUPLINGS]


def _moved(
    rows: Float[Array, "target pair"], pairs: Int[Array, "draw pair"]
) -> Float[Array, "draw target pair"]:
    """Rows with other pairs in their places, 0 where there is none."""
    found = rearrange(rows[:, pairs], "target draw pair -> draw target pair")
    there = pairs >= 0
    return found if there.all() else unit(found * there[:, None])


def _couplings(
    x: Float[Array, "depth 3 pair"],
    t: Float[Array, "target pair"],
    x_centred: Float[Array, "depth 3 pair"],
    t_centred: Float[Array, "target pair"],
) -> Float[Array, "coupling target depth"]:
    """Correlations of standardised rows."""
    rho = rearrange(x @ t.T, "depth distance target -> distance target depth")
    between = np.einsum("dp,dp->d", x[:, 0], x[:, 1])
    angle, norm = rho[0], rho[1]
    given_norm, given_angle = partial(angle, norm, between), partial(norm, angle, between)
    dcor = rearrange(x_centred @ t_centred.T, "depth distance target -> distance target depth")
    return np.stack([*rho, given_norm, given_angle, *dcor])


def partial(
    with_a: Float[Array, "target depth"],
    with_b: Float[Array, "target depth"],
    between: Float[Array, " depth"],
) -> Float[Array, "target depth"]:
    """Correlation with a where b is held; NaN where b leaves nothing of either."""
    left = (1 - with_b**2) * (1 - between**2)
    top = with_a - with_b * between
    return np.divide(top, np.sqrt(np.abs(left)), out=np.full(top.shape, np.nan), where=left > 1e-9)
