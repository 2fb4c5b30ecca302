"""The number behind each statement."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth.ablation.profile import AblationProfile
from lensdepth.claims.coupling import late_coupling
from lensdepth.claims.estimate import Estimate, estimate, ratio, rise_width
from lensdepth.claims.grounds import Grounds
from lensdepth.claims.norms import norm_tells_context
from lensdepth.claims.zones import Zones, chosen_on_others, mean_over

LEAST_HANDOVER = 0.2
"""With less than this share of the pairs changing hands, there is no handover to time."""
OFTEN = 4
"""Pairs that share a label's value, for half of the pairs at least: else means say nothing."""
LEAST_WINDOW = 0.1
"""Share of the whole difference that all blocks together must transfer, to be taken apart."""


class Unmeasured(Exception):
    """A statement has no number here; the message is why."""


def measure(key: str, grounds: Grounds) -> Estimate:
    """The estimate of a statement.

    Raises:
        Unmeasured: with the reason.
    """
    claim, word = key.split(" ", 1)
    found = _BY_CLAIM[claim](grounds, word)
    if np.isnan(found.value) or np.isnan(found.se):
        raise Unmeasured("too few pairs have a number here")
    return found


def _need(grounds: Grounds, *names: str) -> None:
    for name in names:
        if getattr(grounds, name) is None:
            raise Unmeasured(grounds.absent[name])


def _mean(grounds: Grounds, values: Float[Array, " pair"]) -> Estimate:
    return estimate(values, grounds.share, n=grounds.n_prompts)


def _zones(grounds: Grounds) -> Zones:
    _need(grounds, "patch", "zones")
    assert grounds.zones is not None
    return grounds.zones


def handover_curve(grounds: Grounds) -> Float[Array, "pair depth"]:
    """Half of 1 + success at the prediction position - success at the input position.

    0 where the input decides alone, 1 where the last token does.
    """
    assert grounds.patch is not None
    at_input, at_end = (
        grounds.patch.efficacy(name).double().numpy() for name in ("input", "prediction")
    )
    return (1 + at_end - at_input) / 2


def _c1(grounds: Grounds, word: str) -> Estimate:
    zones = _zones(grounds)
    curve = handover_curve(grounds)
    if word == "handover":
        return _mean(grounds, mean_over(curve, zones.late) - mean_over(curve, zones.early))
    _check_handover(curve)
    return estimate(curve, grounds.share, rise_width, n=grounds.n_prompts)


def _check_handover(curve: Float[Array, "pair depth"]) -> None:
    mean = np.nanmean(curve, axis=0)
    if abs(mean[-1] - mean[0]) < LEAST_HANDOVER:
        raise Unmeasured("control does not pass from one position to the other in these pairs")


def _c2(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "steering")
    zones, steered = _zones(grounds), grounds.steering
    assert steered is not None

    def success(position: str, edit: str, where: Bool[Array, "pair depth"]) -> Array:
        found = steered.efficacy(position, edit=edit, scope="local")
        return mean_over(found.double().numpy(), where)

    position = "input" if word.startswith("input") else "prediction"
    before, after = (success(position, "full", zone) for zone in (zones.early, zones.late))
    if word == "input works early":
        return _mean(grounds, before - success(position, "random", zones.early))
    if word == "output works late":
        return _mean(grounds, after - success(position, "random", zones.late))
    return _mean(grounds, before - after if position == "input" else after - before)


