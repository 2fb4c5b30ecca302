"""Where each head looks: attention probabilities, with the tokens that they are between.

Memory is layers x prompts x heads x positions^2 float32 numbers; name a few layers for long
prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked, renamed
from lensdepth.bounds import bounded
from lensdepth.hooks import check_hook
from lensdepth.model import DepthModel
from lensdepth.prompts import gather_prompts, origin_of
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.site import pattern_hook
from lensdepth.storage import Result
from lensdepth.tasks.task import Task
from lensdepth.telling.depths import depth_columns
from lensdepth.tokens import Prompts

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionPatterns(Result):
    """Attention probabilities of some blocks."""

    MADE_BY: ClassVar[str] = "attention_patterns(model, task)"
    """The call that makes one."""

    provenance: Provenance
    layers: Int[Tensor, " layer"]
    """The blocks, ascending."""
    patterns: Float[Tensor, "layer prompt head query key"]
    """How much a query's head looks at a key. Over a prompt's own keys each row sums to 1 (less in
    a model whose heads may look at nothing), later keys are 0, and what lies beyond a prompt's
    end, as query or as key, is NaN."""
    lengths: Int[Tensor, " prompt"]
    """Tokens of each prompt."""
    str_tokens: tuple[tuple[str, ...], ...]
    """The tokens of each prompt as text."""

    def of(self, layer: int, head: int, prompt: int = 0) -> Float[Tensor, "query key"]:
        """One head on one prompt, without padding.

        Raises:
            ValueError: that block was not read, or there is no such head or prompt.
        """
        if layer not in self.layers.tolist():
            raise ValueError(
                f"AttentionPatterns: block {layer} was not read; there are "
                f"{', '.join(map(str, self.layers.tolist()))}."
            )
        _, n_prompts, n_heads, _, _ = self.patterns.shape
        for name, value, n in (("head", head, n_heads), ("prompt", prompt, n_prompts)):
            if not 0 <= value < n:
                raise ValueError(
                    f"AttentionPatterns: {name} must lie between 0 and {n - 1}, got {value}."
                )
        n = int(self.lengths[prompt])
        return self.patterns[self.layers.tolist().index(layer), prompt, head, :n, :n]

    def to_frame(self) -> "pd.DataFrame":
        """One row a block, prompt, head, query and key, for keys up to the query."""
        import pandas as pd

        n_pos = self.patterns.shape[-1]
        seen = torch.ones(n_pos, n_pos, dtype=torch.bool).tril() & ~self.patterns.isnan()
        layer, prompt, head, query, key = seen.nonzero(as_tuple=True)
        tokens = self.str_tokens
        return pd.DataFrame(
            {
                **depth_columns(
                    self.layers[layer], self.provenance.model.n_layers, stream="attn_out"
                ),
                "prompt": prompt.numpy(),
                "head": head.numpy(),
                "query": query.numpy(),
                "key": key.numpy(),
                "query_token": [
                    tokens[p][q] for p, q in zip(prompt.tolist(), query.tolist(), strict=True)
                ],
                "key_token": [
                    tokens[p][k] for p, k in zip(prompt.tolist(), key.tolist(), strict=True)
                ],
                "probability": self.patterns[seen].numpy(),
            }
        )

    def plot(self, layer: int | None = None, head: int = 0, prompt: int = 0) -> "Figure":
        """One head on one prompt, of the first block that was read unless another is named.

        A row a query, a column a key.

        Raises:
            ValueError: that block was not read, or there is no such head or prompt.
        """
        from lensdepth.circuit.figures import pattern_map

        layer = int(self.layers[0]) if layer is None else layer
        return pattern_map(
            self.of(layer, head, prompt), self.str_tokens[prompt], f"L{layer}H{head}"
        )


@renamed(prompts="task")
@checked
@bounded
def attention_patterns(
    model: DepthModel,
    task: Task | Prompts,
    *,
    layers: Sequence[int] | None = None,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> AttentionPatterns:
    """Attention probabilities of every head on every prompt.

    Args:
        model: any wrapped model.
        task: a task (its clean prompts), one prompt or several, as text or token ids.
        layers: these blocks; all by default.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Raises:
        ValueError: an empty prompt, a block that is not there, or a model without such a hook.
        RuntimeError: the hook never ran.
    Example:
        >>> attention_patterns(model, "Two months from January is").plot(layer=4, head=1)
    """
    asked = list(range(model.n_layers)) if layers is None else list(layers)
    if not asked or len({*asked}) < len(asked) or not all(0 <= x < model.n_layers for x in asked):
        raise ValueError(
            f"attention_patterns: layers must be different blocks of 0...{model.n_layers - 1}, "
            f"got {layers}."
        )
    asked.sort()
    check_hook(model.hook_points, pattern_hook(asked[0]))
    known, texts, batch = gather_prompts(model, task)
    return AttentionPatterns(
        provenance=make_provenance(
            "attention_patterns",
            model.info,
            **origin_of(known, texts),
            settings={"layers": asked, "batch_size": batch_size, "max_memory": max_memory},
        ),
        layers=torch.tensor(asked),
        patterns=model.attention(batch, asked, batch_size=batch_size),
        lengths=batch.lengths,
        str_tokens=tuple(
            tuple(model.token_text(token) for token in batch.row(i)) for i in range(len(batch))
        ),
    )
