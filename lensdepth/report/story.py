"""What all analyses of a report say together: its opening, its key numbers, its story."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lensdepth.ablation import told as ablated
from lensdepth.ablation.profile import FIRST, WEAK, AblationProfile
from lensdepth.geometry import told as shaped
from lensdepth.geometry.profile import GeometryProfile
from lensdepth.lens.profile import LensProfile
from lensdepth.lens.told import lens_name, on_right
from lensdepth.patching.profile import PatchProfile
from lensdepth.telling.curves import estimate
from lensdepth.telling.depths import measured_step
from lensdepth.telling.names import part_names
from lensdepth.telling.numbers import counted, number, p_value, percent
from lensdepth.transition import told as switches
from lensdepth.transition.compare import OrderComparison
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.result import Transition

if TYPE_CHECKING:
    from lensdepth.report.measured import Measured

NOTES = {
    "story": (
        "Read the panels downwards at one depth: each asks the same residual states another "
        "question. On the far left is the embedding, on the far right the state that the model "
        "reads its answer from. A shaded strip is the 95% interval of a switch; where the data "
        "show none, there is no strip. Look whether curves of different panels turn at the same "
        "place, and which turn gradually."
    ),
    "tokens": (
        "each column is a token, each row a depth, and in a cell stands what the model would say "
        "next if it stopped there; the colour is the divergence from what it says in the end, so "
        "that pale cells have settled. A token that occurs twice has two columns. Point at a cell "
        "for its five likeliest tokens."
    ),
    "tuned": (
        "The same prompts read with a map in front of the readout at every depth, which was fitted "
        "to say what the model will predict in the end, or is its mean derivative. It reads "
        "earlier what the logit lens cannot read yet; what it says, the model need not have "
        "written there in words of its own. Its interval is that of the prompts alone: another fit "
        "would read somewhat otherwise."
    ),
    "made_of": (
        "The logit difference moves when the source's answer rises and when the base's falls; gain "
        "and loss add up to the transferred fraction above. Each answer's logit is taken against "
        "all tokens that are no answer. An edit that gains little and loses much has disturbed the "
        "prediction and not replaced it; below stands how often the source's answer then comes "
        "first."
    ),
    "cka": (
        "Each cell compares two depths: do prompts that lie close together at one lie close at the "
        "other? 1 is the same arrangement up to a rotation and a scale, 0 as unrelated as chance. "
        "Square blocks along the diagonal are stretches of depth in which nothing is rearranged; "
        "a gap between blocks is a rearrangement. A blank row has no spread to compare: there all "
        "prompts' last tokens are the same."
    ),
    "procrustes": (
        "Rotate, mirror and scale the states of one depth so that they fit those of another as "
        "well as can be: this is the share of the spread that fits. It is stricter than the map "
        "above about distances, and fits something by chance where prompts are few beside the "
        "width of the model; the table geometry_maps beside this page holds what shuffled prompts "
        "give."
    ),
    "coupling": (
        "One point is one pair of prompts: to the right the states point apart, upwards the "
        "predictions differ; on the page a slider chooses the depth. Where the angle tells how "
        "alike two predictions are, the points rise from left to right. Predictions that are all "
        "but certain are either the same (0) or different (0.69 nats, the most there is), and "
        "then the points lie on two lines; prompts with graded answers fill the space between."
    ),
}
"""How to read the figures that are of no analysis alone, or of one beside its own."""


SWITCHES = {
    "lens": ("transition",),
    "patch": ("crossing",),
    "steering": ("steering_crossing", "sustained_crossing"),
}
"""Analysis -> the findings on where its curves switch, in the order of `Analysis.switches`."""


def switches_of(findings: "Measured", key: str) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Names of an analysis's switches, and what was found of each."""
    names = SWITCHES.get(key, ())
    return names, tuple(getattr(findings, name) for name in names)


def together(findings: "Measured") -> dict[str, Any]:
    """What opening and key numbers are made of."""
    return {
        "transition": findings.transition,
        "tuned": findings.tuned_transition,
        "crossing": findings.crossing,
        "steering": findings.steering_crossing,
        "ablation": findings.ablation,
        "geometry": findings.geometry,
    }


