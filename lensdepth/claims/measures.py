"""The number behind each statement."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.ablation.profile import AblationProfile
from lensdepth.claims.context import context_labels, last_tokens
from lensdepth.claims.coupling import coupled_over_deals
from lensdepth.claims.deals import Number, over_deals
from lensdepth.claims.estimate import Estimate, estimate, ratio
from lensdepth.claims.gradual import (
    LEAST_HANDOVER,
    before_last,
    change_width,
    handover,
    middles,
    participation,
    widths,
)
from lensdepth.claims.grounds import Grounds
from lensdepth.claims.medians import median
from lensdepth.claims.norms import (
    PERCENTILE,
    chosen_for,
    norm_tells_context,
    projections,
    shares_told,
    within,
)
from lensdepth.claims.zones import Zones, at_all_depths, chosen_on_others, mean_over
from lensdepth.steering.labels import by_pair
from lensdepth.tasks.meanings import label_name
from lensdepth.telling.numbers import percent
from lensdepth.transition.crossing import find_steering_crossing
from lensdepth.units import clean_only

LEAST_WINDOW = 0.1
"""Share of the whole difference that all blocks together must transfer, to be taken apart."""


class Unmeasured(Exception):
    """A statement has no number here; the message is why."""


class Nothing(Unmeasured):
    """There is nothing there that the statement could be about: it was looked for."""


def measure(key: str, grounds: Grounds) -> Number:
    """The estimate of a statement, and how it moves with the deal where that has a say.

    Raises:
        Unmeasured: with the reason.
    """
    claim, word = key.split(" ", 1)
    found = _BY_CLAIM[claim](grounds, word)
    number = found if isinstance(found, Number) else Number(found=found)
    if np.isnan(number.found.value) or np.isnan(number.found.se):
        raise Unmeasured("too few pairs have a number here")
    return number


def _need(grounds: Grounds, *names: str) -> None:
    for name in names:
        if getattr(grounds, name) is None:
            raise Unmeasured(grounds.absent[name])


def _mean(grounds: Grounds, values: Float[Array, " pair"]) -> Estimate:
    return estimate(values, grounds.units)


def _zones(grounds: Grounds) -> Zones:
    _need(grounds, "patch", "zones")
    assert grounds.zones is not None
    return grounds.zones


def handover_curve(grounds: Grounds) -> Float[Array, "pair depth"]:
    """Half of 1 + success at the prediction position - success at the input position."""
    assert grounds.patch is not None
    return handover(grounds.patch, "success")


def _handing(grounds: Grounds) -> Bool[Array, "pair 1"]:
    """The pairs in which control can pass from the input to the prediction position."""
    if grounds.task.no_handover:
        raise Unmeasured(grounds.task.no_handover)
    return grounds.task.hands_over.numpy()[:, None]


def _c1(grounds: Grounds, word: str) -> Estimate:
    zones = _zones(grounds)
    if word == "handover":
        curve = np.where(_handing(grounds), handover_curve(grounds), np.nan)
        return _mean(grounds, mean_over(curve, zones.late) - mean_over(curve, zones.early))
    own = _own_handover(grounds)
    if word == "width":
        return median(_of_depth(grounds, widths(own)), grounds.units)
    at = _of_depth(grounds, middles(own))
    return _mean(grounds, np.abs(at - np.nanmedian(at)))


def _of_depth(grounds: Grounds, fraction: Float[Array, " pair"]) -> Float[Array, " pair"]:
    """Fractions of the way to depth L - 1 as fractions of the way to depth L."""
    assert grounds.patch is not None
    n_layers = grounds.patch.n_layers
    return fraction * (n_layers - 1) / n_layers


def _own_handover(grounds: Grounds) -> Float[Array, "pair before"]:
    """Each pair's own up to depth L - 1, in transferred logit difference, where control passes in
    these pairs."""
    assert grounds.patch is not None
    handing = _handing(grounds)
    mean = np.nanmean(before_last(handover_curve(grounds))[handing[:, 0]], axis=0)
    if abs(mean[-1] - mean[0]) < LEAST_HANDOVER:
        raise Nothing(
            "control does not pass from one position to the other before the last depth in these "
            "pairs"
        )
    return before_last(np.where(handing, handover(grounds.patch, "transferred"), np.nan))


def _c2(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "steering")
    zones, steering, handing = _zones(grounds), grounds.steering, _handing(grounds)
    assert steering is not None

    def success(position: str, edit: str, where: Bool[Array, "pair depth"]) -> Array:
        found = at_all_depths(steering.efficacy(position, edit=edit, scope="local"), steering)
        if np.isnan(found).all():
            raise Unmeasured("all pairs lead to one label, so there is no vector to another")
        own = np.where(handing, by_pair(found, steering.positions, grounds.task), np.nan)
        return mean_over(own, where)

    (early_in, late_in), (early_out, late_out) = (
        [success(name, "full", zone) for zone in (zones.early, zones.late)]
        for name in ("input", "prediction")
    )
    if word == "crossing":
        crossing = find_steering_crossing(steering, scope="local", n_resamples=100)
        if crossing is not None and crossing.verdict == "gap":
            raise Nothing(
                f"the curves change places across a gap: {crossing.reason}, so that steering does "
                f"not pass from one position to the other"
            )
        leads = np.stack([early_in - early_out, late_out - late_in], axis=1)
        return estimate(leads, grounds.units, lambda mean: float(mean.min()))
    if word == "input works early":
        return _mean(grounds, early_in - success("input", "shuffled", zones.early))
    if word == "output works late":
        return _mean(grounds, late_out - success("prediction", "shuffled", zones.late))
    return _mean(grounds, early_in - late_in if word == "input stops" else late_out - early_out)


def _c3(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "patch", "geometry")
    assert grounds.geometry is not None
    handed = change_width(_own_handover(grounds))
    curves = (
        participation(grounds.geometry.states)
        if word == "dimensionality"
        else getattr(grounds.geometry, word)
    )
    return _mean(grounds, _of_depth(grounds, change_width(before_last(curves)) - handed))


def _c4(grounds: Grounds, word: str) -> Number:
    _need(grounds, "geometry")
    _zones(grounds)
    found = coupled_over_deals(
        grounds.couplings, word, grounds.task.clean, clean_only(grounds.units)
    )
    if found is None:
        raise Unmeasured("too few different prompts in a group, or predictions that do not differ")
    return found


def _c5(grounds: Grounds, word: str) -> Estimate:
    if word == "norm does nothing":
        return _norm_swap(grounds)
    if word == "norm halved or doubled":
        return _norm_scaled(grounds)
    if word == "selective":
        return _selective(grounds)
    _need(grounds, "ablation")
    zones, found = _zones(grounds), grounds.ablation
    assert found is not None
    if word == "beats random":
        own, control = (
            mean_over(_of(found, edit, "success"), zones.late)
            for edit in ("direction", "random_direction")
        )
        return _mean(grounds, own - control)
    _need(grounds, "contrasts")
    assert grounds.contrasts is not None
    turned = mean_over(_of(found, "direction", "logit_diff"), zones.late)
    stretched = _late(grounds, grounds.contrasts.change("stretched", "logit_diff"))
    whole = (found.source_logit_diff - found.base_logit_diff).double().numpy()

    def beyond(mean: Float[Array, "3"]) -> float:
        return float((mean[0] - abs(mean[1])) / mean[2])

    return estimate(np.stack([turned, stretched, whole], axis=1), grounds.units, beyond)


def _late(grounds: Grounds, values: Float[Tensor, "pair depth"]) -> Float[Array, " pair"]:
    """The mean over late depths of numbers of the contrasts."""
    assert grounds.contrasts is not None
    measured = values[:, grounds.contrasts.depths].nan_to_num(0.0)
    return mean_over(at_all_depths(measured, grounds.contrasts), _zones(grounds).late)


def _of(found: AblationProfile, edit: str, effect: str) -> Float[Array, "pair depth"]:
    return at_all_depths(
        found.effect(effect, edit=edit, scope="local", position="prediction"), found
    )


def _norm_swap(grounds: Grounds) -> Estimate:
    """What the swap moves at late depths over the whole difference, of means over pairs."""
    _need(grounds, "ablation")
    zones, found = _zones(grounds), grounds.ablation
    assert found is not None
    moved = mean_over(_of(found, "norm", "logit_diff"), zones.late)
    whole = (found.source_logit_diff - found.base_logit_diff).double().numpy()
    return _ratio(grounds, moved, whole)


def _norm_scaled(grounds: Grounds) -> Estimate:
    _need(grounds, "scaled")
    assert grounds.scaled is not None
    return _mean(grounds, mean_over(grounds.scaled, _zones(grounds).late))


def _selective(grounds: Grounds) -> Estimate:
    _need(grounds, "contrasts")
    assert grounds.contrasts is not None
    misled = grounds.contrasts.of("misled", "flip")
    alone = misled.isnan().all(1).numpy()
    if alone.all():
        raise Unmeasured("no pair has a pair of other answers beside it, to be misled by")
    turned = _late(grounds, grounds.contrasts.of("turned", "success"))
    return _mean(grounds, np.where(alone, np.nan, turned - _late(grounds, misled)))


def _c6(grounds: Grounds, word: str) -> Estimate | Number:
    if word == "norm decides nothing":
        return _norm_swap(grounds)
    if word == "halved or doubled":
        return _norm_scaled(grounds)
    if word.startswith(("entropy", "confidence")):
        _need(grounds, "contrasts")
        assert grounds.contrasts is not None
        metric = "entropy" if word.startswith("entropy") else "own_probability"
        return _mean(grounds, _late(grounds, grounds.contrasts.change(word.split()[-1], metric)))
    _need(grounds, "geometry")
    _zones(grounds)
    assert grounds.geometry is not None
    labels = context_labels(grounds.task)
    if not labels:
        raise Unmeasured(
            "the task has no context label: a label column whose values repeat, leave the answer "
            "open, and neither fix the last token nor follow from it"
        )
    last = last_tokens(grounds.task)
    norm = within(grounds.geometry.norm[..., None], last)[..., 0]
    drawn = None
    if word == "beats projections":
        states = grounds.geometry.states.double().numpy()
        drawn = within(projections(states, grounds.seed), last)

    def one(zones: Zones) -> Estimate:
        found = norm_tells_context(norm, labels, zones.group, grounds.units, zones.late)
        if drawn is None:
            return found
        shares = shares_told(drawn, labels, zones.group, zones.late)
        bar = float(np.nanpercentile(shares, PERCENTILE))
        return replace(found, value=found.value - bar)

    found = over_deals([one(zones) for zones in grounds.deals])
    if found is None:
        raise Unmeasured("too few pairs have a number here")
    chosen = [
        one for zones in grounds.deals for one in chosen_for(norm, labels, zones.group, zones.late)
    ]
    return replace(found, note=chosen_in_words(chosen, grounds.task.name))


def chosen_in_words(every: list[tuple[str, int]], task: str) -> str:
    """Which label and depth other prompts choose, over pairs and deals."""
    (label, depth), n = Counter(every).most_common(1)[0]
    depths = sorted({depth for _, depth in every})
    labels = [label_name(name, task) for name in dict.fromkeys(name for name, _ in every)]
    said = f"chosen on other prompts: the label {label_name(label, task)} at depth {depth}"
    if n == len(every):
        return said
    said += f" most often ({percent(n / len(every))})"
    among = [f"depths {depths[0]} to {depths[-1]}"] * (len(depths) > 1)
    among += [f"labels {', '.join(sorted(labels))}"] * (len(labels) > 1)
    return f"{said}, of {' and '.join(among)}"


def _c7(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "locality")
    zones, found = _zones(grounds), grounds.locality
    assert found is not None
    local, whole = found.local.double().numpy(), found.whole.double().numpy()
    difference = (found.source_value - found.base_value).double().numpy()
    if word == "through others":
        if found.direct is None or found.total is None:
            raise Unmeasured("direct effects are not known in this model")
        total = found.total if found.total_at_base_scale is None else found.total_at_base_scale
        return _through_others(
            grounds, zones, found.direct.double().numpy(), total.double().numpy(), difference
        )
    share = np.nanmean(whole) / np.nanmean(difference)
    if abs(share) < LEAST_WINDOW:
        raise Nothing(
            f"attention at the last token transfers {share:.2f} of the difference in all blocks "
            f"together, which is too little to take apart"
        )
    best = np.zeros(len(whole), dtype=int)
    for mine, chosen in chosen_on_others(zones.group):
        sign = np.sign(np.nanmean(whole[chosen]))
        best[mine] = int((sign * np.nanmean(local[chosen], axis=0)).argmax())
    rows = np.arange(len(whole))
    if word == "persistence":
        _need(grounds, "persistence")
        assert grounds.persistence is not None
        return _mean(grounds, grounds.persistence[rows, best])
    if word == "no single depth":
        return _ratio(grounds, whole - local[rows, best], whole)
    gap = whole - local.sum(1)
    sign = np.zeros(len(gap))
    for mine, chosen in chosen_on_others(zones.group):
        sign[mine] = np.sign(np.nanmean(gap[chosen]))
    return _ratio(grounds, sign * gap, np.sign(np.nanmean(whole)) * whole)


def _through_others(
    grounds: Grounds,
    zones: Zones,
    direct: Float[Array, "pair block"],
    total: Float[Array, "pair block"],
    difference: Float[Array, " pair"],
) -> Estimate:
    """What later blocks make or undo of a block's effect, over the larger of its two effects.

    Making and undoing count alike; other pairs say which of both it is, and of which block: the one
    with the largest effect, direct or total. The final norm's scale is that of the base run.
    """
    made, size = np.zeros(len(direct)), np.zeros((len(direct), 2))
    for mine, chosen in chosen_on_others(zones.group):
        means = np.stack([np.nanmean(x[chosen], axis=0) for x in (direct, total)])
        best = int(np.abs(means).max(0).argmax())
        if np.abs(means[:, best]).max() < LEAST_WINDOW * abs(np.nanmean(difference[chosen])):
            raise Nothing("no block's attention at the last token does enough to take apart")
        change = (total - direct)[:, best]
        made[mine] = np.sign(np.nanmean(change[chosen])) * change[mine]
        signs = np.sign(means[:, best])
        size[mine] = np.stack([signs[0] * direct[mine, best], signs[1] * total[mine, best]], axis=1)

    def part(mean: Float[Array, "3"]) -> float:
        return float(mean[0] / max(mean[1], mean[2]))

    return estimate(np.concatenate([made[:, None], size], axis=1), grounds.units, part)


def _ratio(grounds: Grounds, part: Float[Array, " pair"], whole: Float[Array, " pair"]) -> Estimate:
    return estimate(np.stack([part, whole], axis=1), grounds.units, ratio)


_BY_CLAIM: dict[str, Callable[[Grounds, str], Estimate | Number]] = {
    "C1": _c1,
    "C2": _c2,
    "C3": _c3,
    "C4": _c4,
    "C5": _c5,
    "C6": _c6,
    "C7": _c7,
}
