"""What all analyses together say: the opening paragraph and the key numbers."""

from dataclasses import dataclass

from lensdepth.ablation import AblationProfile
from lensdepth.arguments import checked
from lensdepth.geometry import GeometryProfile
from lensdepth.lens import LensProfile
from lensdepth.patching import PatchProfile
from lensdepth.prose.geometry import coupling_verdict, holm_p, value_at
from lensdepth.prose.parts import WEAK, ablation_verdict, judged_index
from lensdepth.prose.sentences import crossing_verdict, lens_verdict
from lensdepth.prose.wording import Estimate, between, counted, estimate, p_value, plain
from lensdepth.transition import Crossing, Transition


@checked
def order_verdict(crossing: Crossing | None, transition: Transition | None) -> str | None:
    """Which comes first, the passing of control or the lens; None unless both were found."""
    if crossing is None or transition is None:
        return None
    if crossing.verdict != "crossing" or transition.verdict != "transition":
        return None
    lag = transition.location - crossing.depth
    if transition.location_low > crossing.high:
        return f"The lens follows control by {plain(lag)} depths; the two intervals do not meet."
    if transition.location_high < crossing.low:
        return f"The lens precedes control by {plain(-lag)} depths; the two intervals do not meet."
    return "Their two intervals overlap, so which of the two comes first cannot be told."


@checked
def accuracy(profile: LensProfile) -> Estimate | None:
    """Share of the prompts whose target is the model's own most likely answer."""
    if profile.target_rank is None:
        return None
    return estimate((profile.target_rank[-1] == 0).float().mean(-1))


@checked
def opening(
    *,
    model: str,
    task: str,
    lens: LensProfile,
    transition: Transition | None,
    patch: PatchProfile | None,
    crossing: Crossing | None,
    steering: Crossing | None,
    ablation: AblationProfile | None,
    geometry: GeometryProfile | None,
) -> list[str]:
    """The whole report in up to three short paragraphs: on what, where, and by which part."""
    n_layers = lens.n_layers
    causal = patch is not None or ablation is not None
    noun = "pair" if causal else "prompt"
    what = (
        f"This report follows {model} through its {counted(n_layers, 'block')} on "
        f"{counted(len(lens.position), noun)} of the task {task!r}, to see where the prediction "
        + (
            "forms and which part of the residual state carries it."
            if causal
            else "can first be read and how the residual states lie to one another."
        )
    )
    right = accuracy(lens)
    if right is not None:
        what += (
            f" The target is the model's most likely answer to {right.percent} of the clean "
            f"prompts."
        )
    where = [] if crossing is None else [crossing_verdict(crossing, n_layers)]
    if steering is not None and steering.verdict == "crossing":
        at = between(steering.depth, steering.low, steering.high, n_layers)
        where.append(f"Steering puts it at {at}.")
    where.append(lens_verdict(transition, n_layers))
    order = order_verdict(crossing, transition)
    if order is not None:
        where.append(order)
    which = [] if ablation is None else [ablation_verdict(ablation)]
    if geometry is not None:
        which.append(coupling_verdict(geometry))
    return [" ".join(said) for said in ([what], where, which) if said]


@dataclass(frozen=True, kw_only=True)
class KeyNumber:
    """One number of the strip at the top of a report."""

    label: str
    value: str
    detail: str


@checked
def key_numbers(
    *,
    n_layers: int,
    transition: Transition | None,
    crossing: Crossing | None,
    steering: Crossing | None,
    ablation: AblationProfile | None,
    geometry: GeometryProfile | None,
) -> list[KeyNumber]:
    """Where control, steering and the lens switch, what direction and norm move, the coupling."""
    numbers = []
    if crossing is not None:
        numbers.append(_place("Control passes to the last token", crossing, n_layers))
    if steering is not None:
        numbers.append(_place("Steering passes to the last token", steering, n_layers))
    if transition is not None:
        numbers.append(_place("Logit lens switches", transition, n_layers))
    if ablation is not None and (index := judged_index(ablation)) is not None:
        direction, norm = (
            estimate(ablation.of(edit, ablation.transferred)[:, index])
            for edit in ("direction", "norm")
        )
        control = estimate(ablation.of("random_direction", ablation.transferred)[:, index])
        stretch = (ablation.norm_ratio[:, index, 0] - 1).abs().nanmedian().item()
        detail = (
            f"of the logit difference at depth {ablation.depths[index]}; a random direction moves "
            f"{plain(control.mean)}"
        )
        if stretch < WEAK:
            detail += f", and norms were changed by {stretch:.0%} only"
        numbers.append(
            KeyNumber(
                label="Moved by direction · by norm",
                value=f"{plain(direction.mean)} · {plain(norm.mean)}",
                detail=detail,
            )
        )
    if geometry is not None and not geometry.angle_js.isnan().all():
        peak = int(geometry.angle_js.abs().nan_to_num(-1).argmax())
        coupling = value_at(geometry, "angle_js", peak)
        p = holm_p(geometry, "angle_js")[peak]
        numbers.append(
            KeyNumber(
                label="Angle–prediction correlation",
                value=plain(coupling.mean) if p < 0.05 else "cannot tell",
                detail=f"the strongest, {coupling} at depth {peak}, {p_value(p)} after correction",
            )
        )
    return numbers


def _place(label: str, found: Transition | Crossing, n_layers: int) -> KeyNumber:
    """Where a switch lies with its interval, or the verdict with its reason."""
    if isinstance(found, Transition):
        there = found.verdict == "transition"
        at, low, high = found.location, found.location_low, found.location_high
    else:
        there = found.verdict == "crossing"
        at, low, high = found.depth, found.low, found.high
    return KeyNumber(
        label=label,
        value=f"{at / n_layers:.0%} of the depth" if there else found.verdict,
        detail=between(at, low, high, n_layers) if there else found.reason,
    )
