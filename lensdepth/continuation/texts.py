"""What every analysis of a written text does: check what is asked, write, and put the base's own
tokens before an edited model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import generation, metrics, reading
from lensdepth.continuation.held import HeldEdit, hold, hold_vector
from lensdepth.lens.read import LOGITS_AT_ONCE
from lensdepth.model import DepthModel
from lensdepth.progress import counted
from lensdepth.site import Stream
from lensdepth.steering.vector import SteeringVector
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """How to write and what to hold on meanwhile; the options are those of `generation_profile`."""

    caller: str
    prompt: str
    n_tokens: int
    temperature: float
    edit: str | None
    source: str | Sequence[int] | None
    depths: int | slice | Sequence[int] | None
    positions: Sequence[int]
    onward: bool
    stream: Stream
    head: int | None
    reference: Task | Prompts | None
    vector: SteeringVector | None
    seed: int

    def __post_init__(self) -> None:
        if self.n_tokens < 1:
            raise ValueError(f"{self.caller}: n_tokens must be 1 or more, got {self.n_tokens}.")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(
                f"{self.caller}: temperature must be 0 or more, got {self.temperature}."
            )

    def held(
        self, model: DepthModel, strengths: Sequence[float | None], *, n_random: int = 1
    ) -> list[HeldEdit]:
        """What is held on, one a strength (None: its own), with so many random turns each; []
        without an edit.

        Raises:
            ValueError: before any pass: options of an edit without one, or an edit or a vector
                that does not fit.
        """
        seeds = range(self.seed, self.seed + n_random)
        strong = any(strength is not None for strength in strengths)
        others = (self.source, self.depths, self.head, self.reference)
        brought = self.onward or any(one is not None for one in others)
        if self.vector is not None:
            if self.edit is not None or brought:
                raise ValueError(
                    f"{self.caller}: a vector brings its own edit and site; leave out edit, "
                    f"source, depths, onward, head and reference, or the vector."
                )
            return hold_vector(model, self.vector, strengths, seeds, caller=self.caller)
        if self.edit is None:
            if brought or strong:
                raise ValueError(
                    f"{self.caller}: strength, source, depths, onward, head and reference go with "
                    f"an edit; name one, or leave them out."
                )
            return []
        return hold(
            model, self.prompt, self.edit, strengths, self.source, self.depths, self.positions,
            self.onward, self.stream, self.head, self.reference, seeds, caller=self.caller,
        )  # fmt: skip

    @property
    def name(self) -> str | None:
        """Of the edit, the vector's own included; None without any."""
        return self.edit if self.vector is None else self.vector.edit

    def settings(self, held: HeldEdit | None) -> dict[str, Any]:
        """What the provenance of a result says of it."""
        at = self if self.vector is None else self.vector
        return {
            "n_tokens": self.n_tokens,
            "temperature": self.temperature,
            "edit": self.name,
            "source": None if self.source is None else str(self.source),
            "depths": None if held is None else list(held.depths),
            "positions": None if held is None else list(held.places),
            "onward": self.onward,
            "stream": at.stream,
            "head": at.head,
            "reference": None if self.reference is None else "given",
            "vector": None if self.vector is None else self.vector.described(),
        }

    def write(self, model: DepthModel, run: str) -> tuple[list[int], list[int]]:
        """The tokens of the prompt, and what the model as it now is writes behind them."""
        with counted(self.n_tokens, f"writing, {run}") as update:
            return generation.continued_ids(
                model,
                self.prompt,
                reading.cached_step(model),
                self.n_tokens,
                self.temperature,
                self.seed,
                self.caller,
                each=lambda: update(1),
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseText:
    """What the model writes as it is, and the states from which it does."""

    ids: list[int]
    """Of the prompt."""
    new: list[int]
    states: Float[Tensor, "token d_model"]
    """What the readout takes where each new token is due."""

    def diverge(
        self, model: DepthModel, theirs: Float[Tensor, "token d_model"]
    ) -> tuple[Float[Tensor, " token"], Float[Tensor, " token"]]:
        """KL(base || run) in nats at each token, and the run's log-probability of it.

        Args:
            model: whose readout it is.
            theirs: the run's states along this text, from `last_states`.
        """
        kl, log_prob = [], []
        size = max(1, LOGITS_AT_ONCE // model.d_vocab)
        some: Int[Tensor, " part"]
        for mine, other, some in zip(
            self.states.split(size), theirs.split(size), torch.tensor(self.new).split(size),
            strict=True,
        ):  # fmt: skip
            logits, others = (model.readout(states.to(model.device)) for states in (mine, other))
            kl.append(metrics.kl_divergence(logits, others).cpu())
            found = metrics.log_probs(others).cpu()
            log_prob.append(found.gather(-1, some[:, None])[:, 0])
        return torch.cat(kl), torch.cat(log_prob)


def base_text(model: DepthModel, asked: Asked) -> BaseText:
    """Let the model write as it is.

    Raises:
        ValueError: it writes nothing.
    """
    model.ending.check()
    ids, new = asked.write(model, "base")
    if not new:
        raise ValueError(
            f"{asked.caller}: the model writes nothing behind this prompt: it ends its text at "
            f"once, or its {model.n_ctx} tokens of context are full. Take another prompt."
        )
    return BaseText(ids=ids, new=new, states=last_states(model, ids, new))


def last_states(
    model: DepthModel, ids: list[int], new: list[int]
) -> Float[Tensor, "token d_model"]:
    """What the readout takes where each new token is due, in a pass over all of them."""
    places = torch.arange(len(ids) - 1, len(ids) - 1 + len(new))
    last = model.passes.depth_hooks[-1]
    return model.activations([[*ids, *new[:-1]]], [last], places[None])[0, 0]


def padded(rows: Sequence[list[int]], longest: int) -> Int[Tensor, "row token"]:
    """Token ids of several texts side by side; -1 beyond an end."""
    whole = torch.full((len(rows), longest), -1)
    for row, new in enumerate(rows):
        whole[row, : len(new)] = torch.tensor(new, dtype=torch.long)
    return whole


def vocabulary_of(model: DepthModel, *tokens: Int[Tensor, "..."]) -> dict[str, str]:
    """Text of every token id among these."""
    every = torch.cat([some.flatten() for some in tokens]).unique().tolist()
    return {str(token): model.token_text(token) for token in every if token >= 0}
