"""The evidence in numbers by pair, with the depths that other pairs choose: computed, not run."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.ablation.profile import AblationProfile
from lensdepth.claims.contrasts import Contrasts
from lensdepth.claims.coupling import Coupled, late_couplings
from lensdepth.claims.evidence import FACTORS, Evidence, deal_zones, norm_doses
from lensdepth.claims.place import Place, place_of
from lensdepth.claims.states import Geometry, mean_cosine
from lensdepth.claims.zones import Zones, at_all_depths
from lensdepth.geometry.reading import Reading
from lensdepth.locality.profile import LocalityProfile
from lensdepth.patching.profile import PatchProfile
from lensdepth.steering.profile import SteeringProfile
from lensdepth.tasks.task import Task
from lensdepth.transition.crossing import find_crossing
from lensdepth.units import Units


@dataclass(frozen=True, kw_only=True, eq=False)
class Grounds:
    """What the statements are measured on; what there is not is None, with a reason."""

    task: Task
    units: Units
    """Which pairs go together."""
    n_prompts: int
    patch: PatchProfile | None
    zones: Zones | None
    deals: tuple[Zones, ...]
    """Zones of the prompts dealt into groups again and again; the first are `zones`. What depends
    on the deal is averaged over them."""
    geometry: Geometry | None
    ablation: AblationProfile | None
    scaled: Float[Array, "pair depth"] | None
    """Share of FACTORS of the norm that change the first choice."""
    steering: SteeringProfile | None
    locality: LocalityProfile | None
    persistence: Float[Array, "pair block"] | None
    contrasts: Contrasts | None
    seed: int
    """Of the deals, and of the random projections that the norm is held against."""
    absent: dict[str, str]
    """Name of a field -> why it is None."""

    @cached_property
    def place(self) -> Place | None:
        """Where control passes in the pairs, in short; None without patches."""
        return None if self.patch is None else place_of(find_crossing(self.patch, seed=self.seed))

    @cached_property
    def couplings(self) -> list[Coupled | None]:
        """Of the clean prompts, for each deal: the numbers of C4, or None."""
        assert self.geometry is not None
        return [late_couplings(self.task.clean, self.geometry, zones) for zones in self.deals]


FROM = {"geometry": "reading", "scaled": "contrasts", "persistence": "trajectory"}
"""Field -> the profile that it is computed from."""


N_DEALS = 20
"""Deals of the prompts into groups, over which C4 and C6 are averaged."""


def lay_grounds(task: Task, evidence: Evidence, *, seed: int, n_deals: int = N_DEALS) -> Grounds:
    """Work out of the profiles what the statements need.

    Args:
        task: the pairs that the profiles are of.
        evidence: complete; see `complete_evidence`.
        seed: of the groups of prompts; the k-th deal is of seed + k.
        n_deals: how often prompts are dealt into groups.
    """
    absent = dict(evidence.refused)
    absent |= {name: absent[one] for name, one in FROM.items() if one in absent}
    patch, deals = evidence.patch, []
    if patch is not None:
        for deal in range(n_deals):
            try:
                deals.append(deal_zones(task, patch, seed=seed + deal))
            except ValueError as refusal:  # an unlucky deal is no reason, all of them are
                absent.setdefault("zones", str(refusal))
    scaled = persistence = None
    if evidence.dose is not None:
        doses = norm_doses(evidence.dose)
        flips = evidence.dose.flip[[doses.index(factor) for factor in FACTORS]]
        scaled = at_all_depths(flips.double().mean(0), evidence.dose)
    elif evidence.contrasts is not None:
        scaled = evidence.contrasts.scaled
    if evidence.trajectory is not None:
        persistence = evidence.trajectory.persistence.double().numpy()
    return Grounds(
        task=task,
        units=task.units,
        n_prompts=len({*task.clean, *(task.corrupted or ())}),
        patch=patch,
        zones=deals[0] if deals else None,
        deals=tuple(deals),
        geometry=None if evidence.reading is None else geometry_of(evidence.reading),
        ablation=evidence.ablation,
        scaled=scaled,
        steering=evidence.steering,
        locality=evidence.locality,
        persistence=persistence,
        contrasts=evidence.contrasts,
        seed=seed,
        absent=absent,
    )


def geometry_of(reading: Reading) -> Geometry:
    """What the claims read off the clean prompts' states."""
    states, read = reading.states.cpu(), reading.per_prompt
    return Geometry(
        states=states,
        log_probs=reading.log_probs.cpu(),
        norm=read["norm"].double().cpu().numpy().T,
        similarity=mean_cosine(states),
        curvature=read["curvature"].double().cpu().numpy().T,
    )
