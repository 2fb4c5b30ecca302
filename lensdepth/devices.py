"""Devices and dtypes by the names that users give them."""

from collections.abc import Mapping

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


DeviceMap = str | Mapping[str, str | int | torch.device]


def parse_device_map(
    device: str | torch.device | None, device_map: DeviceMap | None
) -> torch.device:
    """The one device of a map as transformers takes it; of `"auto"` the CUDA device with most room.

    Raises:
        ValueError: device and map are both given, the map names several devices or the disk, or one
            that is not there.
    """
    if device_map is None:
        return parse_device(device)
    if device is not None:
        raise ValueError(
            f"load_model: device {shown(str(device))} and device_map are both given; one says it."
        )
    if isinstance(device_map, str):
        return _roomiest() if device_map == "auto" else parse_device(device_map)
    places = {f"cuda:{at}" if isinstance(at, int) else str(at) for at in device_map.values()}
    if len(places) != 1 or places == {"disk"}:
        raise ValueError(
            f"load_model: device_map puts the model on {shown(', '.join(sorted(places)))}; it is "
            f"run on one device, without offloading, since a replay reads the states of all blocks "
            f"at once. Name one device, or take a narrower dtype or quantize='nf4'."
        )
    return parse_device(places.pop())


def _roomiest() -> torch.device:
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    room = [torch.cuda.mem_get_info(i)[0] for i in range(n_cuda)]
    return torch.device("cuda", room.index(max(room))) if room else torch.device("cpu")


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
