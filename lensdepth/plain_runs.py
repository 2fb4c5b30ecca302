"""Plain runs that are made once: what one part of an analysis has read, the next need not run.

A sweep reads logits and states of the same prompts at the same places several times over, and so do
all the sweeps of a report or of the claims. Round such work stands `shared`: within it, states that
were read in an unedited run are kept, as far as `KEPT_BYTES` go, and given out again. Whatever is
kept is let go with the outermost `shared`, or with its model; who asks again and again about the
same prompts keeps it in a `Store` of its own. Numbers are those of a run of the
same prompt among others, equal up to rounding; who measures rounding itself stands in `anew`.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth.sending import sent
from lensdepth.tokens import TokenBatch

T = TypeVar("T")
KEPT_BYTES = 2**28
"""Most that is kept of all models together; what comes after is run whenever it is asked for."""
MOST_POSITIONS = 8
"""Of one prompt; who reads all of its tokens seldom reads them again."""

Run = Callable[[Sequence[str], Int[Tensor, "batch pos"]], dict[str, Tensor]]
"""From hooks and positions to what stands there in a run of the prompts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Kept:
    """What was read in one run of some prompts."""

    positions: list[list[int]]
    """By prompt."""
    states: dict[str, Tensor]
    """By hook: prompt, position, and what stands there."""


@dataclass(kw_only=True, eq=False)
class _OfModel:
    """What is kept of a model in one state."""

    state: object
    by_prompt: dict[tuple[int, ...], list[tuple[_Kept, int]]] = field(default_factory=dict)
    """By tokens: the runs that a prompt was in, and which of theirs it was."""
    n_bytes: int = 0
    """Of these runs."""
    made: dict[Any, tuple[Any, int]] = field(default_factory=dict)
    """What was made of whole runs, by what it was made of, and its bytes."""
    done: set[str] = field(default_factory=set)
    """What was done about the model as it is; see `once`."""


@dataclass(kw_only=True, eq=False)
class Store:
    """What is kept of some models; for one thread at a time."""

    models: "WeakKeyDictionary[Any, _OfModel]" = field(default_factory=WeakKeyDictionary)

    @property
    def n_bytes(self) -> int:
        """Of the runs of all models that are still there."""
        return sum(mine.n_bytes for mine in self.models.values())


_STORE: ContextVar[Store | None] = ContextVar("plain_runs", default=None)


@contextmanager
def _round(store: Store | None) -> Iterator[None]:
    token = _STORE.set(store)
    try:
        yield
    finally:
        _STORE.reset(token)


def shared() -> AbstractContextManager[None]:
    """Round work in which no state is read in two plain runs, if there is room; within other such
    work, its store serves."""
    return _round(_STORE.get() or Store())


def is_shared() -> bool:
    """Whether anything that is made here is kept."""
    return _STORE.get() is not None


def kept_in(store: Store) -> AbstractContextManager[None]:
    """Round work whose plain runs are kept for later work of the same caller's, in its store."""
    return _round(store)


def apart() -> AbstractContextManager[None]:
    """Round work with a store of its own, whatever stands around it."""
    return _round(Store())


def anew() -> AbstractContextManager[None]:
    """Round work whose plain runs are made whatever is kept, and kept by nobody."""
    return _round(None)