def _c3(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "patch", "geometry")
    assert grounds.geometry is not None
    handed = handover_curve(grounds)
    _check_handover(handed)
    if word == "dimensionality":
        spread = spread_terms(grounds.geometry.states)
        terms = np.concatenate([handed[:, None], spread], axis=1)

        def wider(mean: Float[Array, "3 depth"]) -> float:
            ratio_by_depth = mean[1] ** 2 / mean[2]
            # The last token's embedding is often the same for all: from no spread to some is no
            # reorganisation.
            spread_out = mean[1] > 0
            if not spread_out.any():
                return float("nan")
            ratio_by_depth[~spread_out] = ratio_by_depth[spread_out][0]
            return _path_width(np.abs(np.diff(ratio_by_depth))) - rise_width(mean[0])

        return estimate(terms, grounds.share, wider, n=grounds.n_prompts)
    zones = _zones(grounds)
    steps = np.diff(getattr(grounds.geometry, word), axis=1)
    # The direction of each change is that of other prompts, so that noise adds up to nothing.
    sign = np.zeros_like(steps)
    for mine, chosen in chosen_on_others(zones.group):
        sign[mine] = np.sign(np.nanmean(steps[chosen], axis=0))
    # One column more, so that both parts have the same length.
    padded = np.concatenate([sign * steps, np.zeros((len(steps), 1))], axis=1)

    def difference(mean: Float[Array, "2 depth"]) -> float:
        return _path_width(mean[1][:-1]) - rise_width(mean[0])

    return estimate(
        np.stack([handed, padded], axis=1), grounds.share, difference, n=grounds.n_prompts
    )


def _path_width(steps: Float[Array, " layer"]) -> float:
    """Fraction of the depth in which 10 to 90 % of all change happens."""
    return rise_width(np.concatenate([[0.0], np.cumsum(steps)]))


def spread_terms(states: Float[Tensor, "depth pair d_model"]) -> Float[Array, "pair 2 depth"]:
    """By pair, two terms whose means a and b give the participation ratio a^2 / b of the states.

    a: squared distance from the mean state, the trace of the covariance. b: mean squared product
    with the other states, the trace of its square; as each pair of states counts for both, the
    deviations are doubled, which makes the variance of the mean right (Hoeffding 1948).
    """
    x = states.double()
    x = x - x.mean(1, keepdim=True)
    trace = x.square().sum(-1)
    square = (x @ x.transpose(1, 2)).square().mean(-1)
    square = square.mean(1, keepdim=True) + 2 * (square - square.mean(1, keepdim=True))
    # Rounding leaves some spread where all prompts have one state.
    none = trace.mean(1, keepdim=True) < 1e-9 * states.double().square().sum(-1).mean(1)[:, None]
    trace, square = trace.masked_fill(none, 0.0), square.masked_fill(none, 1.0)
    return torch.stack([trace, square]).permute(2, 0, 1).numpy()


def _c4(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "geometry")
    zones = _zones(grounds)
    assert grounds.geometry is not None
    found = late_coupling(grounds.task.clean, grounds.geometry, zones, word)
    if found is None:
        raise Unmeasured("too few different prompts in a group, or predictions that do not differ")
    return found


def _c5(grounds: Grounds, word: str) -> Estimate:
    if word == "norm does nothing":
        return _norm_swap(grounds)
    if word == "norm halved or doubled":
        _need(grounds, "scaled")
        assert grounds.scaled is not None
        return _mean(grounds, mean_over(grounds.scaled, _zones(grounds).late))
    _need(grounds, "ablation")
    zones, found = _zones(grounds), grounds.ablation
    assert found is not None
    if word == "beats random":
        own, control = (
            mean_over(_of(found, edit, "success"), zones.late)
            for edit in ("direction", "random_direction")
        )
        return _mean(grounds, own - control)
    return _transferred(grounds, zones, {"direction": 1.0, "norm": -1.0})


def _of(found: AblationProfile, edit: str, effect: str) -> Float[Array, "pair depth"]:
    one = found.effect(effect, edit=edit, scope="local", position="prediction")
    return one.double().numpy()


def _norm_swap(grounds: Grounds) -> Estimate:
    _need(grounds, "ablation")
    return _transferred(grounds, _zones(grounds), {"norm": 1.0})


def _transferred(grounds: Grounds, zones: Zones, weights: dict[str, float]) -> Estimate:
    """Sum of weighted effects over the whole difference, of means over pairs, at late depths."""
    found = grounds.ablation
    assert found is not None
    moved = sum(
        weight * mean_over(_of(found, edit, "logit_diff"), zones.late)
        for edit, weight in weights.items()
    )
    whole = (found.source_logit_diff - found.base_logit_diff).double().numpy()
    return estimate(
        np.stack([np.asarray(moved), whole], axis=1), grounds.share, ratio, n=grounds.n_prompts
    )


