"""What a linear reader finds in features: cross-validated ridge regression against permutations.

Pure functions of arrays. A ridge fit is linear in what it is fitted to, so one fit to the identity
gives the predictions for the labels and for every permutation of them at the cost of a product.

The penalty is fixed, because tuning it on the labels would favour them over their permutations;
folds do not look at the labels for the same reason. Features are standardised in the training
fold and divided by the root of their number, so that one feature and thousands of them have the
same total variance and meet the same penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int
from numpy import ndarray as Array

from lensdepth import stats

Kind = Literal["class", "number"]

PENALTY = 0.1
"""Ridge penalty: a training sample counts 1 in the squared error, its features have length 1."""
ROUNDING = 1e-6
"""A feature whose spread is a smaller part of the largest feature than this is constant."""
N_RESAMPLES = 1000
"""Bootstrap resamples of a score's interval."""
LARGEST_ARRAY = 10_000_000
"""Permutations are gone through in parts that need no array with more numbers than this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldFit:
    """One training fold's ridge regression on the identity, and the fold held out."""

    train: Int[Array, " train"]
    test: Int[Array, " test"]
    left: Float[Array, "sample inner"]
    right: Float[Array, "inner train"] | None
    """left @ right takes labels of the training fold to predictions; None where left alone does."""

    def fitted(self, targets: Float[Array, "train column"]) -> Float[Array, "sample column"]:
        """What a fit to these targets of the training fold says of every sample."""
        return self.left @ (targets if self.right is None else self.right @ targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """How well one label is read off one set of features, out of fold."""

    score: float
    """Balanced accuracy, or R² against the training fold's mean."""
    null: Float[Array, " permutation"]
    """The score for permuted labels."""
    resampled: Float[Array, " resample"]
    """The score for resampled prompts; the same resamples for every set of features."""

    @property
    def p(self) -> float:
        """Chance of such a score where the features say nothing of the label."""
        return stats.permutation_p(self.score, self.null)


def assign_folds(
    groups: Int[Array, " sample"], n_folds: int, seed: int = 0
) -> Int[Array, " sample"]:
    """The fold that holds each sample out: groups stay whole, and folds hold equally many."""
    names, at = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % n_folds)[at]


def fit_folds(
    features: Float[Array, "sample feature"], folds: Int[Array, " sample"]
) -> list[FoldFit]:
    """Ridge regressions of every training fold, ready for any labels."""
    # scikit-learn takes a second to import, which sweeps that decode nothing need not wait for.
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    features = without_rounding(features)
    fits = []
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        scaler = StandardScaler().fit(features[train])
        scaled = scaler.transform(features) / np.sqrt(features.shape[1])
        ridge = Ridge(alpha=PENALTY, solver="cholesky").fit(scaled[train], np.eye(len(train)))
        left = np.column_stack([scaled, np.ones(len(scaled))])
        right = np.vstack([ridge.coef_.T, ridge.intercept_])
        # With more features than samples the product of the two is smaller than either.
        if len(right) > len(train):
            left, right = left @ right, None
        fits.append(FoldFit(train=train, test=test, left=left, right=right))
    return fits


def without_rounding(
    features: Float[Array, "sample feature"],
) -> Float[Array, "sample feature"]:
    """Features in double precision, 0 where they are constant but for rounding.

    Standardising would make as much of what rounding left as of anything else.
    """
    wide = features.astype(float)
    spread = wide.max(0) - wide.min(0)
    return np.where(spread > ROUNDING * np.abs(wide).max(), wide, 0.0)


def permuted(
    values: Array, groups: Int[Array, " sample"], n_permutations: int, seed: int = 0
) -> Array:
    """The values themselves, then permutations of them: `[1 + permutation, sample]`.

    Samples of one group are not independent. Values that are constant within every group change
    places as whole groups; values that vary within one are permuted within each.
    """
    _, first, at = np.unique(groups, return_index=True, return_inverse=True)
    rng = np.random.default_rng(seed)
    rows = [values]
    if (values == values[first][at]).all():
        rows += [rng.permutation(values[first])[at] for _ in range(n_permutations)]
        return np.stack(rows)
    slots = np.argsort(at, kind="stable")
    for _ in range(n_permutations):
        row = np.empty_like(values)
        row[slots] = values[np.lexsort((rng.random(len(at)), at))]
        rows.append(row)
    return np.stack(rows)


