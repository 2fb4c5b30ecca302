"""What geometry says: its measures as curves over depth, its summary and its sentences."""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.tasks.meanings import label_name
from lensdepth.telling.curves import Curve, estimate
from lensdepth.telling.depths import at_depth, before_last
from lensdepth.telling.numbers import Interval, counted, p_value
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.geometry.profile import GeometryProfile

MEASURES = {
    "norm": ("norm", "norm"),
    "step_angle": ("step angle, rad", "direction"),
    "cosine": ("cosine", "full"),
    "standardized_cosine": ("standardised cosine", "direction"),
    "effective_rank": ("effective rank", "entropy"),
    "participation_ratio": ("participation ratio", "prediction"),
    "two_nn": ("two nearest neighbours", "input"),
    "cka": ("CKA with the depth before", "agree"),
    "angle_js": ("angle–JS ρ", "direction"),
    "norm_js": ("norm–JS ρ", "norm"),
    "angle_js_given_norm": ("angle–JS ρ, norm held", "direction"),
    "norm_js_given_angle": ("norm–JS ρ, angle held", "norm"),
}
"""Measure -> name and colour of its curve."""
CHIEF = ("norm", "step_angle", "effective_rank", "two_nn", "angle_js", "norm_js")
"""What there is room for in a terminal."""
TESTED = ("angle_js", "norm_js")
"""Measures whose p-values stand beside them."""


def curves(profile: "GeometryProfile", keys: tuple[str, ...] = tuple(MEASURES)) -> list[Curve]:
    """Measures by depth with their intervals, and the p-values of the two correlations."""
    found = []
    for key in keys:
        name, role = MEASURES[key]
        one = profile.of(key)
        bounds = (values.double().numpy() for values in (one.value, one.low, one.high))
        found.append(Curve.from_interval(name, *bounds, key=key, role=role))
        if key in TESTED and keys != CHIEF:
            p = one.p.double().numpy()
            found.append(Curve.from_interval("p", p, key=f"{key}_p", role=role, is_p=True))
    return found


def summary(profile: "GeometryProfile") -> Json:
    """Each measure by depth with its interval."""
    frame = profile.to_frame()
    found: Json = {}
    for measure, rows in frame.groupby("measure", sort=False):
        found[str(measure)] = to_json(
            {
                column: rows[column].tolist()
                for column in ("depth", "value", "low", "high", "p")
                if not rows[column].isna().all()
            }
        )
    return found


def sentences(profile: "GeometryProfile") -> list[str]:
    """Coupling to the prediction and to contexts, then norm, turn, rank and change of the cloud."""
    n_layers, units = profile.n_layers, profile.provenance.units
    # Neither depth L, whose state is the one that is read, nor the block that leads there.
    last = before_last(range(n_layers + 1), n_layers)[-1]
    said = [coupling_verdict(profile), *_held(profile), *_context(profile)]
    norm = [estimate(profile.norm[d], units=units) for d in (0, last)]
    text = f"Before the last block, the norm {_way(*norm)} at depth {last}."
    if last:
        turn = int(profile.step_angle[:last].nanmean(1).nan_to_num(-1).argmax())
        angle = estimate(profile.step_angle[turn].rad2deg(), units=units)
        text += f" Block {turn} turns the state most of those, by {angle} degrees."
    said.append(text)
    rank = profile.effective_rank[: last + 1]
    if not rank.isnan().all():
        most = int(rank.nan_to_num(-1).argmax())
        said.append(
            f"The states of different prompts spread over most dimensions at "
            f"{at_depth(most, n_layers)}, with an effective rank of "
            f"{value_at(profile, 'effective_rank', most)}"
            + (
                f"; at depth {last} it is {value_at(profile, 'effective_rank', last)}."
                if most != last
                else "."
            )
        )
    said += _flat(profile)
    step = profile.of("cka").value[: last + 1]
    if not step.isnan().all():
        least = int(step.nan_to_num(2).argmin())
        said.append(
            f"Block {least - 1} changes most, the last left aside, how the states of different "
            f"prompts lie to one another: linear CKA {value_at(profile, 'cka', least)} between "
            f"before and after."
        )
    return said


def _way(first: Interval, last: Interval) -> str:
    """From one mean norm to another, which is said to differ where their intervals do."""
    if first.known and last.known and first.low <= last.high and last.low <= first.high:
        return f"is {first} at the embedding and {last}"
    verb = "grows" if last.value > first.value else "shrinks"
    return f"{verb} from {first} at the embedding to {last}"


def _flat(profile: "GeometryProfile") -> list[str]:
    """What cannot be otherwise where all prompts end in the same token: a cloud without extent."""
    if not profile.effective_rank[0].isnan() or profile.effective_rank.isnan().all():
        return []
    return [
        "At depth 0 all of these states are the same token's, so they have no extent: that their "
        "raw cosine is 1 there, and that no dimension and no correlation is defined, is so by "
        "construction."
    ]


