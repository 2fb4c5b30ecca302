"""Commitment: the first depth from which on the lens's first choice is the final answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.lens.profile import LensProfile
from lensdepth.storage import Result
from lensdepth.units import Grouping, Units, count, given_units

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Commitment(Result):
    """Where each prompt's answer is settled; depth L at the latest, where the lens is the model."""

    depths: Float[Tensor, " unit"]
    """First depth from which on the first choice is the final one, for each prompt."""
    n_layers: int
    location: float
    """Median over prompts."""
    low: float
    high: float
    mean: float
    units: Units
    """Which prompts go together."""

    @property
    def n_units(self) -> int:
        """Independent prompts."""
        return count(self.units, len(self.depths))

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt."""
        import pandas as pd

        at = self.depths.numpy()
        return pd.DataFrame(
            {"unit": np.arange(len(at)), "depth": at, "relative_depth": at / self.n_layers}
        )

    def plot(self) -> "Figure":
        """Share of the prompts that are settled by depth, and the interval of the median."""
        from lensdepth import plotting
        from lensdepth.telling.curves import Curve

        settled = self.depths[:, None] <= torch.arange(self.n_layers + 1)
        known = not np.isnan(self.low)
        return plotting.depth_figure(
            [Curve.of("settled", settled.float(), role="agree", units=self.units)],
            n_layers=self.n_layers,
            title="Where the lens's first choice is settled",
            y_title="share of prompts whose first choice is final from there on",
            y_range=(-0.03, 1.03),
            zone=(self.low, self.location, self.high) if known else None,
        )


@checked
def find_commitment(
    profile: LensProfile | Float[Tensor, "unit depth"],
    *,
    units: Sequence[Grouping | Sequence[str | int]] | None = None,
) -> Commitment:
    """The depth at which each prompt's answer is settled, and their median with its interval.

    Args:
        profile: a lens profile (the last position read counts), or whether the first choice is
            the final one, 0 or 1, `[unit, depth]`, the last column 1.
        units: which prompts go together and are not independent: groupings, each a label per
            prompt. None: those of the profile's task, and of bare values each by itself.
    Raises:
        ValueError: values other than 0 and 1, or a prompt whose last depth is not its own answer.
    """
    agrees = profile.top1_agreement[:, :, -1].T if isinstance(profile, LensProfile) else profile
    agrees = agrees.detach().cpu()
    if not agrees.numel():
        raise ValueError(
            f"find_commitment: needs a prompt and a depth at least, got {list(agrees.shape)}."
        )
    if not ((agrees == 0) | (agrees == 1)).all() or not (agrees[:, -1] == 1).all():
        raise ValueError(
            "find_commitment: values must be 0 or 1, and 1 at the last depth, where the lens is "
            "the model itself."
        )
    first = standing_from(agrees).double()
    grouped = given_units(units, len(first), caller="find_commitment")
    if units is None and isinstance(profile, LensProfile):
        grouped = profile.provenance.units
    middle = stats.median_interval(first.numpy(), units=grouped)
    return Commitment(
        depths=first.to(torch.float32),
        n_layers=agrees.shape[1] - 1,
        location=middle.value,
        low=middle.low,
        high=middle.high,
        mean=float(first.mean()),
        units=grouped,
    )


def standing_from(agrees: Float[Tensor, "unit depth"]) -> Float[Tensor, " unit"]:
    """First depth from which on values of 0 and 1 are 1 to the end; one beyond the last depth
    where they are not at the last."""
    # Counted from the end: how long the unbroken run of agreement is.
    run = agrees.flip(1).cumprod(1).sum(1)
    return agrees.shape[1] - run
