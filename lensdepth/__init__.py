"""Where in its depth a language model stops reading its context and forms its prediction.

>>> from lensdepth import load_model, load_task, patch_sweep, find_crossing
>>> model = load_model("calendar")
>>> find_crossing(patch_sweep(model, load_task("months", model))).depth

Names are imported when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensdepth.ablation import (
        AblationProfile,
        DecodingProfile,
        DoseProfile,
        ablation_sweep,
        decode_parts,
        dose_response,
    )
    from lensdepth.circuit import (
        AttentionPatterns,
        AttributionProfile,
        CircuitResult,
        Component,
        attention_patterns,
        attribute_logits,
        parse_component,
        patch_components,
    )
    from lensdepth.claims import (
        ClaimTable,
        Condition,
        Hypothesis,
        HypothesisTable,
        compare_models,
        evaluate_claims,
        evaluate_hypotheses,
        load_hypotheses,
        prompts_needed,
    )
    from lensdepth.geometry import GeometryProfile, geometry_profile
    from lensdepth.intervention import Intervention, intervene
    from lensdepth.lens import (
        LensProfile,
        TunedLens,
        fit_tuned_lens,
        load_jacobian_lens,
        load_tuned_lens,
        logit_lens,
    )
    from lensdepth.loading import load_model
    from lensdepth.locality import (
        LocalityProfile,
        ShapleyProfile,
        TrajectoryProfile,
        TransferProfile,
        compare_local_global,
        shapley_depths,
        trajectory_response,
        transfer_matrix,
    )
    from lensdepth.model import DepthModel
    from lensdepth.patching import PatchProfile, WindowProfile, patch_sweep, patch_windows
    from lensdepth.provenance import ModelInfo, Provenance
    from lensdepth.report import Report, build_report
    from lensdepth.residual import ResidualStream
    from lensdepth.saved import load
    from lensdepth.steering import SteeringProfile, steering_sweep
    from lensdepth.tasks import Pair, Task, list_tasks, load_task, pair_task
    from lensdepth.transition import (
        ChangePoint,
        Commitment,
        Crossing,
        Transition,
        compare_definitions,
        compare_widths,
        find_change_point,
        find_commitment,
        find_crossing,
        find_transition,
    )

__version__ = "0.1.0"

_HOME = {
    "AblationProfile": "ablation",
    "AttentionPatterns": "circuit",
    "AttributionProfile": "circuit",
    "ChangePoint": "transition",
    "CircuitResult": "circuit",
    "ClaimTable": "claims",
    "Commitment": "transition",
    "Component": "circuit",
    "Condition": "claims",
    "Crossing": "transition",
    "DecodingProfile": "ablation",
    "DepthModel": "model",
    "DoseProfile": "ablation",
    "GeometryProfile": "geometry",
    "Hypothesis": "claims",
    "HypothesisTable": "claims",
    "Intervention": "intervention",
    "LensProfile": "lens",
    "LocalityProfile": "locality",
    "ModelInfo": "provenance",
    "Pair": "tasks",
    "PatchProfile": "patching",
    "Provenance": "provenance",
    "Report": "report",
    "ResidualStream": "residual",
    "ShapleyProfile": "locality",
    "SteeringProfile": "steering",
    "Task": "tasks",
    "TrajectoryProfile": "locality",
    "TransferProfile": "locality",
    "Transition": "transition",
    "TunedLens": "lens",
    "WindowProfile": "patching",
    "ablation_sweep": "ablation",
    "attention_patterns": "circuit",
    "attribute_logits": "circuit",
    "build_report": "report",
    "compare_definitions": "transition",
    "compare_local_global": "locality",
    "compare_models": "claims",
    "compare_widths": "transition",
    "decode_parts": "ablation",
    "dose_response": "ablation",
    "evaluate_claims": "claims",
    "evaluate_hypotheses": "claims",
    "find_change_point": "transition",
    "find_commitment": "transition",
    "find_crossing": "transition",
    "find_transition": "transition",
    "fit_tuned_lens": "lens",
    "geometry_profile": "geometry",
    "intervene": "intervention",
    "list_tasks": "tasks",
    "load": "saved",
    "load_hypotheses": "claims",
    "load_jacobian_lens": "lens",
    "load_model": "loading",
    "load_task": "tasks",
    "load_tuned_lens": "lens",
    "logit_lens": "lens",
    "pair_task": "tasks",
    "parse_component": "circuit",
    "patch_components": "circuit",
    "patch_sweep": "patching",
    "patch_windows": "patching",
    "prompts_needed": "claims",
    "shapley_depths": "locality",
    "steering_sweep": "steering",
    "trajectory_response": "locality",
    "transfer_matrix": "locality",
}
"""Public name -> module that defines it."""

__all__ = [
    "AblationProfile", "AttentionPatterns", "AttributionProfile", "ChangePoint", "CircuitResult",
    "ClaimTable", "Commitment", "Component", "Condition", "Crossing", "DecodingProfile",
    "DepthModel", "DoseProfile", "GeometryProfile", "Hypothesis", "HypothesisTable", "Intervention",
    "LensProfile", "LocalityProfile", "ModelInfo", "Pair", "PatchProfile", "Provenance", "Report",
    "ResidualStream", "ShapleyProfile", "SteeringProfile", "Task", "TrajectoryProfile",
    "TransferProfile", "Transition", "TunedLens", "WindowProfile", "ablation_sweep",
    "attention_patterns", "attribute_logits", "build_report", "compare_definitions",
    "compare_local_global", "compare_models", "compare_widths", "decode_parts", "dose_response",
    "evaluate_claims", "evaluate_hypotheses", "find_change_point", "find_commitment",
    "find_crossing", "find_transition", "fit_tuned_lens", "geometry_profile", "intervene",
    "list_tasks", "load", "load_hypotheses", "load_jacobian_lens", "load_model", "load_task",
    "load_tuned_lens", "logit_lens", "pair_task", "parse_component", "patch_components",
    "patch_sweep", "patch_windows", "prompts_needed", "shapley_depths", "steering_sweep",
    "trajectory_response", "transfer_matrix",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"lensdepth.{_HOME[name]}"), name)
    raise AttributeError(f"module 'lensdepth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
