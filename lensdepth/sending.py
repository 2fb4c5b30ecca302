"""Small tensors on their way to a device, without waiting for what it is at.

A copy from ordinary memory makes the host wait until the device has done all that it was given
before. Out of pinned memory it is one more thing that the device will do, in its turn.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

LARGEST = 2**28
"""Bytes; of more, which are seldom, so much memory would be kept pinned."""


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; the host goes on at once."""
    near = x.device.type == "cpu" and not x.requires_grad
    if device.type != "cuda" or not near or x.numel() * x.element_size() > LARGEST:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def fetched(states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """States in float32 on the CPU, for which the host waits once.

    Of a GPU they lie in pinned memory: to be copied from, and not to be kept.
    """
    found = {name: x.float().to("cpu", non_blocking=x.is_cuda) for name, x in states.items()}
    for device in {x.device for x in states.values() if x.is_cuda}:
        torch.cuda.synchronize(device)
    return found
