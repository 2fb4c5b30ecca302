"""What an exchange within subspaces found, by basis, dimension, pair, depth and position."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.provenance import Provenance
from lensdepth.subspaces.parts import FULL, is_control
from lensdepth.sweep.result import SweepResult
from lensdepth.sweep.roles import Mode

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

ALSO: tuple[str, ...] = ("success", *ANSWERS)
OWNER = "SubspaceProfile"


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class SubspaceProfile(SweepResult):
    """Outcome of putting in the source's part within a subspace; what a pair lacks is NaN."""

    MADE_BY: ClassVar[str] = "subspace_sweep(model, task)"
    """The call that makes one."""

    provenance: Provenance
    mode: Mode
    bases: tuple[str, ...]
    """The subspaces that were asked for; their controls stand beside them in `outcome`."""
    apart: str
    """What pairs that a basis was fitted to and pairs that it judges share no value of."""
    n_fits: int
    """How often each basis was fitted: to all pairs but those of some folds."""
    n_fitted: int
    """Pairs that the fit with fewest had."""
    rank: Int[Tensor, "basis depth position"]
    """Dimensions that the fit with fewest has; beyond them a subspace grows no further, but for
    that of all dimensions. By `bases`."""
    outcome: Effects
    """By basis (`full`, the whole state, then `bases`, then controls), dim, pair, depth and
    position. The whole state has the same numbers at every dim."""
    loss: Float[Tensor, "learned dim depth position"] | None
    """With `das`: cross-entropy in nats of the answer that it was trained to bring about, in pairs
    that it was not trained on, of `das` and of `das_shuffled`, whose answers are arbitrary."""
    twin: Float[Tensor, "label dim depth position"] | None
    """Transferred fraction (`moved`, mean over pairs) in an untrained twin on its own answers;
    None without one."""
    twin_note: str
    """Why there is no twin, where one was asked for."""
    self_patch_error: float
    """Largest change of any logit when the base run's own states are put back, in the first pairs;
    must be 0 up to rounding."""

    @property
    def dims(self) -> Int[Tensor, " dim"]:
        """Dimensions of the subspaces."""
        return self.outcome.places("dim")

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        return self.outcome.places("depth")

    @property
    def positions(self) -> tuple[str, ...]:
        return self.outcome.names("position")

    @property
    def controls(self) -> tuple[str, ...]:
        """Controls that were run, of the whole state and of all bases."""
        return tuple(name for name in self.outcome.names("basis") if is_control(name))

    def moved(
        self, basis: str = FULL, *, dim: int | None = None, position: str | None = None
    ) -> Float[Tensor, "pair depth"]:
        """Change of the main metric towards the source, as a share of the runs' mean distance.

        Args:
            basis: one of `bases` or `controls`, or `"full"`.
            dim: one of `dims`; the first by default.
            position: one of `positions`; the first by default.
        Raises:
            ValueError: there is no such basis, dim or position.
        """
        labels = {"basis": basis, "dim": dim, "position": position}
        return self.outcome.pick(self.outcome.moved(), owner=OWNER, **labels)

    def dimensions(
        self,
        basis: str | None = None,
        *,
        position: str | None = None,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """How many dimensions it takes to do what the whole state does, depth by depth.

        The smallest k in `dims` whose mean effect is at least 90 % of the whole state's, by the
        rule that stands in `lensdepth.subspaces.smallest`: asked only where the whole state moves
        more than rounding and brings along more than another pair's does. By the ends of its 95 %
        interval over units the share reaches it at `k_low` and at `k_high`.

        Args:
            basis: one of `bases`; the first by default.
            position: one of `positions`; the first by default.
            n_resamples: draws behind intervals of shares.
            seed: of the draws.
        Returns:
            One row a depth: depth, relative_depth, verdict (`reached`, `not reached`, `as its
            control`, `no effect`, `cannot tell`, `too few`), k, k_low, k_high (NaN for none), full,
            full_low, full_high; dim, which is k, or the largest that was tried where k is none,
            with its share and the interval of that; labels_matter, whether the basis does more at k
            than with arbitrary labels. All dimensions together are the whole state, and not tried.
        Raises:
            ValueError: there is no such basis or position.
        """
        from lensdepth.subspaces.smallest import smallest_dimensions

        return smallest_dimensions(self, basis, position, n_resamples, seed)

    def to_frame(self) -> "pd.DataFrame":
        """One row a basis, dimension, pair, depth and position."""
        return self.outcome.to_frame("resid_pre", self.n_layers)

    def plot(self, *, position: str | None = None) -> "Figure":
        """A panel a basis: the transferred fraction by depth, a curve a dimension."""
        from lensdepth.subspaces.figures import by_dimension

        return by_dimension(self, position=position)
