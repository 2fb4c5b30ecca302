"""The same in an untrained twin: what the method and the architecture make without learning."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.claims import twins
from lensdepth.model import DepthModel
from lensdepth.subspaces.profile import SubspaceProfile
from lensdepth.tasks.task import Task


def in_a_twin(
    model: DepthModel, task: Task, again: Callable[[DepthModel, Task], SubspaceProfile], seed: int
) -> tuple[Float[Tensor, "label dim depth position"] | None, str]:
    """What moves in a twin, mean over pairs; or why there is none: see `twins.in_a_twin`."""
    profile, note = twins.in_a_twin(model, task, again, seed=seed)
    if profile is None:
        return None, note
    names = profile.outcome.names("basis")
    by_basis = [profile.outcome.pick(profile.outcome.moved(), basis=name) for name in names]
    return torch.stack([one.nanmean(1) for one in by_basis]), ""
