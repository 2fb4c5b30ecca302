"""What every component adds to an answer's logit: the result, its table and its figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import Result
from lensdepth.sweep.floor import MARGIN

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class AttributionProfile(Result):
    """Parts of logit(target) - logit(foil), which add up to it; positive ones favour the target.

    In nats, before the cap or scale that some models put on their logits, with the scale of the
    final norm as each run has it. Without foils the mean logit of the vocabulary stands for them.
    """

    MADE_BY: ClassVar[str] = "attribute_logits(model, task)"
    """The call that makes one."""

    provenance: Provenance
    targets: tuple[str, ...]
    """Each prompt's answer, as the token reads."""
    foils: tuple[str, ...] | None
    """What it is compared with; None for the mean over the vocabulary."""
    logit_diff: Float[Tensor, " prompt"]
    """The whole, as the model's own norm and unembedding give it."""
    embed: Float[Tensor, " prompt"]
    """The token's embedding."""
    pos_embed: Float[Tensor, " prompt"] | None
    """The learned embedding of the position; None where there is none."""
    heads: Float[Tensor, "layer head prompt"]
    attn_bias: Float[Tensor, "layer prompt"]
    """The attention's output bias (and that of a norm behind it); 0 where there is none."""
    mlps: Float[Tensor, "layer prompt"]
    norm_bias: Float[Tensor, " prompt"]
    """The bias of the final norm."""
    unembed_bias: Float[Tensor, " prompt"]

    @property
    def n_layers(self) -> int:
        return self.heads.shape[0]

    @property
    def n_heads(self) -> int:
        return self.heads.shape[1]

    @property
    def has_attn_bias(self) -> bool:
        """Whether any attention adds a bias."""
        return bool((self.attn_bias != 0).any())

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the parts: `embed`, `pos_embed`, `L0H0`, ..., `ATTN0 bias`, `MLP0`, ..."""
        found = ["embed"] + (["pos_embed"] if self.pos_embed is not None else [])
        for layer in range(self.n_layers):
            found += [f"L{layer}H{head}" for head in range(self.n_heads)]
            found += [f"ATTN{layer} bias"] if self.has_attn_bias else []
            found.append(f"MLP{layer}")
        return (*found, "final norm bias", "unembed bias")

    @property
    def values(self) -> Float[Tensor, "component prompt"]:
        """All parts in the order of `components`."""
        found = [self.embed[None]] + ([self.pos_embed[None]] if self.pos_embed is not None else [])
        for layer in range(self.n_layers):
            found.append(self.heads[layer])
            found += [self.attn_bias[layer][None]] if self.has_attn_bias else []
            found.append(self.mlps[layer][None])
        return torch.cat([*found, self.norm_bias[None], self.unembed_bias[None]])

    @property
    def residual(self) -> Float[Tensor, " prompt"]:
        """The whole less the sum of its parts: rounding, or the result would not be there."""
        return (self.logit_diff.double() - self.values.double().sum(0)).float()

    @property
    def floor(self) -> float:
        """Size below which a part is rounding: twice the most by which, in any prompt, the parts
        miss the whole that they add up to, or the last digit of that."""
        digit = torch.finfo(torch.float32).eps * max(1.0, float(self.logit_diff.abs().max()))
        return max(MARGIN * float(self.residual.abs().max()), digit)

    def of(self, component: str) -> Float[Tensor, " prompt"]:
        """One part.

        Raises:
            ValueError: there is none of that name.
        """
        if component not in self.components:
            raise ValueError(
                f"AttributionProfile: there is no part {component!r}; there are embed, L0H0 ... "
                f"L{self.n_layers - 1}H{self.n_heads - 1}, MLP0 ... MLP{self.n_layers - 1} and "
                f"biases (see .components)."
            )
        return self.values[self.components.index(component)]

    @property
    def unit(self) -> str:
        """What a number is."""
        against = "mean logit" if self.foils is None else "logit(foil)"
        return f"part of logit(target) − {against}, nats"

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt and component."""
        import pandas as pd

        names, values = self.components, self.values
        n_prompts = values.shape[1]
        kinds = [_place(name) for name in names]
        return pd.DataFrame(
            {
                "prompt": torch.arange(n_prompts).repeat_interleave(len(names)).numpy(),
                "target": [text for text in self.targets for _ in names],
                "foil": [text for text in self.foils or [None] * n_prompts for _ in names],
                "component": list(names) * n_prompts,
                "kind": [kind for kind, _, _ in kinds] * n_prompts,
                **self._layers([layer for _, layer, _ in kinds] * n_prompts),
                "head": pd.array([head for _, _, head in kinds] * n_prompts, dtype="Int64"),
                "value": values.T.flatten().numpy(),
                "logit_diff": self.logit_diff.repeat_interleave(len(names)).numpy(),
            }
        )

    def _layers(self, layers: list[int | None]) -> dict[str, Any]:
        """Block of each part, and the depth after it; none where it is of no block."""
        import pandas as pd

        layer = pd.Series(layers, dtype="Int64")
        return {"layer": layer, "depth": layer + 1, "relative_depth": (layer + 1) / self.n_layers}

    def mean_frame(self) -> "pd.DataFrame":
        """One row a component, the largest first: mean over prompts with its 95 % interval."""
        import pandas as pd

        from lensdepth import stats

        mean, low, high = stats.mean_interval(self.values.T.numpy(), units=self.provenance.units)
        kinds = [_place(name) for name in self.components]
        frame = pd.DataFrame(
            {
                "component": list(self.components),
                "kind": [kind for kind, _, _ in kinds],
                **self._layers([layer for _, layer, _ in kinds]),
                "head": pd.array([head for _, _, head in kinds], dtype="Int64"),
                "value": mean,
                "low": low,
                "high": high,
            }
        )
        order = frame["value"].abs().sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    def plot(self) -> "Figure":
        """Mean part of each head and MLP: a row a block, a column a head, the MLPs on the right."""
        from lensdepth.circuit.figures import attribution_map

        return attribution_map(self)

    def plot_largest(self, n: int = 15) -> "Figure":
        """The largest parts as bars with 95 % intervals.

        Raises:
            ValueError: `n` is below 1.
        """
        from lensdepth.circuit.figures import largest_parts

        return largest_parts(self, n)


def _place(name: str) -> tuple[str, int | None, int | None]:
    """Kind, layer and head of a part."""
    if name.startswith("MLP"):
        return "mlp", int(name[3:]), None
    if name.startswith("ATTN"):
        return "bias", int(name[4:].split()[0]), None
    if name.startswith("L") and "H" in name:
        layer, head = name[1:].split("H")
        return "head", int(layer), int(head)
    return ("bias" if name.endswith("bias") else "embedding"), None, None
