"""What the claims read off the clean prompts' last states, in numbers by pair."""

from dataclasses import dataclass

from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor


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


def mean_cosine(states: Float[Tensor, "depth pair d_model"]) -> Float[Array, "pair depth"]:
    """Mean cosine of each state with the others at its depth; NaN where there is a zero state."""
    unit = states.double()
    unit = unit / unit.norm(dim=-1, keepdim=True)
    total = unit.sum(1, keepdim=True)
    others = ((unit * total).sum(-1) - 1) / (states.shape[1] - 1)
    return others.T.numpy()
