"""What the claims are judged on: sweeps of one model and one task, each measured once.

Whoever has measured some of them already, as a report has, hands them over:

    >>> evidence = Evidence(patch=patch_sweep(model, task), ablation=ablation_sweep(model, task))
    >>> evaluate_claims(model, task, evidence=evidence)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from lensdepth.ablation.dose_profile import DoseProfile
from lensdepth.ablation.profile import AblationProfile
from lensdepth.claims.contrasts import Contrasts
from lensdepth.claims.zones import (
    Zones,
    at_all_depths,
    deal_groups,
    find_zones,
    reached_late,
)
from lensdepth.geometry.reading import Reading
from lensdepth.locality.profile import LocalityProfile
from lensdepth.locality.trajectory_profile import TrajectoryProfile
from lensdepth.patching.profile import PatchProfile
from lensdepth.provenance import ModelInfo, other_than
from lensdepth.steering.labels import steered_task
from lensdepth.steering.profile import SteeringProfile
from lensdepth.tasks.task import Task
from lensdepth.tokens import number_texts

FACTORS = (0.5, 2.0)
"""Of the norm: far beyond what a swap between prompts does to it."""
STREAM = "attn_out"
"""Whose single blocks are held against all of them."""
N_FOLDS = 10
"""Parts that steering splits the prompts into."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Profiles of one model and one task; None is what has not been measured.

    They may hold more than the claims need (other doses, scopes or controls), never less.
    """

    MADE_BY: ClassVar[str] = "complete_evidence(model, task)"
    """The call that makes one."""

    patch: PatchProfile | None = None
    """`patch_sweep(model, task)`: the residual stream at both positions."""
    reading: Reading | None = None
    """`lensdepth.geometry.reading.read_states(model, task)`."""
    ablation: AblationProfile | None = None
    """`ablation_sweep(model, task)`."""
    dose: DoseProfile | None = None
    """`dose_response(model, task)`: norms halved and doubled among its doses. The contrasts have
    these too; it stands for them where it is given."""
    steering: SteeringProfile | None = None
    """Of steering at both positions."""
    locality: LocalityProfile | None = None
    """`compare_local_global(model, task, stream="attn_out")`."""
    trajectory: TrajectoryProfile | None = None
    """`trajectory_response(model, task, stream="attn_out")`."""
    contrasts: Contrasts | None = None
    """`lensdepth.claims.contrasts.contrast_sweep(model, task)`."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Name of a profile -> why there can be none of these prompts."""

    @property
    def profiles(self) -> dict[str, Any]:
        """What has been measured, by name."""
        named = {name: getattr(self, name) for name in PROFILES}
        return {name: profile for name, profile in named.items() if profile is not None}


PROFILES = tuple(one.name for one in fields(Evidence) if one.name != "refused")
OF_CLAIM: dict[str, tuple[str, ...]] = {
    "C1": ("patch",),
    "C2": ("patch", "steering"),
    "C3": ("patch", "reading"),
    "C4": ("patch", "reading"),
    "C5": ("patch", "ablation", "contrasts"),
    "C6": ("patch", "reading", "ablation", "contrasts"),
    "C7": ("patch", "locality"),
}
"""Claim -> the profiles that its statements are measured on."""
SEEDLESS = ("reading", "locality")
"""Nothing in them is drawn."""
_RESIDUAL = {"stream": "resid_pre", "edit": "full", "mode": "denoise"}
_ATTENTION = _RESIDUAL | {"stream": STREAM, "position": "prediction"}
NEEDED: dict[str, dict[str, Any]] = {
    "patch": _RESIDUAL
    | {
        "method": "exact",
        "heads": (),
        "positions": {"input", "prediction"},
        "metrics": {"logit_diff", "success"},
    },
    "reading": {},
    "ablation": {
        "mode": "denoise",
        "to": "source",
        "coordinates": "raw",
        "scopes": {"local"},
        "positions": {"prediction"},
        "metrics": {"logit_diff", "success"},
    },
    "dose": {
        "mode": "denoise",
        "coordinates": "raw",
        "position": "prediction",
        "factors": set(FACTORS),
        "metrics": {"flip"},
    },
    "steering": {
        "mode": "denoise",
        "scopes": {"local"},
        "positions": {"input", "prediction"},
        "strength": 1.0,
        "budget": None,
        "metrics": {"success"},
        "input_label": "input",
        "output_label": "answer",
    },
    "locality": _ATTENTION | {"metric": "logit_diff"},
    "trajectory": _ATTENTION | {"read": "prediction"},
    "contrasts": {"mode": "denoise"},
}
"""Profile -> option -> what it must be, or in braces what must be among it."""


def check_pairs(task: Task, *, caller: str) -> None:
    """Refuse a task without pairs.

    Raises:
        ValueError: it has plain prompts alone.
    """
    if not task.has_pairs:
        raise ValueError(
            f"{caller}: claims are about interventions, which need pairs of prompts; "
            f"{task.name!r} has plain prompts alone. Give the columns clean, corrupted, target "
            f"and foil."
        )


