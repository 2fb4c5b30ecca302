"""Single places against all of them: curves over depth, summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.telling.curves import Curve, estimate, mean_curve
from lensdepth.telling.names import at_position, has_blocks, in_unit, moved_name, stream_name
from lensdepth.telling.numbers import Interval, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.locality.profile import LocalityProfile

SAME = 1e-4
"""Share of the way within which two runs are the same up to rounding."""


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
            units=profile.provenance.units,
            depths=profile.depths.numpy() + has_blocks(profile.stream),
            dashed=key == "direct",
            floor=profile.floor,
        )
        for key, name, values, role in drawn
        if values is not None
    ]


def numbers(profile: "LocalityProfile") -> dict[str, object]:
    """The comparison in numbers, each with its interval; places as `depths` counts them."""
    best, units = profile.best_depth, profile.provenance.units
    return {
        "window": profile.depths.tolist(),
        "whole": estimate(profile.whole, units, floor=profile.floor),
        "gap": estimate(profile.gap, units, floor=profile.floor),
        "best_depth": best,
        "sufficiency": profile.sufficiency(),
        "undone_at_best": profile.undone(best),
        "undone_by_norm_at_best": profile.undone_by_norm(best),
    }


def summary(profile: "LocalityProfile") -> Json:
    """The comparison of single places with all, each number with its interval.

    Depths are depths, also where what is edited are blocks; these have their numbers beside them.
    """
    found = numbers(profile)
    if has_blocks(profile.stream):
        found |= {"layers": found["window"], "best_layer": found["best_depth"]}
        found["window"] = (profile.depths + 1).tolist()
        found["best_depth"] = profile.best_depth + 1
    curves = {"local": mean_curve(profile.local), "necessity": mean_curve(profile.necessity)}
    return to_json(found | curves)


def sentences(profile: "LocalityProfile") -> list[str]:
    """The whole, the best single block, how effects add up, and what later blocks make of it."""
    best = profile.best_depth
    whole = estimate(profile.whole, profile.provenance.units, floor=profile.floor)
    alone = profile.sufficiency().percent
    n, places = len(profile.depths), "blocks" if has_blocks(profile.stream) else "depths"
    return [
        f"The {_edited(profile.stream)} of all {n} {places} {_place(profile.position)} "
        f"together moves {moved_name(profile.metric)} by {whole}{in_unit(profile.metric)}"
        f"{_whole_way(profile)}; the best single one, {places[:-1]} {best}, reaches {alone} of "
        f"that. {_adding_up(profile)}",
        _direct(profile, best),
    ]


def description(profile: "LocalityProfile") -> str:
    """Every number of `numbers` in words, the metric by the name it was asked for."""
    found, best = numbers(profile), profile.best_depth
    place = f"{'block' if has_blocks(profile.stream) else 'depth'} {best}"
    kind = {
        1: "the depths work together (synergy)",
        -1: "the depths do the same work again (redundancy)",
        0: "neither synergy nor redundancy is seen",
    }[_sign(estimate(profile.gap, profile.provenance.units, floor=profile.floor))]
    if profile.holds_last_state:
        kind = (
            f"depth {profile.n_layers} is among them, whose state is what is read, so that this "
            f"is arithmetic; leave it out"
        )
    said = [
        f"All {len(profile.depths)} depths together change {profile.metric} by {found['whole']}.",
        f"The best single one, {place}, reaches {found['sufficiency']} of that.",
        f"The whole less the sum of its parts is {found['gap']}: {kind}.",
    ]
    undone, by_norm = found["undone_at_best"], found["undone_by_norm_at_best"]
    if undone is not None and by_norm is not None:
        said.append(
            f"Of the edit's direct effect at {place}, what comes after undoes a share of {undone} "
            f"(negative: it adds to it), the scale of the final norm {by_norm} of that."
        )
    return " ".join(said)


def _edited(stream: str) -> str:
    return "attention" if stream == "attn_out" else stream_name(stream)


def _place(position: str) -> str:
    return "at the last token" if position == "prediction" else at_position(position)


def _whole_way(profile: "LocalityProfile") -> str:
    """Where all places together give the source run itself, which is no finding."""
    way = (profile.source_value - profile.base_value).double()
    off = (profile.whole.double() - way).abs().max()
    sums = profile.stream in ("attn_out", "resid_pre")
    if not sums or profile.position != "prediction" or not off <= SAME * way.abs().max():
        return ""
    return " (all the way to the source run: by construction, where both prompts end alike)"


def _adding_up(profile: "LocalityProfile") -> str:
    if profile.holds_last_state:
        return (
            f"Depth {profile.n_layers} is among them, whose state is what is read, so that how "
            f"single effects add up is arithmetic: leave it out."
        )
    units = profile.provenance.units
    gap, unit = estimate(profile.gap, units, floor=profile.floor), in_unit(profile.metric)
    sign = _sign(gap)
    if sign == 0:
        return f"Single effects add up to the whole as far as can be told (gap {gap}{unit})."
    whole = abs(estimate(profile.whole, units).value)
    share = f", {percent(abs(gap.value) / whole)} of it" if whole > 0 else ""
    if sign > 0:
        return (
            f"Single effects add up to less than the whole, by {gap}{unit}{share}: "
            f"together they do more than one by one (synergy), through one another or through the "
            f"final norm."
        )
    return (
        f"Single effects add up to more than the whole, by {-gap}{unit}{share}: some "
        f"of what they do one by one is done twice (redundancy), or is less where the final norm "
        f"divides by more."
    )


def _sign(gap: Interval) -> int:
    """1 for synergy, -1 for redundancy, 0 where neither can be told."""
    if not gap.known or gap.low <= 0 <= gap.high:
        return 0
    return 1 if gap.value > 0 else -1


def _direct(profile: "LocalityProfile", best: int) -> str:
    if profile.direct is None or profile.total is None:
        return "What of it goes straight into the readout is not known here."
    at, same = profile.depths.tolist().index(best), profile.metric == "logit_diff"
    direct, total = (
        estimate(values[:, at], profile.provenance.units, floor=profile.floor if same else 0.0)
        for values in (profile.direct, profile.total)
    )
    whose = f"{'block' if has_blocks(profile.stream) else 'depth'} {best}'s"
    return (
        f"Of {whose} effect of {total} nats{'' if same else ' on the logit difference'}, {direct} "
        f"is what it writes straight into the readout; the rest is made by what comes after it and "
        f"by the final norm's scale."
    )
