"""Cross-depth transfer: the source's state of one depth, put in at another."""

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
from lensdepth.patching.readings import Metric, measure_sets, measure_source
from lensdepth.patching.sites import EditSets, states_at
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
class TransferProfile:
    """Effect of the state of depth a inserted at depth b, for all (a, b)."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    metric: str
    depths: Int[Tensor, " depth"]
    base_value: Float[Tensor, " pair"]
    source_value: Float[Tensor, " pair"]
    values: Float[Tensor, "pair taken inserted"]
    """The metric of the edited run; the diagonal is ordinary patching."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def effects(self) -> Float[Tensor, "pair taken inserted"]:
        """Change of the metric against the base run."""
        return self.values - self.base_value[:, None, None]

    @property
    def transferred(self) -> Float[Tensor, "pair taken inserted"]:
        """Transferred fraction of the metric: 0 at the base run, 1 at the source run."""
        moved = self.values.movedim(0, -1)
        return metrics.transferred_fraction(moved, self.base_value, self.source_value).movedim(
            -1, 0
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, depth taken from and depth inserted at."""
        import pandas as pd

        from lensdepth.telling.depths import depth_columns

        where = partial(depth_columns, n_layers=self.n_layers, stream=self.stream)
        pair, taken, inserted = torch.meshgrid(
            torch.arange(len(self.values)), self.depths, self.depths, indexing="ij"
        )
        return pd.DataFrame(
            {
                "pair": pair.flatten().numpy(),
                **where(taken.flatten(), name="taken"),
                **where(inserted.flatten(), name="inserted"),
                self.metric: self.values.flatten().numpy(),
                "effect": self.effects.flatten().numpy(),
                "transferred": self.transferred.flatten().numpy(),
            }
        )

    def plot(self) -> "Figure":
        """Mean transferred fraction by depth taken (up) and depth inserted (across)."""
        from lensdepth import stats
        from lensdepth.heatmaps import depth_axis, effect_heatmap
        from lensdepth.telling.names import position_name

        mean, low, high = stats.bootstrap_mean(self.transferred.numpy())
        axis = depth_axis(self.depths.tolist(), self.n_layers, stream=self.stream)
        return effect_heatmap(
            mean,
            rows=axis.of("taken"),
            columns=axis.of("put in"),
            title=f"Cross-depth transfer, {position_name(self.position)}",
            unit=f"transferred fraction of {self.metric}",
            signs=("away from the source", "towards the source"),
            low=low,
            high=high,
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "TransferProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


@checked
def transfer_matrix(
    model: DepthModel,
    pairs: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    metric: str | Metric = "logit_diff",
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> TransferProfile:
    """Insert the source's state of every depth at every depth of the base run.

    Args:
        model: any wrapped model.
        pairs: a task with pairs of prompts.
        stream: as for `patch_sweep`; states go from a stream to the same stream.
        depths: the depths, or blocks; all by default.
        position: a name, an index, or a span.
        metric: one of METRICS, or a function.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: "full" inserts the state as it is; "direction" keeps the norm found at the depth
            where it is inserted, since norms grow with depth.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: across layers as in Ghandeharioun et al. 2024, "Patchscopes", arXiv 2401.06102.
    """
    line = depth_line(
        model,
        pairs,
        caller="transfer_matrix",
        stream=stream,
        depths=depths,
        position=position,
        metric=metric,
        mode=mode,
        edit=edit,
        engine=engine,
        max_memory=max_memory,
    )
    n = len(line.depths)
    found = []
    for block in line.blocks():
        mine, here = line.roles.of(block), line.span.of(block)
        given = states_at(model, mine.source, line.hooks, [here.source])
        sets = EditSets(len(mine.base))
        for a in range(n):
            for b in range(n):
                states = [given.at(a, 0)]
                hooks = [line.hooks[b]]
                sets.add(a * n + b, hooks, here.base, states, line.edit, wanted=here.present)
        base, values = measure_sets(
            model,
            mine,
            sets,
            line.asked,
            n * n,
            engine=engine,
            max_memory=max_memory,
            description="transferring",
        )
        values[..., ~here.present] = torch.nan
        source = measure_source(model, mine, line.asked)
        found.append((base[0], source[0], values[0].T.unflatten(1, (n, n))))
    base, source, values = (torch.cat(parts) for parts in zip(*found, strict=True))
    say_undefined(base, source, metric=line.metrics[0], caller="transfer_matrix")
    return TransferProfile(
        provenance=line.provenance("transfer_matrix"),
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        metric=line.metrics[0],
        depths=torch.tensor(line.depths),
        base_value=base,
        source_value=source,
        values=values,
    )
