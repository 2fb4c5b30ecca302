"""Single places against all of them: curves over depth, summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.names import has_blocks
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.locality.profile import LocalityProfile


def curves(profile: "LocalityProfile") -> list[Curve]:
    """What each place does alone, what is lost without it, what it writes itself."""
    drawn = [
        ("local", "local effect", profile.local, "prediction"),
        ("necessity", "lost when left out", profile.necessity, "input"),
        ("direct", "direct effect", profile.direct, "direction"),
    ]
    return [
        Curve.of(
            name,
            values,
            key=key,
            role=role,
            depths=profile.depths.numpy() + has_blocks(profile.stream),
            dashed=key == "direct",
            floor=profile.floor,
        )
        for key, name, values, role in drawn
        if values is not None
    ]


def summary(profile: "LocalityProfile") -> Json:
    """The comparison of single places with all, each number with its interval.

    Depths are depths, also where what is edited are blocks; these have their numbers beside them.
    """
    found = dict(profile.summary())
    if has_blocks(profile.stream):
        found |= {"layers": found["window"], "best_layer": found["best_depth"]}
        found["window"] = (profile.depths + 1).tolist()
        found["best_depth"] = profile.best_depth + 1
    curves = {"local": mean_curve(profile.local), "necessity": mean_curve(profile.necessity)}
    return to_json(found | curves)


def sentences(profile: "LocalityProfile") -> list[str]:
    """The whole, the best single block, how effects add up, and what later blocks make of it."""
    best = profile.best_depth
    alone = profile.sufficiency().percent
    return [
        f"The attention of all {len(profile.depths)} blocks at the last token together moves the "
        f"logit difference by {estimate(profile.whole, floor=profile.floor)} nats; the best single "
        f"one, block {best}, reaches {alone} of that. {_adding_up(profile)}",
        _direct(profile, best),
    ]


def _adding_up(profile: "LocalityProfile") -> str:
    gap = estimate(profile.gap, floor=profile.floor)
    if not gap.known or gap.low <= 0 <= gap.high:
        return f"Single effects add up to the whole as far as can be told (gap {gap} nats)."
    if gap.value > 0:
        return (
            f"Single effects add up to less than the whole, by {gap} nats: blocks work together "
            f"(synergy)."
        )
    return (
        f"Single effects add up to more than the whole, by {-gap} nats: blocks do "
        f"the same work again (redundancy)."
    )


def _direct(profile: "LocalityProfile", best: int) -> str:
    if profile.direct is None or profile.total is None:
        return "What of it goes straight into the readout is not known here."
    at = profile.depths.tolist().index(best)
    direct, total = (
        estimate(values[:, at], floor=profile.floor) for values in (profile.direct, profile.total)
    )
    return (
        f"Of block {best}'s effect of {total} nats, {direct} is what it writes straight into the "
        f"readout; the rest is made by the blocks after it and by the final norm's scale."
    )
