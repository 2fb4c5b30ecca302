"""How much of the norm's variance a context label explains on prompts that taught nothing."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth.claims.estimate import Estimate, estimate, ratio
from lensdepth.claims.zones import chosen_on_others


def norm_tells_context(
    norm: Float[Array, "pair depth"],
    labels: Mapping[str, Int[Array, " pair"]],
    group: Int[Array, "pair role"],
    share: Bool[Array, "pair pair"],
    *,
    n: int,
) -> Estimate:
    """Out-of-sample share of variance, at the label and depth that other prompts choose.

    For each set of groups, the class means of every label at every depth are learned on pairs
    without a prompt of these groups, the label and depth that explain most there (by
    leave-one-out) are taken, and the norms of the groups' own prompts are predicted. 1 - squared
    error / squared distance from the learned mean: 0 on average or less where the label says
    nothing. Depths between the first block's output and depth L - 1.
    """
    error, spread = (np.full(len(norm), np.nan) for _ in range(2))
    depths = range(1, norm.shape[1] - 1)
    for mine, chosen in chosen_on_others(group):
        scored = {
            (name, depth): _left_out_share(norm[chosen, depth], label[chosen])
            for name, label in labels.items()
            for depth in depths
        }
        name, depth = max(scored, key=lambda at: scored[at])
        means = _class_means(norm[chosen, depth], labels[name][chosen], labels[name])
        error[mine] = ((norm[:, depth] - means) ** 2)[mine]
        spread[mine] = ((norm[:, depth] - norm[chosen, depth].mean()) ** 2)[mine]
    # Norms at different depths have different sizes: each pair counts in units of its own depth.
    explained = np.stack([spread - error, spread], axis=1)
    return estimate(explained, share, ratio, n=n)


def _class_means(
    values: Float[Array, " chosen"], label: Int[Array, " chosen"], asked: Int[Array, " pair"]
) -> Float[Array, " pair"]:
    """The mean of each asked class; that of all where a class was not seen."""
    size = int(max(label.max(), asked.max())) + 1
    count = np.bincount(label, minlength=size)
    total = np.bincount(label, weights=values, minlength=size)
    means = np.where(count > 0, total / np.maximum(count, 1), values.mean())
    return means[asked]


def _left_out_share(values: Float[Array, " chosen"], label: Int[Array, " chosen"]) -> float:
    """Share of variance that class means explain, each value left out of its own."""
    count, n = np.bincount(label)[label], len(values)
    own = _class_means(values, label, label)
    seen: Bool[Array, " chosen"] = count > 1
    total = values.sum()
    without = np.where(
        seen, (own * count - values) / np.maximum(count - 1, 1), (total - values) / (n - 1)
    )
    center = (total - values) / (n - 1)
    spread = ((values - center) ** 2).sum()
    return float(1 - ((values - without) ** 2).sum() / spread) if spread > 0 else -np.inf
