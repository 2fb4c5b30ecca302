"""Where along the depth a profile switches, how sharply, and whether it switches at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.lens.profile import LensProfile
from lensdepth.provenance import Provenance
from lensdepth.storage import load_result, save_result
from lensdepth.telling.numbers import number, p_value, percent
from lensdepth.transition.nulls import depth_order_p, drift_p
from lensdepth.transition.sigmoid import WIDTH_PER_SCALE, fit_sigmoids

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Array = np.ndarray
ALPHA = 1 - stats.LEVEL
"""A transition has smaller p-values."""
SMALLEST_CHANGE = 0.1
"""A profile that changes by less, beside its largest value, does not change with depth."""
WIDEST = 0.8
"""10-90 % width, as a share of the depth, beyond which a change has no plateaus."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Transition:
    """Sigmoid a + b / (1 + exp(-(depth - location) / scale)) through the mean profile."""

    MADE_BY: ClassVar[str] = "find_transition(profile)"
    """The call that makes one."""

    name: str
    provenance: Provenance | None
    """Of the profile that was read; None for a bare array."""
    verdict: Literal["transition", "none", "cannot tell"]
    reason: str
    """Why, in plain words."""
    depths: Float[Tensor, " depth"]
    curve: Float[Tensor, "unit depth"]
    """The profile that was fitted, one row a prompt or pair."""
    location: float
    """Depth at half of the change; NaN where nothing could be fitted."""
    location_low: float
    location_high: float
    width: float
    """Depths over which the change goes from 10 to 90 %."""
    width_low: float
    width_high: float
    change: float
    """b: the profile after minus before."""
    start: float
    """a: the profile before."""
    r_squared: float
    """Share of the mean profile's variance over depth that the sigmoid explains."""
    p: float
    """The larger of the two below, both of which a transition must pass; after `correct_many`,
    corrected for the number of profiles."""
    p_order: float
    """Permutation p-value of "the depth order makes no difference"."""
    p_drift: float
    """Bootstrap p-value of "the profile is a smooth drift"."""
    seed: int

    @property
    def n_units(self) -> int:
        """Prompts or pairs."""
        return self.curve.shape[0]

    @property
    def n_layers(self) -> int:
        """Of the model; the last depth, where the curves are bare arrays."""
        if self.provenance is not None:
            return self.provenance.model.n_layers
        return int(self.depths[-1])

    def fitted(self, depth: Float[Array, " point"]) -> Float[Array, " point"]:
        """The sigmoid at the given depths."""
        scaled = (depth - self.location) / (self.width / WIDTH_PER_SCALE)
        return self.start + self.change * (1 + np.tanh(scaled / 2)) / 2

    def to_frame(self) -> "pd.DataFrame":
        """One row: location, width and their intervals, p-value and verdict."""
        import pandas as pd

        names = (
            "name", "verdict", "location", "location_low", "location_high", "width", "width_low",
            "width_high", "change", "r_squared", "p", "p_order", "p_drift", "n_units", "reason",
        )  # fmt: skip
        row = {name: getattr(self, name) for name in names}
        row["relative_location"] = self.location / self.n_layers
        return pd.DataFrame([row])

    def plot(self) -> "Figure":
        """The profile with its band, the fitted sigmoid, and the interval of the location."""
        from lensdepth import plotting

        depths = self.depths.numpy()
        curves = [
            plotting.Curve.from_interval(
                self.name, *stats.bootstrap_mean(self.curve.numpy()), role="lens", depths=depths
            )
        ]
        zone = None
        if self.verdict == "transition":
            fine = np.linspace(depths[0], depths[-1], 200)
            blank = np.full(200, np.nan)
            curves.append(
                plotting.Curve.from_interval(
                    "sigmoid",
                    self.fitted(fine),
                    blank,
                    blank,
                    role="full",
                    depths=fine,
                    dashed=True,
                )
            )
            zone = (self.location_low, self.location, self.location_high)
        return plotting.depth_figure(
            curves,
            n_layers=self.n_layers,
            title=f"Transition of {self.name}: {self.verdict}",
            y_title=self.name,
            zone=zone,
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Transition":
        """Read what `save` wrote."""
        return load_result(cls, path)


@checked
def find_transition(
    profile: LensProfile | Float[Tensor, "unit depth"],
    *,
    name: str | None = None,
    depths: Sequence[float] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Transition:
    """Locate the switch of one profile over depth by a sigmoid, with its uncertainty.

    The sigmoid is fitted by least squares to the mean over units, on a fine grid of locations and
    widths (offset and height have a closed form), so that a fit never fails to converge. There is
    a transition where the depth order matters (a permutation test), where a sigmoid beats a smooth
    drift (a bootstrap test: a straight line has a midpoint too), and where both sides of it are
    seen: what changes from the embedding to the first block alone is no switch along the depth.

    Args:
        profile: a lens profile (its KL to the final distribution is read), or values
            `[unit, depth]` of any measure, such as `patch_profile.efficacy("input")`. Units with
            a NaN are left out.
        name: what the values are, for titles.
        depths: the depths of the columns; 0, 1, ... by default.
        n_resamples: bootstrap resamples, and permutations.
        seed: of both.
    Returns:
        Transition. Its verdict is "transition"; "none" (no change with depth, a change in the
        first block alone, or a drift without plateaus); or "cannot tell" (too few units, chance,
        a smooth drift that explains as much, or too uncertain).
    Raises:
        ValueError: fewer than four depths, no unit without NaN, infinite values.
    Example:
        >>> find_transition(logit_lens(model, task)).location
    """
    provenance = profile.provenance if isinstance(profile, LensProfile) else None
    if isinstance(profile, LensProfile):
        name = name or "KL(final ‖ lens), nats"
        values = profile.mean_by_depth(profile.kl)
    else:
        values = profile
    values, at = whole_units(values, depths, caller="find_transition")
    y = values.double().numpy()
    fit = fit_sigmoids(y.mean(0, keepdims=True), at)
    shared = {
        "name": name or "profile",
        "provenance": provenance,
        "depths": torch.from_numpy(at).float(),
        "curve": values.float(),
        "seed": seed,
        **{
            key: float(fit[key][0]) for key in ("location", "width", "change", "start", "r_squared")
        },
    }
    if len(y) < 2:
        ends = ("location_low", "location_high", "width_low", "width_high")
        return Transition(
            verdict="cannot tell",
            reason="one prompt alone gives no interval",
            **dict.fromkeys(("p", "p_order", "p_drift"), 1.0),
            **dict.fromkeys(ends, float("nan")),
            **shared,
        )
    boot = fit_sigmoids(stats.resampled_means(y, n_resamples=n_resamples, seed=seed), at)
    bounds = {key: stats.percentile_interval(boot[key]) for key in ("location", "width", "change")}
    largest_change = max(abs(float(b)) for b in bounds["change"])
    still = bool(largest_change < SMALLEST_CHANGE * max(np.abs(y.mean(0)).max(), 1e-12))
    p_order = 1.0 if still else depth_order_p(y, at, n_resamples=n_resamples, seed=seed)
    p_drift = 1.0 if still else drift_p(y, at, n_resamples=n_resamples, seed=seed)
    verdict, reason = _judge(
        still=still,
        p_order=p_order,
        p_drift=p_drift,
        r_squared=shared["r_squared"],
        location=shared["location"],
        width=shared["width"],
        uncertainty=float(bounds["location"][1] - bounds["location"][0]),
        at=at,
    )
    return Transition(
        verdict=verdict,
        reason=reason,
        location_low=float(bounds["location"][0]),
        location_high=float(bounds["location"][1]),
        width_low=float(bounds["width"][0]),
        width_high=float(bounds["width"][1]),
        p=max(p_order, p_drift),
        p_order=p_order,
        p_drift=p_drift,
        **shared,
    )


def _judge(
    *,
    still: bool,
    p_order: float,
    p_drift: float,
    r_squared: float,
    location: float,
    width: float,
    uncertainty: float,
    at: Float[Array, " depth"],
) -> tuple[Literal["transition", "none", "cannot tell"], str]:
    span = float(at[-1] - at[0])
    if still:
        return "none", f"the profile changes by less than {SMALLEST_CHANGE:.0%} of its size"
    if p_order >= ALPHA:
        return "cannot tell", f"the change with depth could be chance ({p_value(p_order)})"
    if width > WIDEST * span:
        return "none", "a drift over the whole depth, without a plateau on either side"
    if r_squared < 0.5:
        return (
            "cannot tell",
            f"a sigmoid explains only {percent(r_squared)} of the change with depth",
        )
    if location < at[1]:
        return "none", "what changes has changed by the first depth after the embedding"
    if p_drift >= ALPHA:
        return "cannot tell", f"a smooth drift explains the change as well ({p_value(p_drift)})"
    if not uncertainty <= span / 2:
        return "cannot tell", f"the location is uncertain by {number(uncertainty)} depths"
    return "transition", f"a sigmoid explains {percent(r_squared)} of the change with depth"


def whole_units(
    values: Float[Tensor, "unit depth"], depths: Sequence[float] | None, *, caller: str
) -> tuple[Float[Tensor, "whole_unit depth"], Float[Array, " depth"]]:
    """Units without NaN, and the depths as numbers.

    Raises:
        ValueError: fewer than four depths, no unit without NaN, infinite values.
    """
    at = np.arange(values.shape[1], dtype=float) if depths is None else np.array(depths, float)
    if len(at) != values.shape[1] or len(at) < 4 or (np.diff(at) <= 0).any():
        raise ValueError(
            f"{caller}: needs values [unit, depth] at four or more increasing depths, got "
            f"{values.shape[1]} columns and {len(at)} depths."
        )
    if values.isinf().any():
        raise ValueError(f"{caller}: the profile holds infinite values; leave those prompts out.")
    values = values.detach().cpu()
    whole = values[~values.isnan().any(1)]
    if not len(whole):
        raise ValueError(f"{caller}: every one of the {len(values)} units holds a NaN.")
    return whole, at
