"""How far means stray where not pairs but the words, templates and prompts they share are drawn.

The covariance adds up the products of all pairs that go together (see `units`), so that it is that
of whole units, with a small-sample correction. Degrees of freedom are those of the grouping with
the fewest units at most, as of Cameron, Gelbach & Miller: that units seem to differ little may be
by chance, and with few of them often is.

Source: Cameron, Gelbach & Miller 2011, "Robust Inference With Multiway Clustering"; Aronow, Samii &
Assenova 2015, "Cluster-Robust Variance Estimation for Dyadic Data" (values in two roles).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array

from lensdepth.units import Grouping, Units

EXACT = 1e-12
"""Beside the size of the values, spread below this is rounding."""


def influence_of(
    flat: Float[Array, "pair number"],
) -> tuple[Float[Array, " number"], Float[Array, "pair number"], Int[Array, " number"]]:
    """Means, how far each pair pulls each of them, and how many pairs each has."""
    known = ~np.isnan(flat)
    present = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, flat, 0.0).sum(0) / present
        influence = np.where(known, flat - mean, 0.0) / present
    return mean, np.nan_to_num(influence), present


def variance_of_sum(
    influence: Float[Array, "pair number"],
    units: Units,
    present: Int[Array, " number"] | None = None,
) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
    """Clustered variance of each sum over pairs, and the degrees of freedom that it has.

    The grouping with the most variance counts whole, each other one with what it adds to that of
    independent pairs; the sum is never less than if all pairs were independent.

    Args:
        influence: by pair, centred.
        units: which pairs go together.
        present: how many pairs each number has; all by default.
    """
    pairs = np.full(influence.shape[1], len(influence)) if present is None else present
    parts = [(influence**2).sum(0) * pairs / np.maximum(pairs - 1, 1)]
    dfs = [np.maximum(pairs - 1.0, 1.0)]
    for one in units:
        sums, twice, factor, df = _summed(influence, one)
        parts.append(factor * np.maximum((sums**2).sum(0) - (twice**2).sum(0), 0.0))
        dfs.append(np.full(influence.shape[1], df))
    found = np.stack(parts)
    most = found.argmax(0)
    kept = _added(found, most)
    total = kept.sum(0)
    return total, np.stack(dfs).min(0)


def _added(
    variances: Float[Array, "part number"], most: Int[Array, " number"]
) -> Float[Array, "part number"]:
    """Of the largest part all, of each other what it exceeds that of independent pairs by."""
    added = np.maximum(variances - variances[0], 0.0)
    columns = np.arange(variances.shape[1])
    added[most, columns] = variances[most, columns]
    return added


def covariance_root(
    influence: Float[Array, "pair number"], units: Units
) -> tuple[Float[Array, "row number"], float]:
    """A matrix whose square is the clustered covariance of the sums, and degrees of freedom.

    Like `variance_of_sum`, for all numbers at once: groupings are weighed by the sum of their
    variances, each number in units of its own spread.
    """
    pairs = len(influence)
    alone = np.sqrt(pairs / max(pairs - 1, 1)) * influence
    scale = (alone**2).sum(0)
    seen = scale > EXACT * max(float(scale.max(initial=0.0)), EXACT)
    if not seen.any():
        return np.zeros((1, influence.shape[1])), float(pairs - 1)
    roots, dfs = [alone], [float(pairs - 1)]
    for one in units:
        sums, twice, factor, df = _summed(influence, one)
        roots.append(np.sqrt(factor) * _less(sums, twice))
        dfs.append(df)
    weights = np.array([((r**2).sum(0)[seen] / scale[seen]).sum() for r in roots])[:, None]
    kept = _added(weights, weights.argmax(0))[:, 0]
    share = np.sqrt(np.divide(kept, weights[:, 0], out=np.zeros(len(roots)), where=kept > 0))
    whole = np.concatenate([s * r for s, r in zip(share, roots, strict=True) if s > 0])
    # As many rows as numbers at most: the draws then cost no more with many pairs.
    return np.asarray(np.linalg.qr(whole, mode="r")), max(min(dfs), 1.0)


def jackknife(
    statistic: Callable[[Float[Array, "row *shape"]], Float[Array, " row"]],
    values: Float[Array, "pair *shape"],
    units: Units,
) -> tuple[float, float]:
    """Variance of a function of means over pairs, and the degrees of freedom that it has.

    Each unit is left out in turn with all of its pairs, and so is each pair; groupings add up as in
    `variance_of_sum`. What a function bends is in it, as it is not in draws about the means: so few
    units leave little of a spread between them.

    Source: Efron & Stein 1981, "The Jackknife Estimate of Variance"; MacKinnon, Nielsen & Webb
    2023, "Fast and Reliable Jackknife and Bootstrap Methods for Cluster-Robust Inference".
    """
    variances, dfs = [], []
    alone = Grouping(name="pair", values=tuple(map(str, range(len(values)))))
    for one in (alone, *units):
        levels = _levels(one)
        n_units = int(levels.max()) + 1
        without = np.stack([(levels != unit).all(0) for unit in range(n_units)])
        without = without[without.any(1)].astype(float)
        means = np.tensordot(without / without.sum(1, keepdims=True), values, axes=1)
        found = statistic(means)
        k = len(found)
        variances.append((k - 1) / k * ((found - found.mean()) ** 2).sum())
        dfs.append(k - 1.0)
    parts = np.array(variances)[:, None]
    return float(_added(parts, parts.argmax(0)).sum()), max(min(dfs), 1.0)


def _summed(
    influence: Float[Array, "pair number"], grouping: Grouping
) -> tuple[Float[Array, "level number"], Float[Array, "both number"], float, float]:
    """Sums over the pairs that have a value; over those that share both values, which these count
    twice; the small-sample factor; and the degrees of freedom.

    The factor makes the variance right where pairs are independent (one over the share of pairs of
    pairs that do not go together), or where nothing but their units makes them differ, whichever
    is more; the degrees of freedom are those of the latter. Of G groups of one size that is
    G / (G - 1) and G - 1 either way; where pairs have two values, or groups differ in size, the
    mean takes more of the units' own spread away.
    """
    levels = _levels(grouping)
    roles, pairs = levels.shape
    member = np.zeros((int(levels.max()) + 1, pairs))
    member[levels, np.arange(pairs)] = 1.0
    sums, sizes = member @ influence, member.sum(1)
    twin = np.zeros((0, pairs))
    if roles == 2:
        both = np.flatnonzero(levels[0] != levels[1])
        _, index = np.unique(np.sort(levels[:, both], axis=0), axis=1, return_inverse=True)
        index = index.ravel()
        twin = np.zeros((int(index.max(initial=-1)) + 1, pairs))
        twin[index, both] = 1.0
    twice, double = twin @ influence, twin.sum(1)
    together = ((sizes**2).sum() - (double**2).sum()) / pairs**2
    independent = 1 / max(1 - together, 1 / pairs)
    of_units, df = _by_units(member, twin)
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    return sums, twice, max(independent, of_units), max(min(effective - 1, df), 1.0)


def _by_units(
    member: Float[Array, "level pair"], twin: Float[Array, "both pair"]
) -> tuple[float, float]:
    """Factor and degrees of freedom where pairs differ by independent effects of their units.

    Source: Bell & McCaffrey 2002, "Bias Reduction in Standard Errors for Linear Regression with
    Multi-Stage Samples"; Imbens & Kolesár 2016, "Robust Standard Errors in Small Samples" (effects
    of units as the model under which Satterthwaite's degrees of freedom are).
    """
    sizes, pairs = member.sum(1), member.shape[1]
    own = member @ member.T - np.outer(sizes, sizes) / pairs
    doubled = twin @ member.T - np.outer(twin.sum(1), sizes) / pairs
    form = own @ own - doubled.T @ doubled
    seen = float(np.trace(form))
    if seen <= EXACT * float((sizes**2).sum()):
        return 1.0, 1.0
    return float((sizes**2).sum()) / seen, seen**2 / float((form**2).sum())


def _levels(grouping: Grouping) -> Int[Array, "role pair"]:
    """Its values as numbers from 0, a row a role."""
    found = np.unique(np.concatenate(grouping.roles), return_inverse=True)[1]
    return found.reshape(len(grouping.roles), -1)


def _less(
    sums: Float[Array, "row number"], twice: Float[Array, "other number"]
) -> Float[Array, "axis number"]:
    """A root of the difference of two squares, as far as that is one of a covariance."""
    if not len(twice):
        return sums
    values, vectors = np.linalg.eigh(sums.T @ sums - twice.T @ twice)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
