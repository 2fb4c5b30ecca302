"""Trajectory response: where a local edit's trace goes in the depths after it.

After an edit at one depth, the states of later depths stray from the base run's trajectory and
may approach the source run's. Angle and norm are followed separately, so that one sees which
perturbations persist and which are repaired.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.locality.trajectory_profile import TrajectoryProfile
from lensdepth.model import DepthModel
from lensdepth.patching.line import DepthLine, LinePosition, depth_line
from lensdepth.replay.engine import replay
from lensdepth.replay.plan import Engine
from lensdepth.site import Stream
from lensdepth.sweep.controls import pair_noise
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Mode
from lensdepth.sweep.runs import Run, RunSets
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task


@renamed(pairs="task")
@checked
@bounded
def trajectory_response(
    model: DepthModel,
    task: Task,
    *,
    stream: Stream = "resid_pre",
    depths: Sequence[int] | None = None,
    position: LinePosition = "prediction",
    read: str | int = "prediction",
    mode: Mode = "denoise",
    edit: str | polar.Edit = "full",
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> TrajectoryProfile:
    """Edit one depth at a time and follow the residual states of all later depths.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        stream: what to edit, as for `patch_sweep`.
        depths: the depths, or blocks, to edit; all by default.
        position: where to edit: a name, an index, or a span.
        read: where to follow the states: a name, or an index that every prompt has.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edit: one of `lensdepth.edits.SWEPT` or a function.
        seed: of the control's random directions.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Raises:
        ValueError: before any forward pass, as for `patch_sweep`.
    Source: DESIGN of claim C7, Haim & McNamee, arXiv 2602.04931.
    """
    options = Options(
        caller="trajectory_response", mode=mode, seed=seed, engine=engine,
        batch_size=batch_size, max_memory=max_memory,
        own={"read": read},
    )  # fmt: skip
    line = depth_line(
        model, task, options, stream=stream, depths=depths, position=position, edit=edit
    )
    other = depth_line(
        model, task, options, stream="resid_pre", depths=None, position=read, edit=edit
    )
    if not other.span.present.all():
        short = int((~other.span.present).sum())
        raise ValueError(
            f"trajectory_response: read {read} lies outside {short} of {len(task)} pairs; count "
            f"from the end (-1), or name a position."
        )
    parts = [_block(line, other, block, seed) for block in line.blocks()]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return TrajectoryProfile(
        provenance=line.provenance,
        mode=mode,
        stream=stream,
        edit=line.edit_name,
        position=line.span.name,
        read=other.span.name,
        edited=torch.tensor(line.depths),
        **joined,
    )


def _block(line: DepthLine, reader: DepthLine, block: slice, seed: int) -> dict[str, Tensor]:
    model, roles, span = line.model, line.roles.of(block), line.span.of(block)
    at = reader.span.of(block)
    n_pairs, n_edits, n_depths = len(roles.base), len(line.depths), model.n_layers + 1
    given = line.source(roles, span)
    own = states_at(model, roles.base, line.hooks, [span.base]).states
    # By pair and depth, so that no pair's direction depends on how they are split into blocks.
    noise = pair_noise(range(len(line.task))[block], (n_edits, *own.shape[2:]), seed)
    runs = []
    for i, (hook, states, found) in enumerate(zip(line.hooks, given, own, strict=True)):
        turn = polar.angle(found, line.edit(found, states)).nan_to_num(0.0)
        turned = polar.rotate_by(found, noise[:, i].to(found.device), turn)
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
        "angle_from_base": _angles(main, base),
        "angle_to_source": _angles(main, source),
        "angle_base_source": polar.angle(base, source),
        "norm": torch.stack([polar.norm(one) for one in main.unbind(1)], dim=1),
        "base_norm": polar.norm(base),
        "source_norm": polar.norm(source),
        "control_angle_from_base": _angles(control, base),
    }


def _angles(
    states: Float[Tensor, "pair edit depth d_model"], other: Float[Tensor, "pair depth d_model"]
) -> Float[Tensor, "pair edit depth"]:
    """Angle of each edit's states to others, NaN where they were not read.

    Edit by edit: unit vectors of all of them at once would take several times the states' memory.
    """
    angles = []
    for one in states.unbind(1):
        there = ~torch.isnan(one).any(-1)
        found = polar.angle(torch.where(there[..., None], one, 0.0), other)
        angles.append(torch.where(there, found, torch.nan))
    return torch.stack(angles, dim=1)
