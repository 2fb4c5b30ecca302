"""The public names: this list is the only one, and `__init__.py` imports them when first used."""

# Sorted by hand: ruff would write an import for every name.
# ruff: isort: skip_file

from . import polar as polar
from .ablation import (
    AblationProfile as AblationProfile,
    DecodingProfile as DecodingProfile,
    DoseProfile as DoseProfile,
    ablation_sweep as ablation_sweep,
    decode_parts as decode_parts,
    dose_response as dose_response,
)
from .applied import VectorResponse as VectorResponse, vector_response as vector_response
from .captures import Capture as Capture, capture as capture
from .chat import as_chat as as_chat
from .circuit import (
    AttentionPatterns as AttentionPatterns,
    AttributionProfile as AttributionProfile,
    CircuitGraph as CircuitGraph,
    CircuitResult as CircuitResult,
    Component as Component,
    attention_patterns as attention_patterns,
    attribute_logits as attribute_logits,
    circuit_graph as circuit_graph,
    graph_faithfulness as graph_faithfulness,
    parse_component as parse_component,
    patch_components as patch_components,
    patch_edge as patch_edge,
)
from .claims import (
    ClaimTable as ClaimTable,
    Condition as Condition,
    DepthComparison as DepthComparison,
    Evidence as Evidence,
    Hypothesis as Hypothesis,
    HypothesisTable as HypothesisTable,
    Readiness as Readiness,
    check_readiness as check_readiness,
    compare_depths as compare_depths,
    compare_models as compare_models,
    complete_evidence as complete_evidence,
    evaluate_claims as evaluate_claims,
    evaluate_hypotheses as evaluate_hypotheses,
    load_hypotheses as load_hypotheses,
    prompts_needed as prompts_needed,
)
from .confidence import (
    ConfidenceProfile as ConfidenceProfile,
    confidence_response as confidence_response,
)
from .continuation import (
    ContinuationDose as ContinuationDose,
    GenerationProfile as GenerationProfile,
    continuation_dose as continuation_dose,
    generation_profile as generation_profile,
)
from .dynamics import TrainingDynamics as TrainingDynamics, training_dynamics as training_dynamics
from .edits import EDITS as EDITS
from .gap import find_holder as find_holder
from .geometry import (
    GeometryProfile as GeometryProfile,
    captured_geometry as captured_geometry,
    geometry_profile as geometry_profile,
)
from .hooks import SiteEdit as SiteEdit
from .intervention import (
    Intervention as Intervention,
    intervene as intervene,
    map_positions as map_positions,
)
from .landmarks import (
    LandmarkComparison as LandmarkComparison,
    Landmarks as Landmarks,
    compare_landmarks as compare_landmarks,
    find_landmarks as find_landmarks,
)
from .lens import (
    LensComparison as LensComparison,
    LensProfile as LensProfile,
    TunedLens as TunedLens,
    captured_lens as captured_lens,
    compare_lenses as compare_lenses,
    fit_tuned_lens as fit_tuned_lens,
    load_jacobian_lens as load_jacobian_lens,
    load_tuned_lens as load_tuned_lens,
    logit_lens as logit_lens,
)
from .loading import load_model as load_model
from .locality import (
    DepthChoice as DepthChoice,
    LocalityProfile as LocalityProfile,
    ShapleyProfile as ShapleyProfile,
    TrajectoryProfile as TrajectoryProfile,
    TransferProfile as TransferProfile,
    choose_depths as choose_depths,
    compare_local_global as compare_local_global,
    shapley_depths as shapley_depths,
    trajectory_response as trajectory_response,
    transfer_matrix as transfer_matrix,
)
from .mistakes import MistakeProfile as MistakeProfile, compare_mistakes as compare_mistakes
from .model import DepthModel as DepthModel
from .pairs import PairTable as PairTable, pair_table as pair_table
from .parting import RunComparison as RunComparison, compare_runs as compare_runs
from .patching import (
    PatchProfile as PatchProfile,
    WindowProfile as WindowProfile,
    patch_sweep as patch_sweep,
    patch_windows as patch_windows,
    text_span as text_span,
)
from .provenance import ModelInfo as ModelInfo, Provenance as Provenance
from .replay import replay_measure as replay_measure
from .report import (
    Report as Report,
    ReportPlan as ReportPlan,
    build_report as build_report,
    compare_reports as compare_reports,
    plan_report as plan_report,
    write_figures as write_figures,
)
from .residual import ResidualStream as ResidualStream
from .saved import load as load
from .scale import Sweep as Sweep, run_sweep as run_sweep
from .site import (
    Site as Site,
    depth_hook as depth_hook,
    site_hook as site_hook,
)
from .steering import (
    SteeringProfile as SteeringProfile,
    SteeringVector as SteeringVector,
    apply_vector as apply_vector,
    centroid_vector as centroid_vector,
    difference_vector as difference_vector,
    from_layer_activations as from_layer_activations,
    load_repeng_vector as load_repeng_vector,
    steering_sweep as steering_sweep,
    steering_vector as steering_vector,
)
from .subspaces import SubspaceProfile as SubspaceProfile, subspace_sweep as subspace_sweep
from .sweep.readings import METRICS as METRICS
from .tasks import (
    Pair as Pair,
    Task as Task,
    list_tasks as list_tasks,
    load_task as load_task,
    pair_task as pair_task,
)
from .transition import (
    ChangePoint as ChangePoint,
    Commitment as Commitment,
    Crossing as Crossing,
    OrderComparison as OrderComparison,
    Transition as Transition,
    WidthComparison as WidthComparison,
    compare_definitions as compare_definitions,
    compare_order as compare_order,
    compare_widths as compare_widths,
    find_change_point as find_change_point,
    find_commitment as find_commitment,
    find_crossing as find_crossing,
    find_steering_crossing as find_steering_crossing,
    find_transition as find_transition,
)

__all__: list[str]
__version__: str
from .until import LocatedCrossing as LocatedCrossing, locate_crossing as locate_crossing
