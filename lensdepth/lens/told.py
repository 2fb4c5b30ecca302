"""What a lens says: its curves over depth, its summary and its sentences."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.depths import at_depth
from lensdepth.telling.numbers import Interval
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.lens.profile import LensProfile

MEASURES = {
    "kl": ("KL(final ‖ lens)", "nats", "lens"),
    "entropy": ("entropy", "nats", "entropy"),
    "top1_agreement": ("top-1 agreement", "share", "agree"),
    "target_log_prob": ("log p(target)", "nats", "prediction"),
    "foil_log_prob": ("log p(foil)", "nats", "input"),
}
"""Array of a profile -> name, unit and colour of its curve."""
SUMMARY = ("kl", "entropy", "top1_agreement")


def curves(profile: "LensProfile") -> list[Curve]:
    """Divergence, entropy and agreement by depth, and how the answers fare."""
    return curves_of(profile, MEASURES)


def curves_of(profile: "LensProfile", keys: Iterable[str]) -> list[Curve]:
    """Some of these: means over each prompt's positions, with bands over prompts."""
    found = []
    for key in keys:
        name, unit, role = MEASURES[key]
        values = getattr(profile, key)
        if values is not None:
            by_depth = profile.mean_by_depth(values)
            found.append(
                Curve.of(
                    name, by_depth, key=key, unit=unit, role=role, units=profile.provenance.units
                )
            )
    return found


def summary(profile: "LensProfile") -> Json:
    """Means by depth 0 ... n_layers."""
    return {key: mean_curve(profile.mean_by_depth(getattr(profile, key))) for key in SUMMARY}


def sentences(profile: "LensProfile", *verdicts: str) -> list[str]:
    """How often the lens's top token is final.

    Args:
        profile: of some prompts.
        verdicts: sentences on where it switches, which go in front.
    """
    n_layers = profile.n_layers
    agreement = profile.mean_by_depth(profile.top1_agreement)
    first = estimate(agreement[:, 0], units=profile.provenance.units, share=True)
    majority = _first_at_least(agreement, 0.5)
    text = f"At the embedding the lens's most likely token is the final one for {first.percent}"
    if majority == 0:
        text += " of the prompts: so much follows from the last token alone."
    elif majority == n_layers:
        text += " of the prompts; at no depth before the last is it so for half of them."
    else:
        then = estimate(agreement[:, majority], units=profile.provenance.units, share=True)
        text += (
            f" of the prompts; {at_depth(majority, n_layers)} is the first depth where it is for "
            f"half of them or more, {then.percent}."
        )
    return [*verdicts, text]


def accuracy(profile: "LensProfile") -> Interval | None:
    """Share of the prompts whose target is the model's own most likely answer."""
    if profile.target_rank is None:
        return None
    return estimate(
        (profile.target_rank[-1] == 0).float().mean(-1), units=profile.provenance.units, share=True
    )


def _first_at_least(values: Float[Tensor, "unit depth"], level: float) -> int:
    """First depth whose mean over units reaches the level; the last one if none does."""
    reached = np.flatnonzero(values.nanmean(0).numpy() >= level)
    return int(reached[0]) if len(reached) else values.shape[1] - 1
