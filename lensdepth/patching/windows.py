"""Patching windows of depths: all of [a, b] at once, for every a <= b.

The diagonal holds the local effects, the first row the prefixes, the last column the suffixes,
the corner everything; diagonals further out are sliding windows of a fixed width, as in causal
tracing.

A full swap of the residual stream leaves nothing of what earlier swaps at the same position did,
so its windows are as good as their last depth. Windows say more of component outputs
(`attn_out`, `mlp_out`) and of edits that keep a part of what they find.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.patching.line import LinePosition, depth_line
from lensdepth.provenance import Provenance
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.sweep.loop import say_undefined
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import depth_columns

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class WindowProfile(SweepResult):
    """Outcome of editing every site of a window of depths in one run."""

    MADE_BY: ClassVar[str] = "patch_windows(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    outcome: Effects
    """By pair, first and last depth; NaN where a window would end before it begins, or is too
    wide."""

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        """Residual depths 0 ... L at `resid_pre`, block numbers at the other streams."""
        return self.outcome.places("first")

    @property
    def base_values(self) -> Float[Tensor, "metric pair"]:
        """The unedited base run."""
        return self.outcome.base

    @property
    def source_values(self) -> Float[Tensor, "metric pair"]:
        return self.outcome.source

    @property
    def values(self) -> Float[Tensor, "metric pair first last"]:
        """The edited runs."""
        return self.outcome.values

    @property
    def effects(self) -> Float[Tensor, "pair first last"]:
        """Change of the main metric against the base run, by first and last depth."""
        return self.of("effect")

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
        """One row a pair and window; `depth` is where the window's last edit acts."""
        frame = self.outcome.to_frame(self.stream, self.n_layers)
        return frame.assign(**depth_columns(frame["last"], self.n_layers))

    def plot(self) -> "Figure":
        """Mean effect by first (up) and last depth (across): the diagonal is local."""
        from lensdepth import stats
        from lensdepth.heatmaps import depth_axis, effect_heatmap
        from lensdepth.telling.names import metric_words, position_name, stream_name

        mean, low, high = stats.mean_interval(self.effects.numpy(), units=self.provenance.units)
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
            floor=self.outcome.floor_of(self.metrics[0]),
        )


@renamed(pairs="task")
@checked
@bounded
def patch_windows(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    max_width: int | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ANSWERS,
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> WindowProfile:
    """Edit all depths of a window at one position in one run, for every window.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: as for `patch_sweep`.
        depths: the depths, or blocks, that windows are made of; all by default.
        position: a name, an index, or a span.
        max_width: leave out windows of more depths than this.
        metric: one of METRICS, or a function.
        also: further metrics that are read off the same runs. `()` with `logit_diff` reads two
            columns of the unembedding and not the whole vocabulary.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` or a function. Edits at later depths act on what
            earlier ones produced.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: windows of states as in Meng et al. 2022, arXiv 2202.05262, section 2.
    """
    caller = "patch_windows"
    if max_width is not None and max_width < 1:
        raise ValueError(f"{caller}: max_width must be at least 1, got {max_width}.")
    options = Options(
        caller=caller, metric=metric, also=also, mode=mode, engine=engine,
        batch_size=batch_size, max_memory=max_memory,
        own={"max_width": max_width},
    )  # fmt: skip
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    n = len(line.depths)
    windows = [(a, b) for a in range(n) for b in range(a, min(n, a + (max_width or n)))]
    read = line.measure([range(a, b + 1) for a, b in windows], description="patching windows")
    values = torch.full((len(read.metrics), len(task), n, n), torch.nan, dtype=torch.float32)
    first, last = torch.tensor(windows).T
    values[:, :, first, last] = rearrange(read.values, "metric set pair -> metric pair set")
    depths_of = tuple(line.depths)
    effects = replace(read, coords={"first": depths_of, "last": depths_of}, values=values)
    say_undefined(effects, line.options)
    return WindowProfile(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        outcome=effects,
    )
