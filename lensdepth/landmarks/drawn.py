"""Curves of all pairs, and how they stray together where other units might have been drawn.

Nearest neighbours and distances break where a bootstrap draws a prompt twice, since a prompt is at
distance 0 from itself. So halves of the units are drawn, without replacement, as in
`geometry.halves`: a curve from half of them strays about that from all as much as that one strays
about the truth. Every curve, those of patching among them, is of the same halves, so that the
difference of two places has a paired interval. A grouping of two roles (the input word, and the
corrupted prompt's) is halved by each role.

Where there are several groupings, the draws of all of them are added up, for each curve with the
weight that its clustered variance has: the grouping with most counts whole, each other one with
what it adds to that of independent pairs (`covariance`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.geometry.dimension import two_nn_in
from lensdepth.geometry.halves import halve_units, strayed_about_median
from lensdepth.landmarks.read_space import ReadSpace, shares_read
from lensdepth.units import CORRUPTED, FEWEST_UNITS, Grouping, Units, count

Sets = Sequence[Int[Array, "_"]]
Curves = dict[str, Float[Array, "set depth"]]
"""By name, a curve for each set of pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Curves with their draws, all of the same units."""

    curves: dict[str, Float[Array, " depth"]]
    """In all pairs."""
    strayed: dict[str, Float[Array, "draw depth"]]
    """How far each strays in the same draw; no rows with too few units."""


def drawn_curves(
    curves_of: Callable[[Sets], Curves], n: int, *, units: Units, n_halves: int, seed: int
) -> Drawn:
    """Curves of all pairs and their draws.

    Args:
        curves_of: what is measured of some sets of pairs.
        n: pairs.
        units: which pairs go together.
        n_halves: halves by each grouping.
        seed: of the draws.
    """
    halves = halve_units(_by_role(units), n, n_halves, seed)
    found = curves_of([np.arange(n), *halves])
    ends = np.cumsum([0, *(len(some) for some in halves.by_grouping)])
    strayed = {}
    for name, values in found.items():
        parts = [
            scale * strayed_about_median(values[1:][start:end])
            for scale, start, end in zip(halves.scales, ends[:-1], ends[1:], strict=True)
        ]
        strayed[name] = _added(parts) if parts else values[1:]
    return Drawn(curves={name: values[0] for name, values in found.items()}, strayed=strayed)


def halved_units(units: Units, n: int) -> int:
    """How many units the halves are of, at least."""
    return count(_by_role(units), n)


def _by_role(units: Units) -> Units:
    """Each role of a grouping as one of its own; one of two roles that has too few values to be
    halved is taken as it is."""
    found = []
    for one in units:
        roles = [Grouping(name=one.name, values=one.values)]
        if one.other and one.other != one.values:
            roles.append(Grouping(name=f"{CORRUPTED}{one.name}", values=one.other))
        found += [role for role in roles if role.n >= FEWEST_UNITS] or roles[:1]
    return tuple(found)


def _added(parts: Sequence[Float[Array, "draw depth"]]) -> Float[Array, "draw depth"]:
    """Draws by independent groupings as draws of all; first those of single pairs."""
    if len(parts) == 1:
        return parts[0]
    known = [np.nan_to_num(part) for part in parts]
    variance = np.array([part.var(0).sum() for part in known])
    kept = np.maximum(variance - variance[0], 0.0)
    kept[variance.argmax()] = variance.max()
    share = np.sqrt(np.divide(kept, variance, out=np.zeros(len(parts)), where=variance > 0))
    total = sum(s * part for s, part in zip(share, parts, strict=True) if s > 0)
    return total if isinstance(total, np.ndarray) else parts[0]


def means_in(values: Float[Array, "pair depth"], sets: Sets) -> Float[Array, "set depth"]:
    """Mean over the pairs of each set, values that are NaN left out."""
    members = np.zeros((len(sets), len(values)))
    for row, some in zip(members, sets, strict=True):
        row[some] = 1.0
    there = ~np.isnan(values)
    count = members @ there
    total = members @ np.where(there, values, 0.0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def cloud_in(
    states: Float[Tensor, "depth sample d_model"],
    sample: Int[Array, " sample"],
    space: ReadSpace | None,
    sets: Sets,
) -> Mapping[str, Float[Array, "set depth"]]:
    """Intrinsic dimension, as its logarithm, and alignment of each set's own prompts.

    An estimate of a dimension strays in proportion to itself; its logarithm strays alike at every
    depth.

    Args:
        states: of prompts that differ.
        sample: the pairs that they are of.
        space: what the unembedding reads most; None where that is not known.
        sets: of pairs.
    """
    place = {int(pair): i for i, pair in enumerate(sample)}
    inner = [np.array([place[p] for p in some.tolist() if p in place], dtype=int) for some in sets]
    with np.errstate(divide="ignore"):
        found = {"dimension": np.stack([np.log(two_nn_in(x, inner)) for x in states], axis=1)}
    if space is not None:
        found["alignment"] = np.stack([shares_read(x, space, inner) for x in states], axis=1)
    return found
