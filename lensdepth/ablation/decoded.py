"""What linear readers found in each part of a state, by label, part and depth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import stats
from lensdepth.ablation.probes import Kind
from lensdepth.ablation.quantities import ReadPosition
from lensdepth.arguments import checked, say_arrays_go
from lensdepth.coordinates import CoordinateName
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

PARTS = ("norm", "direction", "state")
SCORES = ("score", "low", "high", "null_mean", "null_high", "p")


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class DecodingProfile(ModelResult):
    """How well each part tells each label, by depth; intervals are over prompts."""

    MADE_BY: ClassVar[str] = "decode_parts(model, task)"
    """The call that makes one."""

    provenance: Provenance
    position: ReadPosition
    coordinates: CoordinateName
    """In which direction and norm were taken."""
    depths: Int[Tensor, " depth"]
    parts: tuple[str, ...]
    """`norm`, one number; `direction`, a unit vector; `state`, both together."""
    labels: tuple[str, ...]
    kinds: tuple[Kind, ...]
    """Each label's: a `class` is scored by balanced accuracy, a `number` by R²."""
    n_classes: tuple[int, ...]
    """0 for a number."""
    n_samples: tuple[int, ...]
    """States that each label was decoded from; equal ones count once."""
    skipped: dict[str, str]
    """Labels that were not decoded, each with the reason."""
    score: Float[Tensor, "label part depth"]
    """Out of fold: mean over classes of the share found, or 1 - squared error over that of the
    training fold's mean, which may be negative. A reader may be
    misled below chance: where an answer follows from two labels and each pair of these comes once,
    the held-out answer is the one that no training prompt with either label has."""
    low: Float[Tensor, "label part depth"]
    high: Float[Tensor, "label part depth"]
    """95 % interval from resampling prompts among the predictions; readers are not fitted anew."""
    null_mean: Float[Tensor, "label part depth"]
    """Mean score for permuted labels."""
    null_high: Float[Tensor, "label part depth"]
    """95 % of the scores for permuted labels are below it."""
    p: Float[Tensor, "label part depth"]
    """Permutation p-value, one-sided, not corrected."""
    difference_low: Float[Tensor, "label depth"]
    difference_high: Float[Tensor, "label depth"]
    """95 % interval of `difference`, from the same resamples for both parts."""

    @property
    def chance(self) -> Float[Tensor, " label"]:
        """Score of a reader that knows nothing: one in the number of classes, or 0."""
        return torch.tensor([1 / n if n else 0.0 for n in self.n_classes], dtype=torch.float32)

    @property
    def difference(self) -> Float[Tensor, "label depth"]:
        """Score of the norm less that of the direction."""
        return (
            self.score[:, self.parts.index("norm")] - self.score[:, self.parts.index("direction")]
        )

    @property
    def p_holm(self) -> Float[Tensor, "label part depth"]:
        """p by Holm's correction over the parts and depths of each label."""
        rows = [stats.holm(p.double().flatten().numpy()) for p in self.p]
        return torch.tensor(np.array(rows), dtype=torch.float32).view(self.p.shape)

    def of(
        self,
        quantity: str | None = None,
        part: str | None = None,
        values: Float[Tensor, "label part depth"] | None = None,
        *,
        label: str | None = None,
    ) -> Float[Tensor, " depth"]:
        """One quantity by depth: `of("low", label="beta", part="norm")`.

        Args:
            quantity: one of SCORES, or `"p_holm"`; the score by default.
            part: one of `parts`; None stands for the first.
            values: until 0.3, an array behind a label and a part: `of("beta", "norm", profile.p)`.
            label: one of `labels`; None stands for the first.
        Raises:
            ValueError: there is no such quantity, or that label or part was not decoded.
        """
        if values is not None:
            say_arrays_go("DecodingProfile")
            label = quantity if label is None else label
            numbers = values
        elif quantity is None or quantity in (*SCORES, "p_holm"):
            numbers = getattr(self, quantity or "score")
        else:
            raise ValueError(
                f"DecodingProfile: quantity must be one of {', '.join(SCORES)}, p_holm, "
                f"got {quantity!r}."
            )
        label, part = label or self.labels[0], part or self.parts[0]
        if label not in self.labels or part not in self.parts:
            why = f" ({self.skipped[label]})" if label in self.skipped else ""
            raise ValueError(
                f"DecodingProfile: {label!r} was not decoded from {part!r}{why}; labels are "
                f"{', '.join(self.labels)}, parts {', '.join(self.parts)}."
            )
        return numbers[self.labels.index(label), self.parts.index(part)]

    def to_frame(self) -> "pd.DataFrame":
        """One row a label, part and depth."""
        import pandas as pd

        label, part, depth = (
            axis.flatten().tolist()
            for axis in torch.meshgrid(*map(torch.arange, self.score.shape), indexing="ij")
        )
        depths = self.depths[depth]
        return pd.DataFrame(
            {
                "position": self.position,
                "label": [self.labels[i] for i in label],
                "kind": [self.kinds[i] for i in label],
                "part": [self.parts[i] for i in part],
                "depth": depths.numpy(),
                "relative_depth": (depths / self.n_layers).numpy(),
                "chance": self.chance[label].numpy(),
                **{name: getattr(self, name).flatten().numpy() for name in (*SCORES, "p_holm")},
            }
        )

    def plot(self) -> "Figure":
        """A panel a label: each part's score by depth, and where permuted labels stay below.

        The dashed line is the highest of the three parts' 95 % lines.
        """
        from lensdepth import plotting
        from lensdepth.ablation.decoding_told import PERMUTED, UNITS, part_curve
        from lensdepth.tasks.meanings import label_name
        from lensdepth.telling.curves import Curve
        from lensdepth.telling.names import edit_name, position_name

        panels = []
        for i, (label, kind) in enumerate(zip(self.labels, self.kinds, strict=True)):
            curves = [
                part_curve(self, label, part, name=edit_name(part))
                for part in ("state", "direction", "norm")
            ]
            curves.append(
                Curve.from_interval(
                    PERMUTED,
                    self.null_high[i].amax(0).numpy(),
                    role="control",
                    control=True,
                    depths=self.depths.numpy(),
                )
            )
            title = f"{label_name(label, self.provenance.task)}, {UNITS[kind]}"
            panels.append(plotting.Panel(title=title, curves=curves))
        return plotting.depth_story(
            panels,
            n_layers=self.n_layers,
            title=f"What each part of the state tells, {position_name(str(self.position))}",
        )
