"""One change point of one or several profiles: the cut that leaves least spread on both sides.

Makes no assumption on the shape of the change, and takes several profiles at once: each is scaled
to unit variance over depth, so that they count alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.storage import Result
from lensdepth.telling.numbers import p_value, percent
from lensdepth.transition.find import too_few, whole_units
from lensdepth.transition.null import flat_draws
from lensdepth.units import FEWEST_UNITS, Grouping, count, given_units, take

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

ROLES = ("lens", "prediction", "input", "agree", "norm", "entropy")
"""Colours of the profiles, in their order."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ChangePoint(Result):
    """Where profiles are best cut in two."""

    names: tuple[str, ...]
    """The profiles that were cut together."""
    verdict: Literal["change", "cannot tell", "too few"]
    reason: str
    location: float
    """Middle between the last depth before the cut and the first one after it."""
    low: float
    high: float
    gain: float
    """Share of the variance over depth that the cut explains, mean over profiles."""
    p: float
    """Of so much explained where no profile changes with depth and all stray as these units do."""
    n_pairs: int
    n_units: int
    seed: int
    depths: Float[Tensor, " depth"]
    curves: Float[Tensor, "profile depth"]
    """Mean profiles as they were cut: about their mean over depth, at unit spread."""
    n_layers: int = 0
    """Of the model; 0 where that was not said, and the last depth is taken for it."""

    @property
    def deepest(self) -> int:
        """Depth L, for relative depths and the axis."""
        return self.n_layers or int(self.depths[-1])

    def to_frame(self) -> "pd.DataFrame":
        """One row."""
        import pandas as pd

        names = (
            "verdict", "location", "low", "high", "gain", "p", "n_pairs", "n_units", "reason",
        )  # fmt: skip
        row = {"profiles": ", ".join(self.names)} | {name: getattr(self, name) for name in names}
        row["relative_location"] = self.location / self.deepest
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
            n_layers=self.deepest,
            title=f"One cut of {len(self.names)} profiles: {self.verdict}",
            y_title="profile about its mean, scaled to unit spread",
            zone=(self.low, self.location, self.high) if known else None,
        )


@checked
def find_change_point(
    profiles: Float[Tensor, "unit depth"] | Mapping[str, Float[Tensor, "unit depth"]],
    *,
    depths: Sequence[float] | None = None,
    units: Sequence[Grouping | Sequence[str | int]] | None = None,
    n_layers: int | None = None,
    n_resamples: int = 500,
    seed: int = 0,
) -> ChangePoint:
    """The best single cut of one or many profiles over depth, by least squares.

    Args:
        profiles: values `[pair, depth]`, or several such of the same pairs by name; pairs in which
            any has a NaN are left out.
        depths: of the columns; 0, 1, ... by default.
        units: which pairs go together and are not independent: groupings, each a label per pair.
            None: each pair by itself.
        n_layers: of the model; by default the last depth is taken for depth L.
        n_resamples: draws of the mean profiles, and of flat ones.
        seed: of both.
    Returns:
        ChangePoint. Whatever is cut has a best cut: read p and the interval. "too few" where there
            are fewer than 5 units.
    Raises:
        ValueError: no profile, fewer than four depths, profiles of different pairs or depths, no
            pair without NaN, infinite values, units that do not fit, fewer layers than depths.
    Source: least-squares segmentation as in ruptures (Truong, Oudre & Vayatis 2020).
    """
    caller = "find_change_point"
    named = dict(profiles) if isinstance(profiles, Mapping) else {"profile": profiles}
    if not named:
        raise ValueError(f"{caller}: there is no profile.")
    shapes = {tuple(values.shape) for values in named.values()}
    if len(shapes) > 1:
        raise ValueError(
            f"{caller}: all profiles must be of the same pairs and have the same depths; got "
            f"{', '.join(map(str, sorted(shapes)))}."
        )
    (n_pairs, n_depths) = shapes.pop()
    together = torch.cat(list(named.values()), dim=1)
    kept = ~together.detach().cpu().isnan().any(1)
    whole, _ = whole_units(together, None, caller=caller)
    _, at = whole_units(whole[:, :n_depths], depths, caller=caller)
    if n_layers is not None and n_layers < at[-1]:
        raise ValueError(
            f"{caller}: n_layers must be the last depth, {at[-1]:g}, or more, got {n_layers}."
        )
    grouped = take(given_units(units, n_pairs, caller=caller), kept.numpy())
    profiles_of = [y.double().numpy() for y in whole.split(n_depths, dim=1)]
    observed = np.stack([y.mean(0) for y in profiles_of])
    cut, gain = _cut(observed)
    n_units = count(grouped, len(whole))
    settled = {
        "names": tuple(named), "gain": gain, "seed": seed, "location": _middle(at, cut),
        "n_pairs": len(whole), "n_units": n_units,
        "depths": torch.tensor(at, dtype=torch.float32),
        "curves": torch.tensor(_scaled(observed), dtype=torch.float32),
        "n_layers": n_layers or 0,
    }  # fmt: skip
    if n_units < FEWEST_UNITS:
        unknown = dict.fromkeys(("low", "high"), float("nan"))
        reason = too_few(n_units, grouped)
        return ChangePoint(verdict="too few", reason=reason, p=1.0, **unknown, **settled)
    drawn = stats.drawn_means(*profiles_of, units=grouped, n_resamples=n_resamples, seed=seed)
    found = [_middle(at, _cut(np.stack(curves))[0]) for curves in zip(*drawn, strict=True)]
    low, high = stats.corrected_interval(np.array(found), settled["location"])
    flat = flat_draws(*profiles_of, units=grouped, n_resamples=n_resamples, seed=seed + 1)
    # In units of what noise alone moves, so that a small change that is sure counts as one.
    noise = np.array([_squares(y).mean() for y in flat])
    noise = np.where(noise > 0, noise, np.inf)
    null = [_explained(np.stack(curves), noise) for curves in zip(*flat, strict=True)]
    p = stats.permutation_p(_explained(observed, noise), np.array(null))
    if not np.isfinite(noise).any():
        p = 1 / (1 + n_resamples) if gain > 0 else 1.0
    verdict: Literal["change", "cannot tell"] = "change" if p < stats.ALPHA else "cannot tell"
    reason = f"one cut explains {percent(gain)} of the change with depth ({p_value(p)})"
    return ChangePoint(verdict=verdict, reason=reason, low=low, high=high, p=p, **settled)


def _squares(curves: Float[Array, "profile depth"]) -> Float[Array, " profile"]:
    """Sums of squares about the mean over depth."""
    return ((curves - curves.mean(1, keepdims=True)) ** 2).sum(1)


def _explained(curves: Float[Array, "profile depth"], noise: Float[Array, " profile"]) -> float:
    """Sum of squares that the best cut explains, each profile in units of its noise."""
    cut, _ = _cut(curves)
    left = _squares(curves[:, :cut]) + _squares(curves[:, cut:])
    return float(((_squares(curves) - left) / noise).sum())


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
