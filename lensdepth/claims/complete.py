"""Measure what the evidence lacks."""

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from typing import Any

from lensdepth.ablation.sweep import ablation_sweep
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.contrasts import contrast_sweep
from lensdepth.claims.evidence import (
    N_FOLDS,
    PROFILES,
    STREAM,
    Evidence,
    found_depths,
    late_depths,
    reason_of,
)
from lensdepth.geometry.reading import read_states
from lensdepth.locality.compare import compare_local_global
from lensdepth.locality.trajectory import trajectory_response
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.progress import one_by_one
from lensdepth.steering.sweep import steering_sweep
from lensdepth.sweep.adaptive import Depths
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs
from lensdepth.tasks.task import Task

TWIN_CONTROLS = 24
"""Pairs that a twin's controls are run on: its numbers are one draw among several."""
READ_EDITS = {
    "ablation": ("direction", "norm", "random_direction"),
    "steering": ("full", "shuffled"),
}
"""By sweep, the edits and controls that statements read (`measures`)."""


@checked
@bounded
def complete_evidence(
    model: DepthModel,
    task: Task,
    evidence: Evidence | None = None,
    *,
    depths: Depths = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
    lean: bool = False,
    profiles: Collection[str] = PROFILES,
) -> Evidence:
    """Run the sweeps that are absent by their public functions.

    A sweep may refuse these prompts: then its claims are not judged, and `refused` says why.

    Args:
        model: any wrapped model.
        task: pairs with input positions.
        evidence: what has been measured on them already; see `check_evidence`.
        depths: of a patch that is run here, see `patch_sweep`; the other sweeps of whole states
            are at the depths that it found.
        control_pairs: pairs that their controls are run on; `"all"` of them.
        seed: of the sweeps' controls.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
        lean: run what statements need alone: success and the logit difference, no controls of
            patches, of ablations and steering the edits and controls that they read, ablations at
            late depths. What comes out serves no other purpose.
        profiles: which of them; all by default.
    """
    known = Evidence() if evidence is None else evidence
    positions = ("input", "prediction")
    also: dict[str, Any] = {"also": ("success",)} if lean else {}
    read: dict[str, dict[str, Any]] = {
        name: {**also, "control_pairs": control_pairs, "edits": edits if lean else None}
        for name, edits in READ_EDITS.items()
    }
    read["patch"] = {**also, "controls": ()} if lean else {"control_pairs": control_pairs}
    found: dict[str, Any] = {}

    def at() -> Depths:
        """Depths of all sweeps after the patch, which is the first."""
        return found_depths(replace(known, **found)) or "all"

    @cache
    def late() -> list[int] | None:
        """Of these, the late ones, where alone C5 and C6 look."""
        return late_depths(replace(known, **found), task, seed=seed)

    runs: dict[str, Callable[[], Any]] = {
        "patch": lambda: patch_sweep(
            model, task, depths=depths, positions=positions, seed=seed, **read["patch"]
        ),
        "reading": lambda: read_states(model, task, batch_size=batch_size),
        "ablation": lambda: ablation_sweep(
            model, task, depths=(lean and late()) or at(), seed=seed, **read["ablation"]
        ),
        "steering": lambda: steering_sweep(
            model,
            task,
            depths=at(),
            scopes=("local",),
            n_folds=N_FOLDS,
            seed=seed,
            **read["steering"],
        ),
        "locality": lambda: compare_local_global(model, task, stream=STREAM),
        "trajectory": lambda: trajectory_response(model, task, stream=STREAM, seed=seed),
        "contrasts": lambda: contrast_sweep(model, task, depths=late(), seed=seed),
    }
    # The contrasts have what the claims read of doses.
    unasked = ({*PROFILES} - {*profiles}) | {"dose"}
    refused = dict.fromkeys(sorted(unasked), "it is not asked for") | {**known.refused}
    if "locality" in refused:
        refused.setdefault("trajectory", refused["locality"])
    absent = [name for name in PROFILES if name not in known.profiles and name not in refused]
    for name in one_by_one(absent, "claims"):
        try:
            found[name] = runs[name]()
        except ValueError as refusal:
            refused[name] = reason_of(refusal)
    return replace(known, **found, refused=refused)
