"""Devices and dtypes by the names that users give them."""

from collections.abc import Mapping
from dataclasses import dataclass

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


SPREAD = ("balanced", "balanced_low_0", "sequential")
"""How transformers spreads a model over all CUDA devices by itself."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Several CUDA devices that one model lies on."""

    device_map: str | dict[str, str]
    """As transformers takes it."""


def parse_device_map(
    device: str | torch.device | None, device_map: DeviceMap | None
) -> torch.device | Spread:
    """Where a model goes, by a map as transformers takes it; of `"auto"` the CUDA device with most
    room.

    Raises:
        ValueError: device and map are both given, or the map names a device that is not there,
            offloads to the CPU or the disk, or spreads a model where there are no CUDA devices.
    """
    if device_map is None:
        return parse_device(device)
    if device is not None:
        raise ValueError(
            f"load_model: device {shown(str(device))} and device_map are both given; one says it."
        )
    if isinstance(device_map, str):
        if device_map in SPREAD:
            if not torch.cuda.is_available():
                raise ValueError(
                    f"load_model: device_map={device_map!r} spreads a model over CUDA devices, and "
                    f"there is none here."
                )
            return Spread(device_map=device_map)
        return _roomiest() if device_map == "auto" else parse_device(device_map)
    where = {
        module: f"cuda:{at}" if isinstance(at, int) else str(at)
        for module, at in device_map.items()
    }
    places = {*where.values()}
    kinds = {place.partition(":")[0] for place in places}
    if len(places) == 1 and kinds != {"disk"}:
        return parse_device(places.pop())
    if kinds != {"cuda"}:
        raise ValueError(
            f"load_model: device_map puts the model on {shown(', '.join(sorted(places)))}; "
            f"TransformerLens runs it on CUDA devices, without offloading. Name those alone, or "
            f"take a narrower dtype or quantize='nf4'."
        )
    for place in places:
        parse_device(place)
    return Spread(device_map=where)


def check_spread(backend: str, quantize: str | None) -> None:
    """Refuse what does not go with a model on several devices.

    Raises:
        ValueError: which option.
    """
    if backend == "hooked":
        raise ValueError(
            "load_model: a device_map of several devices needs the bridge; use backend='bridge'."
        )
    if quantize is not None:
        raise ValueError(
            f"load_model: quantize={quantize!r} keeps the model on one device; name one."
        )


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
