"""How much goes through at a time, and what to do when it was too much."""

import logging
from typing import TypeVar

import torch
from torch import Tensor

from lensdepth.interface import ReadModel
from lensdepth.replay.runs import Runs

logger = logging.getLogger(__name__)

Work = TypeVar("Work", Runs, Tensor)
MAX_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Largest number of tokens in one packed sequence; more would not be faster."""
CPU_MEMORY = 2 * 2**30
"""Bytes that the engine plans with on the CPU; on a GPU it takes half of what is free."""


def _memory(model: ReadModel, max_memory: int | None) -> int:
    if max_memory is not None:
        return max_memory
    device = model.passes.device
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return CPU_MEMORY


def tokens_at_once(model: ReadModel, longest: int, max_memory: int | None) -> int:
    """Length of a packed sequence: half of the memory goes to what a block makes of it."""
    passes = model.passes
    # A state, its projections and sums; the MLP's inner states; scores and weights in float32.
    in_dtype = 10 * passes.d_model + 4 * passes.d_mlp
    each = in_dtype * model.dtype.itemsize + 4 * 4 * passes.n_heads * longest
    most = MAX_TOKENS.get(passes.device.type, MAX_TOKENS["cpu"])
    return min(most, max(1, _memory(model, max_memory) // 2 // each))


def prompts_at_once(model: ReadModel, longest: int, max_memory: int | None) -> int:
    """Base prompts recorded together: their states, keys and values take the other half."""
    passes = model.passes
    heads = 2 * passes.n_layers * passes.n_heads * passes.d_head
    kept = (passes.n_layers + 1) * passes.d_model + heads
    base = _memory(model, max_memory) // 2 // (kept * model.dtype.itemsize * longest)
    return max(1, min(base, tokens_at_once(model, longest, max_memory) // longest))


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
