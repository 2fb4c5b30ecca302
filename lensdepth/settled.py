"""Where an answer is settled by patching: from which depth on the last token's state, put into
another run, brings it along.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch
from lensdepth.transition.commitment import find_commitment

PART = 32
"""Prompts whose logits over a large vocabulary exist at once."""


def settled_by_patching(
    model: DepthModel,
    task: Task,
    own: Int[Tensor, " pair"],
    *,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> Float[Tensor, " pair"]:
    """From which depth on the last token's state of the clean run, put into the corrupted one,
    makes an answer come first there; depth L at the latest, where that state is all that is read.

    Args:
        model: any wrapped model.
        task: pairs of prompts; their answers do not matter.
        own: token of the answer to each clean prompt, the model's first choice.
        seed: of the sweep.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        A depth a pair. NaN where the corrupted prompt has that answer too, which shows nothing.
    """
    assert task.corrupted_tokens is not None
    other = first_choices(model, task.corrupted_tokens)
    depths = torch.full((len(task),), torch.nan, dtype=torch.float32)
    differ = own != other
    if not differ.any():
        return depths
    answered = replace(task, target_ids=own, foil_ids=other, keep="all").select(differ)
    profile = patch_sweep(
        model, answered, depths="all", positions=("prediction",), also=("success",), controls=(),
        seed=seed, batch_size=batch_size, max_memory=max_memory,
    )  # fmt: skip
    stands = profile.efficacy("prediction")
    stands[:, -1] = 1.0
    depths[differ] = find_commitment(stands).depths
    return depths


def first_choices(model: DepthModel, batch: TokenBatch) -> Int[Tensor, " prompt"]:
    """The model's first choice behind each prompt."""
    parts = [slice(i, i + PART) for i in range(0, len(batch), PART)]
    return torch.cat([model.logits(batch[part])[:, 0].argmax(-1) for part in parts])
