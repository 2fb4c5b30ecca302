"""Weights that stay packed in 8 or 4 bits while the model runs, by bitsandbytes.

A model that fits in no other way can be measured so. What is packed are the matrices inside the
blocks; embedding, norms and unembedding stay plain, so that lenses, edits and directions are as of
any other model. A packed matrix has no rows to read or to turn: only the bridge, which calls the
model's own modules, can hold it, and nothing can be differentiated.

`nf4` keeps activations in full (Dettmers et al. 2023, arXiv 2305.14314). `int8` rounds them too,
row by row (Dettmers et al. 2022, arXiv 2208.07339), here without that paper's columns in full
precision: these are chosen over a whole batch, so that a prompt's numbers would hang on its
neighbours.
"""

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

import torch

from lensdepth.outside import outside, shown
from lensdepth.provenance import KEPT_PACKED

Quantize = Literal["int8", "nf4"]


def check_packing(quantize: object, backend: str, name: str) -> None:
    """Refuse what cannot be packed, before any weight is read.

    Raises:
        ValueError: no such packing, no bitsandbytes, or a HookedTransformer is wanted.
    """
    if quantize not in ("int8", "nf4"):
        raise ValueError(
            f"load_model: quantize must be 'int8', 'nf4' or None, got {shown(quantize)}."
        )
    if backend == "hooked":
        raise ValueError(
            f"load_model: HookedTransformer reads its weights itself and cannot hold "
            f"{shown(name)} packed; use backend='bridge'."
        )
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            f"load_model: quantize={quantize!r} needs bitsandbytes, which is not installed: "
            f"pip install 'lensdepth[bitsandbytes]'."
        )


def packing(quantize: Quantize, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What transformers is told."""
    with outside(f"load_model: quantize={quantize!r} cannot be had"):
        from transformers import BitsAndBytesConfig

        config = (
            BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
            if quantize == "int8"
            else BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
        )
    return {"quantization_config": config, "device_map": {"": device}}


def packing_told(quantize: Quantize) -> str:
    """What results say: `nf4, kept packed by bitsandbytes 0.50.2`."""
    return f"{quantize}, {KEPT_PACKED} bitsandbytes {version('bitsandbytes')}"


def is_packed(model: torch.nn.Module) -> bool:
    """Whether some of a model's weights are packed."""
    return any(not weight.is_floating_point() for weight in model.parameters())
