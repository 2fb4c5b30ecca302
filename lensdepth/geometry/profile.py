"""What `geometry_profile` gives: numbers a prompt, numbers of the cloud, maps between depths."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import Result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

PER_PROMPT = (
    "norm", "step_angle", "angle_to_final", "update", "update_angle", "attn_write", "mlp_write",
    "massive", "curvature",
)  # fmt: skip
"""Fields with one number a prompt at each depth, or for each block."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """One measure by depth, with its 95 % interval over units."""

    value: Float[Tensor, " depth"]
    low: Float[Tensor, " depth"]
    high: Float[Tensor, " depth"]
    p: Float[Tensor, " depth"]
    """Of permutations of whole units (Mantel 1967), not corrected over depths; two-sided, one-sided
    for distance correlations; 1 where there is no correlation, NaN where nothing was tested."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class GeometryProfile(Result):
    """Geometry at one position of each prompt; intervals are over units.

    `of(measure)` gives any measure by depth. Those of the cloud, taken on a sample of prompts:

    - `cosine`, `centred_cosine`, `standardized_cosine`: mean cosine of the states of two prompts;
      less the mean state; with every coordinate standardised, so that no one of them rules.
    - `rogue_dimensions`, `rogue_share`: fewest coordinates that make half of the mean cosine, and
      the share of the three largest.
    - `effective_rank`, `participation_ratio`, `two_nn`: dimensions that the cloud fills.
    - `angle_js`, `norm_js`, `distance_js`: Spearman correlation, over pairs of prompts, of the
      angle between their states (the difference of norms, the Euclidean distance) with the
      Jensen-Shannon divergence of their final next-token distributions; `angle_js_given_norm`,
      `norm_js_given_angle`: partial ones, with an interval but no p; `angle_js_dcor`, ...:
      bias-corrected distance correlation, on the squared scale.
    - the same with `hellinger`, and with each of `contexts`, in the place of `js`.
    """

    MADE_BY: ClassVar[str] = "geometry_profile(model, task)"
    """The call that makes one."""

    provenance: Provenance
    norm: Float[Tensor, "depth prompt"]
    """Length of each state."""
    step_angle: Float[Tensor, "layer prompt"]
    """Angle in radians between the states before and after each block."""
    angle_to_final: Float[Tensor, "depth prompt"]
    """Angle in radians between a state and the one at depth L."""
    update: Float[Tensor, "layer prompt"]
    """Length of what each block adds, over the norm of the state that it reads."""
    update_angle: Float[Tensor, "layer prompt"]
    """Angle in radians between the state that a block reads and what the block adds."""
    attn_write: Float[Tensor, "layer prompt"] | None
    """Length of what attention adds, over the norm of the state that its block reads; None where
    the architecture has no such hook."""
    mlp_write: Float[Tensor, "layer prompt"] | None
    massive: Float[Tensor, "depth prompt"]
    """Coordinates beyond 100 and beyond 1000 times the state's median (arXiv 2402.17762)."""
    curvature: Float[Tensor, "depth prompt"]
    """Mean angle in radians between the steps from token to token, over the whole prompt."""
    coupling_prompts: Int[Tensor, " sample"]
    """Prompts between which pairs were measured; no two of them read the same tokens."""
    contexts: tuple[str, ...]
    """Labels with which distances were correlated."""
    measures: tuple[str, ...]
    """Names of the cloud's measures."""
    value: Float[Tensor, "measure depth"]
    low: Float[Tensor, "measure depth"]
    high: Float[Tensor, "measure depth"]
    p: Float[Tensor, "measure depth"]
    cka: Float[Tensor, "depth depth"]
    """Linear CKA of the clouds of two depths, bias-corrected: 0 on average for unrelated ones."""
    cka_low: Float[Tensor, "depth depth"]
    cka_high: Float[Tensor, "depth depth"]
    procrustes: Float[Tensor, "depth depth"]
    """Share of a cloud's variance that the best rotation and scale of another one give."""
    procrustes_low: Float[Tensor, "depth depth"]
    procrustes_high: Float[Tensor, "depth depth"]
    procrustes_chance: Float[Tensor, "depth depth"]
    """The same with shuffled prompts: what fits by chance."""
    pairs: Int[Tensor, "pair 2"]
    """Some pairs, as places in `coupling_prompts`, for the figure."""
    pair_angle: Float[Tensor, "depth pair"]
    """Angle in radians between their states."""
    pair_js: Float[Tensor, " pair"]
    """Jensen-Shannon divergence of their final distributions, nats."""

    @property
    def n_layers(self) -> int:
        return self.norm.shape[0] - 1

    @property
    def growth(self) -> Float[Tensor, "layer prompt"]:
        """Norm after each block over the norm before; NaN where that is 0."""
        before = self.norm[:-1]
        return torch.where(before > 0, self.norm[1:] / before, torch.nan)

    @property
    def effective_rank(self) -> Float[Tensor, " depth"]:
        """exp(entropy) of the normalised spectrum of the centred cloud; at least 1."""
        return self.of("effective_rank").value

    @property
    def angle_js(self) -> Float[Tensor, " depth"]:
        """Spearman correlation of angles with divergences of the predictions."""
        return self.of("angle_js").value

    @property
    def norm_js(self) -> Float[Tensor, " depth"]:
        """The same for differences of norm."""
        return self.of("norm_js").value

    def of(self, measure: str) -> Measure:
        """One measure at depths 0 ... L; what belongs to a block is NaN at depth 0.

        Raises:
            ValueError: there is none of that name.
        """
        if measure in self.measures:
            row = self.measures.index(measure)
            return Measure(
                value=self.value[row], low=self.low[row], high=self.high[row], p=self.p[row]
            )
        found = self._over_prompts(measure)
        if found is None:
            raise ValueError(
                f"GeometryProfile.of: measure must be one of "
                f"{', '.join(dict.fromkeys(self.to_frame().measure))}, got {measure!r}."
            )
        value, low, high = (torch.tensor(x, dtype=torch.float32) for x in found)
        return Measure(value=value, low=low, high=high, p=torch.full_like(value, torch.nan))

    def _over_prompts(self, measure: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Value and interval at depths 0 ... L of what is known by prompt, or between depths."""
        if measure == "norm_spread":
            return self._norm_spread()
        if measure in ("cka", "procrustes"):
            ends = (measure, f"{measure}_low", f"{measure}_high")
            maps = (getattr(self, end).double().numpy() for end in ends)
            step, low, high = (np.append(np.nan, np.diagonal(x, offset=1)) for x in maps)
            return step, low, high
        if measure not in (*PER_PROMPT, "growth"):
            return None
        values = getattr(self, measure)
        if values is None:
            return None
        if len(values) == self.n_layers:
            values = torch.cat(
                [torch.full((1, values.shape[1]), torch.nan, dtype=torch.float32), values]
            )
        return stats.mean_interval(values.T.numpy(), units=self.provenance.units)

    def _norm_spread(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Standard deviation of the norm over prompts."""
        norm = self.norm.T.double().numpy()
        # About the mean, so that the difference of two large numbers is not what is left.
        gap = norm - norm.mean(0)
        (means,) = stats.drawn_means(np.stack([gap, gap**2], axis=-1), units=self.provenance.units)
        drawn = np.sqrt(np.maximum(means[..., 1] - means[..., 0] ** 2, 0.0))
        return gap.std(0), *stats.percentile_interval(drawn)

    def to_frame(self) -> "pd.DataFrame":
        """One row a depth and measure: value with its 95 % interval over prompts, and p.

        What belongs to a block stands at the depth that leaves it; `cka` and `procrustes` there
        are those with the depth before. `map_frame` has them for any two depths.
        """
        import pandas as pd

        parts = []
        for name in (*PER_PROMPT, "growth", "norm_spread", "cka", "procrustes", *self.measures):
            if name in PER_PROMPT and getattr(self, name) is None:
                continue
            found = self.of(name)
            of_block = name in ("cka", "procrustes", "growth") or (
                name in PER_PROMPT and len(getattr(self, name)) == self.n_layers
            )
            depths = range(1 if of_block else 0, self.n_layers + 1)
            columns = {
                column: getattr(found, column)[depths.start :].double().numpy()
                for column in ("value", "low", "high", "p")
            }
            parts.append(pd.DataFrame({"depth": depths, "measure": name, **columns}))
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(1, "relative_depth", frame["depth"] / self.n_layers)
        return frame

    def map_frame(self) -> "pd.DataFrame":
        """One row a measure and two depths: CKA and Procrustes, with intervals and by chance."""
        import pandas as pd

        depth, other = torch.meshgrid(
            torch.arange(self.n_layers + 1), torch.arange(self.n_layers + 1), indexing="ij"
        )
        parts = [
            pd.DataFrame(
                {
                    "measure": name,
                    "depth": depth.flatten().numpy(),
                    "other_depth": other.flatten().numpy(),
                    "value": getattr(self, name).flatten().numpy(),
                    "low": getattr(self, f"{name}_low").flatten().numpy(),
                    "high": getattr(self, f"{name}_high").flatten().numpy(),
                    "chance": chance.flatten().numpy(),
                }
            )
            for name, chance in (
                ("cka", torch.zeros_like(self.cka)),
                ("procrustes", self.procrustes_chance),
            )
        ]
        frame = pd.concat(parts, ignore_index=True)
        for name in ("depth", "other_depth"):
            frame.insert(1, f"relative_{name}", frame[name] / self.n_layers)
        return frame

    def plot(self) -> "Figure":
        """Lengths, turns, directions, dimensions and couplings by depth, with 95 % bands."""
        from lensdepth.geometry.figures import depth_panels

        return depth_panels(self)

    def plot_map(self, measure: Literal["cka", "procrustes"] = "cka") -> "Figure":
        """How alike the clouds of two depths are."""
        from lensdepth.geometry.figures import similarity_map

        return similarity_map(self, measure)

    def plot_coupling(self) -> "Figure":
        """Angle against divergence of the predictions, some pairs, with a slider over depth."""
        from lensdepth.geometry.figures import coupling_scatter

        return coupling_scatter(self)
