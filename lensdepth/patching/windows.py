"""Patching windows of depths: all of [a, b] at once, for every a <= b.

The diagonal holds the local effects, the first row the prefixes, the last column the suffixes,
the corner everything; diagonals further out are sliding windows of a fixed width, as in causal
tracing.

A full swap of the residual stream leaves nothing of what earlier swaps at the same position did,
so its windows are as good as their last depth. Windows say more of component outputs
(`attn_out`, `mlp_out`) and of edits that keep a part of what they find.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.arguments import checked
from lensdepth.hooks import Stream
from lensdepth.model import DepthModel
from lensdepth.patching.line import LinePosition, depth_line
from lensdepth.patching.readings import Metric
from lensdepth.provenance import Provenance
from lensdepth.replay import Engine
from lensdepth.roles import Mode, say_undefined
from lensdepth.storage import load_result, save_result
from lensdepth.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class WindowProfile:
    """Outcome of editing every site of a window of depths in one run."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    metrics: tuple[str, ...]
    """What was read off, the main metric first."""
    depths: Int[Tensor, " depth"]
    """Residual depths 0 ... L at `resid_pre`, block numbers at the other streams."""
    base_values: Float[Tensor, "metric pair"]
    source_values: Float[Tensor, "metric pair"]
    values: Float[Tensor, "metric pair first last"]
    """The edited runs; NaN where the window would end before it begins, or is too wide."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def effects(self) -> Float[Tensor, "pair first last"]:
        """Change of the main metric against the base run, by first and last depth."""
        return self.values[0] - self.base_values[0][:, None, None]

    @property
    def transferred(self) -> Float[Tensor, "pair first last"]:
        """Transferred fraction of the main metric: 0 at the base run, 1 at the source run."""
        moved = self.values[0].movedim(0, -1)
        return metrics.transferred_fraction(
            moved, self.base_values[0], self.source_values[0]
        ).movedim(-1, 0)

    @property
    def local(self) -> Float[Tensor, "pair depth"]:
        """Effects of single depths."""
        return self.effects.diagonal(dim1=1, dim2=2)

    @property
    def prefix(self) -> Float[Tensor, "pair depth"]:
        """Effects of everything up to a depth."""
        return self.effects[:, 0]

    @property
    def suffix(self) -> Float[Tensor, "pair depth"]:
        """Effects of everything from a depth on."""
        return self.effects[:, :, -1]

    @property
    def whole(self) -> Float[Tensor, " pair"]:
        """Effect of all depths at once."""
        return self.effects[:, 0, -1]

    def sliding(self, width: int) -> Float[Tensor, "pair window"]:
        """Effects of windows of so many depths, by their first depth.

        Raises:
            ValueError: there is no such window.
        """
        if not 1 <= width <= len(self.depths):
            raise ValueError(
                f"WindowProfile.sliding: width must lie in 1...{len(self.depths)}, got {width}."
            )
        return self.effects.diagonal(offset=width - 1, dim1=1, dim2=2)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair and window."""
        import pandas as pd

        from lensdepth.telling.depths import depth_columns

        where = partial(depth_columns, n_layers=self.n_layers, stream=self.stream)
        n = len(self.depths)
        pair, first, last = torch.meshgrid(
            torch.arange(len(self.values[0])), torch.arange(n), torch.arange(n), indexing="ij"
        )
        columns: dict[str, object] = {
            "pair": pair.flatten().numpy(),
            **where(self.depths[first.flatten()], name="first"),
            **where(self.depths[last.flatten()], name="last"),
        }
        for i, metric in enumerate(self.metrics):
            columns[metric] = self.values[i].flatten().numpy()
        columns["effect"] = self.effects.flatten().numpy()
        columns["transferred"] = self.transferred.flatten().numpy()
        there = ~torch.isnan(self.values[0]).flatten().numpy()
        return pd.DataFrame(columns)[there].reset_index(drop=True)

    def plot(self) -> "Figure":
        """Mean effect by first (up) and last depth (across): the diagonal is local."""
        from lensdepth import stats
        from lensdepth.heatmaps import depth_axis, effect_heatmap
        from lensdepth.telling.names import metric_words, position_name, stream_name

        mean, low, high = stats.bootstrap_mean(self.effects.numpy())
        axis = depth_axis(self.depths.tolist(), self.n_layers, stream=self.stream)
        words = metric_words(self.metrics[0])
        return effect_heatmap(
            mean,
            rows=axis.of("first"),
            columns=axis.of("last"),
            title=f"Patching windows of {stream_name(self.stream)}, {position_name(self.position)}",
            unit=words.unit,
            signs=(words.less, words.more),
            low=low,
            high=high,
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "WindowProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


@checked
def patch_windows(
    model: DepthModel,
    pairs: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    max_width: int | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = (),
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> WindowProfile:
    """Edit all depths of a window at one position in one run, for every window.

    Args:
        model: any wrapped model.
        pairs: a task with pairs of prompts.
        stream: as for `patch_sweep`.
        depths: the depths, or blocks, that windows are made of; all by default.
        position: a name, an index, or a span.
        max_width: leave out windows of more depths than this.
        metric: one of METRICS, or a function.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of polar.EDITS or a function. Edits at later depths act on what earlier ones
            produced.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: windows of states as in Meng et al. 2022, arXiv 2202.05262, section 2.
    """
    if max_width is not None and max_width < 1:
        raise ValueError(f"patch_windows: max_width must be at least 1, got {max_width}.")
    line = depth_line(
        model,
        pairs,
        caller="patch_windows",
        stream=stream,
        depths=depths,
        position=position,
        metric=metric,
        also=also,
        mode=mode,
        edit=edit,
        engine=engine,
        max_memory=max_memory,
    )
    n = len(line.depths)
    windows = [(a, b) for a in range(n) for b in range(a, min(n, a + (max_width or n)))]
    sets = [range(a, b + 1) for a, b in windows]
    read = line.measure(sets, description="patching windows")
    values = torch.full((len(line.metrics), len(pairs), n, n), torch.nan, dtype=torch.float32)
    first, last = torch.tensor(windows).T
    values[:, :, first, last] = read.values.transpose(1, 2)
    say_undefined(read.base[0], read.source[0], metric=line.metrics[0], caller="patch_windows")
    return WindowProfile(
        provenance=line.provenance("patch_windows", max_width=max_width),
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        metrics=line.metrics,
        depths=torch.tensor(line.depths),
        base_values=read.base,
        source_values=read.source,
        values=values,
    )
