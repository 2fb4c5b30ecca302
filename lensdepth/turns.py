"""Taking turns at a model, which its hooks and its modules' flags make a thing of one at a time."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch

_LOCKS: WeakKeyDictionary[Any, AbstractContextManager[Any]] = WeakKeyDictionary()
_LOCKS_CHANGE = threading.Lock()
_AS_IT_IS: ContextVar[bool] = ContextVar("as_it_is", default=False)


def owner_of(model: Any) -> Any:
    """What holds a model's modules: the Hugging Face model under a bridge, else the model."""
    return getattr(model, "original_model", model)


def lock_of(model: Any) -> AbstractContextManager[Any]:
    """The lock of a model's modules; a thread that holds it may take it again.

    It is the same for every wrapper of one model, and for two bridges into one Hugging Face model.
    """
    owner = owner_of(model)
    with _LOCKS_CHANGE:
        lock = _LOCKS.get(owner)
        if lock is None:
            lock = _LOCKS[owner] = threading.RLock()
        return lock


@contextmanager
def as_evaluated(model: Any) -> Iterator[None]:
    """Without dropout; every module's training flag is afterwards what it was."""
    # A bridge does not own all of its Hugging Face model: dropout may stand there.
    roots = [model, owner_of(model)]
    training: set[torch.nn.Module] = set()
    if any(root.training for root in roots):
        training = {part for root in roots for part in root.modules() if part.training}
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def as_it_is() -> Iterator[None]:
    """Round passes in which edits that stand in this context do not act."""
    before = _AS_IT_IS.set(True)
    try:
        yield
    finally:
        _AS_IT_IS.reset(before)


def is_as_it_is() -> bool:
    """Whether edits that stand here are lifted just now."""
    return _AS_IT_IS.get()
