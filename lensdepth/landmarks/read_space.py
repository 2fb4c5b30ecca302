"""Directions that the unembedding reads most, and how much of a cloud's distances lies in them.

The unembedding of a language model has full rank as a rule, so that its row space is everything.
What can be asked is whether states differ where it looks most: in its leading right singular
directions, behind the final norm's weight and without the mean row, as many as carry a stated
share of its squared singular values.

It fails where a model writes predictions in directions of small singular values, and the leading
ones are those of frequent or rare tokens rather than of a task's answers; the share that is carried
is a choice, and another one may put the rise elsewhere.

Source: after Xu 2026, "Scale Determines Whether Language Models Organize Representation Geometry
    for Prediction", arXiv 2605.17084, who asks whether distances between states align with the
    readout's subspace more than with random ones of equal size (only the abstract could be read).
    Here that is the share of squared distances, and a random subspace's is its share of dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import polar
from lensdepth.circuit.frozen import final_norm
from lensdepth.confidence.null_space import is_capped, read_gram
from lensdepth.model import DepthModel

CARRIED = 0.5
"""Share of the squared singular values that the leading directions carry."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadSpace:
    """The directions of a last state that logits depend on most."""

    basis: Float[Tensor, "d_model read"]
    """Orthonormal columns, float64, most read first."""
    centred: bool
    """Whether the final norm subtracts the mean over coordinates."""

    @property
    def dim(self) -> int:
        return self.basis.shape[1]

    @property
    def expected(self) -> float:
        """What a random subspace of as many dimensions holds, on average."""
        return self.dim / (self.basis.shape[0] - self.centred)


def read_space(model: DepthModel, carried: float = CARRIED) -> ReadSpace | None:
    """That of a model; None where its logits come from no plain matrix.

    Args:
        model: any wrapped model.
        carried: share of the squared singular values.
    """
    if not model.passes.unembeds_by_matrix:
        return None
    norm = final_norm(model, torch.eye(model.d_model, dtype=torch.float64)[:1])
    matrix, _ = model.unembedding()
    capped = is_capped(model, len(matrix))
    gram = read_gram(matrix, norm.weight, centred=norm.centred, capped=capped)
    squares, vectors = torch.linalg.eigh(gram)
    squares = squares.flip(0).clamp(min=0)
    reached = squares.cumsum(0) >= carried * squares.sum()
    n = int(reached.float().argmax()) + 1
    return ReadSpace(basis=vectors.flip(1)[:, :n], centred=norm.centred)


def shares_read(
    states: Float[Tensor, "sample d_model"], space: ReadSpace, sets: Sequence[Int[Array, "_"]]
) -> Float[Array, " set"]:
    """Share of the squared distances between states that lies in the space, for each set of them.

    Of states of length 1, as the final norm makes their lengths one; NaN where they are the same.
    """
    wide = states.double()
    wide = wide - wide.mean(-1, keepdim=True) if space.centred else wide
    x = polar.direction(wide)
    x = x - x.mean(0)  # so that no large numbers are subtracted below
    members = torch.zeros(len(sets), len(x), dtype=torch.float64)
    for row, some in zip(members, sets, strict=True):
        row[torch.from_numpy(some)] = 1.0
    n = members.sum(1)

    def spread(z: Float[Tensor, "sample axis"]) -> Float[Tensor, " set"]:
        return members @ z.square().sum(1) - (members @ z).square().sum(1) / n

    whole = spread(x)
    same = whole <= polar.UNDEFINED**2 * n
    return torch.where(same, torch.nan, spread(x @ space.basis) / whole).numpy()
