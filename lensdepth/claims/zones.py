"""Which depths are early and which late for a pair, chosen on pairs that have no prompt of its own.

Prompts are dealt into groups. For a pair whose prompts are in groups g and h, the depth at which
patching at the prediction position overtakes patching at the input is found on the pairs that have
no prompt in g or h, and the pair is then tested at the depths before and after. So every pair is
used, and none helps to choose its own depths.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from lensdepth import stats
from lensdepth.transition.crossed import crossed

N_GROUPS = 5
FEWEST = 8
"""Pairs that depths may be chosen on."""
DRAWS = 100
"""Of the means, to tell whether they cross."""
MARGIN = 0.5
"""Depths on either side of the crossing that count as neither early nor late."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Zones:
    """Early and late depths by pair, all between the first block's output and depth L - 1."""

    group: Int[Array, "pair role"]
    """Groups of the pair's clean and corrupted prompt."""
    crossing: Float[Array, " pair"]
    """Where the pairs that it was chosen on cross; NaN where they do not."""
    early: Bool[Array, "pair depth"]
    late: Bool[Array, "pair depth"]
    group_early: Bool[Array, "group depth"]
    """The same for the prompts of one group, chosen on the pairs without a prompt in it."""
    group_late: Bool[Array, "group depth"]

    @property
    def located(self) -> float:
        """Share of the pairs for which a crossing was found; thirds of the depth stand for it."""
        return float((~np.isnan(self.crossing)).mean())


def deal_groups(*prompts: Sequence[str], seed: int) -> Int[Array, "pair role"]:
    """A group for every prompt, as equal in size as can be."""
    names = list(dict.fromkeys(p for role in prompts for p in role))
    order = np.random.default_rng(seed).permutation(len(names))
    group = dict(zip(names, (order % N_GROUPS).tolist(), strict=True))
    return np.array([[group[p] for p in pair] for pair in zip(*prompts, strict=True)])


def others(group: Int[Array, "pair role"], own: tuple[int, ...]) -> Bool[Array, " pair"]:
    """Pairs with no prompt in any of these groups."""
    return np.logical_not(np.isin(group, own).any(axis=1))


def chosen_on_others(
    group: Int[Array, "pair role"],
) -> list[tuple[Bool[Array, " pair"], Bool[Array, " pair"]]]:
    """For each set of groups: the pairs of these groups, and those to choose on."""
    kinds = [tuple(sorted(set(row))) for row in group.tolist()]
    return [
        (np.array([kind == one for kind in kinds]), others(group, one))
        for one in sorted(set(kinds))
    ]


def find_zones(
    at_input: Float[Array, "pair depth"],
    at_prediction: Float[Array, "pair depth"],
    group: Int[Array, "pair role"],
) -> Zones:
    """Early and late depths of every pair, from efficacies of patching at depths 0 ... L.

    Raises:
        ValueError: there are too few pairs to choose on.
    """
    n_layers = at_input.shape[1] - 1
    crossing = np.full(len(group), np.nan)
    for mine, chosen in chosen_on_others(group):
        crossing[mine] = _cross(at_input[chosen], at_prediction[chosen])
    by_group = np.array(
        [
            _cross(at_input[chosen], at_prediction[chosen])
            for chosen in (others(group, (g,)) for g in range(N_GROUPS))
        ]
    )
    early, late = _around(crossing, n_layers)
    group_early, group_late = _around(by_group, n_layers)
    return Zones(
        group=group,
        crossing=crossing,
        early=early,
        late=late,
        group_early=group_early,
        group_late=group_late,
    )


def reached_late(zones: Zones, measured: Sequence[int]) -> list[int]:
    """The measured depths that means over late depths are taken from: these, and the one before,
    from which a line leads to them."""
    first = int(np.flatnonzero(zones.late.any(0))[0])
    before = max((depth for depth in measured if depth <= first), default=first)
    return [depth for depth in measured if depth >= before]


def _cross(
    at_input: Float[Array, "pair depth"], at_prediction: Float[Array, "pair depth"]
) -> float:
    if len(at_input) < FEWEST:
        raise ValueError(
            f"there are {len(at_input)} pairs without a prompt in common with others to choose "
            f"depths on, and {FEWEST} are needed; give more different prompts"
        )
    # At depth L the last token decides by construction.
    first, second = at_input[:, :-1], at_prediction[:, :-1]
    found = crossed(
        first, second, np.arange(first.shape[1], dtype=float),
        units=(), n_resamples=DRAWS, level=stats.LEVEL, seed=0,
    )  # fmt: skip
    return found.depth if found.verdict == "crossing" else float("nan")


def _around(
    crossing: Float[Array, " row"], n_layers: int
) -> tuple[Bool[Array, "row depth"], Bool[Array, "row depth"]]:
    """Depths before and after each crossing; the outer thirds where there is none."""
    depths = np.arange(n_layers + 1)
    inside = (depths >= 1) & (depths < n_layers)
    third = n_layers / 3
    low = np.where(np.isnan(crossing), third, crossing - MARGIN)[:, None]
    high = np.where(np.isnan(crossing), n_layers - third, crossing + MARGIN)[:, None]
    # At either end one depth is left: control that passes in the first block is gone after it.
    early = inside & ((depths <= low) | (depths == 1))
    late = inside & ((depths >= high) | (depths == n_layers - 1))
    return early, late


@runtime_checkable
class AtDepths(Protocol):
    """What was measured at some depths."""

    @property
    def depths(self) -> Int[Tensor, " measured"]: ...
    @property
    def n_layers(self) -> int: ...


def at_all_depths(
    values: Float[Tensor, "pair measured"], profile: AtDepths
) -> Float[Array, "pair depth"]:
    """Numbers at depths 0 ... n_layers of what a profile has at those that were measured.

    Straight lines between two measured depths, so that a mean over depths is the trapezoidal one of
    what was measured, and a width is not taken in steps of another length. Of no depth by itself is
    such a number told.
    """
    found, depths = values.double().numpy(), profile.depths.numpy()
    every = np.arange(profile.n_layers + 1)
    if np.array_equal(depths, every):
        return found
    return np.array([np.interp(every, depths, row) for row in found])


def mean_over(
    values: Float[Array, "pair depth"], where: Bool[Array, "pair depth"]
) -> Float[Array, " pair"]:
    """Mean of each pair's values over its own depths."""
    return (values * where).sum(1) / where.sum(1)
