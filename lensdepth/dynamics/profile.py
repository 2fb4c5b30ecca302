"""A training, checkpoint by checkpoint: the result, its table and its figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.dynamics.course import Appearance, Course
from lensdepth.dynamics.moment import Moment
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

INTERVALS = ("right", "depth", "width", "lens_depth", "lens_width", "coupling")
"""Numbers of a moment that have an interval."""
PLAIN = (
    "kind", "reason", "preferred", "n_right", "n_units", "leaves", "arrives", "lens",
)  # fmt: skip
"""Its other columns."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingDynamics(ModelResult):
    """Where control passes at each checkpoint, and when in training there is such a place."""

    MADE_BY: ClassVar[str] = "training_dynamics(checkpoints, task)"
    """The call that makes one."""

    provenance: Provenance
    """Of the prompts, and of the last checkpoint."""
    moments: tuple[Moment, ...]
    """The checkpoints by step."""
    places: Float[Tensor, "pair checkpoint"]
    """Depth at which each pair hands over by itself; NaN where the checkpoint does not answer it,
    or it does not hand over at one place."""
    appears: Appearance
    """From which step on there is a place where control passes."""
    course: Course
    """How that place moves."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Of the checkpoints."""
        return tuple(one.step for one in self.moments)

    def at(self, step: int) -> Moment:
        """The checkpoint of a step.

        Raises:
            ValueError: there is none.
        """
        for one in self.moments:
            if one.step == step:
                return one
        known = ", ".join(map(str, self.steps))
        raise ValueError(f"TrainingDynamics: no checkpoint is of step {step}; there are {known}.")

    def to_frame(self) -> "pd.DataFrame":
        """One row a checkpoint."""
        import pandas as pd

        rows = []
        for one in self.moments:
            row: dict[str, object] = {
                "step": one.step, "model": one.model.name, "fingerprint": one.model.fingerprint,
            }  # fmt: skip
            row |= {name: getattr(one, name) for name in PLAIN}
            for name in INTERVALS:
                found = getattr(one, name)
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
                if name == "depth":
                    row["relative_depth"] = one.relative.value
            rows.append(row | {f"claim_{claim}": found for claim, found in one.claims.items()})
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Relative depth and the share of right answers over the logarithm of the step."""
        from lensdepth.dynamics.figures import over_training

        return over_training(self)
