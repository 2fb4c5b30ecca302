"""Direct against total effects: how much of a local edit the later layers undo.

An edit at the prediction position reaches the readout directly, through the residual stream, and
by way of every later layer. With the later layers and the final norm's scale held as in the base
run, its effect is direct; what the edited run really does is total. The difference is repaired:
by what the later layers write instead, and by the final norm, whose scale has changed.

Source: McGrath et al. 2023, arXiv 2307.15771; Rushing & Nanda 2024, arXiv 2402.15390.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.model import DepthModel
from lensdepth.patching.line import DepthLine
from lensdepth.replay.engine import replay
from lensdepth.sweep.runs import Run, RunSets
from lensdepth.sweep.states import states_at


@dataclass(frozen=True, kw_only=True, eq=False)
class RepairValues:
    """Effects on the logit difference, in nats."""

    direct: Float[Tensor, "pair depth"]
    """Through the residual stream alone, final scale as in the base run."""
    total: Float[Tensor, "pair depth"]
    """In the edited run."""
    total_at_base_scale: Float[Tensor, "pair depth"]
    """In the edited run, were the final norm's scale that of the base run."""


def repair_values(line: DepthLine) -> RepairValues:
    """Direct and total effects of editing each depth of a line at the prediction position."""
    parts = [_block(line, block) for block in line.blocks()]
    return RepairValues(
        **{
            name: torch.cat([getattr(part, name) for part in parts])
            for name in ("direct", "total", "total_at_base_scale")
        }
    )


def _block(line: DepthLine, block: slice) -> RepairValues:
    model, roles, span = line.model, line.roles.of(block), line.span.of(block)
    hooks, n_pairs = line.hooks, len(roles.base)
    given = line.source(roles, span)
    found = states_at(model, roles.base, hooks, [span.base]).states
    answers = torch.stack([roles.target, roles.foil], dim=1)
    everyone = torch.ones(n_pairs, dtype=torch.bool)
    runs = [
        Run(cells=(), hooks=[hook], tokens=span.base, states=[put], edit=line.edit, there=everyone)
        for hook, put in zip(hooks, given, strict=True)
    ]
    sets = RunSets(runs, n_pairs)
    final = torch.zeros(1 + len(hooks), n_pairs, model.d_model, dtype=torch.float32)
    engine, max_memory = line.options.engine, line.options.max_memory
    for part in replay(model, roles.base, sets.sets, engine=engine, max_memory=max_memory):
        final[part.sets, part.prompts] = part.resid[:, 0, 0].float().cpu()
    base = final[0]
    scale = final_scale(model, base)
    before = _logit_diff(model, base, answers, scale)
    columns: dict[str, list[Tensor]] = {"direct": [], "total": [], "total_at_base_scale": []}
    for i in range(len(hooks)):
        own, other = found[i, :, 0], given[i, :, 0]
        moved = line.edit(own, other) - own
        columns["direct"].append(_logit_diff(model, base + moved, answers, scale) - before)
        columns["total"].append(_logit_diff(model, final[1 + i], answers, None) - before)
        at_base = _logit_diff(model, final[1 + i], answers, scale)
        columns["total_at_base_scale"].append(at_base - before)
    return RepairValues(**{name: torch.stack(values, dim=1) for name, values in columns.items()})


def final_scale(model: DepthModel, resid: Float[Tensor, "pair d_model"]) -> Float[Tensor, " pair"]:
    """What the final norm divides a state by; 1 where there is none."""
    kind, eps = model.info.normalization, model.passes.norm_eps
    if kind == "none":
        return torch.ones(len(resid), dtype=torch.float32)
    centred = resid - resid.mean(-1, keepdim=True) if kind == "LN" else resid
    return (centred.pow(2).mean(-1) + eps).sqrt()


def _logit_diff(
    model: DepthModel,
    resid: Float[Tensor, "pair d_model"],
    answers: Tensor,
    scale: Float[Tensor, " pair"] | None,
) -> Float[Tensor, " pair"]:
    """logit(target) - logit(foil), with another scale in the final norm if one is given.

    Logits before a cap are affine in the normed state, and that is inverse to the scale; what a
    zero state gives is the part without it.
    """
    logits = model.readout(resid, answers)
    if scale is not None:
        cap = model.passes.logit_cap
        still = _uncapped(model.readout(torch.zeros_like(resid), answers), cap)
        factor = (final_scale(model, resid) / scale)[:, None]
        logits = still + (_uncapped(logits, cap) - still) * factor
        logits = cap * torch.tanh(logits / cap) if cap else logits
    return logits[:, 0] - logits[:, 1]


def _uncapped(logits: Tensor, cap: float) -> Tensor:
    return cap * torch.atanh((logits / cap).double()).float() if cap else logits
