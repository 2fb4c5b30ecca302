"""From a name or a folder to a TransformerLens model with raw weights.

Reach for `lensdepth.model.load_model`, which wraps what this gives.
"""

import copy
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lensdepth.bundled import bundled_names, bundled_path
from lensdepth.provenance import Backend

logger = logging.getLogger(__name__)

BackendChoice = Literal["auto", "hooked", "bridge"]
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A TransformerLens model and what was known while it was loaded."""

    model: Any
    tokenizer: Any
    backend: Backend
    name: str
    architecture: str
    fingerprint: str


def load(
    name_or_path: str | Path,
    *,
    backend: BackendChoice,
    device: torch.device,
    dtype: torch.dtype,
    trust_remote_code: bool,
) -> Loaded:
    """Load raw weights from a bundled model, a folder or the Hugging Face hub."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = str(name_or_path)
    source = str(bundled_path(name)) if name in bundled_names() else name
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    hf_model = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, attn_implementation="eager", trust_remote_code=trust_remote_code
    )
    hf_model = hf_model.to(device).eval()
    digest = fingerprint(dict(hf_model.state_dict()))
    architecture = type(hf_model).__name__
    return Loaded(
        model=_bridge(source, hf_model, tokenizer, device, dtype),
        tokenizer=tokenizer,
        backend="bridge",
        name=Path(name).name if Path(name).is_dir() else name,
        architecture=architecture,
        fingerprint=digest,
    )


def _bridge(
    source: str, hf_model: Any, tokenizer: Any, device: torch.device, dtype: torch.dtype
) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    # The bridge adds special tokens to the tokenizer it is given, so it gets a copy.
    return TransformerBridge.boot_transformers(
        source,
        hf_model=hf_model,
        tokenizer=copy.deepcopy(tokenizer),
        device=str(device),
        dtype=dtype,
    )


_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """Sixteen hex digits over names, shapes, dtypes and every bit of the weights.

    Each weight's bits count as an integer times an odd number, summed modulo 2^64: exact, the same
    on every device and in every order of summation, and no change of a single weight can hide,
    because an odd number times a difference below 2^64 is never 0 modulo 2^64.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        weight = weights[name]
        digest.update(f"{name} {list(weight.shape)} {weight.dtype} {_sum_bits(weight)};".encode())
    return digest.hexdigest()[:16]


def _sum_bits(weight: torch.Tensor, chunk: int = 1 << 22) -> int:
    bits = weight.detach().contiguous().view(-1).view(_BITS[weight.element_size()])
    total = 0
    for start in range(0, len(bits), chunk):
        part = bits[start : start + chunk].to(torch.int64)
        odd = torch.arange(start, start + len(part), device=part.device) * 2 + 1
        total += int((part * odd).sum())  # int64 arithmetic wraps, which is what is wanted
    return total % (1 << 64)
