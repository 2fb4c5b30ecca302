"""What a patch sweep found, by pair, depth, position and head."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.roles import Mode
from lensdepth.storage import load_result, save_result
from lensdepth.telling.depths import depth_columns

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class PatchProfile:
    """Outcome of editing one site at a time. What a pair does not have is NaN."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    method: str
    """`exact`, or `attribution` where `values` are first-order estimates."""
    metrics: tuple[str, ...]
    """What was read off, the main metric first."""
    depths: Int[Tensor, " depth"]
    """Residual depths 0 ... L at `resid_pre`; block numbers 0 ... L - 1 at the other streams."""
    positions: tuple[str, ...]
    labels: tuple[str, ...]
    """What stands at each position, where that is the same for all pairs; else its name."""
    heads: tuple[int, ...]
    """Heads that were patched one by one; none where the whole stream was."""
    base_values: Float[Tensor, "metric pair"]
    """The unedited base run."""
    source_values: Float[Tensor, "metric pair"]
    values: Float[Tensor, "metric pair depth position head"]
    """The edited runs; the last axis has one entry where no heads were named."""
    controls: tuple[str, ...]
    control_values: Float[Tensor, "control metric pair depth position head"]
    """The same with another pair's source, or at another position."""
    self_patch_error: float
    """Largest change of any logit when the base run's own states are put back, in the first pairs;
    must be 0 up to rounding."""
    exact_values: Float[Tensor, "pair depth position head"] | None
    """With `attribution`: the main metric by exact patching at the largest sites, else NaN."""
    rank_correlation: float | None
    """Spearman's, between estimated and exact mean effects at those sites."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def metric(self) -> str:
        """The main metric."""
        return self.metrics[0]

    def of(
        self, metric: str, *, control: str | None = None
    ) -> Float[Tensor, "pair depth position"] | Float[Tensor, "pair depth position head"]:
        """One metric of the edited runs; without the head axis where no heads were named.

        Raises:
            ValueError: it was not read off, or that control was not run.
        """
        if metric not in self.metrics:
            raise ValueError(
                f"PatchProfile: metric {metric!r} was not read; "
                f"there are {', '.join(self.metrics)}."
            )
        values = self.values
        if control is not None:
            if control not in self.controls:
                there = ", ".join(self.controls) or "none"
                raise ValueError(
                    f"PatchProfile: control {control!r} was not run; there are {there}."
                )
            values = self.control_values[self.controls.index(control)]
        found = values[self.metrics.index(metric)]
        return found if self.heads else found[..., 0]

    @property
    def effects(
        self,
    ) -> Float[Tensor, "pair depth position"] | Float[Tensor, "pair depth position head"]:
        """Change of the main metric against the base run."""
        values = self.of(self.metric)
        return values - self._pairwise(self.base_values[0], values)

    @property
    def transferred(
        self,
    ) -> Float[Tensor, "pair depth position"] | Float[Tensor, "pair depth position head"]:
        """Transferred fraction of the main metric: 0 at the base run, 1 at the source run."""
        moved = self.of(self.metric).movedim(0, -1)
        return metrics.transferred_fraction(
            moved, self.base_values[0], self.source_values[0]
        ).movedim(-1, 0)

    @staticmethod
    def _pairwise(values: Float[Tensor, " pair"], like: Tensor) -> Tensor:
        return values.view(-1, *[1] * (like.ndim - 1))

    def efficacy(self, position: str, *, control: str | None = None) -> Float[Tensor, "pair depth"]:
        """Success at one position: the profile that `find_transition` and `find_crossing` take.

        Raises:
            ValueError: that position was not patched, heads were, or success was not read.
        """
        if self.heads:
            raise ValueError("PatchProfile: efficacy is of whole streams; heads were patched here.")
        return self.of("success", control=control)[:, :, self.index(position)]

    @property
    def control_success(self) -> Float[Tensor, "pair depth position"] | None:
        """Success with another pair's source; None where that was not run or not read."""
        if "shuffled_source" not in self.controls or "success" not in self.metrics or self.heads:
            return None
        return self.of("success", control="shuffled_source")

    def index(self, position: str) -> int:
        """Where a position stands.

        Raises:
            ValueError: that position was not patched.
        """
        if position not in self.positions:
            raise ValueError(
                f"PatchProfile: position {position!r} was not patched; "
                f"there are {', '.join(self.positions)}."
            )
        return self.positions.index(position)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, depth, position and head, with a column for each metric."""
        import pandas as pd

        _, *shape = self.values.shape
        pair, depth, position, head = torch.meshgrid(
            torch.arange(shape[0]),
            self.depths,
            torch.arange(shape[2]),
            torch.tensor(self.heads or (0,)),
            indexing="ij",
        )
        flat = [axis.flatten() for axis in (pair, depth, position, head)]
        columns: dict[str, object] = {
            "pair": flat[0].numpy(),
            **depth_columns(flat[1], self.n_layers, stream=self.stream),
            "position": [self.positions[i] for i in flat[2].tolist()],
        }
        if self.heads:
            columns["head"] = flat[3].numpy()
        base, source = (v[0][flat[0]].numpy() for v in (self.base_values, self.source_values))
        columns |= {f"base_{self.metric}": base, f"source_{self.metric}": source}
        for i, metric in enumerate(self.metrics):
            columns[metric] = self.values[i].flatten().numpy()
        columns["effect"] = self.effects.flatten().numpy()
        columns["transferred"] = self.transferred.flatten().numpy()
        for i, control in enumerate(self.controls):
            for j, metric in enumerate(self.metrics):
                columns[f"{control}_{metric}"] = self.control_values[i, j].flatten().numpy()
        if self.exact_values is not None:
            columns["exact"] = self.exact_values.flatten().numpy()
        frame = pd.DataFrame(columns)
        there = ~torch.isnan(self.values[0]).flatten().numpy()
        return frame[there].reset_index(drop=True)

    def mean_frame(self, *, n_resamples: int = 1000) -> "pd.DataFrame":
        """One row a depth, position and head: mean effect over pairs with its 95 % interval."""
        import pandas as pd

        from lensdepth import stats

        effects = self.effects if self.heads else self.effects[..., None]
        mean, low, high = stats.bootstrap_mean(effects.numpy(), n_resamples=n_resamples)
        depth, position, head = torch.meshgrid(
            self.depths,
            torch.arange(len(self.positions)),
            torch.tensor(self.heads or (0,)),
            indexing="ij",
        )
        frame = pd.DataFrame(
            {
                **depth_columns(depth.flatten(), self.n_layers, stream=self.stream),
                "position": [self.positions[i] for i in position.flatten().tolist()],
                "token": [self.labels[i] for i in position.flatten().tolist()],
                "head": head.flatten().numpy(),
                "effect": mean.ravel(),
                "low": low.ravel(),
                "high": high.ravel(),
            }
        )
        return frame if self.heads else frame.drop(columns="head")

    @property
    def is_curves(self) -> bool:
        """Whether there are few enough positions to show as curves: efficacy at one or two."""
        return not self.heads and "success" in self.metrics and len(self.positions) <= 2

    def plot(self) -> "Figure":
        """Efficacy by depth with 95 % bands where one or two positions were patched, else a map."""
        if not self.is_curves:
            return self.heatmap()
        from lensdepth import plotting
        from lensdepth.patching.told import efficacy_curves
        from lensdepth.telling.names import metric_words, stream_name

        return plotting.depth_figure(
            efficacy_curves(self),
            n_layers=self.n_layers,
            title=f"Patching one state: {stream_name(self.stream)}",
            y_title=metric_words("success").unit,
            y_range=(-0.03, 1.03),
        )

    def heatmap(self) -> "Figure":
        """Mean effect by depth (up) and position or head (across), zero in the middle."""
        from lensdepth.patching.figures import effect_map

        return effect_map(self)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "PatchProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)
