"""The evidence in numbers by pair, with the depths that other pairs choose: computed, not run."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from numpy import ndarray as Array

from lensdepth.ablation.profile import AblationProfile
from lensdepth.claims.estimate import sharing
from lensdepth.claims.evidence import FACTORS, Evidence, norm_doses
from lensdepth.claims.states import Geometry, mean_cosine
from lensdepth.claims.zones import Zones, deal_groups, find_zones
from lensdepth.geometry.reading import Reading
from lensdepth.locality.profile import LocalityProfile
from lensdepth.patching.profile import PatchProfile
from lensdepth.steering.profile import SteeringProfile
from lensdepth.tasks.task import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Grounds:
    """What the statements are measured on; what there is not is None, with a reason."""

    task: Task
    share: Bool[Array, "pair pair"]
    n_prompts: int
    patch: PatchProfile | None
    zones: Zones | None
    geometry: Geometry | None
    ablation: AblationProfile | None
    scaled: Float[Array, "pair depth"] | None
    """Share of FACTORS of the norm that change the first choice."""
    steering: SteeringProfile | None
    locality: LocalityProfile | None
    persistence: Float[Array, "pair block"] | None
    absent: dict[str, str]
    """Name of a field -> why it is None."""


FROM = {"geometry": "reading", "scaled": "dose", "persistence": "trajectory"}
"""Field -> the profile that it is computed from."""


def lay_grounds(task: Task, evidence: Evidence, *, seed: int) -> Grounds:
    """Work out of the profiles what the statements need.

    Args:
        task: the pairs that the profiles are of.
        evidence: complete; see `complete_evidence`.
        seed: of the groups of prompts.
    """
    assert task.corrupted is not None
    absent = dict(evidence.refused)
    absent |= {name: absent[one] for name, one in FROM.items() if one in absent}
    patch, zones = evidence.patch, None
    if patch is not None:
        at_input, at_end = (
            patch.efficacy(name).double().numpy() for name in ("input", "prediction")
        )
        group = deal_groups(task.clean, task.corrupted, seed=seed)
        try:
            zones = find_zones(at_input, at_end, group)
        except ValueError as refusal:
            absent["zones"] = str(refusal)
    scaled = persistence = None
    if evidence.dose is not None:
        doses = norm_doses(evidence.dose)
        flips = evidence.dose.flip[[doses.index(factor) for factor in FACTORS]]
        scaled = flips.double().numpy().mean(0)
    if evidence.trajectory is not None:
        persistence = evidence.trajectory.persistence.double().numpy()
    return Grounds(
        task=task,
        share=sharing(task.clean, task.corrupted),
        n_prompts=len({*task.clean, *task.corrupted}),
        patch=patch,
        zones=zones,
        geometry=None if evidence.reading is None else _geometry(evidence.reading),
        ablation=evidence.ablation,
        scaled=scaled,
        steering=evidence.steering,
        locality=evidence.locality,
        persistence=persistence,
        absent=absent,
    )


def _geometry(reading: Reading) -> Geometry:
    states, read = reading.states.cpu(), reading.per_prompt
    return Geometry(
        states=states,
        log_probs=reading.log_probs.cpu(),
        norm=read["norm"].double().cpu().numpy().T,
        similarity=mean_cosine(states),
        curvature=read["curvature"].double().cpu().numpy().T,
    )
