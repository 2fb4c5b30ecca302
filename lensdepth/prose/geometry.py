"""What geometry found, in sentences made from its numbers and from nothing else."""

import math

import torch

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.geometry import GeometryProfile
from lensdepth.prose.wording import Estimate, at_depth, counted, estimate, p_value


@checked
def geometry_sentences(profile: GeometryProfile) -> list[str]:
    """Coupling to the prediction and to contexts, then norm, turn, rank and change of the cloud."""
    n_layers = profile.n_layers
    said = [coupling_verdict(profile), *_held(profile), *_context(profile)]
    norm = [estimate(profile.norm[d]) for d in (0, n_layers)]
    verb = "grows" if norm[1].mean > norm[0].mean else "shrinks"
    turn = int(profile.step_angle.nanmean(1).nan_to_num(-1).argmax())
    angle = estimate(profile.step_angle[turn].rad2deg())
    said.append(
        f"The norm {verb} from {norm[0]} at the embedding to {norm[1]} at depth {n_layers}. "
        f"Block {turn} turns the state most, by {angle} degrees."
    )
    rank = profile.effective_rank
    if not rank.isnan().all():
        most = int(rank.nan_to_num(-1).argmax())
        end = value_at(profile, "effective_rank", n_layers)
        said.append(
            f"The states of different prompts spread over most dimensions at "
            f"{at_depth(most, n_layers)}, with an effective rank of "
            f"{value_at(profile, 'effective_rank', most)}"
            + ("." if most == n_layers else f"; at the end it is {end}.")
        )
    step = profile.of("cka").value
    if not step.isnan().all():
        least = int(step.nan_to_num(2).argmin())
        said.append(
            f"Block {least - 1} changes most how the states of different prompts lie to one "
            f"another: linear CKA {value_at(profile, 'cka', least)} between before and after."
        )
    return said


@checked
def coupling_verdict(profile: GeometryProfile) -> str:
    """One or two sentences: do angles, and do norms, follow the predictions, and where most?"""
    rho = profile.angle_js
    if rho.isnan().all():
        return (
            "Whether angles follow predictions is not defined here: either the states or the "
            "predictions do not differ between prompts."
        )
    peak = int(rho.abs().nan_to_num(-1).argmax())
    p = holm_p(profile, "angle_js")[peak]
    where = at_depth(peak, profile.n_layers)
    tested = int((~rho.isnan()).sum())
    corrected = f"{p_value(p)} after Holm's correction over {counted(tested, 'depth')}"
    coupling = value_at(profile, "angle_js", peak)
    if p >= 0.05:
        text = (
            f"At no depth do angles between states follow the differences between predictions "
            f"beyond chance; the strongest rank correlation is {coupling} at {where} ({corrected})."
        )
    elif rho[peak] > 0:
        text = (
            f"Prompts whose states lie at larger angles have more different predictions, most so "
            f"at {where}: rank correlation {coupling}, {corrected}."
        )
    else:
        text = (
            f"Prompts whose states lie at larger angles have more similar predictions, most so "
            f"at {where}: rank correlation {coupling}, {corrected}."
        )
    if not profile.norm_js[peak].isnan():
        norms = value_at(profile, "norm_js", peak)
        text += f" Differences of norm correlate with them by {norms} there."
    return text


def _held(profile: GeometryProfile) -> list[str]:
    """Angles with norms held, norms with angles held, where angles follow the predictions most."""
    if profile.angle_js.isnan().all():
        return []
    peak = int(profile.angle_js.abs().nan_to_num(-1).argmax())
    angle, norm = (
        value_at(profile, name, peak) for name in ("angle_js_given_norm", "norm_js_given_angle")
    )
    if math.isnan(angle.mean) or math.isnan(norm.mean):
        return []
    return [
        f"Where differences of norm are held, angles correlate by {angle} there; where angles are "
        f"held, differences of norm do by {norm}."
    ]


def _context(profile: GeometryProfile) -> list[str]:
    """The label that differences of norm follow most, over all labels and depths."""
    if not profile.contexts:
        return []
    rho = torch.stack([profile.of(f"norm_{name}").value for name in profile.contexts])
    p = torch.stack([profile.of(f"norm_{name}").p for name in profile.contexts]).double()
    defined = ~rho.isnan()
    if not defined.any():
        return []
    corrected = torch.ones_like(p)
    corrected[defined] = torch.from_numpy(stats.holm(p[defined].numpy()))
    chance = (corrected >= 0.05) | ~defined
    if chance.all():
        return [
            f"Differences of norm follow none of the prompts' labels "
            f"({', '.join(profile.contexts)}) beyond chance at any depth."
        ]
    row, depth = divmod(int(rho.abs().masked_fill(chance, -1).argmax()), rho.shape[1])
    name = profile.contexts[row]
    norm, angle = (value_at(profile, f"{what}_{name}", depth) for what in ("norm", "angle"))
    tests = counted(int(defined.sum()), "test")
    return [
        f"Of what the prompts hold, differences of norm follow {name} most, at "
        f"{at_depth(depth, profile.n_layers)}: rank correlation {norm}, "
        f"{p_value(float(corrected[row, depth]))} after Holm's correction over {tests}; angles "
        f"follow it by {angle} there."
    ]


def value_at(profile: GeometryProfile, measure: str, depth: int) -> Estimate:
    """The value of one measure at one depth, with the interval that the profile holds."""
    found = profile.of(measure)
    mean, low, high = (values[depth].item() for values in (found.value, found.low, found.high))
    return Estimate(mean=mean, low=low, high=high)


def holm_p(profile: GeometryProfile, measure: str) -> list[float]:
    """p-values by depth corrected over the depths where the correlation is defined; else 1."""
    found = profile.of(measure)
    defined = ~found.value.isnan()
    corrected = torch.ones_like(found.p, dtype=torch.float64)
    if defined.any():
        corrected[defined] = torch.from_numpy(stats.holm(found.p[defined].double().numpy()))
    return corrected.tolist()
