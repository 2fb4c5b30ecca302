"""Local against global: what one depth does alone, and within the whole trajectory (claim C7)."""

from lensdepth.locality.choice import choose_depths
from lensdepth.locality.choice_profile import DepthChoice
from lensdepth.locality.compare import compare_local_global
from lensdepth.locality.profile import LocalityProfile
from lensdepth.locality.shapley import ShapleyProfile, shapley_depths
from lensdepth.locality.trajectory import trajectory_response
from lensdepth.locality.trajectory_profile import TrajectoryProfile
from lensdepth.locality.transfer import TransferProfile, transfer_matrix

__all__ = [
    "DepthChoice",
    "LocalityProfile",
    "ShapleyProfile",
    "TrajectoryProfile",
    "TransferProfile",
    "choose_depths",
    "compare_local_global",
    "shapley_depths",
    "trajectory_response",
    "transfer_matrix",
]
