"""The same numbers another way: transformers' own model, torch's own hooks, one prompt at a time.

Nothing of lensdepth is used here.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer


class Plain:
    """A Llama-like model of a folder; depth d enters block d, depth L leaves the last one."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.blocks: Any = self.model.model.layers
        self.n_layers = len(self.blocks)

    def ids(self, prompt: str) -> list[int]:
        return self.tokenizer(prompt)["input_ids"]

    @contextmanager
    def _hooked(self, module: Any, function: Any, *, before: bool = False) -> Iterator[None]:
        attach = module.register_forward_pre_hook if before else module.register_forward_hook
        handle = attach(function)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def states(self, prompt: str) -> Tensor:
        """Residual states, `[depth, pos, d_model]`."""
        found: list[Tensor] = []

        def before(_: Any, given: tuple[Tensor, ...]) -> None:
            found.append(given[0][0].clone())

        def after(_: Any, given: Any, output: Any) -> None:
            found.append((output[0] if isinstance(output, tuple) else output)[0].clone())

        with ExitStack() as stack:
            for block in self.blocks:
                stack.enter_context(self._hooked(block, before, before=True))
            stack.enter_context(self._hooked(self.blocks[-1], after))
            self.model(torch.tensor([self.ids(prompt)]))
        return torch.stack(found)

    @torch.no_grad()
    def log_probs(
        self, prompt: str, edits: Mapping[tuple[int, int], Tensor] | None = None
    ) -> Tensor:
        """Next-token log-probabilities behind a prompt, `[d_vocab]`.

        Args:
            prompt: text.
            edits: (depth below L, position) -> the state that is put there.
        """
        by_depth: dict[int, dict[int, Tensor]] = {}
        for (depth, position), state in (edits or {}).items():
            by_depth.setdefault(depth, {})[position] = state
        with ExitStack() as stack:
            for depth, states in by_depth.items():

                def put(
                    _: Any, given: tuple[Tensor, ...], states: Mapping[int, Tensor] = states
                ) -> tuple[Tensor, ...]:
                    edited = given[0].clone()
                    for position, state in states.items():
                        edited[0, position] = state
                    return (edited, *given[1:])

                stack.enter_context(self._hooked(self.blocks[depth], put, before=True))
            logits = self.model(torch.tensor([self.ids(prompt)])).logits[0, -1]
        return logits.double().log_softmax(-1)

    @torch.no_grad()
    def lens(self, prompt: str, depths: Sequence[int], position: int = -1) -> Tensor:
        """Log-probabilities that a token's states have in the model's readout,
        `[depth, d_vocab]`."""
        states = self.states(prompt)[list(depths), position]
        return self.model.lm_head(self.model.model.norm(states)).double().log_softmax(-1)
