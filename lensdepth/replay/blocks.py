"""A model's blocks, callable one by one on packed tokens, with their attention taken out.

Projections, norms, position embeddings and MLPs are the model's own code, and only the step from
queries, keys and values to their mixture goes to the `attend` that the caller sets. A token's
position travels beside it, so tokens of any runs may stand in one sequence.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.replay.attention import AttentionRule

Attend = Callable[[int, Tensor, Tensor, Tensor, AttentionRule], Tensor]
"""(layer, q, k, v as `[token, head, d_head]`, rule) -> mixture `[token, head, d_value]`."""
Change = Callable[[Tensor], Tensor]
"""An activation `[1, token, ...]` to the one to go on with."""


class Blocks(ABC):
    """What the engine needs of a backend."""

    attend: Attend
    """What stands for attention from now on."""

    @abstractmethod
    def record(self, tokens: Int[Tensor, "batch pos"], seen: Callable[[int, Tensor], None]) -> Any:
        """Run prompts from the embedding on; `seen` gets every depth with its states.

        Returns:
            What `run` needs to know of this run, by layer.
        """

    @abstractmethod
    def run(
        self,
        layer: int,
        x: Float[Tensor, "token d_model"],
        positions: Int[Tensor, " token"],
        recorded: Any,
    ) -> Float[Tensor, "token d_model"]:
        """One block on packed tokens of prompts that `record` has run."""

    @abstractmethod
    def device_at(self, depth: int) -> torch.device:
        """Where the states of a depth are: with the block that they enter, or the last one."""

    @abstractmethod
    def watch(self, hook: str, change: Change) -> None:
        """Let a function change the activation at a hook inside a block, from now on."""


def unset(layer: int, q: Tensor, k: Tensor, v: Tensor, rule: AttentionRule) -> Tensor:
    """What stands in `attend` before the caller has set it."""
    raise RuntimeError("replay: `attend` was not set before the blocks ran.")