def _c6(grounds: Grounds, word: str) -> Estimate:
    if word == "norm decides nothing":
        return _norm_swap(grounds)
    _need(grounds, "geometry")
    zones = _zones(grounds)
    assert grounds.geometry is not None
    labels = context_labels(grounds)
    if not labels:
        raise Unmeasured(
            "the task has no context label: a label column whose values repeat and leave the "
            "answer open"
        )
    return norm_tells_context(
        grounds.geometry.norm, labels, zones.group, grounds.share, n=grounds.n_prompts
    )


def context_labels(grounds: Grounds) -> dict[str, Int[Array, " pair"]]:
    """Labels of the clean prompts that do not settle the answer, as numbers of their values."""
    task = grounds.task
    columns = {name: task.labels[name].astype(str).tolist() for name in task.labels.columns}
    if task.inputs is not None:
        columns.setdefault("input", list(task.inputs))
    kept: dict[str, Array] = {}
    for name, values in columns.items():
        if name.startswith("corrupted_"):
            continue
        kinds, index, counts = np.unique(values, return_inverse=True, return_counts=True)
        repeats = len(kinds) > 1 and counts[counts >= OFTEN].sum() >= len(values) / 2
        answers = {kind: set() for kind in range(len(kinds))}
        for kind, answer in zip(index.tolist(), task.target or (), strict=True):
            answers[kind].add(answer)
        open_answer = any(len(found) > 1 for found in answers.values())
        twin = any(np.array_equal(index, other) for other in kept.values())
        if repeats and open_answer and not twin:
            kept[name] = index
    return kept


def _c7(grounds: Grounds, word: str) -> Estimate:
    _need(grounds, "locality")
    zones, found = _zones(grounds), grounds.locality
    assert found is not None
    local, whole = found.local.double().numpy(), found.whole.double().numpy()
    best = np.zeros(len(whole), dtype=int)
    difference = (found.source_value - found.base_value).double().numpy()
    share = np.nanmean(whole) / np.nanmean(difference)
    if abs(share) < LEAST_WINDOW:
        raise Unmeasured(
            f"attention at the last token transfers {share:.2f} of the difference in all blocks "
            f"together, which is too little to take apart"
        )
    for mine, chosen in chosen_on_others(zones.group):
        sign = np.sign(np.nanmean(whole[chosen]))
        best[mine] = int((sign * np.nanmean(local[chosen], axis=0)).argmax())
    rows = np.arange(len(whole))
    if word == "through others":
        if found.direct is None or found.total is None:
            raise Unmeasured("direct effects are not known in this model")
        direct, total = (x.double().numpy()[rows, best] for x in (found.direct, found.total))
        return _changed(grounds, zones, total - direct, total)
    if word == "persistence":
        _need(grounds, "persistence")
        assert grounds.persistence is not None
        return _mean(grounds, grounds.persistence[rows, best])
    if word == "no single depth":
        return _ratio(grounds, whole - local[rows, best], whole)
    return _changed(grounds, zones, whole - local.sum(1), whole)


def _changed(
    grounds: Grounds, zones: Zones, part: Float[Array, " pair"], whole: Float[Array, " pair"]
) -> Estimate:
    """Size of a part, of either sign, as a share of the whole: other pairs say which sign."""
    sign = np.zeros(len(part))
    for mine, chosen in chosen_on_others(zones.group):
        sign[mine] = np.sign(np.nanmean(part[chosen]))
    return _ratio(grounds, sign * part, np.sign(np.nanmean(whole)) * whole)


def _ratio(grounds: Grounds, part: Float[Array, " pair"], whole: Float[Array, " pair"]) -> Estimate:
    return estimate(np.stack([part, whole], axis=1), grounds.share, ratio, n=grounds.n_prompts)


_BY_CLAIM: dict[str, Callable[[Grounds, str], Estimate]] = {
    "C1": _c1,
    "C2": _c2,
    "C3": _c3,
    "C4": _c4,
    "C5": _c5,
    "C6": _c6,
    "C7": _c7,
}
