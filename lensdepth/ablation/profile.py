"""What an ablation sweep found, by edit, scope, position, depth and pair."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import metrics, stats
from lensdepth.ablation.given import CONTROLS, Reference
from lensdepth.arguments import checked
from lensdepth.coordinates import CoordinateName
from lensdepth.provenance import Provenance
from lensdepth.roles import Mode
from lensdepth.storage import load_result, save_result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

METRICS = ("logit_diff", "kl", "flip", "success")
Effect = Literal["transferred", "logit_diff", "kl", "flip", "success"]
"""What a part's effect is measured by: the transferred fraction, or the change against the base
run of the logit difference, of KL(base || edited), of the top-1 flip or of success."""

AtEnd = Literal["always", "never", "sometimes"]

SMALLEST_WHOLE = 0.05
"""Shares of a full effect smaller than this part of the largest one are not given."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class AblationProfile:
    """Outcome of each edit by scope, position, depth and pair; what a pair lacks is NaN."""

    provenance: Provenance
    mode: Mode
    to: Reference
    """What the parts were replaced by."""
    coordinates: CoordinateName
    """In which direction and norm were taken."""
    n_reference: int
    """Prompts of the reference set behind means; 0 where none was needed."""
    scopes: tuple[str, ...]
    """`local` edits one depth; `suffix`, `prefix` and `all` edit many in one run."""
    positions: tuple[str, ...]
    at_end: tuple[AtEnd, ...]
    """Whether each position holds the prompts' last token, from which the logits are read."""
    depths: Int[Tensor, " depth"]
    edits: tuple[str, ...]
    """`full`, `direction`, `norm`, then their controls `random_full`, ..."""
    base_logit_diff: Float[Tensor, " pair"]
    source_logit_diff: Float[Tensor, " pair"]
    logit_diff: Float[Tensor, "edit scope position depth pair"]
    kl: Float[Tensor, "edit scope position depth pair"]
    """KL(base || edited) in nats."""
    flip: Float[Tensor, "edit scope position depth pair"]
    """1 where the edited run's most likely token is not the base run's."""
    success: Float[Tensor, "edit scope position depth pair"]
    """1 where the edited run's most likely token is the source run's answer."""
    angle: Float[Tensor, "position depth pair"]
    """Radians between the base's state and what is put in: how far the direction edit turns."""
    norm_ratio: Float[Tensor, "position depth pair"]
    """Norm of what is put in over the base's: how much the norm edit scales."""
    self_patch_error: float

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def controls(self) -> tuple[str, ...]:
        """Those of the edits that are controls."""
        return tuple(edit for edit in self.edits if edit in CONTROLS)

    @property
    def transferred(self) -> Float[Tensor, "edit scope position depth pair"]:
        """Transferred fraction of the logit difference: 0 at the base run, 1 at the source run."""
        return metrics.transferred_fraction(
            self.logit_diff, self.base_logit_diff, self.source_logit_diff
        )

    def effect(
        self, name: Effect = "transferred"
    ) -> Float[Tensor, "edit scope position depth pair"]:
        """An effect by its name; 0 where the edit does nothing.

        Raises:
            ValueError: there is none of that name.
        """
        return named_effect(self, name)

    def of(
        self,
        edit: str,
        values: Float[Tensor, "edit scope position depth pair"],
        *,
        scope: str | None = None,
        position: str | None = None,
    ) -> Float[Tensor, "pair depth"]:
        """One edit's values, pairs first: `profile.of("norm", profile.transferred)`.

        Args:
            edit: one of `edits`.
            values: any of the profile's arrays.
            scope: one of `scopes`; the first by default.
            position: one of `positions`; the first by default.
        Raises:
            ValueError: there is no such edit, scope or position.
        """
        i = _index("edit", edit, self.edits)
        s = 0 if scope is None else _index("scope", scope, self.scopes)
        p = 0 if position is None else _index("position", position, self.positions)
        return values[i, s, p].T

    def identity_depth(
        self, *, scope: str | None = None, position: str | None = None
    ) -> int | None:
        """Depth L, where what an edit does there holds for every model and is no finding.

        At the last token the final norm divides the norm out, so that the norm edit changes
        nothing and the direction edit does all that the full one does; from a center other than
        the origin this is not so. At other tokens nothing is read at depth L, and no edit does
        anything. None where depth L was not edited or is no identity.

        Raises:
            ValueError: there is no such scope or position.
        """
        scope = self.scopes[0 if scope is None else _index("scope", scope, self.scopes)]
        p = 0 if position is None else _index("position", position, self.positions)
        # Up to L, or at every depth, the edit also acts at depths where the norm may matter.
        if self.n_layers not in self.depths.tolist() or scope in ("prefix", "all"):
            return None
        normalization = self.provenance.model.normalization
        holds = holds_by_identity(self.at_end[p], normalization, self.coordinates)
        return self.n_layers if holds else None

    def identity_error(self, *, scope: str | None = None, position: str | None = None) -> float:
        """Largest change of the logit difference by the norm edit at the identity depth, in nats.

        How well the identity holds: a matter of rounding and of the norm's epsilon. NaN without
        one.
        """
        depth = self.identity_depth(scope=scope, position=position)
        if depth is None:
            return float("nan")
        at = self.depths.tolist().index(depth)
        moved = self.of("norm", self.effect("logit_diff"), scope=scope, position=position)
        return float(moved[:, at].abs().max())

    def judged(self, *, scope: str | None = None, position: str | None = None) -> list[int]:
        """Indices into `depths` that comparisons and summaries use: all but the identity."""
        identity = self.identity_depth(scope=scope, position=position)
        return [i for i, depth in enumerate(self.depths.tolist()) if depth != identity]

    def compare_parts(
        self,
        effect: Effect = "transferred",
        *,
        scope: str | None = None,
        position: str | None = None,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Direction against norm by depth, with 95 % intervals from resampling pairs.

        Quantities: the mean effect of `full`, `direction`, `norm` and each control; the paired
        `difference` direction - norm; `direction_over_control` and `norm_over_control`, paired;
        `direction_share` and `norm_share`, the part of the mean full effect that each carries
        (NaN where the whole state moves next to nothing); and the `interaction`
        full - direction - norm, what only both together do. Of transferred fractions also
        `full_of_means` and so on: the mean change over the mean difference of the two runs, which
        pairs whose runs hardly differ cannot rule as they rule a mean of fractions.

        Returns:
            One row a depth and quantity: depth, relative_depth, quantity, value, low, high, and
            `identity`, true where the model could not have answered otherwise.
        """
        import pandas as pd

        moved = self.effect(effect)
        by_edit = {
            edit: self.of(edit, moved, scope=scope, position=position).double().numpy()
            for edit in self.edits
        }
        quantities = dict(by_edit)
        quantities["difference"] = by_edit["direction"] - by_edit["norm"]
        for part in ("direction", "norm"):
            if f"random_{part}" in by_edit:
                control = by_edit[f"random_{part}"]
                quantities[f"{part}_over_control"] = by_edit[part] - control
        quantities["interaction"] = by_edit["full"] - by_edit["direction"] - by_edit["norm"]
        rows = {
            name: stats.bootstrap_mean(values, n_resamples=n_resamples, seed=seed)
            for name, values in quantities.items()
        }
        # Fractions of small differences between the two runs would rule a mean of fractions:
        # shares are of the change itself, towards the source.
        way = self.source_logit_diff - self.base_logit_diff
        changes = self.effect("logit_diff") * way.sign() if effect == "transferred" else moved
        parts = {
            part: self.of(part, changes, scope=scope, position=position).double().numpy()
            for part in ("full", "direction", "norm")
        }
        for part in ("direction", "norm"):
            rows[f"{part}_share"] = _share(parts[part], parts["full"], n_resamples, seed)
        if effect == "transferred":
            whole = np.broadcast_to(way.abs().double().numpy()[:, None], parts["full"].shape)
            rows |= {
                f"{part}_of_means": _share(values, whole, n_resamples, seed)
                for part, values in parts.items()
            }
        identity = self.identity_depth(scope=scope, position=position)
        depths = self.depths.numpy()
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "depth": depths,
                        "relative_depth": depths / self.n_layers,
                        "quantity": name,
                        "value": value,
                        "low": low,
                        "high": high,
                        "identity": depths == identity,
                    }
                )
                for name, (value, low, high) in rows.items()
            ],
            ignore_index=True,
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, scope, position, depth and pair."""
        import pandas as pd

        shape = self.logit_diff.shape
        edit, scope, position, depth, pair = (
            axis.flatten()
            for axis in torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
        )

        def spread(values: Tensor) -> Array:
            return values.expand(shape).flatten().numpy()

        return pd.DataFrame(
            {
                "position": [self.positions[i] for i in position.tolist()],
                "scope": [self.scopes[i] for i in scope.tolist()],
                "edit": [self.edits[i] for i in edit.tolist()],
                "depth": self.depths[depth].numpy(),
                "relative_depth": (self.depths[depth] / self.n_layers).numpy(),
                "pair": pair.numpy(),
                "angle": spread(self.angle),
                "norm_ratio": spread(self.norm_ratio),
                "base_logit_diff": spread(self.base_logit_diff),
                "source_logit_diff": spread(self.source_logit_diff),
                **{name: getattr(self, name).flatten().numpy() for name in METRICS},
                "transferred": self.transferred.flatten().numpy(),
            }
        )

    def plot(
        self,
        effect: Effect = "transferred",
        *,
        scope: str | None = None,
        position: str | None = None,
    ) -> "Figure":
        """An effect by depth for each edit with 95 % bands, controls dashed."""
        from lensdepth.ablation.figures import parts_figure

        return parts_figure(self, effect, scope=scope, position=position)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "AblationProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


def holds_by_identity(at_end: AtEnd, normalization: str, coordinates: CoordinateName) -> bool:
    """Whether what an edit does at depth L follows from the readout, whatever the model is."""
    if at_end == "never":
        return True
    return at_end == "always" and normalization != "none" and coordinates != "centred"


def named_effect(profile: Any, name: Effect) -> Float[Tensor, "*shape pair"]:
    """An effect of a result with the arrays of METRICS, by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in get_args(Effect):
        raise ValueError(
            f"{type(profile).__name__}: effect must be one of {', '.join(get_args(Effect))}, "
            f"got {name!r}."
        )
    if name == "logit_diff":
        return profile.logit_diff - profile.base_logit_diff
    return getattr(profile, name)


def _index(kind: str, name: str, there: tuple[str, ...]) -> int:
    if name not in there:
        raise ValueError(
            f"AblationProfile: {kind} {name!r} was not made; there are {', '.join(there)}."
        )
    return there.index(name)


def _share(
    part: Float[Array, "pair depth"],
    whole: Float[Array, "pair depth"],
    n_resamples: int,
    seed: int,
) -> tuple[Float[Array, " depth"], Float[Array, " depth"], Float[Array, " depth"]]:
    """Mean of a part over mean of the whole, with its interval, where the whole is not nothing."""
    means = [stats.bootstrap_mean(x, n_resamples=1)[0] for x in (part, whole)]
    usable = np.abs(means[1]) >= SMALLEST_WHOLE * np.nanmax(np.abs(means[1]), initial=1e-12)

    def ratio(top: Array, bottom: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(usable & (bottom != 0), top / bottom, np.nan)

    value = ratio(*means)
    if len(part) < 2:
        unknown = np.full(value.shape, np.nan)
        return value, unknown, unknown
    drawn = [stats.resampled_means(x, n_resamples=n_resamples, seed=seed) for x in (part, whole)]
    return value, *stats.percentile_interval(ratio(*drawn))