def coupling_verdict(profile: "GeometryProfile") -> str:
    """One or two sentences: do angles, and do norms, follow the predictions, and where most?"""
    rho = profile.angle_js
    if rho.isnan().all():
        return (
            "Whether angles follow predictions is not defined here: either the states or the "
            "predictions do not differ between prompts."
        )
    peak = peak_of(rho, profile.n_layers)
    p = holm_p(profile, "angle_js")[peak]
    where = at_depth(peak, profile.n_layers)
    tested = len(_tested(rho, profile.n_layers))
    corrected = f"{p_value(p)} after Holm's correction over {counted(tested, 'depth')}"
    coupling = value_at(profile, "angle_js", peak)
    if not beyond_chance(p, coupling):
        text = (
            f"At no depth do angles between states follow the differences between predictions "
            f"beyond chance, the last left aside; the strongest rank correlation is {coupling} at "
            f"{where} ({corrected}{_two_questions(p, coupling)})."
        )
    elif rho[peak] > 0:
        text = (
            f"Prompts whose states lie at larger angles tend to have more different predictions, "
            f"most so at {where}: rank correlation {coupling}, {corrected}."
        )
    else:
        text = (
            f"Prompts whose states lie at larger angles tend to have more similar predictions, "
            f"most so at {where}: rank correlation {coupling}, {corrected}."
        )
    if not profile.norm_js[peak].isnan():
        norms = value_at(profile, "norm_js", peak)
        text += f" Differences of norm correlate with them by {norms} there."
    return text


def _two_questions(p: float, found: Interval) -> str:
    """Why a small p by itself tells no correlation: the interval has to say so too."""
    if p >= stats.ALPHA:
        return ""
    why = "the interval over units holds 0" if found.known else "there are too few units for one"
    return (
        f", by which alone it would be beyond chance; an interval without 0 is asked for as well, "
        f"and {why}"
    )


def _held(profile: "GeometryProfile") -> list[str]:
    """Angles with norms held, norms with angles held, where angles follow the predictions most."""
    if profile.angle_js.isnan().all():
        return []
    peak = peak_of(profile.angle_js, profile.n_layers)
    angle, norm = (
        value_at(profile, name, peak) for name in ("angle_js_given_norm", "norm_js_given_angle")
    )
    if math.isnan(angle.value) or math.isnan(norm.value):
        return []
    return [
        f"Where differences of norm are held, angles correlate by {angle} there; where angles are "
        f"held, differences of norm do by {norm}."
    ]


def _context(profile: "GeometryProfile") -> list[str]:
    """The label that differences of norm follow most, over all labels and depths."""
    if not profile.contexts:
        return []
    task = profile.provenance.task
    rho = torch.stack([profile.of(f"norm_{name}").value for name in profile.contexts])
    p = torch.stack([profile.of(f"norm_{name}").p for name in profile.contexts]).double()
    # Depth L, whose states are what is read, decides no sentence.
    rho[:, profile.n_layers] = torch.nan
    defined = ~rho.isnan()
    if not defined.any():
        return []
    corrected = torch.ones_like(p)
    corrected[defined] = torch.from_numpy(stats.holm(p[defined].numpy()))
    chance = (corrected >= 0.05) | ~defined
    for row, name in enumerate(profile.contexts):
        for depth in range(rho.shape[1]):
            found = value_at(profile, f"norm_{name}", depth)
            chance[row, depth] |= not beyond_chance(float(corrected[row, depth]), found)
    if chance.all():
        return [
            f"That differences of norm follow any of the prompts' labels "
            f"({', '.join(label_name(c, task) for c in profile.contexts)}) cannot be told from "
            f"chance at any depth."
        ]
    row, depth = divmod(int(rho.abs().masked_fill(chance, -1).argmax()), rho.shape[1])
    name = profile.contexts[row]
    norm, angle = (value_at(profile, f"{what}_{name}", depth) for what in ("norm", "angle"))
    tests = counted(int(defined.sum()), "test")
    return [
        f"Of what the prompts hold, differences of norm follow {label_name(name, task)} most, at "
        f"{at_depth(depth, profile.n_layers)}: rank correlation {norm}, "
        f"{p_value(float(corrected[row, depth]))} after Holm's correction over {tests}; angles "
        f"follow it by {angle} there."
    ]


def beyond_chance(p: float, found: Interval) -> bool:
    """Whether a correlation is told as one: permutations of units say so, and the interval over
    units, which knows that prompts of one word go together."""
    return p < stats.ALPHA and found.known and not found.low <= 0 <= found.high


def peak_of(rho: Float[Tensor, " depth"], n_layers: int) -> int:
    """Where a correlation is strongest before depth L, whose states give the predictions by
    arithmetic; L itself where it is defined nowhere else."""
    return max(_tested(rho, n_layers), key=lambda i: float(rho[i].abs()), default=n_layers)


def _tested(rho: Float[Tensor, " depth"], n_layers: int) -> list[int]:
    """Depths before L at which a correlation is defined."""
    return [i for i in before_last(range(len(rho)), n_layers) if not rho[i].isnan()]


def value_at(profile: "GeometryProfile", measure: str, depth: int) -> Interval:
    """The value of one measure at one depth, with the interval that the profile holds."""
    found = profile.of(measure)
    value, low, high = (values[depth].item() for values in (found.value, found.low, found.high))
    return Interval(value=value, low=low, high=high)


def holm_p(profile: "GeometryProfile", measure: str) -> list[float]:
    """p-values by depth corrected over the depths before L where the correlation is defined; else
    1."""
    found = profile.of(measure)
    tested = _tested(found.value, profile.n_layers)
    corrected = torch.ones_like(found.p, dtype=torch.float64)
    if tested:
        corrected[tested] = torch.from_numpy(stats.holm(found.p[tested].double().numpy()))
    return corrected.tolist()
