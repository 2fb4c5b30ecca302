"""Devices and dtypes by the names that users give them."""

import torch

from lensdepth.outside import shown

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def parse_dtype(dtype: str | torch.dtype, *, caller: str = "load_model") -> torch.dtype:
    """The torch dtype of a name.

    Raises:
        ValueError: it is not one of the floating types that models run in.
    """
    found = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ValueError(f"{caller}: dtype must be one of {', '.join(DTYPES)}, got {shown(dtype)}.")
    return found


def parse_device(device: str | torch.device | None, *, caller: str = "load_model") -> torch.device:
    """A device that is there; None takes a CUDA device where there is one, else the CPU.

    Raises:
        ValueError: this machine has no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"{caller}: {shown(device)} names no device; use 'cpu', 'cuda', 'cuda:1' or 'mps'."
        ) from error
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = {
        "cpu": True,
        "cuda": (found.index or 0) < n_cuda,
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(found.type, False):
        usable = ["cpu", *(f"cuda:{i}" for i in range(n_cuda))]
        usable += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(
            f"{caller}: there is no device {shown(device)} here; there is {', '.join(usable)}."
        )
    return found


def parse_move(
    device: str | torch.device | torch.dtype | None, dtype: str | torch.dtype | None, *, caller: str
) -> tuple[torch.device | None, torch.dtype | None]:
    """Where something goes, and in which dtype; None where that stays as it is.

    As torch takes it, a dtype may stand alone in the place of the device.

    Raises:
        ValueError: no such device or dtype.
    """
    if isinstance(device, torch.dtype) or (isinstance(device, str) and _is_dtype(device)):
        if dtype is not None:
            raise ValueError(f"{caller}: {shown(device)} is a dtype, and dtype names another one.")
        return None, parse_dtype(device, caller=caller)
    return (
        None if device is None else parse_device(device, caller=caller),
        None if dtype is None else parse_dtype(dtype, caller=caller),
    )


def _is_dtype(name: str) -> bool:
    return name.removeprefix("torch.") in DTYPES