def decode(
    fits: Sequence[FoldFit],
    rows: Array,
    groups: Int[Array, " sample"],
    *,
    kind: Kind,
    n_classes: int = 0,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Decoded:
    """Score a label out of fold, with its null and its bootstrap over groups.

    Classes are fitted as one-hot targets, and a sample goes to the class whose training samples'
    mean fitted target is nearest: the largest fitted target alone would pass over every class
    that lies between others, which on one feature is all but two. Its score is the balanced
    accuracy, the mean over classes of the share found. A number's score is R² against the mean of
    the training fold, so that 0 is knowing nothing; it may be negative.

    Args:
        fits: of `fit_folds`, for the same samples.
        rows: of `permuted`: class indices or numbers, the labels themselves first.
        groups: what is resampled whole.
        kind: "class" or "number".
        n_classes: indices run from 0 to it, for classes.
        n_resamples: bootstrap resamples of the out-of-fold predictions.
        seed: of the resamples.
    Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, 4.2 (classes
        passed over) and 12.5 (nearest centroids of fitted targets).
    """
    _, at = np.unique(groups, return_inverse=True)
    n_groups = int(at.max()) + 1
    counts = stats.resample_counts(n_groups, n_resamples, seed).astype(float)
    part = max(1, LARGEST_ARRAY // (rows.shape[1] * max(1, n_classes)))
    scores, resampled = [], np.empty(0)
    for start in range(0, len(rows), part):
        given = rows[start : start + part]
        if kind == "class":
            guess = predict_classes(fits, given, n_classes)
            member = given[:, :, None] == np.arange(n_classes)
            found = member & (guess == given)[:, :, None]
            top, bottom = found.astype(float), member.astype(float)
        else:
            guess, mean = predict_numbers(fits, given)
            top, bottom = ((given - guess) ** 2)[:, :, None], ((given - mean) ** 2)[:, :, None]
        scores.append(_score(top.sum(1), bottom.sum(1), kind))
        if start == 0:  # the labels themselves
            tallies = [counts @ _by_group(x[0], at, n_groups) for x in (top, bottom)]
            resampled = _score(tallies[0], tallies[1], kind)
    score, *null = np.concatenate(scores)
    return Decoded(score=float(score), null=np.array(null), resampled=resampled)


def _score(
    top: Float[Array, "row column"], bottom: Float[Array, "row column"], kind: Kind
) -> Float[Array, " row"]:
    """Mean share of each class that was found, or 1 - error over variance."""
    present = bottom > 0
    share = np.divide(top, bottom, out=np.zeros_like(top), where=present)
    # A resample may lack a class, and one prompt drawn over and over has no variance.
    n_present = present.sum(-1)
    mean = np.divide(
        share.sum(-1), n_present, out=np.full(n_present.shape, np.nan), where=n_present > 0
    )
    return mean if kind == "class" else 1 - mean


def _by_group(
    tally: Float[Array, "sample column"], at: Int[Array, " sample"], n_groups: int
) -> Float[Array, "group column"]:
    total = np.zeros((n_groups, tally.shape[1]))
    np.add.at(total, at, tally)
    return total


def predict_numbers(
    fits: Sequence[FoldFit], rows: Float[Array, "row sample"]
) -> tuple[Float[Array, "row sample"], Float[Array, "row sample"]]:
    """Out-of-fold predictions of each row, and the mean of each sample's training fold."""
    guess, mean = np.empty_like(rows), np.empty_like(rows)
    for fit in fits:
        targets = rows.T[fit.train]
        guess[:, fit.test] = fit.fitted(targets)[fit.test].T
        mean[:, fit.test] = targets.mean(0)[:, None]
    return guess, mean


def predict_classes(
    fits: Sequence[FoldFit], rows: Int[Array, "row sample"], n_classes: int
) -> Int[Array, "row sample"]:
    """Out-of-fold classes of each row; a class that the training fold lacks is never given."""
    guess = np.empty_like(rows)
    one_hot = np.eye(n_classes)
    for fit in fits:
        targets = one_hot[rows.T[fit.train]]
        fitted = fit.fitted(rearrange(targets, "train row class -> train (row class)"))
        fitted = rearrange(fitted, "test (row class) -> test row class", row=len(rows))
        guess[:, fit.test] = _distances(fit, targets, fitted).argmin(-1)
    return guess


def _distances(
    fit: FoldFit,
    targets: Float[Array, "train row class"],
    fitted: Float[Array, "sample row class"],
) -> Float[Array, "row test class"]:
    """Squared distances to the classes' mean fitted targets, but for what all classes share."""
    member = rearrange(targets, "train row kind -> row kind train")
    size = member.sum(-1, keepdims=True)
    inside = rearrange(fitted[fit.train], "train row d -> row train d")
    centroid = (member @ inside) / np.maximum(size, 1)
    outside = rearrange(fitted[fit.test], "test row d -> row test d")
    distance = (centroid**2).sum(-1)[:, None] - 2 * outside @ rearrange(
        centroid, "row kind d -> row d kind"
    )
    # Features that say nothing put all centroids in one place; rounding must not choose there.
    return np.where(rearrange(size, "row kind 1 -> row 1 kind") > 0, distance.round(12), np.inf)
