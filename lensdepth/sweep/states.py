"""States that go into an edited run: read off another one, at several spans at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.model import DepthModel
from lensdepth.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """States that go into spans, by hook."""

    states: Float[Tensor, "hook pair token d_hook"]
    spans: list[slice]
    """Which of the tokens belong to which span."""
    present: Bool[Tensor, "span pair"]

    def at(self, hook: int, span: int) -> Float[Tensor, "pair token d_hook"]:
        """What goes in at one hook."""
        return self.states[hook, :, self.spans[span]]

    def at_all(self, span: int) -> Float[Tensor, "hook pair token d_hook"]:
        """What goes in at every hook."""
        return self.states[:, :, self.spans[span]]


def states_at(
    model: DepthModel,
    prompts: TokenBatch,
    hooks: Sequence[str],
    positions: Sequence[Int[Tensor, "pair _"]],
) -> Given:
    """Read the states of some prompts at some spans; a token of position -1 is read as 0."""
    together = torch.cat(list(positions), dim=1)
    # "All" of a batch may lack positions, an index may not: absent ones are read at 0, unused.
    states = model.activations(prompts, hooks, together.clamp(min=0))
    ends = torch.tensor([p.shape[1] for p in positions]).cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    return Given(
        states=states,
        spans=[slice(a, b) for a, b in zip(starts, ends, strict=True)],
        present=torch.stack([(p >= 0).any(1) for p in positions]),
    )
