"""Where control passes in several models, relative to their depth: in one place, or in several?

Two questions, each with a null of its own, that share 5 % between them (Bonferroni). Both rules and
all thresholds were set before any result.

*Closer together than chance.* The spread (standard deviation) of the relative depths is held
against that of the same places each turned round its own model's depths by a random number of
them, over and over: from the first that was measured to the last, for no place is found beyond.
Untrained twins of the models have places too: where more than one in twenty sets of twins, one of
each model, is as close together, it is by architecture and no finding; a set in which some twin has
no place is not as close.

*Different beyond noise.* Welch's test of equal means, with each place's own standard error: that of
its units, and that of a place which is known to lie between two measured depths alone, which is
their distance over the root of 12. Models are asked the same prompts, hard ones are hard for all,
and so real differences are known rather better than is reckoned with here.

Both may hold: places may be alike and yet not the same.

Sources: Welch 1951, "On the Comparison of Several Mean Values"; Phipson & Smyth 2010 for p-values
of draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.claims.architecture import OFTEN
from lensdepth.claims.place import PASSES, Place
from lensdepth.storage import Result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

FEWEST_MODELS = 4
"""Models with a place below which nothing is said of all."""
N_DRAWS = 10_000
DepthVerdict = Literal[
    "closer than chance", "different", "closer than chance, yet different", "open", "too few"
]


@checked
@dataclass(frozen=True, kw_only=True)
class DepthComparison(Result):
    """Whether control passes at one relative depth in several models."""

    MADE_BY: ClassVar[str] = "compare_depths({name: find_crossing(...), ...})"
    """The call that makes one."""

    verdict: DepthVerdict
    what: str
    """Of what the places are, in words."""
    models: tuple[str, ...]
    n_layers: tuple[int, ...]
    places: tuple[Place, ...]
    twins: tuple[tuple[Place, ...], ...]
    """Of each model's untrained twins; () where none was measured."""
    spread: float
    """Standard deviation of the relative depths of those that have one; NaN of fewer than two."""
    p_closer: float
    """Share of draws, each place turned round its own depths, that are as close together."""
    p_different: float
    """Of Welch's test of one relative depth in all."""
    twin_share: float
    """Share of sets of twins that are as close together; NaN unless every placed model has some."""
    n_twin_sets: int
    seed: int

    @property
    def placed(self) -> tuple[int, ...]:
        """Which of the models have a place."""
        return tuple(i for i, one in enumerate(self.places) if one.placed)

    @property
    def without(self) -> tuple[str, ...]:
        """Models in which control passes nowhere, for sure."""
        return tuple(
            name
            for name, one in zip(self.models, self.places, strict=True)
            if one.verdict == "none"
        )

    @property
    def by_architecture(self) -> bool:
        """Whether untrained twins are as close together too often."""
        return self.twin_share > OFTEN

    def to_frame(self) -> "pd.DataFrame":
        """One row a model: where control passes, and how many of its twins have a place."""
        import pandas as pd

        rows = []
        for name, n, one, twins in zip(
            self.models, self.n_layers, self.places, self.twins, strict=True
        ):
            scaled = {
                key: getattr(one, key) / n if one.placed else np.nan
                for key in ("depth", "low", "high", "se")
            }
            rows.append(
                {"model": name, "n_layers": n, "verdict": one.verdict}
                | {"relative_depth": scaled.pop("depth"), **scaled, "n_units": one.n_units}
                | {"n_twins": len(twins), "twins_placed": sum(twin.placed for twin in twins)}
            )
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Each model's place with its interval."""
        from lensdepth.intervals import interval_figure
        from lensdepth.telling.numbers import Interval

        rows = self.to_frame().to_dict("records")
        found = {
            str(row["model"]): Interval(
                value=row["relative_depth"], low=row["low"], high=row["high"]
            )
            for row in rows
        }
        return interval_figure(
            found,
            title=f"Where {self.what}: {self.verdict}",
            x_title="fraction of the depth",
        )


