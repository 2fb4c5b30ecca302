"""Small tensors on their way to a device, without waiting for what it is at.

A copy from ordinary memory makes the host wait until the device has done all that it was given
before. Out of pinned memory it is one more thing that the device will do, in its turn.
"""

import torch
from torch import Tensor


def sent(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; the host goes on at once."""
    if device.type != "cuda" or x.device.type != "cpu" or x.requires_grad:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