def check_evidence(
    evidence: Evidence,
    model: ModelInfo,
    task: Task,
    *,
    seed: int,
    caller: str,
    whole: bool = False,
) -> None:
    """Refuse profiles of another model, other prompts, other depths, another seed or other options.

    Depths are all of them, or those that the patch found: then all sweeps of whole states are at
    these.

    The answers and the input positions are not in a profile's provenance: that they are the task's
    is for whoever hands it over.

    Args:
        evidence: what was measured.
        model: what it must be of.
        task: what it must be on.
        seed: of the sweeps.
        caller: for the error.
        whole: whether all depths are needed, whatever the patch found.
    Raises:
        ValueError: with the difference.
    """
    depths = None if whole else found_depths(evidence)
    for name, profile in evidence.profiles.items():  # the patch first, on which the others rest
        late = late_depths(evidence, task, seed=seed) if name == "contrasts" else None
        needed = _needed_depths(name, depths, late, model.n_layers)
        wrong = _difference(name, profile, model, task, seed, needed)
        if wrong:
            raise ValueError(
                f"{caller}: the {name} of the evidence is {wrong}; leave it out, and it is "
                f"measured."
            )


def found_depths(evidence: Evidence) -> list[int] | None:
    """The depths at which the other sweeps belong, where a patch found them; None for all."""
    patch = evidence.patch
    return patch.depths.tolist() if patch is not None and patch.depths_found else None


def deal_zones(task: Task, patch: PatchProfile, *, seed: int) -> Zones:
    """Zones of the task's pairs, dealt into groups by this seed.

    Raises:
        ValueError: the deal leaves too few pairs to choose on.
    """
    assert task.corrupted is not None
    at_input, at_end = (
        at_all_depths(patch.efficacy(name), patch) for name in ("input", "prediction")
    )
    return find_zones(at_input, at_end, deal_groups(task.clean, task.corrupted, seed=seed))


def late_depths(evidence: Evidence, task: Task, *, seed: int) -> list[int] | None:
    """The depths of the patch that C5 and C6 look at; None for all, where these are not known."""
    if evidence.patch is None or task.corrupted is None:
        return None
    try:
        zones = deal_zones(task, evidence.patch, seed=seed)
    except ValueError:  # then nothing is known of late depths, unless by another deal
        return found_depths(evidence)
    return reached_late(zones, evidence.patch.depths.tolist())


def _difference(
    name: str, profile: Any, model: ModelInfo, task: Task, seed: int, needed: list[int]
) -> str:
    known = profile.provenance
    if known is None:
        return "one that read_states did not make"
    corrupted = () if name == "reading" else task.corrupted or ()
    if name == "steering":
        task = steered_task(task, len(known.prompts))
        corrupted = task.corrupted or ()
    other = other_than(known, model, prompts=task.clean, corrupted=corrupted)
    if other:
        return other
    if known.task != task.name:
        return f"of the task {known.task!r}, and this one is {task.name!r}"
    if name not in SEEDLESS and known.seed != seed:
        return f"of seed {known.seed}, and the claims are of seed {seed}"
    for option, wanted in NEEDED[name].items():
        given = _option(profile, option)
        if isinstance(wanted, set):
            lacking = sorted(map(str, wanted - set(given)))
            if lacking:
                return f"without {', '.join(lacking)} among its {option}"
        elif given != wanted:
            return f"of {option} {given!r}, and {wanted!r} is needed"
    given = profile.edited if name == "trajectory" else getattr(profile, "depths", None)
    if given is not None:
        there = list(map(int, given))
        if there != needed and not (name == "contrasts" and {*needed} <= {*there}):
            every = needed == list(range(needed[0], needed[-1] + 1))
            named = f"all of {needed[0]} to {needed[-1]}" if every else f"{needed}"
            return f"of depths {there}, and {named} are needed"
    if name == "steering":
        # Fewer prompts than folds have one each.
        sides = number_texts(task.clean_tokens, task.corrupted_tokens or task.clean_tokens)
        n_folds = min(N_FOLDS, 1 + max(int(side.max()) for side in sides))
        if profile.n_folds < n_folds:
            return f"of {profile.n_folds} folds, and {n_folds} are needed"
    return ""


def _needed_depths(
    name: str, found: list[int] | None, late: list[int] | None, n_layers: int
) -> list[int]:
    """Depths, or blocks, of one of the sweeps; of the contrasts, among those that they are of."""
    if name in ("locality", "trajectory"):
        return list(range(n_layers))
    every = list(range(n_layers + 1))
    if name == "contrasts":
        return [depth for depth in late or found or every if 0 < depth < n_layers]
    return every if found is None else found


def _option(profile: Any, option: str) -> Any:
    """What a profile was made with: its own field, or one of its provenance's settings."""
    if option == "factors":
        return norm_doses(profile)
    if hasattr(profile, option):
        return getattr(profile, option)
    return profile.provenance.settings.get(option)


def norm_doses(profile: DoseProfile) -> list[float]:
    """Factors of the norm by dose; NaN where it is a direction that turns."""
    named = zip(profile.parts, profile.doses.tolist(), strict=True)
    return [dose if part == "norm" else float("nan") for part, dose in named]


def reason_of(refusal: ValueError) -> str:
    """Why a function refused, as a part of a sentence: without its name and the full stop."""
    return str(refusal).split(": ", 1)[-1].removesuffix(".")
