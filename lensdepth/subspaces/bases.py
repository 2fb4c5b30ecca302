"""Bases of subspaces, from vectors or from chance: pure functions of tensors."""

import torch
from jaxtyping import Float
from torch import Tensor

RANK = 1e-6
"""Singular values smaller than this part of the largest are rounding."""


def leading(vectors: Float[Tensor, "sample d_model"]) -> Float[Tensor, "d_model k"]:
    """Orthonormal directions that hold most of some vectors, the largest part first.

    Their principal components about the origin and not about their mean: what all differences have
    in common is moved too. As many as the vectors span; none where they are all zero.
    """
    _, sizes, rows = torch.linalg.svd(vectors.double(), full_matrices=False)
    rank = int((sizes > RANK * sizes[:1]).sum()) if sizes.any() else 0
    return rows[:rank].T.float()


def random_basis(d_model: int, k: int, *, seed: int) -> Float[Tensor, "d_model k"]:
    """Orthonormal directions drawn uniformly; the first ones are those of any smaller k."""
    generator = torch.Generator().manual_seed(seed)
    # One by one, so that more of them do not change the first.
    drawn = [torch.randn(d_model, generator=generator, dtype=torch.float64) for _ in range(k)]
    columns = torch.stack(drawn, dim=1) if drawn else torch.zeros(d_model, 0, dtype=torch.float64)
    return torch.linalg.qr(columns)[0].float()


def part_within(
    basis: Float[Tensor, "d_model k"], vectors: Float[Tensor, "*shape d_model"]
) -> Float[Tensor, "*shape d_model"]:
    """What of vectors lies in a subspace."""
    return vectors @ basis @ basis.T
