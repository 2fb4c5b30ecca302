"""Two runs held side by side: the result, its table and its figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import ModelInfo, Provenance
from lensdepth.storage import ModelResult
from lensdepth.telling.depths import depth_columns

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

RUNS, GOALS = ("a", "b"), ("a", "b")
"""Which model is run, with something of the other's in it; what it is held against."""
Part = Literal["embedding", "attention", "mlp", "block", "readout"]


class Component(NamedTuple):
    """A part of a model that writes something else than its counterpart, from the same input."""

    part: Part
    layer: int | None
    """Its block; None for embedding and readout."""
    distance: float
    """Largest over prompts and tokens, in shares of the state's norm (of the readout: of the
    logits')."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class RunComparison(ModelResult):
    """Two models' runs by depth: at depth 0 the embedding, at depth d what block d - 1 does.

    A distance is |x - y| over the longer of both, the largest over a prompt's compared tokens;
    angles and norms are means over them.
    """

    MADE_BY: ClassVar[str] = "compare_runs(model_a, model_b, prompts)"
    """The call that makes one."""

    provenance: Provenance
    """Of the prompts, and of model A."""
    other: ModelInfo
    """Model B."""
    positions: Literal["all", "last"]
    """The tokens that are compared and swapped."""
    measured: float
    """Largest distance of a state from the same model's in another batch size, of both models."""
    tolerance: float
    """Stated distance below which one component's write is noise."""
    floor: float
    """The larger of `sweep.floor.MARGIN` times the measured one and the tolerance."""
    kl_floor: float
    """KL in nats below which nothing is told from nothing, measured in the same runs."""
    angle: Float[Tensor, "prompt depth"]
    """Radians between the two models' states."""
    norm: Float[Tensor, "prompt depth"]
    """log(|B's state| / |A's|)."""
    distance: Float[Tensor, "prompt depth"]
    own_angle: Float[Tensor, "prompt depth"]
    """Between A's state and what B's block makes of A's state before it."""
    own_norm: Float[Tensor, "prompt depth"]
    own_distance: Float[Tensor, "prompt depth"]
    carried_angle: Float[Tensor, "prompt depth"]
    """Between what B's block makes of A's state and of its own; 0 at depth 0."""
    carried_norm: Float[Tensor, "prompt depth"]
    carried_distance: Float[Tensor, "prompt depth"]
    attention: Float[Tensor, "prompt layer"]
    """Distance of the two attention outputs from the same input, in shares of the longer state
    behind the block; NaN where a block's writes do not add up to what it adds."""
    mlp: Float[Tensor, "prompt layer"]
    """The same of the two MLPs, from A's state and A's attention output."""
    readout: Float[Tensor, " prompt"]
    """Distance of the two readouts' logits of A's last state."""
    kl: Float[Tensor, "prompt goal"]
    """KL(A || B) and KL(B || A) of the next-token distributions, in nats."""
    agree: Float[Tensor, " prompt"]
    """1 where both have the same first choice."""
    write_kl: Float[Tensor, "prompt run goal depth"]
    """KL(goal || run) in nats of one model's run with the write of block d - 1 (at depth 0 the
    embedding) taken from the other's run."""
    state_kl: Float[Tensor, "prompt run goal depth"]
    """The same of runs that go on from the other's state of a depth."""

    @property
    def floors(self) -> dict[str, float]:
        """What is smaller is rounding, as measured in runs that change nothing."""
        return {"kl": self.kl_floor}

    @property
    def noise(self) -> Float[Tensor, " depth"]:
        """Distance of two states that noise may make by each depth: the floor, added up over the
        embedding and all blocks before."""
        return self.floor * torch.arange(1, self.n_layers + 2, dtype=torch.float32)

    @property
    def parted(self) -> tuple[Component, ...]:
        """All components that write something else beyond the floor, in the order of the run.

        Of blocks whose writes do not add up, the whole block.
        """
        rows: list[tuple[Part, int | None, Tensor]] = [("embedding", None, self.own_distance[:, 0])]
        for layer in range(self.n_layers):
            if self.told_apart:
                rows.append(("attention", layer, self.attention[:, layer]))
                rows.append(("mlp", layer, self.mlp[:, layer]))
            else:
                rows.append(("block", layer, self.own_distance[:, layer + 1]))
        rows.append(("readout", None, self.readout))
        found = (Component(part, layer, float(far.max())) for part, layer, far in rows)
        # What is no number is no agreement.
        return tuple(one for one in found if not one.distance <= self.floor)

    @property
    def told_apart(self) -> bool:
        """Whether attention and MLP are known by themselves."""
        return not bool(self.attention.isnan().any())

    @property
    def first(self) -> Component | None:
        """The first of `parted`; None where there is none."""
        return self.parted[0] if self.parted else None

    @property
    def first_depth(self) -> int | None:
        """The first depth at which states are further apart than noise adds up to."""
        beyond = (~(self.distance.amax(0) <= self.noise)).nonzero()[:, 0].tolist()
        return beyond[0] if beyond else None

    @property
    def predictions_differ(self) -> bool:
        """Whether the two distributions differ, in the mean over prompts, beyond their floor."""
        return bool((~(self.kl.mean(0) <= self.kl_floor)).any())

    def decides(self, run: Literal["a", "b"] = "a") -> int | None:
        """The depth whose one write brings a model's prediction nearest to the other's, in the mean
        over prompts; None where predictions do not differ, or no write brings it nearer."""
        goal, unswapped = self._other(run)
        means = self.write_kl[:, RUNS.index(run), goal].mean(0)
        means = torch.where(means.isnan(), torch.inf, means)  # which is never the nearest
        at = int(means.argmin())
        nearer = self.predictions_differ and float(unswapped - means[at]) > self.kl_floor
        return at if nearer else None

    def taken_from(self, run: Literal["a", "b"] = "a") -> int | None:
        """The first depth from which on a model that goes on from the other's state predicts what
        the other does rather than what it did, in the mean over prompts; None where predictions do
        not differ, or it never does."""
        if not self.predictions_differ:
            return None
        goal, _ = self._other(run)
        kl = self.state_kl[:, RUNS.index(run)].mean(0)
        theirs = (kl[goal] < kl[1 - goal]).tolist()
        if not theirs[-1]:
            return None
        return len(theirs) - [*theirs[::-1], False].index(False)

    def _other(self, run: str) -> tuple[int, Tensor]:
        """The other model's place among goals, and KL(other || this) of plain runs."""
        goal = 1 - RUNS.index(run)
        return goal, self.kl[:, goal].mean()

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt and depth; `attention` and `mlp` are those of the block before it."""
        import pandas as pd

        n, n_depths = self.angle.shape
        columns: dict[str, object] = {
            "prompt": torch.arange(n).repeat_interleave(n_depths).numpy(),
            **depth_columns(torch.arange(n_depths).repeat(n).numpy(), self.n_layers),
        }
        for before in ("", "own_", "carried_"):
            for name in ("angle", "norm", "distance"):
                columns[before + name] = getattr(self, before + name).flatten().numpy()
        none = torch.full((n, 1), torch.nan, dtype=torch.float32)
        for name in ("attention", "mlp"):
            columns[name] = torch.cat([none, getattr(self, name)], dim=1).flatten().numpy()
        for name in ("write_kl", "state_kl"):
            for i, run in enumerate(RUNS):
                for j, goal in enumerate(GOALS):
                    values = getattr(self, name)[:, i, j]
                    columns[f"{name}_{goal}_{run}"] = values.flatten().numpy()
        for j, name in enumerate(("kl_a_b", "kl_b_a")):
            columns[name] = self.kl[:, j].repeat_interleave(n_depths).numpy()
        return pd.DataFrame(columns)

    def plot(self) -> "Figure":
        """Distances, angles and norms by depth, and whose prediction comes out of swapped runs."""
        from lensdepth.parting.figures import side_by_side

        return side_by_side(self)
