"""Cross-depth transfer: the source's state of one depth, put in at another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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
from lensdepth.sweep.loop import Planned, say_undefined
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode
from lensdepth.sweep.runs import Run
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import depth_columns
from lensdepth.telling.fractions import Fraction, axis_title

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class TransferProfile(SweepResult):
    """Effect of the state of depth a inserted at depth b, for all (a, b)."""

    MADE_BY: ClassVar[str] = "transfer_matrix(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    stream: str
    edit: str
    position: str
    outcome: Effects
    """By pair, depth taken and depth inserted; where these are equal it is ordinary patching."""

    @property
    def metric(self) -> str:
        """What was read off."""
        return self.outcome.metrics[0]

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        """Residual depths at `resid_pre`, block numbers at the other streams."""
        return self.outcome.places("taken")

    @property
    def base_value(self) -> Float[Tensor, " pair"]:
        return self.outcome.base[0]

    @property
    def source_value(self) -> Float[Tensor, " pair"]:
        return self.outcome.source[0]

    @property
    def values(self) -> Float[Tensor, "pair taken inserted"]:
        """The metric of the edited run."""
        return self.of()

    @property
    def effects(self) -> Float[Tensor, "pair taken inserted"]:
        """Change of the metric against the base run."""
        return self.of("effect")

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, depth taken from and depth inserted at; `depth` is the latter."""
        frame = self.outcome.to_frame(self.stream, self.n_layers)
        places = frame["inserted"].to_numpy()
        return frame.assign(**depth_columns(places, self.n_layers))

    def plot(self, effect: Fraction = "transferred") -> "Figure":
        """Mean transferred fraction, or a part of it, by depth taken (up) and inserted (across)."""
        from lensdepth import stats
        from lensdepth.heatmaps import depth_axis, effect_heatmap
        from lensdepth.telling.names import position_name

        mean, low, high = stats.mean_interval(self.of(effect).numpy(), units=self.provenance.units)
        axis = depth_axis(self.depths.tolist(), self.n_layers, stream=self.stream)
        return effect_heatmap(
            mean,
            rows=axis.of("taken"),
            columns=axis.of("put in"),
            title=f"Cross-depth transfer, {position_name(self.position)}",
            unit=f"transferred fraction of {self.metric}"
            if effect == "transferred"
            else axis_title(effect, self.outcome.intended),
            signs=("away from the source", "towards the source"),
            low=low,
            high=high,
            floor=self.outcome.floor_of(effect),
        )


@renamed(pairs="task")
@checked
@bounded
def transfer_matrix(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    metric: str | Metric = "logit_diff",
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> TransferProfile:
    """Insert the source's state of every depth at every depth of the base run.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: as for `patch_sweep`; states go from a stream to the same stream.
        depths: the depths, or blocks; all by default.
        position: a name, an index, or a span.
        metric: one of METRICS, or a function.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: "full" inserts the state as it is; "direction" keeps the norm found at the depth
            where it is inserted, since norms grow with depth.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: across layers as in Ghandeharioun et al. 2024, "Patchscopes", arXiv 2401.06102.
    """
    options = Options(
        caller="transfer_matrix",
        metric=metric,
        also=ANSWERS if metric == "logit_diff" else (),
        mode=mode,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
    )
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    n = len(line.depths)

    def runs(rows: slice) -> Iterator[Run]:
        mine, here = line.roles.of(rows), line.span.of(rows)
        states = line.source(mine, here)
        for a in range(n):
            for b in range(n):
                yield Run(
                    cells=[(a, b)],
                    hooks=[line.hooks[b]],
                    tokens=here.base,
                    states=[states[a]],
                    edit=line.edit,
                    there=here.present,
                )

    effects = line.run(
        lambda rows: Planned(runs=runs(rows)),
        {"taken": line.depths, "inserted": line.depths},
        "transferring",
    )
    say_undefined(effects, line.options)
    return TransferProfile(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        outcome=effects,
    )
