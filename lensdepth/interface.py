"""What of a `DepthModel` its own parts and the engine need, so that they can stand below it."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from lensdepth.tokens import TokenBatch


@runtime_checkable
class ReadModel(Protocol):
    """A model that is read; `DepthModel` is one."""

    passes: Any
    """Its `Passes`."""
    ending: Any
    """Its `Readout`."""
    tokenizer: Any
    n_ctx: int

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are in."""
        ...

    @property
    def known(self) -> Any:
        """What was found out about it as it is: its `Known`."""
        ...

    @property
    def info(self) -> Any:
        """Its `ModelInfo`."""
        ...

    def tokenize(self, prompts: Any) -> TokenBatch:
        """Prompts as one batch."""
        ...

    def logits(self, prompts: Any) -> Tensor:
        """Next-token logits of each prompt."""
        ...

    def readout(self, resid: Any) -> Tensor:
        """Logits of residual states."""
        ...

    def check_weights(self) -> None:
        """Refuse weights that became NaN or infinite."""
        ...

    def warn_once(self, topic: str, message: str) -> None:
        """Log a warning, the first time that its topic comes up."""
        ...
