"""Local against global: what one depth does alone, and within the whole trajectory (claim C7)."""

from lensdepth.locality.compare import LocalityProfile, compare_local_global
from lensdepth.locality.shapley import ShapleyProfile, shapley_depths
from lensdepth.locality.trajectory import TrajectoryProfile, trajectory_response
from lensdepth.locality.transfer import TransferProfile, transfer_matrix

__all__ = [
    "LocalityProfile",
    "ShapleyProfile",
    "TrajectoryProfile",
    "TransferProfile",
    "compare_local_global",
    "shapley_depths",
    "trajectory_response",
    "transfer_matrix",
]
