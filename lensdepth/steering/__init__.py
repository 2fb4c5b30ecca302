"""Steering by label: at the input (alpha -> alpha') against at the output (gamma -> gamma').

`labels` says which label each prompt has at each position and splits the pairs into folds,
`centroids` takes the means of states by label on the prompts outside a fold, and `sweep` adds
their differences at every depth.
"""

from lensdepth.steering.profile import SteeringProfile
from lensdepth.steering.sweep import steering_sweep

__all__ = ["SteeringProfile", "steering_sweep"]
