"""Steering by label: at the input (alpha -> alpha') against at the output (gamma -> gamma').

`labels` says which label each prompt has at each position and splits the pairs into folds,
`centroids` takes the means of states by label on the prompts outside a fold, and `sweep` adds
their differences at every depth. `vector` is an edit to be saved and applied elsewhere, `made`
makes one, `foreign` reads and writes those of other packages.
"""

from lensdepth.steering.foreign import from_layer_activations, load_repeng_vector
from lensdepth.steering.made import centroid_vector, difference_vector, steering_vector
from lensdepth.steering.profile import SteeringProfile
from lensdepth.steering.sweep import steering_sweep
from lensdepth.steering.vector import SteeringVector, apply_vector

__all__ = [
    "SteeringProfile",
    "SteeringVector",
    "apply_vector",
    "centroid_vector",
    "difference_vector",
    "from_layer_activations",
    "load_repeng_vector",
    "steering_sweep",
    "steering_vector",
]
