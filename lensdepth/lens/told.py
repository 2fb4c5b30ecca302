"""What a lens says: its curves over depth, its summary and its sentences."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lensdepth.provenance import Provenance
from lensdepth.telling.curves import Curve, estimate, mean_curve, share_at
from lensdepth.telling.depths import at_depth
from lensdepth.telling.numbers import Interval, percent
from lensdepth.telling.plain import Json

if TYPE_CHECKING:
    from lensdepth.lens.profile import LensProfile


@dataclass(frozen=True, kw_only=True)
class ReadingWords:
    """One reading of a lens, as curves, titles and sentences know it."""

    name: str
    unit: str
    role: str
    """Colour of its curve."""
    subject: str
    """What rises or falls, in a sentence; `{lens}` is which lens, as `lens_name` says it."""

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}"


MEASURES: dict[str, ReadingWords] = {
    key: ReadingWords(name=name, unit=unit, role=role, subject=subject)
    for key, name, unit, role, subject in (
        ("contrast", "contrast of the answers", "probability", "lens",
         "The contrast of the answers in the {lens}"),
        ("logit_diff", "logit difference", "nats", "full",
         "The {lens}'s logit difference between target and foil"),
        ("preferred", "target preferred", "share", "prediction",
         "The share of prompts on which the {lens} prefers the target to the foil"),
        ("answer_agreement", "first among the answers", "share", "direction",
         "The share of prompts whose first answer in the {lens} is the final one"),
        ("answer_kl", "KL among the answers", "nats", "norm",
         "The divergence of the {lens} from the final distribution over the answers"),
        ("answer_entropy", "entropy among the answers", "nats", "entropy",
         "The {lens}'s entropy over the answers"),
        ("kl", "KL(final ‖ lens)", "nats", "lens",
         "The divergence of the {lens} from the final distribution"),
        ("entropy", "entropy", "nats", "entropy", "The {lens}'s entropy"),
        ("top1_agreement", "top-1 agreement", "share", "agree",
         "The share of prompts on which the {lens}'s first choice is the final one"),
        ("target_log_prob", "log p(target)", "nats", "prediction",
         "The {lens}'s log-probability of the target"),
        ("foil_log_prob", "log p(foil)", "nats", "input",
         "The {lens}'s log-probability of the foil"),
    )
}  # fmt: skip
"""Reading of a profile -> how it is told."""
SUMMARY = ("kl", "entropy", "top1_agreement")
"""Readings over all tokens."""
CHIEF = (
    "contrast", "logit_diff", "answer_agreement", "kl", "entropy", "top1_agreement",
    "target_log_prob",
)  # fmt: skip
"""What fits side by side in a terminal."""
AMONG_ANSWERS = ("contrast", "logit_diff", "preferred", "answer_agreement", "answer_kl")
"""What is summarised besides where there are answers."""


def lens_name(provenance: Provenance | None) -> str:
    """Which lens was read: "logit lens", or by the kind of the maps in front of the readout."""
    settings = {} if provenance is None else provenance.settings
    maps = settings.get("translators")
    return f"{maps['kind'] if maps else 'logit'} lens"


def curves(profile: "LensProfile", keys: tuple[str, ...] = tuple(MEASURES)) -> list[Curve]:
    """How the answers fare by depth, where there are any; divergence, entropy and agreement.

    Means over each prompt's positions, with bands over prompts.
    """
    there = profile.readings
    return [
        Curve.of(
            MEASURES[key].name,
            profile.reading(key),
            key=key,
            unit=MEASURES[key].unit,
            role=MEASURES[key].role,
            units=profile.provenance.units,
        )
        for key in keys
        if key in there
    ]


def summary(profile: "LensProfile") -> Json:
    """Means by depth 0 ... n_layers."""
    there = profile.readings
    return {
        key: mean_curve(profile.reading(key)) for key in (*SUMMARY, *AMONG_ANSWERS) if key in there
    }


def sentences(profile: "LensProfile", *verdicts: str) -> list[str]:
    """How often the lens's top token is final.

    Args:
        profile: of some prompts.
        verdicts: sentences on where it switches, which go in front.
    """
    n_layers = profile.n_layers
    agreement = profile.reading("top1_agreement")
    first = share_at(agreement, 0, profile.provenance.units)
    majority = _first_at_least(agreement, 0.5)
    text = f"At the embedding the lens's most likely token is the final one for {first.percent}"
    if majority == 0:
        text += " of the prompts: so much follows from the last token alone."
    elif majority == n_layers:
        text += " of the prompts; at no depth before the last is it so for half of them."
    else:
        then = share_at(agreement, majority, profile.provenance.units)
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


def on_right(profile: "LensProfile") -> str | None:
    """Of how many clean prompts the target is the first choice: a finding where pairs were not kept
    for it, and else no estimate of anything."""
    right = accuracy(profile)
    if right is None:
        return None
    if profile.provenance.pairs.get("keep") == "correct":
        return f"{percent(right.value)} of the clean prompts (pairs were kept for that)"
    return f"{right.percent} of the clean prompts"


def _first_at_least(values: Float[Tensor, "unit depth"], level: float) -> int:
    """First depth whose mean over units reaches the level; the last one if none does."""
    reached = np.flatnonzero(values.nanmean(0).numpy() >= level)
    return int(reached[0]) if len(reached) else values.shape[1] - 1