def compared(
    models: Mapping[str, tuple[int, Place, tuple[Place, ...]]],
    *,
    what: str = PASSES,
    seed: int = 0,
) -> DepthComparison:
    """Whether places are one: see `compare_depths`.

    Args:
        models: blocks, place and twins' places, by name.
        what: of what the places are, in words.
        seed: of the draws.
    """
    rows = [row for row in models.values() if row[1].placed]
    placed = [place for _, place, _ in rows]
    layers = np.array([n for n, _, _ in rows], dtype=float)
    depths = np.array([place.depth for place in placed])
    enough = len(rows) >= FEWEST_MODELS
    spread = float(np.std(depths / layers)) if len(rows) > 1 else np.nan
    closer = different = share = np.nan
    n_sets = 0
    if enough:
        drawn = turned_spreads(placed, layers, seed=seed)
        closer = stats.permutation_p(-spread, -drawn)
        errors = np.array([place.se for place in placed]) / layers
        different = welch(depths / layers, errors, np.array([place.n_units for place in placed]))
        share, n_sets = _twins_as_close(rows, spread, seed)
    return DepthComparison(
        verdict=_verdict(closer, different, share) if enough else "too few",
        what=what,
        models=tuple(models),
        n_layers=tuple(n for n, _, _ in models.values()),
        places=tuple(place for _, place, _ in models.values()),
        twins=tuple(twins for _, _, twins in models.values()),
        spread=spread,
        p_closer=closer,
        p_different=different,
        twin_share=share,
        n_twin_sets=n_sets,
        seed=seed,
    )


def _verdict(closer: float, different: float, twin_share: float) -> DepthVerdict:
    sure = stats.ALPHA / 2
    together, apart = closer < sure and not twin_share > OFTEN, different < sure
    if together and apart:
        return "closer than chance, yet different"
    return "closer than chance" if together else "different" if apart else "open"


def turned_spreads(
    places: Sequence[Place], n_layers: Float[Array, " model"], *, seed: int
) -> Float[Array, " draw"]:
    """Spreads of the places, each turned round the depths between which it may lie."""
    depth, start, end = np.array([[one.depth, one.start, one.end] for one in places]).T
    reach = np.maximum(end - start, 1.0)
    moved = np.random.default_rng(seed).integers(0, reach, size=(N_DRAWS, len(places)))
    return ((start + (depth - start + moved) % reach) / n_layers).std(1)


def welch(
    means: Float[Array, " model"], errors: Float[Array, " model"], n_units: Int[Array, " model"]
) -> float:
    """p of "all means are one", with standard errors that differ and are themselves estimated."""
    k, weights = len(means), 1 / errors**2
    total = weights.sum()
    between = (weights * (means - (weights * means).sum() / total) ** 2).sum() / (k - 1)
    unsure = ((1 - weights / total) ** 2 / np.maximum(n_units - 1, 1)).sum()
    f = between / (1 + 2 * (k - 2) / (k**2 - 1) * unsure)
    return float(distributions.f.sf(f, k - 1, (k**2 - 1) / (3 * unsure)))


def _twins_as_close(
    rows: Sequence[tuple[int, Place, tuple[Place, ...]]], spread: float, seed: int
) -> tuple[float, int]:
    """Share of sets of twins, one of each model, as close together; and how many sets there are."""
    sets = [
        np.array([twin.depth / n if twin.placed else np.nan for twin in twins])
        for n, _, twins in rows
    ]
    n_sets = prod(map(len, sets))
    if not n_sets:
        return np.nan, 0
    if n_sets <= N_DRAWS:
        drawn = np.array(list(product(*sets)))
    else:
        rng = np.random.default_rng(seed)
        drawn = np.stack([rng.choice(one, N_DRAWS) for one in sets], axis=1)
    return float((drawn.std(1) <= spread).mean()), n_sets
