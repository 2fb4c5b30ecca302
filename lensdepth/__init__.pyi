"""The public names: this list is the only one, and `__init__.py` imports them when first used."""

from . import polar as polar
from .ablation import (
    AblationProfile as AblationProfile,
)
from .ablation import (
    DecodingProfile as DecodingProfile,
)
from .ablation import (
    DoseProfile as DoseProfile,
)
from .ablation import (
    ablation_sweep as ablation_sweep,
)
from .ablation import (
    decode_parts as decode_parts,
)
from .ablation import (
    dose_response as dose_response,
)
from .chat import (
    as_chat as as_chat,
)
from .circuit import (
    AttentionPatterns as AttentionPatterns,
)
from .circuit import (
    AttributionProfile as AttributionProfile,
)
from .circuit import (
    CircuitResult as CircuitResult,
)
from .circuit import (
    Component as Component,
)
from .circuit import (
    attention_patterns as attention_patterns,
)
from .circuit import (
    attribute_logits as attribute_logits,
)
from .circuit import (
    parse_component as parse_component,
)
from .circuit import (
    patch_components as patch_components,
)
from .claims import (
    ClaimTable as ClaimTable,
)
from .claims import (
    Condition as Condition,
)
from .claims import (
    Evidence as Evidence,
)
from .claims import (
    Hypothesis as Hypothesis,
)
from .claims import (
    HypothesisTable as HypothesisTable,
)
from .claims import (
    compare_models as compare_models,
)
from .claims import (
    complete_evidence as complete_evidence,
)
from .claims import (
    evaluate_claims as evaluate_claims,
)
from .claims import (
    evaluate_hypotheses as evaluate_hypotheses,
)
from .claims import (
    load_hypotheses as load_hypotheses,
)
from .claims import (
    prompts_needed as prompts_needed,
)
from .edits import (
    EDITS as EDITS,
)
from .gap import (
    find_holder as find_holder,
)
from .geometry import (
    GeometryProfile as GeometryProfile,
)
from .geometry import (
    geometry_profile as geometry_profile,
)
from .hooks import (
    SiteEdit as SiteEdit,
)
from .intervention import (
    Intervention as Intervention,
)
from .intervention import (
    intervene as intervene,
)
from .intervention import (
    map_positions as map_positions,
)
from .lens import (
    LensProfile as LensProfile,
)
from .lens import (
    TunedLens as TunedLens,
)
from .lens import (
    compare_lenses as compare_lenses,
)
from .lens import (
    fit_tuned_lens as fit_tuned_lens,
)
from .lens import (
    load_jacobian_lens as load_jacobian_lens,
)
from .lens import (
    load_tuned_lens as load_tuned_lens,
)
from .lens import (
    logit_lens as logit_lens,
)
from .loading import (
    load_model as load_model,
)
from .locality import (
    LocalityProfile as LocalityProfile,
)
from .locality import (
    ShapleyProfile as ShapleyProfile,
)
from .locality import (
    TrajectoryProfile as TrajectoryProfile,
)
from .locality import (
    TransferProfile as TransferProfile,
)
from .locality import (
    compare_local_global as compare_local_global,
)
from .locality import (
    shapley_depths as shapley_depths,
)
from .locality import (
    trajectory_response as trajectory_response,
)
from .locality import (
    transfer_matrix as transfer_matrix,
)
from .mistakes import (
    MistakeProfile as MistakeProfile,
)
from .mistakes import (
    compare_mistakes as compare_mistakes,
)
from .model import (
    DepthModel as DepthModel,
)
from .patching import (
    PatchProfile as PatchProfile,
)
from .patching import (
    WindowProfile as WindowProfile,
)
from .patching import (
    patch_sweep as patch_sweep,
)
from .patching import (
    patch_windows as patch_windows,
)
from .patching import (
    text_span as text_span,
)
from .provenance import (
    ModelInfo as ModelInfo,
)
from .provenance import (
    Provenance as Provenance,
)
from .replay import (
    replay_measure as replay_measure,
)
from .report import (
    Report as Report,
)
from .report import (
    build_report as build_report,
)
from .residual import (
    ResidualStream as ResidualStream,
)
from .saved import (
    load as load,
)
from .site import (
    Site as Site,
)
from .site import (
    depth_hook as depth_hook,
)
from .site import (
    site_hook as site_hook,
)
from .steering import (
    SteeringProfile as SteeringProfile,
)
from .steering import (
    steering_sweep as steering_sweep,
)
from .sweep.readings import (
    METRICS as METRICS,
)
from .tasks import (
    Pair as Pair,
)
from .tasks import (
    Task as Task,
)
from .tasks import (
    list_tasks as list_tasks,
)
from .tasks import (
    load_task as load_task,
)
from .tasks import (
    pair_task as pair_task,
)
from .transition import (
    ChangePoint as ChangePoint,
)
from .transition import (
    Commitment as Commitment,
)
from .transition import (
    Crossing as Crossing,
)
from .transition import (
    OrderComparison as OrderComparison,
)
from .transition import (
    Transition as Transition,
)
from .transition import (
    compare_definitions as compare_definitions,
)
from .transition import (
    compare_order as compare_order,
)
from .transition import (
    compare_widths as compare_widths,
)
from .transition import (
    find_change_point as find_change_point,
)
from .transition import (
    find_commitment as find_commitment,
)
from .transition import (
    find_crossing as find_crossing,
)
from .transition import (
    find_steering_crossing as find_steering_crossing,
)
from .transition import (
    find_transition as find_transition,
)

__all__: list[str]
__version__: str
