"""Sixteen hex digits each by which a model's weights, configuration and tokenizer are told.

They say whether two are the same, not which is right: a result keeps them, and whoever reads it can
find out what else a number was measured on.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

DIGITS = 16
MOST_IDS = 10_000_000
"""Largest token id of a tokenizer that is told whole; of one beyond, vocabulary and class."""
_NO_SAY = {"transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"}
"""Entries of a configuration that change no number, or that `ModelInfo` tells anyway."""


_LENS_ONLY = {
    "device", "dtype", "n_devices", "model_name", "tokenizer_name", "seed", "init_weights",
    "init_mode", "initializer_range", "use_attn_result", "use_split_qkv_input", "use_attn_in",
    "use_hook_mlp_in", "use_hook_tokens", "trust_remote_code",
}  # fmt: skip
"""Entries of TransformerLens's `cfg` that change no number: names, places, and which hooks fire."""


def configuration_fingerprint(config: Any) -> str:
    """Over what a configuration of transformers sets otherwise than its class, names aside.

    Values as they stand after transformers has read them, so that two spellings of one value are
    the same.
    """
    return _digest(_telling({**config.to_diff_dict(), "model_type": config.model_type}))


def settings_fingerprint(settings: Mapping[str, Any]) -> str:
    """Over the entries of TransformerLens's `cfg` that change numbers."""
    return _digest({key: value for key, value in settings.items() if key not in _LENS_ONLY})


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Over what a tokenizer makes of a text; how it last padded or cut is not part of it."""
    special, fast = tokenizer.special_tokens_map, getattr(tokenizer, "backend_tokenizer", None)
    vocab = tokenizer.get_vocab()
    # Writing a fast tokenizer out goes through every id up to the largest, there or not.
    if fast is None or max(vocab.values(), default=0) > MOST_IDS:
        return _digest({"class": type(tokenizer).__name__, "special": special, "vocab": vocab})
    # How to pad and to cut is written in front of the tokens.
    told = fast.to_str().partition('"added_tokens"')[2]
    return _digest({"special": special, "told": told})


def _telling(value: Any) -> Any:
    """A configuration without what has no say, at any depth of it."""
    if isinstance(value, Mapping):
        kept = {str(key): _telling(value[key]) for key in value}
        return {key: kept[key] for key in kept if key not in _NO_SAY and key[:1] != "_"}
    return [_telling(entry) for entry in value] if isinstance(value, list | tuple) else value


def _digest(settings: Mapping[str, Any]) -> str:
    said = json.dumps(settings, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()[:DIGITS]


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Over names, shapes, dtypes and every bit of the weights.

    The bytes of each weight tensor, taken as 64-bit integers, are summed with odd multipliers
    modulo 2^64: exact, the same on every device and in every order of summation. A change of one
    weight changes one integer, and an odd number times what it changed by is not 0 modulo 2^64.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name]
        digest.update(f"{name} {list(weight.shape)} {weight.dtype} {_sum_bits(weight)};".encode())
    return digest.hexdigest()[:DIGITS]


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
