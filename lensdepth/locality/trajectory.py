"""Trajectory response: where a local edit's trace goes in the depths after it.

After an edit at one depth, the states of later depths stray from the base run's trajectory and
may approach the source run's. Angle and norm are followed separately, so that one sees which
perturbations persist and which are repaired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.model import DepthModel
from lensdepth.patching.line import DepthLine, LinePosition, depth_line
from lensdepth.provenance import Provenance
from lensdepth.replay.engine import replay
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.storage import load_result, save_result
from lensdepth.sweep.loop import Options
from lensdepth.sweep.roles import Mode, PositionName
from lensdepth.sweep.runs import Run, RunSets
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import depth_columns

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class TrajectoryProfile:
    """Angles and norms after a local edit; NaN at depths before it."""

    provenance: Provenance
    mode: Mode
    stream: str
    """What is edited; what is read is always the residual stream."""
    edit: str
    position: str
    """Where the edit is made."""
    read: str
    """Where the states are read."""
    edited: Int[Tensor, " edit"]
    """Residual depths that are edited, one at a time; block numbers at the other streams."""
    angle_from_base: Float[Tensor, "pair edit depth"]
    """Radians between the edited run's state and the base run's."""
    angle_to_source: Float[Tensor, "pair edit depth"]
    """Radians between the edited run's state and the source run's."""
    angle_base_source: Float[Tensor, "pair depth"]
    """Radians between the two unedited runs."""
    norm: Float[Tensor, "pair edit depth"]
    """Norm of the edited run's state."""
    base_norm: Float[Tensor, "pair depth"]
    source_norm: Float[Tensor, "pair depth"]
    control_angle_from_base: Float[Tensor, "pair edit depth"]
    """The same after turning the state as far in a random direction."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def reached(self) -> Int[Tensor, " edit"]:
        """First residual depth that each edit changes: the edited one, or the block's output."""
        return self.edited + (self.stream != "resid_pre")

    @property
    def angle_progress(self) -> Float[Tensor, "pair edit depth"]:
        """1 - angle to source / angle between base and source: 0 at the base, 1 at the source."""
        between = self.angle_base_source[:, None]
        progress = 1 - self.angle_to_source / between
        return torch.where(between > 1e-4, progress, torch.nan)

    @property
    def norm_progress(self) -> Float[Tensor, "pair edit depth"]:
        """Share of the way from the base's norm to the source's; NaN where those are alike."""
        base, source = self.base_norm[:, None], self.source_norm[:, None]
        progress = (self.norm - base) / (source - base)
        return torch.where((source - base).abs() > 1e-3 * base, progress, torch.nan)

    @property
    def persistence(self) -> Float[Tensor, "pair edit"]:
        """Angle from the base trajectory at the last depth over that at the first one reached.

        Below 1 the later layers undo the turn, above 1 they make more of it.
        """
        at = torch.stack(
            [self.angle_from_base[:, i, d] for i, d in enumerate(self.reached.tolist())], dim=1
        )
        return torch.where(at > 1e-4, self.angle_from_base[:, :, -1] / at, torch.nan)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair, edited depth and later depth."""
        import pandas as pd

        n_pairs, _, n_depths = self.norm.shape
        pair, row, depth = torch.meshgrid(
            torch.arange(n_pairs),
            torch.arange(len(self.edited)),
            torch.arange(n_depths),
            indexing="ij",
        )
        edited = self.edited[row]
        columns = {
            "pair": pair.flatten().numpy(),
            **depth_columns(edited.flatten(), self.n_layers, stream=self.stream, name="edited"),
            **depth_columns(depth.flatten(), self.n_layers),
        }
        for name in (
            "angle_from_base",
            "angle_to_source",
            "angle_progress",
            "norm",
            "norm_progress",
            "control_angle_from_base",
        ):
            columns[name] = getattr(self, name).flatten().numpy()
        there = (depth >= self.reached[row]).flatten().numpy()
        return pd.DataFrame(columns)[there].reset_index(drop=True)

    def plot(self) -> "Figure":
        """Mean progress in angle towards the source, by edited (up) and later depth (across)."""
        from lensdepth import stats
        from lensdepth.heatmaps import depth_axis, effect_heatmap
        from lensdepth.telling.names import position_name

        mean, low, high = stats.bootstrap_mean(self.angle_progress.numpy())
        rows = depth_axis(self.edited.tolist(), self.n_layers, stream=self.stream)
        columns = depth_axis(range(self.n_layers + 1), self.n_layers)
        return effect_heatmap(
            mean,
            rows=rows.of("edited"),
            columns=columns.of("read"),
            title=f"Response of the trajectory, {position_name(self.read)}",
            unit="share of the angle from base to source",
            signs=("away from the source", "towards the source"),
            low=low,
            high=high,
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "TrajectoryProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


@renamed(pairs="task")
@checked
def trajectory_response(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    read: PositionName = "prediction",
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    seed: int = 0,
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> TrajectoryProfile:
    """Edit one depth at a time and follow the residual states of all later depths.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: what to edit, as for `patch_sweep`.
        depths: the depths, or blocks, to edit; all by default.
        position: where to edit: a name, an index, or a span.
        read: where to follow the states, `"prediction"` or `"input"`.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` or a function.
        seed: of the control's random directions.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: DESIGN of claim C7, Haim & McNamee, arXiv 2602.04931.
    """
    options = Options(
        caller="trajectory_response", mode=mode, seed=seed, engine=engine, max_memory=max_memory,
        own={"read": read},
    )  # fmt: skip
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    other = depth_line(
        model, task, options, stream="resid_pre", depths=None, position=read, edit=edit
    )
    parts = [_block(line, other, block, seed) for block in line.blocks()]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return TrajectoryProfile(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        read=read,
        edited=torch.tensor(line.depths),
        **joined,
    )


def _block(line: DepthLine, reader: DepthLine, block: slice, seed: int) -> dict[str, Tensor]:
    model, roles, span = line.model, line.roles.of(block), line.span.of(block)
    at = reader.span.of(block)
    n_pairs, n_edits, n_depths = len(roles.base), len(line.depths), model.n_layers + 1
    given = line.source(roles, span)
    own = states_at(model, roles.base, line.hooks, [span.base]).states
    generator = torch.Generator().manual_seed(seed + block.start)
    runs = []
    for i, (hook, states, found) in enumerate(zip(line.hooks, given, own, strict=True)):
        turn = polar.angle(found, line.edit(found, states)).nan_to_num(0.0)
        turned = polar.random_at_angle(found, turn, generator)
        for cell, put, edit in ((i, states, line.edit), (n_edits + i, turned, polar.full_swap)):
            runs.append(
                Run(
                    cells=[(cell,)],
                    hooks=[hook],
                    tokens=span.base,
                    states=[put],
                    edit=edit,
                    there=span.present,
                )
            )
    sets = RunSets(runs, n_pairs)
    states = torch.full(
        (2 * n_edits, n_pairs, n_depths, model.d_model), torch.nan, dtype=torch.float32
    )
    parts = replay(
        model,
        roles.base,
        sets.sets,
        positions=at.base,
        depths=list(range(n_depths)),
        only=sets.only,
        engine=line.options.engine,
        max_memory=line.options.max_memory,
    )
    base = torch.zeros(n_pairs, n_depths, model.d_model, dtype=torch.float32)
    sites = torch.tensor([-1 if n < 0 else runs[n].cells[0][0] for n in sets.of_run])
    for part in parts:
        found, mine = part.resid[:, :, 0].float().cpu(), sites[part.sets]
        base[part.prompts[mine < 0]] = found[mine < 0]
        states[mine[mine >= 0], part.prompts[mine >= 0]] = found[mine >= 0]
    followed = states_at(model, roles.source, reader.hooks, [at.source]).states
    source = rearrange(followed[:, :, 0], "depth pair d_model -> pair depth d_model")
    edited = rearrange(states, "edit pair depth d_model -> pair edit depth d_model")
    reached = torch.tensor([site.depth for site in line.sites])
    before = reached[:, None] > torch.arange(n_depths)
    edited[:, torch.cat([before, before])] = torch.nan
    main, control = edited[:, :n_edits], edited[:, n_edits:]
    return {
        "angle_from_base": _angle(main, base[:, None]),
        "angle_to_source": _angle(main, source[:, None]),
        "angle_base_source": polar.angle(base, source),
        "norm": polar.norm(main),
        "base_norm": polar.norm(base),
        "source_norm": polar.norm(source),
        "control_angle_from_base": _angle(control, base[:, None]),
    }


def _angle(x: Tensor, y: Tensor) -> Tensor:
    """NaN where x was not read."""
    there = ~torch.isnan(x).any(-1)
    angles = polar.angle(torch.where(there[..., None], x, 0.0), y.expand_as(x))
    return torch.where(there, angles, torch.nan)
