"""Directions that the unembedding reads least: a write there lengthens the state, and little else.

A write there changes hardly any logit by itself; it makes the state longer, so that the final norm
divides all logits by more. Neurons that do so were named entropy neurons.

Source: Stolfo et al. 2024, "Confidence Regulation Neurons in Language Models", arXiv 2406.16254,
    where the effective null space is that of a fixed number of least singular directions (40 of
    4096 in LLaMA2 7B). Here it is as large a share of any model's directions, and how little it is
    read is a number of its own (`gain`): a null space in earnest is seldom there.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.circuit.frozen import final_norm
from lensdepth.model import DepthModel

SHARE_OF_DIRECTIONS = 0.01
"""Least singular directions that are taken, as a share of d_model, rounded up."""
ROWS = 8192
"""Rows of the unembedding that are widened at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NullSpace:
    """Directions of a last state that probabilities depend on least, but for the norm."""

    basis: Float[Tensor, "d_model null"]
    """Orthonormal columns, float64, least read first."""
    centred: bool
    """Whether the final norm subtracts the mean first: the direction of that is no part of a state
    as the norm sees it, and neither in the null space nor outside."""
    gain: float
    """Root mean square singular value of these directions over that of all: 0 where they are not
    read at all, 1 where they are read as any."""

    @property
    def dim(self) -> int:
        return self.basis.shape[1]

    @property
    def expected(self) -> float:
        """Share of a random vector's squared length that lies in it, on average."""
        return self.dim / (self.basis.shape[0] - self.centred)

    def part(self, writes: Float[Tensor, "*shape d_model"]) -> Float[Tensor, "*shape d_model"]:
        """What of each write lies in it, float64."""
        return (writes.double() @ self.basis) @ self.basis.T

    def share(self, writes: Float[Tensor, "*shape d_model"]) -> Float[Tensor, "*shape"]:
        """Share of the squared length of each write that lies in it; NaN where nothing is written.

        Of centred writes where the norm centres.
        """
        wide = writes.double()
        wide = wide - wide.mean(-1, keepdim=True) if self.centred else wide
        whole = wide.square().sum(-1)
        inside = (wide @ self.basis).square().sum(-1)
        return torch.where(whole > 0, inside / whole, torch.nan).float()


def default_dims(d_model: int) -> int:
    """Directions that are taken where nobody says how many."""
    return math.ceil(SHARE_OF_DIRECTIONS * d_model)


def null_space_of(
    unembedding: Float[Tensor, "d_vocab d_model"],
    weight: Float[Tensor, " d_model"],
    n_dims: int,
    *,
    centred: bool = False,
    capped: bool = False,
) -> NullSpace:
    """The least read directions of an unembedding behind a norm's weight.

    What shifts all logits alike changes no probability, so that the mean row is subtracted from
    all; but for logits that are capped, where it does.

    Args:
        unembedding: a row a token.
        weight: of the final norm.
        n_dims: how many directions.
        centred: whether that norm subtracts the mean.
        capped: whether logits are bent before the softmax.
    """
    d_model = unembedding.shape[1]
    gram = read_gram(unembedding, weight, centred=centred, capped=capped)
    mean_square = float(gram.trace()) / (d_model - centred)
    if centred:
        # Rather the most read than the least: the mean's own direction is not to be taken.
        gram += float(gram.trace()) / d_model
    squares, vectors = torch.linalg.eigh(gram)
    least = squares[:n_dims].clamp(min=0).mean()
    return NullSpace(
        basis=vectors[:, :n_dims],
        centred=centred,
        gain=math.sqrt(float(least) / mean_square) if mean_square else math.nan,
    )


def read_gram(
    unembedding: Float[Tensor, "d_vocab d_model"],
    weight: Float[Tensor, " d_model"],
    *,
    centred: bool,
    capped: bool,
) -> Float[Tensor, "d_model d_model"]:
    """Inner products of the columns that read a state: the mean row off, but for capped logits.

    Its eigenvectors are the right singular directions, its eigenvalues their squared singular
    values. By this matrix, since the widened unembedding of a large vocabulary is large.
    """
    d_vocab, d_model = unembedding.shape
    gram = torch.zeros(d_model, d_model, dtype=torch.float64)
    total = torch.zeros(d_model, dtype=torch.float64)
    for rows in unembedding.detach().split(ROWS):
        seen = rows.cpu().double() * weight
        seen = seen - seen.mean(-1, keepdim=True) if centred else seen
        gram += seen.T @ seen
        total += seen.sum(0)
    return gram if capped else gram - torch.outer(total, total) / d_vocab


def null_space(model: DepthModel, n_dims: int | None = None) -> NullSpace | None:
    """That of a model; None where its logits come from no plain matrix."""
    if not model.passes.unembeds_by_matrix:
        return None
    norm = final_norm(model, torch.eye(model.d_model, dtype=torch.float64)[:1])
    matrix, _ = model.unembedding()
    n_dims = default_dims(model.d_model) if n_dims is None else n_dims
    return null_space_of(
        matrix, norm.weight, n_dims, centred=norm.centred, capped=is_capped(model, len(matrix))
    )


def is_capped(model: DepthModel, d_vocab: int) -> bool:
    """Whether logits that are shifted alike are not, after all, shifted alike."""
    logits = torch.linspace(-20, 20, d_vocab, device=model.device, dtype=torch.float32)[None]
    shift = model.passes.after_unembedding(logits + 20) - model.passes.after_unembedding(logits)
    return bool(shift.max() - shift.min() > 1e-3 * shift.abs().max())
