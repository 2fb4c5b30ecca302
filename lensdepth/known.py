"""What is found out about a model: what results say of it, and what was held against plain passes.

It holds for the model as it is. On another device or in another dtype, whoever took it there, it is
found out anew.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from lensdepth.fingerprints import fingerprint, tokenizer_fingerprint
from lensdepth.moving import State
from lensdepth.passes import Passes
from lensdepth.provenance import ModelInfo

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Known:
    """What is known of one model in one state."""

    state: State
    """Of the model, as `Passes.state`."""
    replay_checked: dict[str, int] = field(default_factory=dict)
    """Streams at which the replay engine was compared with plain hooks, the longest prompts of
    those comparisons, and how many functions were attached to the model then."""
    info: ModelInfo | None = None
    """None until it is asked for: a fingerprint reads every weight."""
    told: dict[str, str] = field(default_factory=dict)
    """Fingerprints of the weights as TransformerLens holds them, and what `info` calls the same:
    of a loaded model, the fingerprint of its files' weights."""
    configuration: Any = None
    """The Hugging Face configuration that a loaded model was built from."""

    def remember(self, passes: Passes) -> None:
        """Before a cast: so that weights which come back unchanged are known again."""
        if self.info is not None:
            self.told[_weights(passes)] = self.info.fingerprint

    def renewed(self, passes: Passes) -> "Known":
        """The same of a model that was moved or cast since."""
        info = self.info
        if info is not None:
            info = replace(info, device=str(passes.device))
        if info is not None and self.state[1:] != passes.state[1:]:  # other weights
            weights = _weights(passes)
            weights = self.told.get(weights, weights)
            info = replace(info, dtype=_plain(passes.dtype), fingerprint=weights)
        return Known(
            state=passes.state, info=info, told=self.told, configuration=self.configuration
        )


class Knowledge:
    """What is known of a wrapped model as it is now, and what was said of it already.

    Args:
        passes: of the model.
    """

    def __init__(self, passes: Passes) -> None:
        self._passes = passes
        self._known = Known(state=passes.state)
        self._said: set[str] = set()

    @property
    def now(self) -> Known:
        """Of the model as it is now, whoever moved or cast it since."""
        if self._known.state != self._passes.state:
            with self._passes.lock:
                self._known = self._known.renewed(self._passes)
        return self._known

    def info(self, tokenizer: Any, *, double_bos: bool) -> ModelInfo:
        """See `described`; the fingerprint is taken only once."""
        known = self.now
        if known.info is None:
            known.info = described(self._passes, tokenizer, double_bos=double_bos)
        return known.info

    def say_once(self, topic: str, message: str) -> None:
        """Log a warning about the model, the first time that its topic comes up."""
        if topic not in self._said:
            self._said.add(topic)
            logger.warning("%s: %s", self._passes.name, message)


def described(
    passes: Passes,
    tokenizer: Any,
    *,
    double_bos: bool,
    architecture: str | None = None,
    weights: str | None = None,
    configuration: str | None = None,
    quantization: str = "",
    origin: str = "",
) -> ModelInfo:
    """What a number measured on this model depends on.

    Args:
        passes: of the model.
        tokenizer: None where there is none.
        double_bos: whether a BOS token in front of a text's own is read.
        architecture: None asks the model.
        weights: their fingerprint; None takes it.
        configuration: its fingerprint, likewise.
        quantization: how the weights were packed before they were made plain.
        origin: where the model's files come from.
    """
    return ModelInfo(
        name=passes.name,
        architecture=architecture or passes.architecture,
        backend=passes.backend,
        weights=passes.weights,
        n_layers=passes.n_layers,
        d_model=passes.d_model,
        d_vocab=passes.d_vocab,
        n_heads=passes.n_heads,
        n_ctx=passes.n_ctx,
        normalization=passes.normalization,
        dtype=_plain(passes.dtype),
        device=str(passes.device),
        fingerprint=weights or _weights(passes),
        configuration=configuration or passes.configuration,
        tokenizer="" if tokenizer is None else tokenizer_fingerprint(tokenizer),
        double_bos=double_bos,
        quantization=quantization,
        origin=origin,
    )


def check_decoder(passes: Passes) -> None:
    """Refuse what is no causal decoder with a residual stream.

    Raises:
        ValueError: it reads in both directions, or lacks a hook.
    """
    if not passes.is_causal:
        raise ValueError(f"DepthModel: {passes.name!r} attends in both directions.")
    absent = [hook for hook in passes.depth_hooks if hook not in passes.hook_points]
    if absent or not hasattr(passes.model, "unembed"):
        raise ValueError(
            f"DepthModel: {passes.name!r} is no decoder with a residual stream that "
            f"TransformerLens names: it lacks {(absent or ['unembed'])[0]}."
        )


def _weights(passes: Passes) -> str:
    return fingerprint(passes.model.state_dict())


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
