"""What patching a set of components did: the result, its table and its figure."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.provenance import Provenance
from lensdepth.storage import load_result, save_result
from lensdepth.sweep.roles import Mode

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Patched = Literal["circuit", "complement", "everything"]
SETS: tuple[Patched, ...] = get_args(Patched)
"""The set itself, all heads and MLPs but these, and all of them."""
ALSO: tuple[str, ...] = ("success", *ANSWERS)


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitResult:
    """Logit difference and success with a set of components patched, its complement, everything.

    A faithful circuit transfers nearly as much as everything; a complete one leaves its complement
    nothing to transfer. What a pair does not have is NaN.
    """

    MADE_BY: ClassVar[str] = "patch_components(model, task, components)"
    """The call that makes one."""

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
    outcome: Effects
    """By set (those of SETS, then the random ones) and pair."""
    random_components: tuple[tuple[str, ...], ...]
    """The control: sets of as many heads and MLPs, drawn from the whole model."""
    self_patch_error: float
    """Largest change of any logit when the base run's own outputs are put back, in the first
    pairs; must be 0 up to rounding."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def base_values(self) -> Float[Tensor, " pair"]:
        """The main metric of the unedited base run; logit(target) - logit(foil) by default."""
        return self.outcome.base[0]

    @property
    def source_values(self) -> Float[Tensor, " pair"]:
        return self.outcome.source[0]

    @property
    def values(self) -> Float[Tensor, "set pair"]:
        """The edited runs, in the order of SETS."""
        return self.outcome.of()[: len(SETS)]

    @property
    def success(self) -> Float[Tensor, "set pair"]:
        """1 where the most likely token is the source run's answer."""
        return self.outcome.of("success", owner="CircuitResult")[: len(SETS)]

    @property
    def random_values(self) -> Float[Tensor, "draw pair"]:
        """The main metric with the random sets."""
        return self.outcome.of()[len(SETS) :]

    @property
    def random_success(self) -> Float[Tensor, "draw pair"]:
        return self.outcome.of("success", owner="CircuitResult")[len(SETS) :]

    @property
    def transferred(self) -> Float[Tensor, "set pair"]:
        """Transferred fraction of the main metric: 0 at the base run, 1 at the source run."""
        return self.outcome.transferred()[: len(SETS)]

    @property
    def target_gain(self) -> Float[Tensor, "set pair"]:
        """The part of it by which the source's answer rose: what was brought along."""
        return self.outcome.target_gain[: len(SETS)]

    @property
    def foil_loss(self) -> Float[Tensor, "set pair"]:
        """The part by which the base's answer fell: what was erased."""
        return self.outcome.foil_loss[: len(SETS)]

    @property
    def random_transferred(self) -> Float[Tensor, "draw pair"]:
        """The same of the random sets."""
        return self.outcome.transferred()[len(SETS) :]

    @property
    def random_p(self) -> float:
        """Share of random sets whose mean transferred fraction reaches the circuit's, itself
        counted in; NaN without random sets."""
        if not len(self.random_values):
            return float("nan")
        null = self.random_transferred.nanmean(1).numpy()
        return stats.permutation_p(float(self.transferred[0].nanmean()), null)

    @property
    def _with_unedited(self) -> Effects:
        """The base and the source run as sets of their own, in front of the others."""
        found = self.outcome
        unedited = torch.stack([found.base, found.source], dim=1)
        return replace(
            found,
            coords={"set": ("base", "source", *found.coords["set"])},
            values=torch.cat([unedited, found.values], dim=1),
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair and run: base, source, each of SETS and each random set."""
        import pandas as pd

        frame = self._with_unedited.to_frame("resid_pre", self.n_layers)
        drawn = frame["set"].str.startswith("random ")
        number = frame["set"].str.removeprefix("random ").where(drawn)
        frame.insert(0, "patched", frame["set"].where(~drawn, "random"))
        frame.insert(1, "draw", pd.to_numeric(number).astype("Int64"))
        return frame.drop(columns="set")

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
            parts = ("target_gain", "foil_loss") if self.outcome.has_gains else ()
            for column in (*self.outcome.metrics, "transferred", *parts):
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
