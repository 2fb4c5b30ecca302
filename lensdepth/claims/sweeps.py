"""The sweeps that hypotheses need, each run once, and what a condition reads of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.ablation.profile import AblationProfile
from lensdepth.ablation.sweep import ablation_sweep
from lensdepth.claims.evidence import Evidence
from lensdepth.claims.hypothesis import MAIN_METRIC, Condition, Hypothesis, InterventionKind
from lensdepth.model import DepthModel
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import patch_sweep
from lensdepth.site import Stream
from lensdepth.steering.labels import steered
from lensdepth.steering.profile import SteeringProfile
from lensdepth.steering.sweep import steering_sweep
from lensdepth.sweep.choices import Scope
from lensdepth.sweep.roles import POSITION_NAMES, PositionName
from lensdepth.tasks.task import Task

SweepProfile = AblationProfile | PatchProfile | SteeringProfile


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One call of a public sweep, at all depths."""

    kind: InterventionKind
    positions: tuple[str, ...]
    scopes: tuple[Scope, ...] = ("local",)
    stream: Stream = "resid_pre"
    edit: str = ""
    """Of a patch; the other sweeps make every edit."""

    def covers(self, condition: Condition) -> bool:
        """Whether the condition can be read off it."""
        return (
            self.kind == condition.intervention
            and condition.position in self.positions
            and condition.scope in self.scopes
            and condition.stream == self.stream
            and self.edit in ("", condition.edit)
        )


def conditions(one: Hypothesis) -> list[Condition]:
    """Those that something is done in."""
    return [condition for condition in (one.first, one.second) if condition is not None]


ZONES = tuple(Condition(intervention="patch", position=name) for name in POSITION_NAMES)
"""What early and late depths are found by."""


def needed_sweeps(hypotheses: Sequence[Hypothesis], known: Iterable[Sweep] = ()) -> list[Sweep]:
    """The sweeps that are not known yet; no edit stands in two of them.

    Positions of a patch go together, scopes of one position too, and positions that are ablated in
    the same scopes. Positions are steered one by one: the folds of the prompts, which centroids are
    taken over, depend on the labels at all positions of a sweep.
    """
    asked = [condition for one in hypotheses for condition in conditions(one)]
    if any(one.depths in ("early", "late") for one in hypotheses):
        asked += ZONES
    known = list(known)
    scopes: dict[tuple[InterventionKind, Stream, str, str], set[Scope]] = {}
    for one in asked:
        if not any(sweep.covers(one) for sweep in known):
            edit = one.edit if one.intervention == "patch" else ""
            at = one.intervention, one.stream, edit, one.position
            scopes.setdefault(at, set()).add(one.scope)
    positions: dict[tuple[Any, ...], list[str]] = {}
    for (kind, stream, edit, position), found in scopes.items():
        ordered = tuple(scope for scope in get_args(Scope) if scope in found)
        alone = position if kind == "steer" else ""
        positions.setdefault((kind, stream, edit, ordered, alone), []).append(position)
    return [
        Sweep(kind=kind, stream=stream, edit=edit, scopes=ordered, positions=tuple(names))
        for (kind, stream, edit, ordered, _), names in positions.items()
    ]


def asked_metrics(hypotheses: Sequence[Hypothesis]) -> tuple[str, ...]:
    """What sweeps read besides the logit difference; success, by which early and late are found."""
    own = {one.metric: None for one in hypotheses if one.metric not in ("transferred", MAIN_METRIC)}
    return tuple({"success": None, **own})


def run_public(
    model: DepthModel, task: Task, sweep: Sweep, *, also: Sequence[str], seed: int
) -> SweepProfile:
    """One sweep by its public function, at all depths."""
    given: dict[str, Any] = {"positions": sweep.positions, "also": also, "seed": seed}
    if sweep.kind == "patch":
        return patch_sweep(
            model, task, stream=sweep.stream, edit=sweep.edit, controls=(), depths="all", **given
        )
    given["scopes"] = sweep.scopes
    if sweep.kind == "ablate":
        return ablation_sweep(model, task, **given)
    return steering_sweep(model, task, **given)


def sweeps_of(evidence: Evidence, also: Sequence[str]) -> dict[Sweep, SweepProfile]:
    """What the evidence of the claims holds for hypotheses on the same task, with these metrics.

    Not its steering, of two positions at once: see `needed_sweeps`.
    """
    found: dict[Sweep, SweepProfile] = {}
    patch, ablation = evidence.patch, evidence.ablation
    read = {MAIN_METRIC, *also}
    if patch is not None and patch.metric == MAIN_METRIC and read <= {*patch.metrics}:
        found[Sweep(kind="patch", positions=patch.positions, edit=patch.edit)] = patch
    if ablation is not None and read <= {*ablation.outcome.metrics}:
        scopes: Any = ablation.scopes
        found[Sweep(kind="ablate", positions=ablation.positions, scopes=scopes)] = ablation
    return found


def profile_of(condition: Condition, profiles: dict[Sweep, SweepProfile]) -> SweepProfile:
    """The profile that a condition is read off."""
    return next(profile for sweep, profile in profiles.items() if sweep.covers(condition))


def effects_of(
    condition: Condition, metric: str, profile: SweepProfile
) -> Float[Array, "pair depth"]:
    """Effects by pair; of `transferred`, changes of the logit difference in nats."""
    outcome = profile.outcome
    effect = outcome.effect(MAIN_METRIC if metric == "transferred" else metric)
    labels: dict[str, Any] = {"position": condition.position}
    if isinstance(profile, PatchProfile):
        labels |= {"control": None, "head": None}  # the first of each
    else:
        labels |= {"edit": condition.edit, "scope": condition.scope}
    return outcome.pick(effect, owner="hypothesis", **labels).double().numpy()


def whole_difference(profile: SweepProfile) -> Float[Array, " pair"]:
    """Logit difference of the source run less the base run's, in nats."""
    if isinstance(profile, PatchProfile):
        i = profile.metrics.index(MAIN_METRIC)
        return (profile.source_values - profile.base_values)[i].double().numpy()
    return (profile.source_logit_diff - profile.base_logit_diff).double().numpy()


def by_pair(
    values: Float[Array, "row *shape"], profile: SweepProfile, task: Task
) -> Float[Array, "pair *shape"]:
    """A row for every pair of the task; NaN for those that steering left out."""
    if len(values) == len(task) or not isinstance(profile, SteeringProfile):
        return values
    every = np.full((len(task), *values.shape[1:]), np.nan)
    names: list[PositionName] = [name for name in POSITION_NAMES if name in profile.positions]
    every[steered(task, names).numpy()] = values
    return every
