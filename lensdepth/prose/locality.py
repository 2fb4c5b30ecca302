"""What single blocks do against what all do together."""

from lensdepth.arguments import checked
from lensdepth.locality import LocalityProfile
from lensdepth.prose.wording import Estimate, estimate
from lensdepth.stats import Interval


@checked
def locality_sentences(profile: LocalityProfile) -> list[str]:
    """The whole, the best single block, how effects add up, and what later blocks make of it."""
    best = profile.best_depth
    alone = _written(profile.sufficiency()).percent
    return [
        f"The attention of all {len(profile.depths)} blocks at the last token together moves the "
        f"logit difference by {estimate(profile.whole)} nats; the best single one, block {best}, "
        f"reaches {alone} of that. {_adding_up(profile)}",
        _direct(profile, best),
    ]


def _written(found: Interval) -> Estimate:
    return Estimate(mean=found.value, low=found.low, high=found.high)


def _adding_up(profile: LocalityProfile) -> str:
    gap = estimate(profile.gap)
    if not gap.known or gap.low <= 0 <= gap.high:
        return f"Single effects add up to the whole as far as can be told (gap {gap} nats)."
    if gap.mean > 0:
        return (
            f"Single effects add up to less than the whole, by {gap} nats: blocks work together "
            f"(synergy)."
        )
    return (
        f"Single effects add up to more than the whole, by {_written_minus(gap)} nats: blocks do "
        f"the same work again (redundancy)."
    )


def _written_minus(found: Estimate) -> Estimate:
    return Estimate(mean=-found.mean, low=-found.high, high=-found.low)


def _direct(profile: LocalityProfile, best: int) -> str:
    if profile.direct is None or profile.total is None:
        return "What of it goes straight into the readout is not known here."
    at = profile.depths.tolist().index(best)
    direct, total = estimate(profile.direct[:, at]), estimate(profile.total[:, at])
    return (
        f"Of block {best}'s effect of {total} nats, {direct} is what it writes straight into the "
        f"readout; the rest is made by the blocks after it and by the final norm's scale."
    )
