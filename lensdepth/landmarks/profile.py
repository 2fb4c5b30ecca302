"""What `find_landmarks` gives: curves, landmarks, and their order with the causal switch."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.landmark import Landmark

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks(ModelResult):
    """Landmarks of geometry and lens beside the depth where control passes, of the same pairs."""

    MADE_BY: ClassVar[str] = "find_landmarks(model, task)"
    """The call that makes one."""

    provenance: Provenance
    crossing: Crossing
    """Where control passes from the input position to the prediction position."""
    landmarks: tuple[Landmark, ...]
    value: Float[Tensor, "landmark depth"]
    """The curve of each landmark at depths 0 ... L, in its own unit; what a block does stands at
    the depth after it. NaN where it is not defined."""
    low: Float[Tensor, "landmark depth"]
    high: Float[Tensor, "landmark depth"]
    """95 % interval over units."""
    read_dims: int
    """Directions of the unembedding that alignment is with; 0 where logits come from no plain
    matrix, and then there is no alignment."""
    read_share: float
    """Share of the squared distances that a random space of as many dimensions holds."""
    twin: tuple[tuple[str, str], ...]
    """By landmark, the verdict in an untrained twin on its own answers; () where none was asked."""
    twin_note: str
    """Why there is no twin, where one was asked for."""

    def of(self, name: str) -> Landmark:
        """One landmark.

        Raises:
            ValueError: there is none of that name.
        """
        for one in self.landmarks:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.landmarks)
        raise ValueError(f"Landmarks.of: there is no landmark {name!r}; there are {known}.")

    def to_frame(self) -> "pd.DataFrame":
        """One row a landmark: where it is, how far from the switch, and the verdict."""
        import pandas as pd

        frame = pd.DataFrame([asdict(one) for one in self.landmarks])
        frame = frame.rename(columns={"name": "landmark"})
        frame.insert(4, "relative_depth", frame["depth"] / self.n_layers)
        frame["switch"] = self.crossing.depth
        return frame.assign(n_pairs=self.crossing.n_pairs, n_units=self.crossing.n_units)

    def plot(self) -> "Figure":
        """The curves over depth, with the interval of the switch behind them."""
        from lensdepth.landmarks.told import curve_panels

        return curve_panels(self)

    def plot_order(self) -> "Figure":
        """How far each landmark lies from the switch, with its interval, beside none."""
        from lensdepth.landmarks.told import order_figure

        return order_figure(self)
