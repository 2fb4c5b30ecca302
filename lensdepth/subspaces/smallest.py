"""How many dimensions it takes: the smallest subspace that does nearly what the whole state does.

The rule, stated before any result. At a depth the whole state's effect must lie above the numerical
floor, and beyond what another pair's state does, by 95 % intervals over units; else there is
nothing to divide. k is the smallest measured dimension whose mean effect is at least SHARE of the
whole state's; k_low and k_high are the smallest whose share reaches it by the upper and by the
lower end of its interval. The verdict is "reached" where k_high is there and the basis does more at
k than a random subspace of k dimensions, and than one in which the state moves as far.

Controls are compared by the target gain where it was read: what merely disturbs a state erases the
base's answer, and that alone moves the logit difference. Whether the labels matter, that is whether
the basis does more than the same one made with arbitrary labels, is told beside the verdict and
decides none: states may differ in nothing but their answers, and then any pairs show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.ablation.profile import share_of_means
from lensdepth.subspaces.parts import FULL, MATCHED, RANDOM, SHUFFLED
from lensdepth.telling.curves import estimate
from lensdepth.telling.numbers import Interval
from lensdepth.units import FEWEST_UNITS, Units, count

if TYPE_CHECKING:
    import pandas as pd

    from lensdepth.subspaces.profile import SubspaceProfile

SHARE = 0.9
"""Of the whole state's mean effect that a subspace must reach."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Depth:
    """What is known at one depth."""

    dims: list[int]
    share: list[Interval]
    """Of the whole state's effect, by dim."""
    full: Interval
    above: bool | None
    """Whether the whole state does more than rounding and than another pair's; None: not known."""
    beats: list[bool]
    """Whether the basis does more than the random subspaces, by dim."""
    labels: list[bool | None]
    """Whether it does more than with arbitrary labels, by dim; None where that was not run."""

    def first(self, ends: list[float]) -> int | None:
        """The first dimension whose share reaches SHARE."""
        return next((i for i, end in enumerate(ends) if end >= SHARE), None)

    def row(self) -> dict[str, object]:
        """Verdict and numbers."""
        at = {
            name: self.first([getattr(one, end) for one in self.share])
            for name, end in (("k", "value"), ("k_low", "high"), ("k_high", "low"))
        }
        verdict = self._verdict(at)
        if verdict in ("no effect", "too few"):
            at = dict.fromkeys(at)
        i = len(self.dims) - 1 if at["k"] is None else at["k"]
        shown = self.share[i]
        return {
            "verdict": verdict,
            **{name: np.nan if i is None else float(self.dims[i]) for name, i in at.items()},
            "full": self.full.value,
            "full_low": self.full.low,
            "full_high": self.full.high,
            "dim": self.dims[i],
            "share": shown.value,
            "share_low": shown.low,
            "share_high": shown.high,
            "labels_matter": None if at["k"] is None else self.labels[at["k"]],
        }

    def _verdict(self, at: Mapping[str, int | None]) -> str:
        if self.above is None:
            return "too few"
        if not self.above:
            return "no effect"
        if at["k_low"] is None:
            return "not reached"
        if at["k"] is None or at["k_high"] is None:
            return "cannot tell"
        return "reached" if self.beats[at["k"]] else "as its control"


def smallest_dimensions(
    profile: "SubspaceProfile",
    basis: str | None,
    position: str | None,
    n_resamples: int,
    seed: int,
) -> "pd.DataFrame":
    """See `SubspaceProfile.dimensions`."""
    import pandas as pd

    name = profile.bases[0] if basis is None else basis
    if name not in profile.bases:
        raise ValueError(
            f"SubspaceProfile.dimensions: basis must be one of {', '.join(profile.bases)}, got "
            f"{name!r}."
        )
    units, d_model = profile.provenance.units, profile.provenance.model.d_model
    # All dimensions are the whole state, which is no finding.
    dims = [k for k in profile.dims.tolist() if k < d_model] or profile.dims.tolist()

    def of(label: str, dim: int) -> Float[Tensor, "pair depth"]:
        return profile.moved(label, dim=dim, position=position)

    def brought(label: str, dim: int) -> Float[Tensor, "pair depth"]:
        if not profile.outcome.has_gains:
            return of(label, dim)
        return profile.of("target_gain", basis=label, dim=dim, position=position)

    def leads(label: str, rival: str, dim: int, depth: int) -> bool | None:
        if rival not in profile.controls:
            return None
        lead = estimate((brought(label, dim) - brought(rival, dim))[:, depth], units)
        return lead.known and lead.low > 0

    full = of(FULL, dims[0])
    shares = [
        _shares(of(name, dim).double().numpy(), full.double().numpy(), n_resamples, seed, units)
        for dim in dims
    ]
    rows = []
    for d, depth in enumerate(profile.depths.tolist()):
        whole = estimate(full[:, d], units, floor=profile.outcome.floor_of("transferred"))
        above = _above(whole, full[:, d], units)
        if above:
            above = leads(FULL, FULL + SHUFFLED, dims[0], d) is not False
        at = _Depth(
            dims=dims,
            share=[one[d] for one in shares],
            full=whole,
            above=above,
            beats=[all(leads(name, r, dim, d) for r in (RANDOM, MATCHED)) for dim in dims],
            labels=[leads(name, name + SHUFFLED, dim, d) for dim in dims],
        )
        rows.append({"depth": depth, "relative_depth": depth / profile.n_layers, **at.row()})
    return pd.DataFrame(rows)


def _above(whole: Interval, values: Float[Tensor, " pair"], units: Units) -> bool | None:
    if count(units, len(values)) < FEWEST_UNITS:
        return None
    return whole.known and whole.low > whole.floor


def _shares(
    part: Float[Array, "pair depth"],
    whole: Float[Array, "pair depth"],
    n_resamples: int,
    seed: int,
    units: Units,
) -> list[Interval]:
    found = share_of_means(part, whole, n_resamples, seed, units)
    rows = zip(*(ends.tolist() for ends in found), strict=True)
    return [Interval(value=value, low=low, high=high) for value, low, high in rows]