def read_once(
    passes: Any,
    batch: TokenBatch,
    hooks: Sequence[str],
    positions: Int[Tensor, "batch pos"],
    run: Run,
) -> dict[str, Tensor]:
    """What stands at some hooks and positions of plain runs, run only where it is not known.

    A run that reads residual states is made to read those of all depths up to the deepest one, and
    each prompt's last token as well: they cost next to nothing, and are asked for next.

    Args:
        passes: of the model.
        batch: the prompts.
        hooks: in full.
        positions: from each prompt's start, -1 for none.
        run: reads them in a run.
    """
    store = _STORE.get()
    if store is None or positions.shape[1] > MOST_POSITIONS:
        return run(hooks, positions)
    mine = _of_model(store, passes)
    prompts = [tuple(batch.row(i)) for i in range(len(batch))]
    found = _found(mine, prompts, hooks, positions.tolist())
    if found is not None:
        return found
    there = torch.cat([positions, batch.last[:, None].to(positions)], dim=1)
    read = run(_with_depths(hooks, passes.depth_hooks), there)
    n_bytes = sum(states.numel() * states.element_size() for states in read.values())
    if store.n_bytes + n_bytes <= KEPT_BYTES:
        mine.n_bytes += n_bytes
        kept = _Kept(positions=there.tolist(), states=read)
        for row, prompt in enumerate(prompts):
            mine.by_prompt.setdefault(prompt, []).append((kept, row))
    return {hook: read[hook][:, : positions.shape[1]] for hook in hooks}


def made_once(
    passes: Any,
    key: Hashable,
    make: Callable[[], T],
    *,
    fits: Callable[[T], bool],
    n_bytes: Callable[[T], int],
    most: int,
) -> T:
    """What is made of a whole plain run, made only where what is kept does not do.

    Args:
        passes: of the model.
        key: of which prompts.
        make: makes it.
        fits: whether what was made of them before will do.
        n_bytes: its size.
        most: bytes of such things that may be kept of this model.
    """
    store = _STORE.get()
    if store is None:
        return make()
    mine = _of_model(store, passes)
    if key in mine.made and fits(mine.made[key][0]):
        return mine.made[key][0]
    mine.made.pop(key, None)
    made = make()
    size = n_bytes(made)
    if size + sum(bytes_ for _, bytes_ in mine.made.values()) <= most:
        mine.made[key] = made, size
    return made


def once(passes: Any, what: str, do: Callable[[], None]) -> None:
    """Do something about a model once in the work at hand; whenever it is asked for where nothing
    is kept, and again once the model was moved, cast or hooked, or where it raised.

    Args:
        passes: of the model.
        what: is done.
        do: does it.
    """
    store = _STORE.get()
    done = set[str]() if store is None else _of_model(store, passes).done
    if what not in done:
        do()
        done.add(what)


def _of_model(store: Store, passes: Any) -> _OfModel:
    """What is kept of a model as it is now."""
    state = passes.circumstances
    mine = store.models.get(passes.model)
    if mine is None or mine.state != state:
        mine = store.models[passes.model] = _OfModel(state=state)
    return mine


def _with_depths(hooks: Sequence[str], depth_hooks: Sequence[str]) -> Sequence[str]:
    """With all depths in front of the deepest one, where nothing but depths is read."""
    depths = [depth_hooks.index(hook) if hook in depth_hooks else -1 for hook in hooks]
    if min(depths) < 0:
        return hooks
    return depth_hooks[: max(depths) + 1]


def _found(
    mine: _OfModel,
    prompts: Sequence[tuple[int, ...]],
    hooks: Sequence[str],
    asked: Sequence[Sequence[int]],
) -> dict[str, Tensor] | None:
    """All of it, put together from the runs that it was read in; None if anything is not there."""
    rows: dict[_Kept, list[tuple[int, int, list[int]]]] = {}
    for i, (prompt, wanted) in enumerate(zip(prompts, asked, strict=True)):
        for kept, row in mine.by_prompt.get(prompt, ()):
            there = kept.positions[row]
            if set(wanted) <= set(there) and set(hooks) <= kept.states.keys():
                columns = [there.index(position) for position in wanted]
                rows.setdefault(kept, []).append((i, row, columns))
                break
        else:
            return None
    found: dict[str, Tensor] = {}
    for hook in hooks:
        parts = []
        for kept, some in rows.items():
            states = kept.states[hook]
            at = sent(torch.tensor([row for _, row, _ in some]), states.device)
            columns = sent(torch.tensor([c for _, _, c in some]), states.device)
            parts.append(states[at[:, None], columns])
        order = torch.tensor([i for some in rows.values() for i, _, _ in some]).argsort()
        found[hook] = torch.cat(parts)[sent(order, parts[0].device)]
    return found
