"""What patching a set of components did: the result, its table and its figure."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import metrics, stats
from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.roles import Mode
from lensdepth.storage import load_result, save_result

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Patched = Literal["circuit", "complement", "everything"]
SETS: tuple[Patched, ...] = get_args(Patched)
"""The set itself, all heads and MLPs but these, and all of them."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitResult:
    """Logit difference and success with a set of components patched, its complement, everything.

    A faithful circuit transfers nearly as much as everything; a complete one leaves its complement
    nothing to transfer. What a pair does not have is NaN.
    """

    provenance: Provenance
    mode: Mode
    components: tuple[str, ...]
    """The set, as it was named."""
    n_heads: int
    """Heads in it, those of a whole attention included."""
    n_mlps: int
    n_components: int
    """Heads and MLPs of the model."""
    positions: tuple[str, ...]
    """Where they are patched, all in one run."""
    base_values: Float[Tensor, " pair"]
    """logit(target) - logit(foil) of the unedited base run, in nats."""
    base_success: Float[Tensor, " pair"]
    """1 where the most likely token is the source run's answer."""
    source_values: Float[Tensor, " pair"]
    source_success: Float[Tensor, " pair"]
    values: Float[Tensor, "set pair"]
    """The edited runs, in the order of SETS."""
    success: Float[Tensor, "set pair"]
    random_components: tuple[tuple[str, ...], ...]
    """The control: sets of as many heads and MLPs, drawn from the whole model."""
    random_values: Float[Tensor, "draw pair"]
    random_success: Float[Tensor, "draw pair"]
    self_patch_error: float
    """Largest change of any logit when the base run's own outputs are put back, in the first
    pairs; must be 0 up to rounding."""

    def _fraction(self, values: Float[Tensor, "run pair"]) -> Float[Tensor, "run pair"]:
        return metrics.transferred_fraction(values, self.base_values, self.source_values)

    @property
    def transferred(self) -> Float[Tensor, "set pair"]:
        """Transferred fraction: 0 at the base run, 1 at the source run."""
        return self._fraction(self.values)

    @property
    def random_transferred(self) -> Float[Tensor, "draw pair"]:
        """The same of the random sets."""
        return self._fraction(self.random_values)

    @property
    def random_p(self) -> float:
        """Share of random sets whose mean transferred fraction reaches the circuit's, itself
        counted in; NaN without random sets."""
        if not len(self.random_values):
            return float("nan")
        null = self.random_transferred.nanmean(1).numpy()
        return stats.permutation_p(float(self.transferred[0].nanmean()), null)

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair and run: base, source, each of SETS and each random set."""
        import pandas as pd

        names = ["base", "source", *SETS, *["random"] * len(self.random_values)]
        values = torch.cat(
            [self.base_values[None], self.source_values[None], self.values, self.random_values]
        )
        success = torch.cat(
            [self.base_success[None], self.source_success[None], self.success, self.random_success]
        )
        n_pairs = values.shape[1]
        draws = [pd.NA] * (len(names) - len(self.random_values))
        draws += list(range(len(self.random_values)))
        return pd.DataFrame(
            {
                "pair": torch.arange(n_pairs).repeat(len(names)).numpy(),
                "patched": [name for name in names for _ in range(n_pairs)],
                "draw": pd.array([d for d in draws for _ in range(n_pairs)], dtype="Int64"),
                "logit_diff": values.flatten().numpy(),
                "transferred": self._fraction(values).flatten().numpy(),
                "success": success.flatten().numpy(),
            }
        )

    def mean_frame(self, *, n_resamples: int = 1000) -> "pd.DataFrame":
        """One row a run, with mean and 95 % interval over pairs of each number.

        A random set's number is, for each pair, the mean over all draws.
        """
        import pandas as pd

        frame = self.to_frame()
        wide = frame.groupby(["patched", "pair"], sort=False).mean(numeric_only=True)
        rows = []
        for name in frame["patched"].unique():
            row: dict[str, object] = {"patched": name}
            for column in ("logit_diff", "transferred", "success"):
                values = wide.loc[name, column].to_numpy(dtype=float)
                mean, low, high = stats.bootstrap_mean(values, n_resamples=n_resamples)
                row |= {column: float(mean), f"{column}_low": float(low)}
                row[f"{column}_high"] = float(high)
            rows.append(row)
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Transferred fraction and success of each run as bars, with 95 % intervals."""
        from lensdepth.circuit.figures import circuit_bars

        return circuit_bars(self)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "CircuitResult":
        """Read what `save` wrote."""
        return load_result(cls, path)
