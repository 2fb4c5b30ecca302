"""Numbers that are none: found where they arise, never compared.

A state beyond the range of its dtype becomes infinite, and NaN one block later; a comparison would
make of it the best or the worst of all values.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.outside import shown


class NotFinite(ValueError):
    """A run of a model gave NaN or infinite numbers.

    Args:
        message: one line for the user.
        row: which of the states, prompts or runs at hand is the first such one, if that is known.
    """

    def __init__(self, message: str, *, row: int = 0) -> None:
        super().__init__(message)
        self.row = row


def all_finite(x: Float[Tensor, "..."]) -> bool:
    """Whether no number is NaN or infinite, at the cost of reading each once."""
    x = x.detach()
    # A sum is not finite where a summand is not; seldom it is too large by itself.
    total = x.sum(dtype=torch.promote_types(x.dtype, torch.float32))
    return bool(total.isfinite()) or bool(x.isfinite().all())


def first_row(x: Float[Tensor, "row ..."]) -> int:
    """The first row that holds a number that is not finite; there is one."""
    return int((~x.detach().isfinite()).flatten(1).any(1).nonzero()[0, 0])


def advice(dtype: torch.dtype) -> str:
    """What to do about a run that is not finite in this dtype."""
    name = str(dtype).removeprefix("torch.")
    if dtype == torch.float16:
        largest = int(torch.finfo(dtype).max)
        return f"{name} ends at {largest}; load the model with dtype='bfloat16' or dtype='float32'."
    return f"Even {name} does not hold them; look for damaged weights, or use a wider dtype."


def check_weights(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        ValueError: it names the parameter and how many of its weights are wrong.
    """
    for key, weight in weights.items():
        if weight.is_floating_point() and not all_finite(weight):
            n_wrong = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f"load_model: {n_wrong} of {weight.numel()} weights of {shown(key)} in "
                f"{shown(name)} are NaN or infinite, in "
                f"{str(weight.dtype).removeprefix('torch.')}."
            )


def check_still_finite(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that became NaN or infinite since, at the cost of reading each once.

    Raises:
        ValueError: with the name of the first such weight.
    """
    # A sum is not finite where a summand is not, and costs no more than reading the weight. The
    # host asks each device once.
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for key, weight in weights.items():
        wide = torch.promote_types(weight.dtype, torch.float32)
        total = weight.detach().sum(dtype=wide).double()
        by_device.setdefault(weight.device, {})[key] = total
    unsound = {
        key
        for sums in by_device.values()
        for key, sound in zip(
            sums, torch.stack([*sums.values()]).isfinite().cpu().tolist(), strict=True
        )
        if not sound
    }
    wrong = [key for key in weights if key in unsound]
    if wrong:
        raise ValueError(
            f"{name!r}: weight {wrong[0]} holds NaN or infinite numbers "
            f"({len(wrong)} of {len(weights)} weights do); load the model anew."
        )
