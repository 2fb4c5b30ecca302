"""Weights as numbers: whether they are finite, and a fingerprint of every bit of them."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from lensdepth.outside import shown


def check_finite(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        ValueError: it names the parameter and how many of its weights are wrong.
    """
    for key, weight in weights.items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            n_wrong = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f"load_model: {n_wrong} of {weight.numel()} weights of {shown(key)} in "
                f"{shown(name)} are NaN or infinite, in "
                f"{str(weight.dtype).removeprefix('torch.')}."
            )


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Sixteen hex digits over names, shapes, dtypes and every bit of the weights.

    The bytes of each weight tensor, taken as 64-bit integers, are summed with odd multipliers
    modulo 2^64: exact, the same on every device and in every order of summation. A change of one
    weight changes one integer, and an odd number times what it changed by is not 0 modulo 2^64.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name]
        digest.update(f"{name} {list(weight.shape)} {weight.dtype} {_sum_bits(weight)};".encode())
    return digest.hexdigest()[:16]


def _sum_bits(weight: Tensor, chunk: int = 1 << 22) -> int:
    if weight.numel() == 0:
        return 0
    raw = weight.detach().contiguous().view(-1).view(torch.uint8)
    total = 0
    for start in range(0, len(raw), 8 * chunk):
        part = raw[start : start + 8 * chunk]
        if len(part) % 8:
            part = functional.pad(part, (0, 8 - len(part) % 8))
        elif part.storage_offset() % 8:
            part = part.clone()  # integers must be aligned, slices of a file need not be
        lanes = part.view(torch.int64)
        first = start // 8
        odd = torch.arange(first, first + len(lanes), device=lanes.device) * 2 + 1
        total += int((lanes * odd).sum())  # int64 wraps, which is the modulus
    return total % (1 << 64)
