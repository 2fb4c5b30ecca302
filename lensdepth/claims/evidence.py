"""Everything that the claims are judged on, each measured once, in numbers by pair."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import metrics
from lensdepth.ablation import AblationProfile, DoseProfile, ablation_sweep, dose_response
from lensdepth.claims.estimate import sharing
from lensdepth.claims.zones import Zones, deal_groups, find_zones
from lensdepth.geometry.reading import read_prompts
from lensdepth.locality import LocalityProfile, compare_local_global, trajectory_response
from lensdepth.model import DepthModel
from lensdepth.patching import PatchProfile, patch_sweep
from lensdepth.steering import SteeringProfile, steering_sweep
from lensdepth.tasks import Task

T = TypeVar("T")
STAGES = ("patching", "geometry", "ablation", "norms", "steering", "local and global", "trajectory")
FACTORS = (0.5, 2.0)
"""Of the norm: far beyond what a swap between prompts does to it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """The clean prompts' last tokens, depth by depth."""

    states: Float[Tensor, "depth pair d_model"]
    log_probs: Float[Tensor, "pair d_vocab"]
    """The model's own predictions."""
    norm: Float[Array, "pair depth"]
    similarity: Float[Array, "pair depth"]
    """Mean cosine with the states of the other prompts."""
    curvature: Float[Array, "pair depth"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What was measured; what could not be is None, with a reason."""

    task: Task
    share: Bool[Array, "pair pair"]
    n_prompts: int
    patch: PatchProfile | None
    zones: Zones | None
    geometry: Geometry | None
    ablation: AblationProfile | None
    scaled: DoseProfile | None
    """Norms halved and doubled."""
    steering: SteeringProfile | None
    locality: LocalityProfile | None
    persistence: Float[Array, "pair block"] | None
    absent: dict[str, str] = field(default_factory=dict)
    """Name of a field -> why it is None."""


def reason_of(refusal: ValueError) -> str:
    """Why a function refused, as a part of a sentence: without its name and the full stop."""
    return str(refusal).split(": ", 1)[-1].removesuffix(".")


def gather_evidence(
    model: DepthModel,
    task: Task,
    *,
    seed: int,
    batch_size: int | None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Evidence:
    """Run the sweeps by their public functions.

    Args:
        model: any wrapped model.
        task: pairs with input positions.
        seed: of the groups and of the sweeps' controls.
        batch_size: prompts in one forward pass.
        progress: told the name of each stage before it runs.
    """
    assert task.corrupted is not None
    absent: dict[str, str] = {}

    def willing(name: str, stage: str, run: Callable[[], T]) -> T | None:
        """A sweep may refuse these prompts; then its claims are not judged, and this is why."""
        progress(stage)
        try:
            return run()
        except ValueError as refusal:
            absent[name] = reason_of(refusal)
            return None

    patch = willing(
        "patch",
        "patching",
        lambda: patch_sweep(model, task, positions=("input", "prediction"), seed=seed),
    )
    zones = None
    if patch is not None:
        first, second = (patch.efficacy(name).double().numpy() for name in patch.positions)
        group = deal_groups(task.clean, task.corrupted, seed=seed)
        try:
            zones = find_zones(first, second, group)
        except ValueError as refusal:
            absent["zones"] = str(refusal)
    geometry = willing(
        "geometry", "geometry", lambda: _read_geometry(model, task, batch_size=batch_size)
    )
    ablation = willing("ablation", "ablation", lambda: ablation_sweep(model, task, seed=seed))
    scaled = willing(
        "scaled",
        "norms",
        lambda: dose_response(model, task, angles=(), factors=FACTORS, seed=seed),
    )
    steering = willing(
        "steering", "steering", lambda: steering_sweep(model, task, scopes=("local",), seed=seed)
    )
    locality = willing(
        "locality",
        "local and global",
        lambda: compare_local_global(model, task, stream="attn_out"),
    )
    progress("trajectory")
    persistence = None
    if locality is not None:
        followed = trajectory_response(model, task, stream="attn_out", seed=seed)
        persistence = followed.persistence.double().numpy()
    return Evidence(
        task=task,
        share=sharing(task.clean, task.corrupted),
        n_prompts=len({*task.clean, *task.corrupted}),
        patch=patch,
        zones=zones,
        geometry=geometry,
        ablation=ablation,
        scaled=scaled,
        steering=steering,
        locality=locality,
        persistence=persistence,
        absent=absent,
    )


def _read_geometry(model: DepthModel, task: Task, *, batch_size: int | None) -> Geometry:
    batch = task.clean_tokens
    reading = read_prompts(
        model, batch, batch.last, torch.arange(len(batch)), include_first=False,
        batch_size=batch_size,
    )  # fmt: skip
    states, read = reading.states.cpu(), reading.per_prompt
    return Geometry(
        states=states,
        log_probs=metrics.log_probs(model.readout(states[-1].to(model.device))).cpu(),
        norm=read["norm"].double().cpu().numpy().T,
        similarity=_similarity(states),
        curvature=read["curvature"].double().cpu().numpy().T,
    )


def _similarity(states: Float[Tensor, "depth pair d_model"]) -> Float[Array, "pair depth"]:
    """Mean cosine of each state with the others at its depth; NaN where there is a zero state."""
    unit = states.double()
    unit = unit / unit.norm(dim=-1, keepdim=True)
    total = unit.sum(1, keepdim=True)
    others = ((unit * total).sum(-1) - 1) / (states.shape[1] - 1)
    return others.T.numpy()


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
