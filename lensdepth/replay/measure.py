"""Numbers instead of states: what most sweeps ask of the engine."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.finite import NotFinite
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.not_finite import not_finite
from lensdepth.progress import counted
from lensdepth.replay.engine import run_plan
from lensdepth.replay.plan import Engine, make_plan
from lensdepth.tokens import Positions, Prompts

READOUT_BYTES = 128 * 2**20
"""Logits that are read out at a time."""


@checked
def replay_measure(
    model: DepthModel,
    base: Prompts,
    edit_sets: Sequence[Sequence[SiteEdit]],
    measure: Callable[
        [Float[Tensor, "run column"], Int[Tensor, " run"]], Mapping[str, Float[Tensor, " run"]]
    ],
    *,
    positions: Positions = "last",
    columns: Int[Tensor, "batch column"] | None = None,
    only: Bool[Tensor, "set batch"] | None = None,
    engine: Engine = "auto",
    check: bool = True,
    max_memory: int | None = None,
    description: str = "replaying",
) -> dict[str, Float[Tensor, "set batch"]]:
    """Numbers read off the logits at one position of each prompt, for each set of edits.

    Logits are reduced to numbers a part at a time, so memory does not grow with the sets.

    Args:
        model: any wrapped model.
        base: the prompts that are edited.
        edit_sets: what to change in each run.
        measure: from logits, float32 on the CPU, and the prompts that they belong to, to named
            numbers.
        positions: one position a prompt.
        columns: token ids for each prompt; `measure` then sees only their logits, in this order.
        only: which prompts each set runs on; the rest is NaN.
        engine: see `replay`.
        check: see `replay`.
        max_memory: see `replay`.
        description: shown with the progress bar.
    Raises:
        ValueError: an edit or an option does not fit, or more than one position is asked for.
    """
    plan = make_plan(model, base, edit_sets, positions, None, only, engine, max_memory)
    if plan.asked.shape[1] != 1:
        raise ValueError(
            f"replay_measure: one position a prompt is needed, got {plan.asked.shape[1]}."
        )
    shape = (len(plan.edit_sets), len(plan.batch))
    results: dict[str, Tensor] = {}
    at_once = max(1, READOUT_BYTES // (4 * (model.d_vocab if columns is None else 1)))
    bar = counted(int(plan.only.sum()), description)
    with bar as update, contextlib.closing(run_plan(plan, engine, check, grad=False)) as parts:
        for part in parts:
            for some in torch.arange(len(part.sets)).split(at_once):
                prompts = part.prompts[some]
                states = part.resid[some.to(part.resid.device), 0, 0]
                wanted = None if columns is None else columns[prompts]
                try:
                    logits = model.readout(states, wanted).cpu()
                except NotFinite as error:
                    run = some[error.row]
                    edits = plan.edit_sets[int(part.sets[run])]
                    raise not_finite(
                        model, plan.batch, int(prompts[error.row]), edits=edits
                    ) from error
                for name, values in measure(logits, prompts).items():
                    out = results.setdefault(
                        name, torch.full(shape, torch.nan, dtype=torch.float32)
                    )
                    out[part.sets[some], prompts] = values.float().cpu()
            update(len(part.sets))
    return results
