"""Where control passes from one position to the other: two efficacy curves that change places."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.outside import cut
from lensdepth.provenance import Provenance
from lensdepth.storage import load_result, save_result
from lensdepth.telling.names import has_blocks
from lensdepth.telling.numbers import percent

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Array = np.ndarray
MARGIN = 0.05
"""Efficacy by which one curve must lead the other, on each side of a crossing."""


@runtime_checkable
class Controlled(Protocol):
    """Success by position, depth and pair: a profile of patching or of steering."""

    @property
    def provenance(self) -> Provenance: ...
    @property
    def positions(self) -> tuple[str, ...]: ...
    @property
    def stream(self) -> str: ...
    @property
    def depths(self) -> Int[Tensor, " depth"]: ...
    def efficacy(self, position: str) -> Float[Tensor, "pair depth"]: ...


@runtime_checkable
class Steered(Controlled, Protocol):
    """The same for several edits and scopes: a profile of steering."""

    @property
    def edits(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    def efficacy(
        self, position: str, *, edit: str = "full", scope: str | None = None
    ) -> Float[Tensor, "pair depth"]: ...


@checked
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

    @property
    def n_layers(self) -> int:
        """Of the model; the last depth, where the curves are bare arrays."""
        if self.provenance is not None:
            return self.provenance.model.n_layers
        return int(self.depths[-1])

    def to_frame(self) -> "pd.DataFrame":
        """One row: the depth, its interval, and the verdict."""
        import pandas as pd

        names = ("verdict", "depth", "low", "high", "share", "reason")
        row = {name: getattr(self, name) for name in names}
        row["relative_depth"] = self.depth / self.n_layers
        return pd.DataFrame([row])

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
            n_layers=self.n_layers,
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


@checked
def find_crossing(
    first: Controlled | Float[Tensor, "unit depth"],
    second: Float[Tensor, "unit depth"] | None = None,
    *,
    depths: Sequence[float] | None = None,
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
        depths: the depths of the columns, increasing; 0, 1, ... by default. Not with a profile,
            which has its own.
        n_resamples: bootstrap resamples over units.
        seed: of the bootstrap.
    Returns:
        Crossing. "crossing" where at least 95 % of the resamples cross, and the second curve does
        not lead before the first one last does; "none" where at most 5 % cross; else "cannot
        tell".
    Raises:
        ValueError: shapes that differ, depths that do not fit them, a profile without both
            positions, or one with curves or depths beside it.
    Example:
        >>> find_crossing(patch_sweep(model, task)).depth
    """
    provenance = None
    if not isinstance(first, Tensor):
        beside = {"second": second, "depths": depths}
        given = [name for name, value in beside.items() if value is not None]
        if given:
            raise ValueError(
                f"find_crossing: a {type(first).__name__} has both curves and their depths; leave "
                f"out {' and '.join(given)}, or give two curves in place of the profile."
            )
        provenance = first.provenance
        # What a block puts out stands at the depth after it.
        shift = has_blocks(first.stream)
        depths = (first.depths + shift).tolist()
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
    first, second = first.detach().cpu(), second.detach().cpu()
    at = np.arange(first.shape[1], dtype=float) if depths is None else np.array(depths, float)
    if len(at) != first.shape[1] or not (np.diff(at) > 0).all():
        raise ValueError(
            f"find_crossing: depths must increase, one for each of the {first.shape[1]} columns; "
            f"got {len(at)} of them: {cut(str(at.tolist()))}."
        )
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
    elif share >= stats.LEVEL and _leads_before(np.nanmean(difference, axis=0)):
        verdict = "cannot tell"
        reason = "the curves change places more than once, so control is not handed over once"
    elif share >= stats.LEVEL and not np.isnan(depth):
        verdict, reason = "crossing", f"the curves cross in {percent(share)} of the resamples"
    elif share <= 1 - stats.LEVEL:
        verdict, reason = "none", _why_none(first, second)
    else:
        verdict, reason = (
            "cannot tell",
            f"the curves cross in {percent(share)} of the resamples only",
        )
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


@checked
def find_steering_crossing(
    profile: Steered,
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


def _leads_before(difference: Float[Array, " depth"]) -> bool:
    """Whether the second curve leads clearly somewhere before the first one last does."""
    leads, trails = np.flatnonzero(difference > MARGIN), np.flatnonzero(difference < -MARGIN)
    return bool(len(leads) and len(trails) and trails[0] < leads[-1])


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
