"""The same in an untrained twin: what the method and the architecture make without learning."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.claims.twins import own_task
from lensdepth.model import DepthModel
from lensdepth.subspaces.profile import SubspaceProfile
from lensdepth.tasks.task import Task
from lensdepth.untrained import untrained

FEWEST = 8
"""Pairs that a twin is measured on, at least."""


def in_a_twin(
    model: DepthModel, task: Task, again: Callable[[DepthModel, Task], SubspaceProfile], seed: int
) -> tuple[Float[Tensor, "label dim depth position"] | None, str]:
    """What moves in a twin on its own answers, mean over pairs; or why there is none.

    Args:
        model: whose twin it is.
        task: whose prompts the twin answers in its own way.
        again: the sweep of a model and a task.
        seed: of the twin's weights and of its pairs.
    """
    if task.inputs is None:
        return None, "There is no untrained twin: the task names no input to pair its answers by."
    try:
        twin = untrained(model, seed=seed)
        profile = again(twin, own_task(twin, task, seed=seed, fewest=FEWEST))
    except ValueError as error:
        return None, f"There is no untrained twin: {error}."
    names = profile.outcome.names("basis")
    by_basis = [profile.outcome.pick(profile.outcome.moved(), basis=name) for name in names]
    return torch.stack([one.nanmean(1) for one in by_basis]), ""
