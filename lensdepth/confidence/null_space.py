"""How much of what MLPs write lies where the unembedding does not look.

A write into the null space of the unembedding changes no logit by itself; it makes the state
longer, so that the final norm divides all logits by more. Neurons that do so were named entropy
neurons. A null space is seldom exact: directions are taken to be in it whose singular value is a
small share of the others'.

Source: Stolfo et al. 2024, "Confidence Regulation Neurons in Language Models", arXiv 2406.16254,
    where single neurons are looked at and a fixed number of least singular directions is taken.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.circuit.frozen import final_norm
from lensdepth.model import DepthModel
from lensdepth.site import site_hook
from lensdepth.sweep.states import states_at
from lensdepth.tokens import TokenBatch

NULL_TOLERANCE = 0.05
"""Singular value, as a share of their root mean square, below which a direction is not read."""
ROWS = 8192
"""Rows of the unembedding that are widened at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NullSpace:
    """Directions of a last state that no logit depends on, but for the norm."""

    basis: Float[Tensor, "d_model null"]
    """Orthonormal columns, float64."""
    centred: bool
    """Whether the final norm subtracts the mean first: the direction of that is no part of a state
    as the norm sees it, and neither in the null space nor outside."""

    @property
    def dim(self) -> int:
        return self.basis.shape[1]

    @property
    def expected(self) -> float:
        """Share of a random vector's squared length that lies in it, on average."""
        return self.dim / (self.basis.shape[0] - self.centred)

    def share(self, writes: Float[Tensor, "*shape d_model"]) -> Float[Tensor, "*shape"]:
        """Share of the squared length of each write that lies in it; NaN where nothing is written.

        Of centred writes where the norm centres.
        """
        wide = writes.double()
        wide = wide - wide.mean(-1, keepdim=True) if self.centred else wide
        whole = wide.square().sum(-1)
        inside = (wide @ self.basis).square().sum(-1)
        return torch.where(whole > 0, inside / whole, torch.nan).float()


def null_space_of(
    unembedding: Float[Tensor, "d_vocab d_model"],
    weight: Float[Tensor, " d_model"],
    *,
    centred: bool = False,
    tolerance: float = NULL_TOLERANCE,
) -> NullSpace:
    """The null space of an unembedding behind a norm's weight.

    Args:
        unembedding: a row a token.
        weight: of the final norm.
        centred: whether that norm subtracts the mean.
        tolerance: singular value, as a share of their root mean square, below which a direction
            counts as unread.
    """
    d_model = unembedding.shape[1]
    # Singular values by the Gram matrix: the widened unembedding of a large vocabulary is large.
    gram = torch.zeros(d_model, d_model, dtype=torch.float64)
    for rows in unembedding.detach().split(ROWS):
        seen = rows.cpu().double() * weight
        seen = seen - seen.mean(-1, keepdim=True) if centred else seen
        gram += seen.T @ seen
    mean_square = gram.trace() / (d_model - centred)
    if centred:
        gram += mean_square / d_model  # so that the mean's own direction is not taken for unread
    squares, vectors = torch.linalg.eigh(gram)
    unread = squares < tolerance**2 * mean_square
    return NullSpace(basis=vectors[:, unread], centred=centred)


def null_space(model: DepthModel, tolerance: float = NULL_TOLERANCE) -> NullSpace | None:
    """That of a model; None where its logits come from no plain matrix."""
    if not model.passes.unembeds_by_matrix:
        return None
    norm = final_norm(model, torch.eye(model.d_model, dtype=torch.float64)[:1])
    matrix, _ = model.unembedding()
    return null_space_of(matrix, norm.weight, centred=norm.centred, tolerance=tolerance)


def null_shares(
    model: DepthModel, prompts: TokenBatch, space: NullSpace
) -> Float[Tensor, "pair layer"]:
    """Share of each MLP's write at the last token that lies in the null space."""
    hooks = [site_hook("mlp_out", layer) for layer in range(model.n_layers)]
    writes = states_at(model, prompts, hooks, [prompts.last[:, None]]).states[:, :, 0]
    return space.share(writes).T.contiguous()
