"""How much of the norm's variance a context label explains on prompts that taught nothing.

By itself that says little of norms: almost any number read off a state tells something of its
prompt. So the norm is held against random projections of the same states, by the same procedure.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth.claims.estimate import Estimate, estimate, ratio
from lensdepth.claims.zones import chosen_on_others
from lensdepth.units import Units

N_PROJECTIONS = 100
"""Random directions that the norm is held against."""
PERCENTILE = 95


def norm_tells_context(
    norm: Float[Array, "pair depth"],
    labels: Mapping[str, Int[Array, " pair"]],
    group: Int[Array, "pair role"],
    units: Units,
    where: Bool[Array, "pair depth"] | None = None,
) -> Estimate:
    """Out-of-sample share of variance, at the label and depth that other prompts choose.

    For each set of groups, the class means of every label at every depth are learned on pairs
    without a prompt of these groups, the label and depth that explain most there (by
    leave-one-out) are taken, and the norms of the groups' own prompts are predicted. 1 - squared
    error / squared distance from the learned mean: 0 on average or less where the label says
    nothing. Of the depths `where` says for each pair, which pairs of the same groups share; by
    default those between the first block's output and depth L - 1.
    """
    explained, _ = _explained(norm[..., None], labels, group, where)
    return estimate(explained[..., 0], units, ratio)


def chosen_for(
    norm: Float[Array, "pair depth"],
    labels: Mapping[str, Int[Array, " pair"]],
    group: Int[Array, "pair role"],
    where: Bool[Array, "pair depth"] | None = None,
) -> list[tuple[str, int]]:
    """The label and depth that other prompts choose for each pair; see `norm_tells_context`."""
    _, best = _explained(norm[..., None], labels, group, where)
    names = list(labels)
    return [(names[label], depth) for label, depth in best[:, :, 0].tolist()]


def shares_told(
    values: Float[Array, "pair depth number"],
    labels: Mapping[str, Int[Array, " pair"]],
    group: Int[Array, "pair role"],
    where: Bool[Array, "pair depth"] | None = None,
) -> Float[Array, " number"]:
    """`norm_tells_context` of many numbers at once, each with a label and depth of its own."""
    mean = _explained(values, labels, group, where)[0].mean(0)
    return mean[0] / mean[1]


def projections(
    states: Float[Array, "depth pair d_model"], seed: int
) -> Float[Array, "pair depth projection"]:
    """The states along N_PROJECTIONS random directions, the same ones at every depth."""
    drawn = np.random.default_rng(seed).normal(size=(states.shape[-1], N_PROJECTIONS))
    along = drawn / np.linalg.norm(drawn, axis=0)
    return (states @ along).transpose(1, 0, 2)


def within(
    values: Float[Array, "pair depth number"], kind: Int[Array, " pair"]
) -> Float[Array, "pair depth number"]:
    """Deviations from the mean over the pairs of the same kind."""
    members = np.eye(kind.max() + 1)[kind]
    flat = values.reshape(len(values), -1)
    means = (members.T @ flat) / members.sum(0)[:, None]
    return (flat - means[kind]).reshape(values.shape)


def _explained(
    values: Float[Array, "pair depth number"],
    labels: Mapping[str, Int[Array, " pair"]],
    group: Int[Array, "pair role"],
    where: Bool[Array, "pair depth"] | None,
) -> tuple[Float[Array, "pair 2 number"], Int[Array, "pair 2 number"]]:
    """By pair and number, what a label explains of the squared distance, and that distance; and
    which label and which depth were taken.

    Of the squared distance from the learned mean; error and distance are of the same depth.
    """
    n_depths, n_numbers = values.shape[1:]
    between = np.zeros(values.shape[:2], dtype=bool)
    between[:, 1:-1] = True
    allowed = between if where is None else where & between
    found = np.full((len(values), 2, n_numbers), np.nan)
    taken = np.zeros((len(values), 2, n_numbers), dtype=int)
    for mine, chosen in chosen_on_others(group):
        depths = np.arange(n_depths)[allowed[mine].any(0)]
        scored = np.stack(
            [_left_out_share(values[chosen][:, depths], label[chosen]) for label in labels.values()]
        )
        # The best label and depth of each number.
        best = scored.reshape(-1, n_numbers).argmax(0)
        which, at = np.divmod(best, len(depths))
        depth, numbers = depths[at], np.arange(n_numbers)
        here, there = values[mine][:, depth, numbers], values[chosen][:, depth, numbers]
        predicted = np.empty_like(here)
        for i, label in enumerate(labels.values()):
            own = which == i
            predicted[:, own] = _class_means(there[:, own], label[chosen], label[mine])
        spread = (here - there.mean(0)) ** 2
        error = (here - predicted) ** 2
        found[mine] = np.stack([spread - error, spread], axis=1)
        taken[mine] = np.stack([which, depth])
    return found, taken


def _class_means(
    values: Float[Array, "chosen number"], label: Int[Array, " chosen"], asked: Int[Array, " mine"]
) -> Float[Array, "mine number"]:
    """The mean of each asked class; that of all where a class was not seen."""
    size = int(max(label.max(), asked.max())) + 1
    members = np.eye(size)[label]
    count = members.sum(0)[:, None]
    means = np.where(count > 0, members.T @ values / np.maximum(count, 1), values.mean(0))
    return means[asked]


def _left_out_share(
    values: Float[Array, "chosen depth number"], label: Int[Array, " chosen"]
) -> Float[Array, "depth number"]:
    """Share of variance that class means explain, each value left out of its own."""
    n, flat = len(values), values.reshape(len(values), -1)
    count = np.bincount(label)[label][:, None]
    own, total = _class_means(flat, label, label), flat.sum(0)
    without = np.where(
        count > 1, (own * count - flat) / np.maximum(count - 1, 1), (total - flat) / (n - 1)
    )
    spread = ((flat - (total - flat) / (n - 1)) ** 2).sum(0)
    error = ((flat - without) ** 2).sum(0)
    share = np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1.0), -np.inf)
    return share.reshape(values.shape[1:])
