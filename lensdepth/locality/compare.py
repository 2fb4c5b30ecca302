"""Effects of single depths against the effect of all of them at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from einops import rearrange

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.locality.repair import repair_values
from lensdepth.model import DepthModel
from lensdepth.patching.line import LinePosition, depth_line
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task

if TYPE_CHECKING:
    pass
from lensdepth.locality.profile import LocalityProfile


@renamed(pairs="task")
@checked
@bounded
def compare_local_global(
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
) -> LocalityProfile:
    """Edit each depth of a window alone, all of them, and all but one.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: as for `patch_sweep`; component outputs (`attn_out`, `mlp_out`) add up in the
            residual stream, whole residual states overwrite one another.
        depths: the window W, depths or blocks; all by default.
        position: a name, an index, or a span.
        metric: one of METRICS, or a function.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` or a function.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        LocalityProfile; direct effects and self-repair only at the prediction position.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: claim C7 of Haim & McNamee, arXiv 2602.04931; self-repair as in `locality.repair`.
    """
    options = Options(
        caller="compare_local_global", metric=metric, mode=mode, engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
    )  # fmt: skip
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    n = len(line.depths)
    alone = [(i,) for i in range(n)]
    but_one = [tuple(j for j in range(n) if j != i) for i in range(n)]
    read = line.measure([*alone, tuple(range(n)), *but_one], description="local and global")
    effects = rearrange(read.change(), "set pair -> pair set")
    repair = None
    at_end = torch.equal(line.span.base, line.roles.base.last[:, None])
    if at_end and stream != "z":
        repair = repair_values(line)
    return LocalityProfile(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        metric=read.metrics[0],
        depths=torch.tensor(line.depths),
        base_value=read.base[0],
        source_value=read.source[0],
        local=effects[:, :n],
        whole=effects[:, n],
        without=effects[:, n + 1 :],
        direct=None if repair is None else repair.direct,
        total=None if repair is None else repair.total,
        total_at_base_scale=None if repair is None else repair.total_at_base_scale,
        floor=read.floor_of(read.metrics[0]),
    )
