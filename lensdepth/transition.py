"""Where along the depth a profile switches, how sharply, and whether it switches at all.

`find_transition` fits a sigmoid to one profile over depth; `find_crossing` finds where two
efficacy curves change places. Both give an interval from resampling prompts, and both may answer
that there is no such place.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.lens import LensProfile
from lensdepth.patching import PatchProfile
from lensdepth.provenance import Provenance
from lensdepth.steering import SteeringProfile
from lensdepth.storage import load_result, save_result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Array = np.ndarray
WIDTH_PER_SCALE = 2 * np.log(9)
"""10-90 % width of a logistic function over its scale parameter."""
MARGIN = 0.05
"""Efficacy by which one curve must lead the other, on each side of a crossing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Transition:
    """Sigmoid a + b / (1 + exp(-(depth - location) / scale)) through the mean profile."""

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
    """Permutation p-value of "the depth order makes no difference"."""
    seed: int

    @property
    def n_units(self) -> int:
        """Prompts or pairs."""
        return self.curve.shape[0]

    def fitted(self, depth: Float[Array, " point"]) -> Float[Array, " point"]:
        """The sigmoid at the given depths."""
        scaled = (depth - self.location) / (self.width / WIDTH_PER_SCALE)
        return self.start + self.change * (1 + np.tanh(scaled / 2)) / 2

    def to_frame(self) -> "pd.DataFrame":
        """One row: location, width and their intervals, p-value and verdict."""
        import pandas as pd

        names = (
            "name", "verdict", "location", "location_low", "location_high", "width", "width_low",
            "width_high", "change", "r_squared", "p", "n_units", "reason",
        )  # fmt: skip
        return pd.DataFrame([{name: getattr(self, name) for name in names}])

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
            n_layers=int(depths[-1]),
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    """Where control passes from one position to the other."""

    provenance: Provenance | None
    verdict: Literal["crossing", "none", "cannot tell"]
    reason: str
    depth: float
    """Depth at which the second curve overtakes the first; NaN where it does not."""
    low: float
    high: float
    share: float
    """Share of bootstrap resamples in which the curves cross."""
    depths: Float[Tensor, " depth"]
    first: Float[Tensor, "unit depth"]
    """Efficacy that leads early: patching or steering at the input position."""
    second: Float[Tensor, "unit depth"]
    """Efficacy that leads late: at the prediction position."""
    seed: int

    def to_frame(self) -> "pd.DataFrame":
        """One row: the depth, its interval, and the verdict."""
        import pandas as pd

        names = ("verdict", "depth", "low", "high", "share", "reason")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])

    def plot(self) -> "Figure":
        """Both curves with bands and the interval of the crossing."""
        from lensdepth import plotting

        curves = [
            plotting.Curve.from_interval(
                f"{role} position",
                *stats.bootstrap_mean(values.numpy()),
                role=role,
                depths=self.depths.numpy(),
            )
            for role, values in (("input", self.first), ("prediction", self.second))
        ]
        found = self.verdict == "crossing"
        return plotting.depth_figure(
            curves,
            n_layers=int(self.depths[-1]),
            title="Crossing of input and output control",
            y_title="efficacy",
            y_range=(-0.03, 1.03),
            zone=(self.low, self.depth, self.high) if found else None,
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "Crossing":
        """Read what `save` wrote."""
        return load_result(cls, path)


def find_transition(
    profile: LensProfile | Float[Tensor, "unit depth"],
    *,
    name: str | None = None,
    depths: list[int] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Transition:
    """Locate the switch of one profile over depth by a sigmoid, with its uncertainty.

    The sigmoid is fitted by least squares to the mean over units, on a fine grid of locations and
    widths (offset and height have a closed form), so that a fit never fails to converge. The
    p-value compares the explained sum of squares with that after permuting each unit's depths.

    Args:
        profile: a lens profile (its KL to the final distribution is read), or values
            `[unit, depth]` of any measure, such as `patch_profile.efficacy("input")`. Units with
            a NaN are left out.
        name: what the values are, for titles.
        depths: the depths of the columns; 0, 1, ... by default.
        n_resamples: bootstrap resamples, and permutations.
        seed: of both.
    Returns:
        Transition. Its verdict is "transition"; "none" (no change with depth, or a drift without
        plateaus); or "cannot tell" (too few units, or too uncertain).
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
    values, at = _checked(values, depths, caller="find_transition")
    y = values.double().numpy()
    span = at[-1] - at[0]
    fit = _fit(y.mean(0, keepdims=True), at)
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
        unknown = dict.fromkeys(
            ("location_low", "location_high", "width_low", "width_high"), float("nan")
        )
        reason = "one prompt alone gives no interval"
        return Transition(verdict="cannot tell", reason=reason, p=1.0, **unknown, **shared)
    boot = _fit(stats.resampled_means(y, n_resamples=n_resamples, seed=seed), at)
    bounds = {key: stats.percentile_interval(boot[key]) for key in ("location", "width", "change")}
    p = _depth_order_p(y, at, fit["explained"][0], n_resamples=n_resamples, seed=seed)
    largest_change = max(abs(float(b)) for b in bounds["change"])
    relative_change = largest_change / max(np.abs(y.mean(0)).max(), 1e-12)
    verdict, reason = _judge(
        p=p,
        relative_change=relative_change,
        r_squared=shared["r_squared"],
        width=shared["width"],
        uncertainty=float(bounds["location"][1] - bounds["location"][0]),
        span=span,
    )
    return Transition(
        verdict=verdict,
        reason=reason,
        location_low=float(bounds["location"][0]),
        location_high=float(bounds["location"][1]),
        width_low=float(bounds["width"][0]),
        width_high=float(bounds["width"][1]),
        p=p,
        **shared,
    )


def _judge(
    *,
    p: float,
    relative_change: float,
    r_squared: float,
    width: float,
    uncertainty: float,
    span: float,
) -> tuple[Literal["transition", "none", "cannot tell"], str]:
    if relative_change < 0.1:
        return "none", f"the profile changes by {relative_change:.0%} of its size at most"
    if p >= 0.05:
        return "cannot tell", f"the change with depth could be chance (p = {p:.2g})"
    if r_squared < 0.5:
        return "cannot tell", f"a sigmoid explains only {r_squared:.0%} of the change with depth"
    if width > 0.8 * span:
        return "none", "a drift over the whole depth, without a plateau on either side"
    if not uncertainty <= span / 2:
        return "cannot tell", f"the location is uncertain by {uncertainty:.1f} depths"
    return "transition", f"a sigmoid explains {r_squared:.0%} of the change with depth"


def _checked(
    values: Float[Tensor, "unit depth"], depths: list[int] | None, *, caller: str
) -> tuple[Float[Tensor, "whole_unit depth"], Float[Array, " depth"]]:
    """Units without NaN, and the depths as numbers."""
    at = np.arange(values.shape[1], dtype=float) if depths is None else np.array(depths, float)
    if len(at) != values.shape[1] or len(at) < 4 or (np.diff(at) <= 0).any():
        raise ValueError(
            f"{caller}: needs values [unit, depth] at four or more increasing depths, got "
            f"{values.shape[1]} columns and {len(at)} depths."
        )
    if values.isinf().any():
        raise ValueError(f"{caller}: the profile holds infinite values; leave those prompts out.")
    whole = values[~values.isnan().any(1)]
    if not len(whole):
        raise ValueError(f"{caller}: every one of the {len(values)} units holds a NaN.")
    return whole, at


def _grid(at: Float[Array, " depth"]) -> tuple[Array, Array, Array]:
    """Locations, widths and centred unit sigmoids `[grid, depth]` to choose from."""
    span = at[-1] - at[0]
    gap = np.diff(at).min()
    location, width = np.meshgrid(
        np.linspace(at[0], at[-1], 241), np.geomspace(0.5 * gap, 2 * span, 24), indexing="ij"
    )
    location, width = location.ravel(), width.ravel()
    basis = (1 + np.tanh((at - location[:, None]) / (width[:, None] / WIDTH_PER_SCALE) / 2)) / 2
    basis -= basis.mean(1, keepdims=True)
    # Sigmoids that hardly change between the depths seen fit rounding noise at a huge height.
    usable = (basis**2).sum(1) > 0.02
    return location[usable], width[usable], basis[usable]


def _fit(y: Float[Array, "curve depth"], at: Float[Array, " depth"]) -> dict[str, Array]:
    """Best sigmoid for each curve; grid points that fit equally well are averaged."""
    location, width, basis = _grid(at)
    power = (basis**2).sum(1)
    mean = y.mean(1, keepdims=True)
    centred = y - mean
    total = (centred**2).sum(1)
    out = {
        key: np.full(len(y), np.nan)
        for key in ("location", "width", "change", "start", "r_squared", "explained")
    }
    for i in range(len(y)):
        projection = basis @ centred[i]
        explained = projection**2 / power
        best = explained.max()
        out["explained"][i] = best
        if total[i] <= 1e-18 * max(1.0, float((y[i] ** 2).sum())):
            out["change"][i], out["r_squared"][i], out["explained"][i] = 0.0, 0.0, 0.0
            out["start"][i] = y[i, 0]
            continue
        # A step between two depths fits anywhere between them: take the middle of the ties.
        ties = explained >= best - 1e-3 * total[i]
        out["location"][i] = location[ties].mean()
        out["width"][i] = np.exp(np.log(width[ties]).mean())
        scale = out["width"][i] / WIDTH_PER_SCALE
        chosen = (1 + np.tanh((at - out["location"][i]) / scale / 2)) / 2
        design = np.stack([np.ones_like(at), chosen], axis=1)
        (out["start"][i], out["change"][i]), *_ = np.linalg.lstsq(design, y[i])
        out["r_squared"][i] = (
            1 - ((y[i] - design @ [out["start"][i], out["change"][i]]) ** 2).sum() / total[i]
        )
    return out


def _depth_order_p(
    y: Float[Array, "unit depth"],
    at: Float[Array, " depth"],
    observed: float,
    *,
    n_resamples: int,
    seed: int,
) -> float:
    """Chance of so large an explained sum of squares when each unit's depths are shuffled."""
    rng = np.random.default_rng(seed)
    _, _, basis = _grid(at)
    power = (basis**2).sum(1)
    null = np.empty(n_resamples)
    for k in range(n_resamples):
        mean = rng.permuted(y, axis=1).mean(0)
        null[k] = ((basis @ (mean - mean.mean())) ** 2 / power).max()
    return stats.permutation_p(observed, null)


def find_crossing(
    first: PatchProfile | SteeringProfile | Float[Tensor, "unit depth"],
    second: Float[Tensor, "unit depth"] | None = None,
    *,
    depths: list[int] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Crossing:
    """Depth at which control passes from the input position to the prediction position.

    The difference of the two mean curves is interpolated linearly where it changes sign for the
    last time; a gap where both are equal counts by its middle. The first curve must lead by
    0.05 somewhere before, and the second by 0.05 somewhere after.

    Args:
        first: a patch or steering profile with both positions (of steering, the whole difference
            at one depth), or the efficacy that leads early.
        second: the efficacy that leads late, for the same units; not with a profile.
        depths: the depths of the columns; 0, 1, ... by default, or the profile's own.
        n_resamples: bootstrap resamples over units.
        seed: of the bootstrap.
    Returns:
        Crossing. "crossing" where at least 95 % of the resamples cross; "none" where at most 5 %
        do; else "cannot tell".
    Raises:
        ValueError: shapes that differ, or a profile without both positions.
    Example:
        >>> find_crossing(patch_sweep(model, task)).depth
    """
    provenance = None
    if isinstance(first, PatchProfile | SteeringProfile):
        provenance, depths = first.provenance, first.depths.tolist()
        first, second = first.efficacy("input"), first.efficacy("prediction")
    if second is None or second.shape != first.shape:
        got = None if second is None else tuple(second.shape)
        raise ValueError(
            f"find_crossing: two curves [unit, depth] of one shape are needed, got "
            f"{tuple(first.shape)} and {got}."
        )
    if len(first) < 1 or first.shape[1] < 2:
        raise ValueError(
            f"find_crossing: needs a unit and two depths at least, got {tuple(first.shape)}."
        )
    at = np.arange(first.shape[1], dtype=float) if depths is None else np.array(depths, float)
    difference = (first - second).double().numpy()
    depth = _last_crossing(np.nanmean(difference, axis=0), at)
    low = high = share = float("nan")
    if len(difference) > 1:
        means = stats.resampled_means(difference, n_resamples=n_resamples, seed=seed)
        found = np.array([_last_crossing(mean, at) for mean in means])
        share = float((~np.isnan(found)).mean())
        if share > 0:
            low, high = (float(b) for b in stats.percentile_interval(found))
    if np.isnan(share):
        verdict, reason = "cannot tell", "one pair alone gives no interval"
    elif share >= stats.LEVEL and not np.isnan(depth):
        verdict, reason = "crossing", f"the curves cross in {share:.0%} of the resamples"
    elif share <= 1 - stats.LEVEL:
        verdict, reason = "none", _why_none(first, second)
    else:
        verdict, reason = "cannot tell", f"the curves cross in {share:.0%} of the resamples only"
    return Crossing(
        provenance=provenance,
        verdict=verdict,  # type: ignore[arg-type]
        reason=reason,
        depth=float(depth),
        low=low,
        high=high,
        share=share,
        depths=torch.from_numpy(at).float(),
        first=first.float(),
        second=second.float(),
        seed=seed,
    )


def find_steering_crossing(
    profile: SteeringProfile,
    *,
    edit: str = "full",
    scope: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Crossing | None:
    """`find_crossing` of one edit and scope of a steering sweep; None without both positions.

    Args:
        profile: what was steered.
        edit: `full`, `direction` or `norm`.
        scope: one of the profile's scopes; the first by default.
        n_resamples: bootstrap resamples over pairs.
        seed: of the bootstrap.
    Raises:
        ValueError: that edit or scope was not steered.
    """
    if not {"input", "prediction"} <= set(profile.positions):
        return None
    curves = (profile.efficacy(name, edit=edit, scope=scope) for name in ("input", "prediction"))
    found = find_crossing(
        *curves, depths=profile.depths.tolist(), n_resamples=n_resamples, seed=seed
    )
    return replace(found, provenance=profile.provenance)


def _why_none(first: Float[Tensor, "unit depth"], second: Float[Tensor, "unit depth"]) -> str:
    difference = (first - second).mean(0)
    if difference.max() < MARGIN:
        return "the input position never leads"
    if difference.min() > -MARGIN:
        return "the prediction position never leads"
    return "the prediction position leads before the input position does"


def _last_crossing(difference: Float[Array, " depth"], at: Float[Array, " depth"]) -> float:
    """Depth of the last change from positive to negative; NaN where there is none."""
    leads, trails = np.flatnonzero(difference > MARGIN), np.flatnonzero(difference < -MARGIN)
    if not len(leads) or not len(trails) or trails[-1] < leads[0]:
        return float("nan")
    before = leads[leads < trails[-1]][-1]
    # From the last clear lead, the sign may change within the margin: find where it does.
    after = before + 1 + np.flatnonzero(difference[before + 1 :] < 0)[0]
    positive = np.flatnonzero(difference[:after] > 0)[-1]
    if after - positive > 1:
        return float((at[positive] + at[after]) / 2)
    step = difference[positive] / (difference[positive] - difference[after])
    return float(at[positive] + step * (at[after] - at[positive]))
