"""How much goes through at a time, and what to do when it was too much."""

import logging
from typing import TypeVar

import torch
from torch import Tensor

from lensdepth.bounds import bounds
from lensdepth.interface import ReadModel
from lensdepth.replay.runs import Runs

logger = logging.getLogger(__name__)

Work = TypeVar("Work", Runs, Tensor)
MAX_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Largest number of tokens in one packed sequence; more would not be faster."""
CPU_MEMORY = 2**28, 2**31
"""Bytes that the engine plans with on the CPU: half of what the weights take, within these bounds;
on a GPU it takes half of what is free. More is no faster on SmolLM2, whose half is 0.3 GiB."""


def memory_of(model: ReadModel, max_memory: int | None = None) -> int:
    """Bytes that the engine plans with."""
    given = bounds().max_memory if max_memory is None else max_memory
    if given is not None:
        return given
    device = model.passes.device
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    least, most = CPU_MEMORY
    return min(most, max(least, model.passes.n_bytes // 2))


def tokens_at_once(model: ReadModel, longest: int, max_memory: int | None) -> int:
    """Length of a packed sequence: half of the memory goes to what a block makes of it."""
    passes = model.passes
    most = MAX_TOKENS.get(passes.device.type, MAX_TOKENS["cpu"])
    half = memory_of(model, max_memory) // 2
    return min(most, max(1, half // passes.token_bytes(longest)))


def base_bytes(model: ReadModel, max_memory: int | None) -> int:
    """Bytes that states, keys and values of base prompts may take."""
    return memory_of(model, max_memory) // 2


def prompts_at_once(model: ReadModel, longest: int, max_memory: int | None) -> int:
    """Base prompts recorded together: their states, keys and values take the other half."""
    base = base_bytes(model, max_memory) // (_kept_bytes(model) * longest)
    fit = max(1, min(base, tokens_at_once(model, longest, max_memory) // longest))
    return min(fit, bounds().batch_size or fit)


def held_bytes(model: ReadModel, longest: int, max_memory: int | None) -> int:
    """Most that the engine holds at once: a packed sequence, and base runs."""
    passes = model.passes
    tokens = tokens_at_once(model, longest, max_memory) * passes.token_bytes(longest)
    prompts = prompts_at_once(model, longest, max_memory)
    return tokens + prompts * longest * _kept_bytes(model)


def _kept_bytes(model: ReadModel) -> int:
    """What is kept of one token of a base run: its states, keys and values."""
    passes = model.passes
    heads = 2 * passes.n_layers * passes.n_heads * passes.d_head
    return ((passes.n_layers + 1) * passes.d_model + heads) * model.dtype.itemsize


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
