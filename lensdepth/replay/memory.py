"""How much goes through at a time, and what to do when it was too much."""

import logging
from typing import TypeVar

import torch
from torch import Tensor

from lensdepth.replay.plan import Plan
from lensdepth.replay.runs import Runs

logger = logging.getLogger(__name__)

Work = TypeVar("Work", Runs, Tensor)
MAX_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Largest number of tokens in one packed sequence; more would not be faster."""
CPU_MEMORY = 2 * 2**30
"""Bytes that the engine plans with on the CPU; on a GPU it takes half of what is free."""


def _memory(plan: Plan) -> int:
    if plan.max_memory is not None:
        return plan.max_memory
    if plan.model.device.type == "cuda":
        return torch.cuda.mem_get_info(plan.model.device)[0] // 2
    return CPU_MEMORY


def tokens_at_once(plan: Plan) -> int:
    """Length of a packed sequence: half of the memory goes to what a block makes of it."""
    passes, longest = plan.model.passes, plan.batch.tokens.shape[1]
    # A state, its projections and sums; the MLP's inner states; scores and weights in float32.
    in_dtype = 10 * passes.d_model + 4 * passes.d_mlp
    each = in_dtype * plan.model.dtype.itemsize + 4 * 4 * passes.n_heads * longest
    most = MAX_TOKENS.get(plan.model.device.type, MAX_TOKENS["cpu"])
    return min(most, max(1, _memory(plan) // 2 // each))


def prompts_at_once(plan: Plan) -> int:
    """Base prompts recorded together: their states, keys and values take the other half."""
    passes, longest = plan.model.passes, plan.batch.tokens.shape[1]
    heads = 2 * passes.n_layers * passes.n_heads * passes.d_head
    kept = (passes.n_layers + 1) * passes.d_model + heads
    base = _memory(plan) // 2 // (kept * plan.model.dtype.itemsize * longest)
    return max(1, min(base, tokens_at_once(plan) // longest))


def halves(work: Work, error: RuntimeError) -> list[Work]:
    """The two halves of work for which memory ran out, second half first.

    Raises:
        RuntimeError: the error given, if it is another one or nothing is left to halve.
    """
    words = str(error).lower()
    full = isinstance(error, torch.OutOfMemoryError) or ("alloc" in words and "memory" in words)
    if not full or len(work) < 2:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(work) // 2
    logger.info("replay: out of memory; going on with half as much at a time")
    return [work[half:], work[:half]]
