"""What goes through a model, counted; and rehearsals, in which nothing does.

How long an analysis takes depends on how much goes through the model, and how much that is only the
analysis itself knows. So it is asked to begin: in a rehearsal passes and edited runs are counted
and left out, each state is drawn at random from the tokens up to it, and an edited run is the base
run once more. What comes out says nothing of the model.

    >>> with tallied(rehearsed=True) as tally:
    ...     ablation_sweep(model, task)
    >>> tally.rows, tally.reads
"""

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.plain_runs import apart

clock: Callable[[], float] = time.perf_counter


@dataclass(kw_only=True)
class Tally:
    """What went through a model, or in a rehearsal would have."""

    rehearsed: bool = False
    depths: tuple[int, ...] = ()
    """In a rehearsal: the depths that a search finds."""
    plain: int = 0
    """Tokens of plain passes, each counted in every block of the model."""
    plain_seconds: float = 0.0
    rows: int = 0
    """Tokens of edited runs, each counted in every block that it goes through."""
    row_seconds: float = 0.0
    reads: int = 0
    """Edited runs that were read over the whole vocabulary."""
    read_seconds: float = 0.0
    runs: int = 0
    """Edited runs, base runs among them."""
    bases: set[object] = field(default_factory=set)
    """Prompts whose base run has been counted: it is made once."""
    n_bytes: int = 0
    """Most that the engine holds at once, beside the weights."""


_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


def counting() -> Tally | None:
    """What counts here; None where nothing does."""
    return _tally.get()


@contextmanager
def tallied(*, rehearsed: bool = False, depths: Iterable[int] = ()) -> Iterator[Tally]:
    """Count what goes through models in this thread.

    Args:
        rehearsed: count what would go through them.
        depths: that a search for depths finds in the rehearsal.
    """
    tally = Tally(rehearsed=rehearsed, depths=tuple(depths))
    token = _tally.set(tally)
    try:
        # What is drawn must not be taken for what was read, nor the other way round.
        with apart() if rehearsed else nullcontext():
            yield tally
    finally:
        _tally.reset(token)


def drawn_states(
    tokens: Int[Tensor, "batch pos"],
    positions: Int[Tensor, "batch site"],
    width: int,
    *,
    alone: bool = False,
) -> Float[Tensor, "batch site {width}"]:
    """Standard normal states that depend on the tokens up to each, as those of a model do.

    Args:
        tokens: of each prompt.
        positions: whose states are asked for.
        width: of a state.
        alone: let them depend on the token at the position alone.
    """
    states = torch.empty(*positions.shape, width, dtype=torch.float32)
    for row, (ids, asked) in enumerate(zip(tokens.tolist(), positions.tolist(), strict=True)):
        for site, position in enumerate(asked):
            seed = zlib.crc32(repr(ids[position * alone : position + 1]).encode())
            draw = torch.Generator().manual_seed(seed)
            states[row, site] = torch.randn(width, generator=draw, dtype=torch.float32)
    return states
