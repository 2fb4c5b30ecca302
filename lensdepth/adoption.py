"""A TransformerLens model in the place of a DepthModel: wrapped once, and kept with the model."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from lensdepth.backends import backend_of

Wrapper = TypeVar("Wrapper")

KEPT_AS = "_lensdepth"
_wrapping = threading.Lock()


def wrapped_once(model: Any, wrap: Callable[[Any], Wrapper]) -> Wrapper | None:
    """What `wrap` makes of a TransformerLens model, the same one each time; None of all else.

    It is made anew when the model has changed since: other weights, another dtype, device or
    tokenizer. It is freed with the model.
    """
    if not isinstance(model, torch.nn.Module) or not is_transformer_lens(model):
        return None
    with _wrapping:
        state = _state(model)
        kept = vars(model).get(KEPT_AS)
        if not isinstance(kept, _Kept) or kept.model_id != id(model) or kept.state != state:
            kept = _Kept(id(model), state, wrap(model))
            # Not by setattr, which a bridge hands on to the model that it wraps.
            vars(model)[KEPT_AS] = kept
    return kept.wrapper


@contextmanager
def kept_while_moved(model: Any) -> Iterator[None]:
    """Round a move of a model by its wrapper: the one that is kept with it stays the one."""
    with _wrapping:
        kept = vars(model).get(KEPT_AS)
        current = isinstance(kept, _Kept) and kept.state == _state(model)
    yield
    if isinstance(kept, _Kept) and current:
        with _wrapping:
            kept.state = _state(model)


def is_transformer_lens(model: Any) -> bool:
    """Whether it is a model of TransformerLens."""
    try:
        backend_of(model)
    except TypeError:
        return False
    return True


class _Kept:
    """The wrapper, and of which state of which model it is."""

    def __init__(self, model_id: int, state: tuple[Any, ...], wrapper: Any) -> None:
        self.model_id, self.state, self.wrapper = model_id, state, wrapper

    def __reduce__(self) -> tuple[Any, ...]:
        # A model that is copied or saved leaves it behind.
        return (dict, ())


def _state(model: Any) -> tuple[Any, ...]:
    """What a wrapper remembers of its model; every change in place counts a weight's version up."""
    weights = tuple(
        (w.data_ptr(), w.dtype, w.device, 0 if w.is_inference() else w._version)
        for w in model.parameters()
    )
    cfg = getattr(model, "cfg", None)
    return (
        weights,
        id(getattr(model, "tokenizer", None)),
        str(getattr(cfg, "normalization_type", None)),
        bool(getattr(model, "_weights_processed", False)),
    )
