"""What testing the claims on a large model would cost, from its shape alone; nothing is loaded.

The estimate: weights take parameters × bytes each. A forward pass takes 2 × parameters floating-
point operations a token (a multiplication and an addition for each weight; attention over a prompt
of a few tokens is nothing beside it). An upper bound of the time runs every edited run as a whole
forward pass; the replay engine runs only what lies above an edit and behind it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lensdepth.claims.plan import claim_sweeps, plain_runs, states_bytes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Expected work of `evaluate_claims` on one model."""

    name: str
    n_layers: int
    n_parameters: int
    weights_gib: float
    states_gib: float
    """Residual states, keys and values of base and source runs in float32, all at once; the engine
    keeps fewer where memory is short."""
    runs: int
    """Edited runs and the plain ones that they are compared with, of one prompt each."""
    flops: float
    """Floating-point operations, were each of them a whole forward pass."""

    def hours(self, flops_per_second: float) -> float:
        """The upper bound of the time at a sustained speed."""
        return self.flops / flops_per_second / 3600


def claims_cost(
    name: str, shape: Mapping[str, Any], *, n_pairs: int, n_tokens: int, bits: int = 16
) -> Cost:
    """Estimate memory and work from a model's config.

    Args:
        name: what to call it.
        shape: the fields of its config.json that say its size, `model_type` among them; the model
            is built without memory for its weights, to count them.
        n_pairs: pairs of prompts.
        n_tokens: tokens of a prompt.
        bits: of each weight.
    Raises:
        ValueError: transformers knows no such `model_type`, or it has no causal model.
    """
    fields = dict(shape)
    config = AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    n_parameters = sum(weight.numel() for weight in model.parameters())
    n_layers, d_model = config.num_hidden_layers, config.hidden_size
    sweeps = claim_sweeps(n_layers, n_pairs)
    runs = sum(n for _, n in sweeps) + plain_runs(n_pairs)
    return Cost(
        name=name,
        n_layers=n_layers,
        n_parameters=n_parameters,
        weights_gib=n_parameters * bits / 8 / 2**30,
        states_gib=states_bytes(n_layers, d_model, n_tokens, n_pairs) / 2**30,
        runs=runs,
        flops=2.0 * n_parameters * n_tokens * runs,
    )


def measured_flops(device: str | torch.device, dtype: torch.dtype, *, size: int = 1024) -> float:
    """Floating-point operations a second that this device sustains in a matrix product.

    Args:
        device: where.
        dtype: in which numbers.
        size: rows and columns of the matrices.
    """
    left = torch.randn(size, size, device=device).to(dtype)
    right = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        product = left @ right
        product.sum().item()  # waits for a device that works in the background
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
