"""What comparing single depths with all of them found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from einops import repeat
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outcome import Label, Numbers, one_of
from lensdepth.provenance import Provenance
from lensdepth.stats import statistic_interval
from lensdepth.storage import ModelResult
from lensdepth.sweep.roles import Mode
from lensdepth.telling.depths import before_last, depth_columns
from lensdepth.telling.names import has_blocks
from lensdepth.telling.numbers import Interval

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class LocalityProfile(ModelResult):
    """Local effects e(l), the global effect E(W), and E(W without l), by pair."""

    MADE_BY: ClassVar[str] = "compare_local_global(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    metric: str
    depths: Int[Tensor, " depth"]
    """The window W: residual depths at `resid_pre`, block numbers at the other streams."""
    base_value: Float[Tensor, " pair"]
    source_value: Float[Tensor, " pair"]
    local: Float[Tensor, "pair depth"]
    """e(l): change of the metric when one depth is edited."""
    whole: Float[Tensor, " pair"]
    """E(W): change when all depths of the window are edited in one run."""
    without: Float[Tensor, "pair depth"]
    """E(W without l)."""
    direct: Float[Tensor, "pair depth"] | None
    """Direct effect on the logit difference, later layers and final scale as in the base run;
    None for edits elsewhere than at the prediction position."""
    total: Float[Tensor, "pair depth"] | None
    """Total effect on the logit difference; `local`, where that is the metric."""
    total_at_base_scale: Float[Tensor, "pair depth"] | None
    """The same, were the final norm's scale that of the base run."""
    floor: float = 0.0
    """Size below which an effect is rounding, in the metric's unit; 0 in results that lack it."""

    @property
    def gap(self) -> Float[Tensor, " pair"]:
        """Additivity gap E(W) - sum of e(l): positive is synergy, negative is redundancy."""
        return self.whole - self.local.sum(1)

    @property
    def necessity(self) -> Float[Tensor, "pair depth"]:
        """E(W) - E(W without l): what is lost when one depth is left out."""
        return self.whole[:, None] - self.without

    @property
    def best_depth(self) -> int:
        """Depth whose mean local effect goes furthest in the direction of the global one.

        Never depth L: the whole state there is all that is read.
        """
        sign, at = torch.sign(self.whole.nanmean()), self.judged
        return int(self.depths[at[int((sign * self.local[:, at].nanmean(0)).argmax())]])

    @property
    def judged(self) -> list[int]:
        """Indices into `depths` that summaries compare: all but a whole state at depth L."""
        places = self.depths + has_blocks(self.stream)
        whole = self.stream in ("resid_pre", "resid_post")
        return before_last(places.tolist(), self.n_layers) if whole else list(range(len(places)))

    @property
    def holds_last_state(self) -> bool:
        """Whether the window holds a whole state at depth L, so that its effect at the last token
        follows by construction."""
        return len(self.judged) < len(self.depths)

    def sufficiency(self, *, n_resamples: int = 1000, seed: int = 0) -> Interval:
        """Local sufficiency max e(l) / E(W), of means over pairs.

        Each resample takes its own best depth. That the best of several is taken on the pairs
        themselves makes the number larger than on new pairs, the more so the fewer there are.
        """

        def share(local: Array, whole: Array) -> Array:
            best = (np.sign(whole)[:, None] * local).max(1)
            return _ratio(best, np.abs(whole))

        return statistic_interval(
            share,
            self.local[:, self.judged].numpy(),
            self.whole.numpy(),
            units=self.provenance.units,
            n_resamples=n_resamples,
            seed=seed,
        )

    def undone(self, depth: int, *, n_resamples: int = 1000, seed: int = 0) -> Interval | None:
        """Share of a local edit's direct effect that the later layers and the final norm undo.

        1 - total / direct, of means over pairs: 0 where nothing is undone, 1 where everything is,
        negative where the later layers add to it. None where direct effects were not measured.
        """
        if self.direct is None or self.total is None:
            return None
        at = self._index(depth)
        return statistic_interval(
            lambda direct, total: 1 - _ratio(total, direct),
            self.direct[:, at].numpy(),
            self.total[:, at].numpy(),
            units=self.provenance.units,
            n_resamples=n_resamples,
            seed=seed,
        )

    def undone_by_norm(
        self, depth: int, *, n_resamples: int = 1000, seed: int = 0
    ) -> Interval | None:
        """The part of `undone` that the changed scale of the final norm explains."""
        if self.direct is None or self.total is None or self.total_at_base_scale is None:
            return None
        at = self._index(depth)
        return statistic_interval(
            lambda direct, by_norm: _ratio(by_norm, direct),
            self.direct[:, at].numpy(),
            (self.total_at_base_scale - self.total)[:, at].numpy(),
            units=self.provenance.units,
            n_resamples=n_resamples,
            seed=seed,
        )

    def _index(self, depth: int) -> int:
        if depth not in self.depths.tolist():
            raise ValueError(
                f"LocalityProfile: depth {depth} is not in the window {self.depths.tolist()}."
            )
        return self.depths.tolist().index(depth)

    @property
    def _numbers(self) -> Numbers:
        """Those that there are: what `of` gives and, but for the gap, the columns of `to_frame`."""
        by_depth = ("without", "necessity", "direct", "total", "total_at_base_scale")
        return {
            "local": ("pair depth", self.local),
            "whole": ("pair", self.whole),
            **{
                name: ("pair depth", values)
                for name in by_depth
                if (values := getattr(self, name)) is not None
            },
            "gap": ("pair", self.gap),
        }

    def of(self, quantity: str | None = None, **labels: Label | None) -> Tensor:
        """Numbers at some labels, as every sweep's `of` has them: `of("necessity", depth=3)`.

        Args:
            quantity: `"local"`, the default, `"without"`, `"necessity"`, or, where they were
                measured, `"direct"`, `"total"` and `"total_at_base_scale"`, by pair and depth;
                `"whole"` and `"gap"` by pair.
            labels: of `depth`, one of `depths`; None stands for the first.
        Raises:
            ValueError: there is no such quantity, axis or label.
        """
        coords = {"depth": self.depths.tolist()}
        return one_of(self._numbers, coords, quantity, owner="LocalityProfile", **labels)

    def summary(self) -> dict[str, object]:
        """The comparison in numbers; intervals are over units."""
        from lensdepth.locality.told import numbers

        return numbers(self)

    def describe(self) -> str:
        """The same in words."""
        from lensdepth.locality.told import description

        return description(self)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair and depth."""
        import pandas as pd

        n_pairs, n_depths = self.local.shape
        sizes = {"pair": n_pairs, "depth": n_depths}

        def spread(values: Tensor, axes: str) -> Array:
            return repeat(values, f"{axes} -> (pair depth)", **sizes).numpy()

        return pd.DataFrame(
            {
                "pair": spread(torch.arange(n_pairs), "pair"),
                **depth_columns(spread(self.depths, "depth"), self.n_layers, stream=self.stream),
                **{
                    name: spread(values, axes)
                    for name, (axes, values) in self._numbers.items()
                    if name != "gap"
                },
            }
        )

    def plot(self) -> "Figure":
        """Local effect and necessity by depth with 95 % bands, and the direct effect if known."""
        from lensdepth import plotting
        from lensdepth.locality.told import curves
        from lensdepth.telling.names import metric_words, position_name, stream_name

        where = f"{stream_name(self.stream)}, {position_name(self.position)}"
        return plotting.depth_figure(
            curves(self),
            n_layers=self.n_layers,
            title=f"Local against global: {where}",
            y_title=metric_words(self.metric).unit,
        )


def _ratio(numerator: Array, denominator: Array) -> Array:
    """NaN where the denominator is nothing to speak of."""
    safe = np.where(np.abs(denominator) > 1e-6, denominator, np.nan)
    return numerator / safe
