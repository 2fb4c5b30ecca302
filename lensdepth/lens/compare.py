"""Several lenses on one axis of relative depth: of two models, or of two prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.lens import told
from lensdepth.lens.profile import LensProfile
from lensdepth.provenance import Provenance
from lensdepth.storage import Result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

MEASURES = {key: told.MEASURES[key].title for key in told.SUMMARY}
"""What is compared, with its unit."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class LensComparison(Result):
    """Measures of several lenses, means over each prompt's positions; NaN where there is none."""

    provenance: Provenance
    """Of the first lens; `models` names them all."""
    names: tuple[str, ...]
    models: tuple[str, ...]
    n_layers: Int[Tensor, " lens"]
    relative_depth: Float[Tensor, "lens depth"]
    """From 0, the embedding, to 1, the model's own readout."""
    kl: Float[Tensor, "lens prompt depth"]
    entropy: Float[Tensor, "lens prompt depth"]
    top1_agreement: Float[Tensor, "lens prompt depth"]

    def to_frame(self) -> "pd.DataFrame":
        """One row a lens, prompt and depth."""
        import pandas as pd

        there = ~self.kl.isnan()
        lens, prompt, depth = there.nonzero(as_tuple=True)
        columns: dict[str, object] = {
            "lens": [self.names[i] for i in lens.tolist()],
            "prompt": prompt.numpy(),
            "depth": depth.numpy(),
            "relative_depth": self.relative_depth[lens, depth].numpy(),
        }
        columns |= {name: getattr(self, name)[there].numpy() for name in MEASURES}
        return pd.DataFrame(columns)

    def plot(self) -> "Figure":
        """Each measure in a panel, a curve a lens, with 95 % bands over prompts."""
        from lensdepth.lens.figures import lenses_together

        return lenses_together(self)


@checked
def compare_lenses(*profiles: LensProfile, names: Sequence[str]) -> LensComparison:
    """Put lenses of models with any number of layers on one axis.

    Args:
        profiles: what `logit_lens` gave.
        names: what to call each.
    Raises:
        ValueError: fewer than two lenses, or not a name for each.
    Example:
        >>> lenses = [logit_lens(model, prompts) for model in (small, large)]
        >>> compare_lenses(*lenses, names=["small", "large"]).plot()
    """
    if len(profiles) < 2 or len(names) != len(profiles):
        raise ValueError(
            f"compare_lenses: two lenses or more and a name for each are needed, got "
            f"{len(profiles)} and {len(names)}."
        )
    most = max(profile.n_layers for profile in profiles) + 1
    prompts = max(profile.kl.shape[1] for profile in profiles)

    def together(measure: str) -> Float[Tensor, "lens prompt depth"]:
        out = torch.full((len(profiles), prompts, most), torch.nan, dtype=torch.float32)
        for i, profile in enumerate(profiles):
            values = profile.mean_by_depth(getattr(profile, measure))
            out[i, : values.shape[0], : values.shape[1]] = values
        return out

    relative = torch.full((len(profiles), most), torch.nan, dtype=torch.float32)
    for i, profile in enumerate(profiles):
        relative[i, : profile.n_layers + 1] = torch.linspace(
            0, 1, profile.n_layers + 1, dtype=torch.float32
        )
    return LensComparison(
        provenance=profiles[0].provenance,
        names=tuple(names),
        models=tuple(profile.provenance.model.name for profile in profiles),
        n_layers=torch.tensor([profile.n_layers for profile in profiles]),
        relative_depth=relative,
        **{measure: together(measure) for measure in MEASURES},
    )
