"""One sweep over all pairs of a task, and what it says of each pair by itself."""

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.pairs.table import PairTable
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import patch_sweep
from lensdepth.provenance import make_provenance
from lensdepth.site import depth_hook
from lensdepth.tasks.keeping import answered
from lensdepth.tasks.task import Task
from lensdepth.transition.crossing import find_crossing
from lensdepth.transition.crossing_result import Crossing


@checked
@bounded
def pair_table(
    model: DepthModel,
    task: Task,
    *,
    depth: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> PairTable:
    """Every pair of a task in numbers: right or wrong, crossing, norm ratio and effect.

    The crossing of a pair is where control passes from its input to its last token, by
    `patch_sweep` and `find_crossing` (its `pairs`); norm ratio and effect are of the last token's
    state at one depth: how long it is on the clean prompt beside the corrupted one, and how far
    the logit difference moves where the clean one is put into the corrupted run.

    Args:
        model: any wrapped model.
        task: pairs of prompts, right and wrong ones (`load_task(..., keep="all")`).
        depth: where norms and effects are read; None is the depth nearest the crossing of the mean
            curves, or half of the depth where they do not cross.
        seed: of the draws.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        PairTable. Without an input position, or where this is the last token of most pairs, there
        are no crossings (NaN).
    Raises:
        ValueError: a task without pairs, a depth out of range.
    Example:
        >>> pair_table(model, load_task("months", model)).to_frame().sort_values("distance")
    """
    caller = "pair_table"
    if task.corrupted is None or task.target is None or task.foil is None:
        raise ValueError(f"{caller}: task {task.name!r} has plain prompts alone, and no pairs.")
    assert task.corrupted_tokens is not None
    if depth is not None and not 0 <= depth <= model.n_layers:
        raise ValueError(f"{caller}: depth must lie in 0...{model.n_layers}, got {depth}.")
    right, preferred = (a & b for a, b in answered(task, model, caller=caller))
    swap, found, pairs = _crossings(model, task, seed)
    at = depth
    if at is None:
        crosses = found is not None and found.verdict == "crossing"
        at = round(found.depth) if found is not None and crosses else model.n_layers // 2
    if swap is None or at not in swap.depths.tolist():
        swap = patch_sweep(
            model, task, depths=[at], positions=("prediction",), also=(), controls=(), seed=seed
        )
    hook = depth_hook(at, model.n_layers)
    norms = [
        polar.norm(model.activations(tokens, [hook])[0, :, 0])
        for tokens in (task.clean_tokens, task.corrupted_tokens)
    ]
    return PairTable(
        provenance=make_provenance(
            caller,
            model.info,
            **task.origin,
            settings={"depth": depth, "batch_size": batch_size, "max_memory": max_memory},
            seed=seed,
        ),
        corrupted=task.corrupted,
        targets=task.target,
        foils=task.foil,
        right=right.cpu(),
        preferred=preferred.cpu(),
        crossing=pairs,
        verdict="" if found is None else found.verdict,
        depth=at,
        norm_ratio=(norms[0] / norms[1]).float().cpu(),
        effect=swap.of("effect", position="prediction", depth=at).float(),
        transferred=swap.of("transferred", position="prediction", depth=at).float(),
        floor=swap.outcome.floor_of("logit_diff"),
    )


def _crossings(
    model: DepthModel, task: Task, seed: int
) -> tuple[PatchProfile | None, Crossing | None, Float[Tensor, " pair"]]:
    """The curves, the crossing of their means, and that of each pair; none where none is looked
    for."""
    nowhere = torch.full((len(task),), torch.nan, dtype=torch.float32)
    if task.no_handover:
        return None, None, nowhere
    profile = patch_sweep(model, task, also=("success",), controls=(), seed=seed)
    if profile.outcome.places("depth").numel() < 2:
        return profile, None, nowhere
    found = find_crossing(profile, seed=seed)
    return profile, found, found.pairs.depth
