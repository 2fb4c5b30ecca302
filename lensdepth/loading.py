"""From a name or a folder to a Hugging Face model with checked weights and its tokenizer.

Reach for `lensdepth.model.load_model`; this is its first half. Whatever goes wrong here is one
`ValueError` of one line, raised before weights are read where that is possible.
"""

import difflib
import hashlib
import json
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import torch
from torch import Tensor
from torch.nn import functional

from lensdepth.bundled import bundled_names, bundled_path

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "*.tiktoken",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A Hugging Face model with raw weights, and what is known about it."""

    hf_model: Any
    tokenizer: Any
    source: str
    """The folder or hub name that it was read from."""
    name: str
    """Bundled name, hub name or the folder's own name."""
    architecture: str
    fingerprint: str


def load_checkpoint(
    name_or_path: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool = False,
) -> Checkpoint:
    """Read a bundled model, a local folder or a Hugging Face name.

    Raises:
        ValueError: there is no such model, it is not a causal decoder, or its files are missing,
            damaged or hold weights that are not finite.
    """
    name, source = _resolve(name_or_path)
    hub = {"trust_remote_code": trust_remote_code, "local_files_only": not _reachable(source)}
    config = _read(source, name, "config", "AutoConfig", hub)
    check_causal(config, name)
    _check_tokenizer_files(source, name)
    tokenizer = _read(source, name, "tokenizer", _tokenizer_loader(source), hub)
    if len(tokenizer) == 0:
        raise ValueError(f"load_model: the tokenizer of {name!r} has no tokens.")
    hf_model, report = _read(
        source,
        name,
        "weights",
        "AutoModelForCausalLM",
        # Eager attention is what both backends compute, and what their hooks need.
        {**hub, "dtype": dtype, "attn_implementation": "eager", "output_loading_info": True},
    )
    absent = sorted(report.get("missing_keys", ())) + sorted(map(str, report["mismatched_keys"]))
    if absent:
        raise ValueError(
            f"load_model: the weights of {name!r} lack {absent[0]!r}"
            f"{f' and {len(absent) - 1} more' * (len(absent) > 1)}, which would be left random."
        )
    weights = hf_model.state_dict()
    check_finite(weights, name)
    return Checkpoint(
        hf_model=hf_model.to(device).eval(),
        tokenizer=tokenizer,
        source=source,
        name=name,
        architecture=type(hf_model).__name__,
        fingerprint=fingerprint(weights),
    )


def read_n_layers(name_or_path: str | Path, *, trust_remote_code: bool = False) -> int | None:
    """Number of blocks by the configuration alone; None where it does not say.

    Raises:
        ValueError: as `load_checkpoint`, for the name and the configuration.
    """
    name, source = _resolve(name_or_path)
    hub = {"trust_remote_code": trust_remote_code, "local_files_only": not _reachable(source)}
    config = _read(source, name, "config", "AutoConfig", hub)
    check_causal(config, name)
    return getattr(config, "num_hidden_layers", None)


def check_causal(config: Any, name: str) -> None:
    """Refuse an architecture that is not a decoder reading from left to right.

    Raises:
        ValueError: encoder-decoder, masked or not a language model.
    """
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    kind = (getattr(config, "architectures", None) or [config.model_type])[0]
    wanted = "lensdepth needs a causal decoder, such as Llama or GPT-2."
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"load_model: {name!r} is an encoder-decoder ({kind}); {wanted}")
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if masked and not getattr(config, "is_decoder", False):
        raise ValueError(f"load_model: {name!r} reads in both directions ({kind}); {wanted}")
    own_code = bool(getattr(config, "auto_map", None))
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not own_code:
        raise ValueError(f"load_model: {name!r} is not a causal language model ({kind}); {wanted}")


