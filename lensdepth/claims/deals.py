"""Numbers that depend on how prompts were dealt into groups: averaged over many deals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lensdepth.claims.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Number:
    """An estimate, and how far it moves with the deal."""

    found: Estimate
    deals: tuple[float, float] | None = None
    """Smallest and largest value over the deals; None where no deal has a say."""
    note: str = ""
    """What was chosen for it on other prompts, in words."""


def over_deals(every: Sequence[Estimate | None]) -> Number | None:
    """The mean over deals, one estimate each; None where half of them or more have no number.

    The deals are of the same pairs, so that averaging takes nothing of the sampling error: the mean
    variance stays, and that of the mean over deals comes on top.
    """
    found = [e for e in every if e is not None and not (np.isnan(e.value) or np.isnan(e.se))]
    if 2 * len(found) <= len(every):
        return None
    values = np.array([e.value for e in found])
    between = float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
    se = float(np.sqrt(np.mean([e.se**2 for e in found]) + between))
    mean = replace(found[0], value=float(values.mean()), se=se)
    return Number(found=mean, deals=(float(values.min()), float(values.max())))