def opening(
    *,
    model: str,
    task: str,
    lens: LensProfile,
    transition: Transition | None,
    patch: PatchProfile | None,
    crossing: Crossing | None,
    order: OrderComparison | None,
    steering: Crossing | None,
    ablation: AblationProfile | None,
    geometry: GeometryProfile | None,
    tuned: Transition | None = None,
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
    right = on_right(lens)
    if right is not None:
        what += f" The target is the model's most likely answer to {right}."
    where = [] if crossing is None else [switches.patching_verdict(crossing, n_layers)]
    if steering is not None and steering.verdict == "crossing":
        where.append(f"Steering puts it {measured_step(steering.between)}.")
    where.append(switches.lens_verdict(transition, n_layers))
    if tuned is not None:
        where.append(switches.lens_verdict(tuned, n_layers))
    first = switches.order_verdict(order)
    if first is not None:
        where.append(first)
    which = [] if ablation is None else [ablated.verdict(ablation)]
    if geometry is not None:
        which.append(shaped.coupling_verdict(geometry))
    return [" ".join(said) for said in ([what], where, which) if said]


@dataclass(frozen=True, kw_only=True)
class KeyNumber:
    """One number of the strip at the top of a report."""

    label: str
    value: str
    detail: str
    about: Literal["where", "which"] = "which"
    """Where something passes, or which part of the state carries it."""


def key_numbers(
    *,
    n_layers: int,
    transition: Transition | None,
    crossing: Crossing | None,
    steering: Crossing | None,
    ablation: AblationProfile | None,
    geometry: GeometryProfile | None,
    tuned: Transition | None = None,
) -> list[KeyNumber]:
    """Where control, steering and the lens switch, what direction and norm move, the coupling."""
    numbers = []
    if crossing is not None:
        numbers.append(_place("Control passes to the last token", crossing, n_layers))
    if steering is not None:
        numbers.append(_place("Steering passes to the last token", steering, n_layers))
    if transition is not None:
        numbers.append(_place("Logit lens switches", transition, n_layers))
    if tuned is not None:
        name = lens_name(tuned.provenance).capitalize()
        numbers.append(_place(f"{name} switches", tuned, n_layers))
    if ablation is not None and (index := ablated.judged_index(ablation)) is not None:
        direction, norm = (
            estimate(
                ablation.of("transferred", edit=edit, **FIRST)[:, index],
                ablation.provenance.units,
            )
            for edit in ("direction", "norm")
        )
        control = ablation.one("random_direction", index)
        stretch = (ablation.norm_ratio[:, index, 0] - 1).abs().nanmedian().item()
        detail = (
            f"of the logit difference at depth {ablation.depths[index]}; a random direction moves "
            f"{number(float(control.transferred().nanmean()))}"
        )
        if control.has_gains:
            gain, loss = part_names(control.intended)
            detail += (
                f" ({gain} {number(float(control.target_gain.nanmean()))}, {loss} "
                f"{number(float(control.foil_loss.nanmean()))})"
            )
        if stretch < WEAK:
            detail += f", and norms were changed by {percent(stretch)} only"
        numbers.append(
            KeyNumber(
                label="Moved by direction · by norm",
                value=f"{number(direction.value)} · {number(norm.value)}",
                detail=detail,
            )
        )
    if geometry is not None and not geometry.angle_js.isnan().all():
        peak = shaped.peak_of(geometry.angle_js, geometry.n_layers)
        coupling = shaped.value_at(geometry, "angle_js", peak)
        p = shaped.holm_p(geometry, "angle_js")[peak]
        numbers.append(
            KeyNumber(
                label="Angle–prediction correlation",
                value=number(coupling.value)
                if shaped.beyond_chance(p, coupling)
                else "cannot tell",
                detail=f"the strongest, {coupling} at depth {peak}, {p_value(p)} after correction",
            )
        )
    return numbers


UNSOUGHT = {
    "crossing": "Control passes to the last token",
    "transition": "Logit lens switches",
}
"""Field of the findings -> the key number that stands for it."""


def headline(findings: "Measured") -> list[KeyNumber]:
    """The key numbers of a report, and which places were not looked for in pairs, and why."""
    unsought = [
        KeyNumber(label=label, value="not sought", detail=findings.absent[name], about="where")
        for name, label in UNSOUGHT.items()
        if name in findings.absent and findings.task.has_pairs
    ]
    return unsought + key_numbers(n_layers=findings.n_layers, **together(findings))


def _place(label: str, found: Transition | Crossing, n_layers: int) -> KeyNumber:
    """Where a switch lies with its interval, or the verdict with its reason."""
    there = switches.located(found)
    held = {"transition", "crossing"}
    at = "" if there is None else f"{percent(there[1] / n_layers)} of the depth"
    return KeyNumber(
        label=label,
        value=at
        if found.verdict in held
        else f"{found.verdict} around {at}"
        if at
        else found.verdict,
        detail=f"{switches.whereabouts(found, n_layers)}{switches.read_by(found)}",
        about="where",
    )