def parse_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The torch dtype of a name.

    Raises:
        ValueError: it is not one of the floating types that models run in.
    """
    found = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ValueError(f"load_model: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    return found


def parse_device(device: str | torch.device | None) -> torch.device:
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
            f"load_model: {device!r} names no device; use 'cpu', 'cuda', 'cuda:1' or 'mps'."
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
            f"load_model: there is no device {str(device)!r} here; there is {', '.join(usable)}."
        )
    return found


def check_finite(weights: Mapping[str, Tensor], name: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        ValueError: it names the parameter and how many of its weights are wrong.
    """
    for key, weight in weights.items():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            n_wrong = int((~torch.isfinite(weight)).sum())
            raise ValueError(
                f"load_model: {n_wrong} of {weight.numel()} weights of {key!r} in {name!r} are NaN "
                f"or infinite, in {str(weight.dtype).removeprefix('torch.')}."
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


def _resolve(name_or_path: str | Path) -> tuple[str, str]:
    """Name to show, and folder or hub name to read."""
    given = str(name_or_path)
    if given in bundled_names():
        return given, str(bundled_path(given))
    path = Path(given).expanduser()
    if not given.strip():
        raise ValueError(f"load_model: give a name or a folder.{_nearest(given)}")
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(
                f"load_model: the folder {given!r} has no config.json.{_nearest(given)}"
            )
        return path.resolve().name, str(path)
    if path.exists():
        raise ValueError(f"load_model: {given!r} is a file; a model is a folder or a name.")
    if given != given.strip() or isinstance(name_or_path, Path) or _is_path(given):
        raise ValueError(f"load_model: there is no folder {given!r}.{_nearest(given)}")
    return given, given


def _is_path(given: str) -> bool:
    return given[0] in "./~\\" or given.count("/") > 1


def _reachable(source: str) -> bool:
    """Whether asking the hub makes sense: without a network its client tries for half a minute."""
    if Path(source).is_dir():
        return False
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlparse(constants.ENDPOINT)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        with closing(socket.create_connection((address.hostname or "", port), timeout=5)):
            return True
    except OSError:
        return False


def _read(source: str, name: str, part: str, loader: str, options: dict[str, Any]) -> Any:
    """Call a `from_pretrained` of transformers, and turn whatever it raises into one line."""
    import transformers
    from safetensors import SafetensorError

    try:
        return getattr(transformers, loader).from_pretrained(source, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        if Path(source).is_dir():
            raise ValueError(
                f"load_model: the {part} of {name!r} cannot be read: {reason}"
            ) from error
        if options["local_files_only"]:
            raise ValueError(
                f"load_model: {name!r} is no bundled model, no folder and not in the local "
                f"Hugging Face cache, and the hub cannot be reached.{_nearest(name)}"
            ) from error
        raise ValueError(
            f"load_model: {name!r} is no bundled model, no folder and could not be loaded from "
            f"the Hugging Face hub.{_nearest(name)} The hub said: {reason}"
        ) from error


def _check_tokenizer_files(source: str, name: str) -> None:
    """transformers makes an empty tokenizer for some architectures where the files are missing."""
    folder = Path(source)
    if folder.is_dir() and not any(
        next(folder.glob(pattern), None) for pattern in _TOKENIZER_FILES
    ):
        raise ValueError(
            f"load_model: the folder of {name!r} has no tokenizer (such as tokenizer.json); save "
            f"one there with tokenizer.save_pretrained."
        )


def _tokenizer_loader(source: str) -> str:
    """AutoTokenizer builds some architectures' own tokenizer whatever tokenizer.json says.

    A folder that declares the plain tokenizer of tokenizer.json gets that one.
    """
    settings = Path(source) / "tokenizer_config.json"
    if (Path(source) / "tokenizer.json").is_file() and settings.is_file():
        try:
            declared = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
        except (ValueError, AttributeError):
            return "AutoTokenizer"  # which then says what is wrong with the file
        if declared in ("TokenizersBackend", "PreTrainedTokenizerFast"):
            return "PreTrainedTokenizerFast"
    return "AutoTokenizer"


def _nearest(given: str) -> str:
    """A sentence with the names that come nearest, or nothing."""
    path = Path(given).expanduser()
    folders: Iterable[Path] = path.parent.glob("*/config.json") if path.parent.is_dir() else ()
    names = {*bundled_names(), *(str(config.parent) for config in folders), *_official_names()}
    by_lower = {name.lower(): name for name in names}
    by_lower |= {Path(name).name.lower(): name for name in names}
    close = difflib.get_close_matches(given.lower(), by_lower, n=8, cutoff=0.6)
    close += difflib.get_close_matches(path.name.lower(), by_lower, n=8, cutoff=0.6)
    offered = list(dict.fromkeys(by_lower[key] for key in close))[:3]
    bundled = ", ".join(bundled_names())
    if offered:
        return f" Did you mean {' or '.join(map(repr, offered))}?"
    return f" Bundled models: {bundled}." if bundled else ""


def _official_names() -> Iterable[str]:
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    return OFFICIAL_MODEL_NAMES
