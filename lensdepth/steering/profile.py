"""What a steering sweep found, by edit, scope, position, depth and pair."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.roles import Mode
from lensdepth.storage import load_result, save_result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

READ = ("success", "prob", "kl_to_source", "logit_diff", "flip")


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class SteeringProfile:
    """Outcome of adding a difference of centroids, or a part of it, to the base run."""

    provenance: Provenance
    mode: Mode
    edits: tuple[str, ...]
    """`full` adds the vector; `direction` turns the state as that would, its norm kept; `norm`
    stretches it as that would, its direction kept. Controls, added whole, at the vector's norm:
    `random`, a random direction, and `shuffled`, the vector of another pair, which leads to
    another label (NaN where all pairs lead to the same)."""
    scopes: tuple[str, ...]
    """`local`: one depth. `suffix`: sustained, at every depth from there on."""
    positions: tuple[str, ...]
    """`input`: input-centric steering. `prediction`: output-centric."""
    depths: Int[Tensor, " depth"]
    labels: tuple[tuple[str, ...], ...]
    """The labels at each position."""
    base_label: Int[Tensor, "position pair"]
    """Which of these labels each base prompt has; steering leads away from it."""
    source_label: Int[Tensor, "position pair"]
    """The label that steering leads to."""
    folds: Int[Tensor, "end pair"]
    """Folds of each pair's base and source prompt; its centroids are of prompts in other folds."""
    centroid_sizes: Int[Tensor, "position end pair"]
    """Prompts behind the base label's and the source label's centroid."""
    strength: float
    budget: float | None
    vector_norm: Float[Tensor, "position depth pair"]
    """Norm of what is added at one depth, local scope; 0 where the centroids coincide."""
    state_norm: Float[Tensor, "position depth"]
    """Mean norm of the states there."""
    base_success: Float[Tensor, " pair"]
    """1 where the unsteered base run already gives the intended answer, the source run's."""
    base_prob: Float[Tensor, " pair"]
    """Probability of the intended answer in the unsteered base run."""
    source_prob: Float[Tensor, " pair"]
    """The same in the source run, the genuinely changed prompt."""
    base_kl_to_source: Float[Tensor, " pair"]
    """KL(source || base) in nats: where steering starts from; 0 is where it should get."""
    base_logit_diff: Float[Tensor, " pair"]
    """Logit difference of the unsteered base run, in nats."""
    source_logit_diff: Float[Tensor, " pair"]
    success: Float[Tensor, "edit scope position depth pair"]
    """1 where the steered run's most likely token is the intended answer."""
    prob: Float[Tensor, "edit scope position depth pair"]
    """Probability of the intended answer."""
    kl_to_source: Float[Tensor, "edit scope position depth pair"]
    """KL(source || steered) in nats."""
    logit_diff: Float[Tensor, "edit scope position depth pair"]
    flip: Float[Tensor, "edit scope position depth pair"]
    """1 where the most likely token is not the base run's."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def n_folds(self) -> int:
        """Parts that the prompts were split into, balanced in labels."""
        return int(self.folds.max()) + 1

    @property
    def smallest_centroid(self) -> int:
        """Fewest prompts behind any centroid that was used."""
        return int(self.centroid_sizes.min())

    def of(
        self,
        values: Float[Tensor, "edit scope position depth pair"],
        position: str,
        *,
        edit: str = "full",
        scope: str | None = None,
    ) -> Float[Tensor, "pair depth"]:
        """One curve a pair: `profile.of(profile.prob, "input", edit="direction")`.

        Args:
            values: any of the profile's arrays.
            position: one of `positions`.
            edit: one of `edits`.
            scope: one of `scopes`; the first by default.
        Raises:
            ValueError: there is no such position, edit or scope.
        """
        wanted = (
            ("edit", edit, self.edits),
            ("scope", self.scopes[0] if scope is None else scope, self.scopes),
            ("position", position, self.positions),
        )
        for kind, name, there in wanted:
            if name not in there:
                raise ValueError(
                    f"SteeringProfile: {kind} {name!r} was not steered; there are "
                    f"{', '.join(there)}."
                )
        e, s, p = (there.index(name) for _, name, there in wanted)
        return values[e, s, p].T

    def efficacy(
        self, position: str, *, edit: str = "full", scope: str | None = None
    ) -> Float[Tensor, "pair depth"]:
        """Success at one position: the profile that `find_transition` and `find_crossing` take."""
        return self.of(self.success, position, edit=edit, scope=scope)

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, scope, position, depth and pair."""
        import pandas as pd

        shape = self.success.shape
        edit, scope, position, depth, pair = (
            axis.flatten()
            for axis in torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
        )

        def spread(values: Tensor) -> Array:
            return values.expand(shape).flatten().numpy()

        def named(labels: Int[Tensor, "position pair"]) -> list[str]:
            found = labels[position, pair].tolist()
            return [self.labels[p][i] for p, i in zip(position.tolist(), found, strict=True)]

        return pd.DataFrame(
            {
                "position": [self.positions[i] for i in position.tolist()],
                "scope": [self.scopes[i] for i in scope.tolist()],
                "edit": [self.edits[i] for i in edit.tolist()],
                "depth": self.depths[depth].numpy(),
                "relative_depth": (self.depths[depth] / self.n_layers).numpy(),
                "pair": pair.numpy(),
                "base_fold": self.folds[0, pair].numpy(),
                "source_fold": self.folds[1, pair].numpy(),
                "base_label": named(self.base_label),
                "source_label": named(self.source_label),
                "vector_norm": spread(self.vector_norm),
                **{name: getattr(self, name).flatten().numpy() for name in READ},
                "base_prob": spread(self.base_prob),
                "base_kl_to_source": spread(self.base_kl_to_source),
            }
        )

    def plot(self, *, edit: str = "full", scope: str | None = None) -> "Figure":
        """Efficacy by depth at each position with 95 % bands, and the random vector's, dashed."""
        from lensdepth.steering.figures import efficacy_figure

        return efficacy_figure(self, edit=edit, scope=scope)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "SteeringProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)
