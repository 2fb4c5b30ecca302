"""One change point of one or several profiles: the cut that leaves least spread on both sides.

Makes no assumption on the shape of the change, and takes several profiles at once: each is scaled
to unit variance over depth, so that they count alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.storage import load_result, save_result
from lensdepth.telling.numbers import p_value, percent
from lensdepth.transition.find import ALPHA, whole_units

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

ROLES = ("lens", "prediction", "input", "agree", "norm", "entropy")
"""Colours of the profiles, in their order."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ChangePoint:
    """Where profiles are best cut in two."""

    names: tuple[str, ...]
    """The profiles that were cut together."""
    verdict: Literal["change", "cannot tell"]
    reason: str
    location: float
    """Middle between the last depth before the cut and the first one after it."""
    low: float
    high: float
    gain: float
    """Share of the variance over depth that the cut explains, mean over profiles."""
    p: float
    """Permutation p-value: depths of each unit in any order, the same for all profiles."""
    seed: int
    depths: Float[Tensor, " depth"]
    curves: Float[Tensor, "profile depth"]
    """Mean profiles as they were cut: about their mean over depth, at unit spread."""

    def to_frame(self) -> "pd.DataFrame":
        """One row."""
        import pandas as pd

        names = ("verdict", "location", "low", "high", "gain", "p", "reason")
        row = {"profiles": ", ".join(self.names)} | {name: getattr(self, name) for name in names}
        row["relative_location"] = self.location / float(self.depths[-1])
        return pd.DataFrame([row])

    def plot(self) -> "Figure":
        """The mean profiles, scaled alike, and the interval of the cut."""
        from lensdepth import plotting
        from lensdepth.telling.curves import Curve

        curves = [
            Curve.from_interval(
                name, curve.numpy(), role=ROLES[i % len(ROLES)], depths=self.depths.numpy()
            )
            for i, (name, curve) in enumerate(zip(self.names, self.curves, strict=True))
        ]
        known = not np.isnan(self.low)
        return plotting.depth_figure(
            curves,
            n_layers=int(self.depths[-1]),
            title=f"One cut of {len(self.names)} profiles: {self.verdict}",
            y_title="profile about its mean, scaled to unit spread",
            zone=(self.low, self.location, self.high) if known else None,
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "ChangePoint":
        """Read what `save` wrote."""
        return load_result(cls, path)


@checked
def find_change_point(
    profiles: Float[Tensor, "unit depth"] | Mapping[str, Float[Tensor, "unit depth"]],
    *,
    depths: Sequence[float] | None = None,
    n_resamples: int = 500,
    seed: int = 0,
) -> ChangePoint:
    """The best single cut of one or many profiles over depth, by least squares.

    Args:
        profiles: values `[unit, depth]`, or several such by name; units with a NaN are left out.
            Profiles of equally many units are resampled together, as they are of the same prompts.
        depths: of the columns; 0, 1, ... by default.
        n_resamples: bootstrap resamples, and permutations.
        seed: of both.
    Returns:
        ChangePoint. Whatever is cut has a best cut: read p and the interval.
    Raises:
        ValueError: no profile, fewer than four depths, profiles of different depths, no unit
            without NaN, infinite values.
    Source: least-squares segmentation as in ruptures (Truong, Oudre & Vayatis 2020).
    """
    caller = "find_change_point"
    named = dict(profiles) if isinstance(profiles, Mapping) else {"profile": profiles}
    if not named:
        raise ValueError(f"{caller}: there is no profile.")
    checked = [whole_units(values, depths, caller=caller) for values in named.values()]
    at = checked[0][1]
    if any(len(other) != len(at) for _, other in checked):
        raise ValueError(f"{caller}: all profiles must have the same depths.")
    units = [values.double().numpy() for values, _ in checked]
    observed = np.stack([y.mean(0) for y in units])
    cut, gain = _cut(observed)
    settled = {
        "names": tuple(named), "gain": gain, "seed": seed, "location": _middle(at, cut),
        "depths": torch.tensor(at, dtype=torch.float32),
        "curves": torch.tensor(_scaled(observed), dtype=torch.float32),
    }  # fmt: skip
    if min(map(len, units)) < 2:
        unknown = dict.fromkeys(("low", "high"), float("nan"))
        reason = "one prompt alone gives no interval"
        return ChangePoint(verdict="cannot tell", reason=reason, p=1.0, **unknown, **settled)
    drawn = [stats.resampled_means(y, n_resamples=n_resamples, seed=seed) for y in units]
    found = [_middle(at, _cut(np.stack(curves))[0]) for curves in zip(*drawn, strict=True)]
    low, high = stats.percentile_interval(np.array(found))
    null = [
        _cut(np.stack([_shuffled(y, seed + 1 + k) for y in units]))[1] for k in range(n_resamples)
    ]
    p = stats.permutation_p(gain, np.array(null))
    verdict: Literal["change", "cannot tell"] = "change" if p < ALPHA else "cannot tell"
    reason = f"one cut explains {percent(gain)} of the change with depth ({p_value(p)})"
    return ChangePoint(
        verdict=verdict, reason=reason, low=float(low), high=float(high), p=p, **settled
    )


def _shuffled(y: Float[Array, "unit depth"], seed: int) -> Float[Array, " depth"]:
    # From one seed, so that units of several profiles that belong together stay together.
    return np.random.default_rng(seed).permuted(y, axis=1).mean(0)


def _middle(at: Float[Array, " depth"], cut: int) -> float:
    return float(at[cut - 1] + at[cut]) / 2


def _scaled(curves: Float[Array, "profile depth"]) -> Float[Array, "profile depth"]:
    """Profiles about their means and of unit spread over depth; 0 where one does not move."""
    centred = curves - curves.mean(1, keepdims=True)
    spread = np.sqrt((centred**2).sum(1, keepdims=True))
    moving = spread > 1e-12 * np.maximum(np.abs(curves).max(1, keepdims=True), 1.0)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=moving)


def _cut(curves: Float[Array, "profile depth"]) -> tuple[int, float]:
    """First depth after the best cut, and the share of the variance that it explains."""
    # Compiled, and slow to import for those who never cut.
    from ruptures import KernelCPD

    scaled = _scaled(curves)
    scaled = scaled[scaled.any(1)]
    if not len(scaled):
        return 1, 0.0
    ends = KernelCPD(kernel="linear", min_size=1).fit_predict(scaled.T, n_bkps=1) or [1]
    cut = ends[0]
    sides = [scaled[:, :cut], scaled[:, cut:]]
    left = sum(((side - side.mean(1, keepdims=True)) ** 2).sum(1) for side in sides)
    return int(cut), float(1 - np.mean(left))
