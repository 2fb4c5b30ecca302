"""Translators: an affine map a depth, in front of the model's own readout.

A state h at depth d < L becomes h + A h + b; at depth L nothing is changed. With A and b of zero
this is the logit lens.

Source: Belrose et al. 2023, "Eliciting latent predictions from transformers with the tuned lens",
arXiv 2303.08112.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.captures.opened import Capture
from lensdepth.fingerprints import fingerprint
from lensdepth.model import DepthModel
from lensdepth.provenance import Provenance
from lensdepth.storage import Result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class TunedLens(Result):
    """One affine map a depth 0 ... L-1, fitted to say what the model will predict in the end."""

    MADE_BY: ClassVar[str] = "fit_tuned_lens(model, task)"
    """The call that makes one."""

    provenance: Provenance
    kind: Literal["tuned", "jacobian"]
    """`tuned`: fitted to the model's final distribution. `jacobian`: the mean derivative of the
    final state by the state at a depth."""
    weights: Float[Tensor, "depth d_model d_model"]
    """A, so that zero leaves a state as it is; rows are what comes out."""
    bias: Float[Tensor, "depth d_model"]
    """b."""
    kl_before: Float[Tensor, "prompt depth"] | None
    """KL(final || logit lens) in nats of each held-out prompt, its positions averaged; None if
    the lens was not fitted here."""
    kl_after: Float[Tensor, "prompt depth"] | None
    """The same with these maps in front of the readout."""

    def __post_init__(self) -> None:
        if not (self.weights.isfinite().all() and self.bias.isfinite().all()):
            raise ValueError(
                "TunedLens: weights and bias must be finite; fit again with a smaller "
                "learning_rate, or look for a damaged file."
            )

    @property
    def n_layers(self) -> int:
        return len(self.weights)

    def check_model(self, model: DepthModel | Capture, *, caller: str) -> None:
        """Refuse a model, or a capture of one, other than the one that this lens belongs to.

        Raises:
            ValueError: it has another size, other weights or another configuration.
        """
        own, info = self.provenance.model, model.info
        for what in ("n_layers", "d_model", "fingerprint", "configuration"):
            needed, got = getattr(own, what), getattr(info, what)
            if needed not in (got, ""):  # a lens of lensdepth 0.1 knows no configuration
                raise ValueError(
                    f"{caller}: translators belong to {own.name!r} with {what} {needed}; "
                    f"{info.name!r} has {got}. Fit a lens on this model."
                )

    def translate(
        self, states: Float[Tensor, "depths row d_model"]
    ) -> Float[Tensor, "depths row d_model"]:
        """States of depths 0 ... L as the readout shall see them; those at depth L as they are."""
        moved = torch.baddbmm(self.bias.unsqueeze(1), states[:-1], self.weights.mT)
        return torch.cat([states[:-1] + moved, states[-1:]])

    def to(self, device: torch.device) -> "TunedLens":
        """The same lens with its maps on this device."""
        return replace(self, weights=self.weights.to(device), bias=self.bias.to(device))

    def described(self) -> dict[str, Any]:
        """What the provenance of a result that uses this lens says of it."""
        digest = fingerprint({"weights": self.weights, "bias": self.bias})
        made = self.provenance
        return {
            "kind": self.kind,
            "fingerprint": digest,
            "analysis": made.analysis,
            "created": made.created,
            "settings": made.settings,
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row a depth: size of the map, and held-out KL before and after with 95 % intervals.

        `weight_norm` is the Frobenius norm of A over that of the identity.
        """
        import pandas as pd

        from lensdepth import stats

        frame = pd.DataFrame(
            {
                "depth": np.arange(self.n_layers),
                "relative_depth": np.arange(self.n_layers) / self.n_layers,
                "weight_norm": self._weight_norm(),
                "bias_norm": self.bias.norm(dim=-1).numpy(),
            }
        )
        for name in ("kl_before", "kl_after"):
            values = getattr(self, name)
            if values is not None:
                ends = ("", "_low", "_high")
                for end, column in zip(ends, stats.mean_interval(values.numpy()), strict=True):
                    frame[name + end] = column
        return frame

    def _weight_norm(self) -> np.ndarray:
        return (self.weights.flatten(1).norm(dim=-1) / self.weights.shape[-1] ** 0.5).numpy()

    def plot(self) -> "Figure":
        """Held-out KL by depth before and after; size of the maps where there is none."""
        from lensdepth import plotting, stats

        if self.kl_before is None or self.kl_after is None:
            unknown = np.full(self.n_layers, np.nan)
            size = self._weight_norm()
            curve = plotting.Curve.from_interval("‖A‖ / ‖I‖", size, unknown, unknown, role="lens")
            curves, y_title = [curve], "‖A‖ / ‖I‖"
        else:
            found = {"logit lens": self.kl_before, f"{self.kind} lens": self.kl_after}
            curves = [
                plotting.Curve.from_interval(
                    name, *stats.mean_interval(values.numpy()), role=role, dashed=name[0] == "l"
                )
                for (name, values), role in zip(found.items(), ("control", "lens"), strict=True)
            ]
            y_title = "KL(final ‖ lens) on held-out prompts, nats"
        title = f"{self.kind.capitalize()} lens of {self.provenance.model.name}"
        return plotting.depth_figure(curves, n_layers=self.n_layers, title=title, y_title=y_title)
