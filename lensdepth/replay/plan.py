"""What is asked of the engine, checked, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel, check_edit
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions

Engine = Literal["auto", "replay", "hooks"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some finished runs, in no particular order."""

    sets: Int[Tensor, " run"]
    """Which set of edits."""
    prompts: Int[Tensor, " run"]
    """Which prompt."""
    resid: Float[Tensor, "run depth pos d_model"]
    """Residual states at the asked depths and positions, in the model's dtype, on its device."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Checked options of `replay`."""

    model: DepthModel
    batch: TokenBatch
    edit_sets: list[list[SiteEdit]]
    read: Int[Tensor, "batch pos"]
    depths: list[int]
    only: Bool[Tensor, "set batch"]
    max_memory: int | None


def make_plan(
    model: DepthModel,
    base: Prompts,
    edit_sets: Sequence[Sequence[SiteEdit]],
    positions: Positions,
    depths: Sequence[int] | None,
    only: Bool[Tensor, "set batch"] | None,
    engine: Engine,
    max_memory: int | None,
) -> Plan:
    """Check what is asked.

    Raises:
        ValueError: it does not fit the model or the prompts; see `replay`.
    """
    if engine not in get_args(Engine):
        raise ValueError(
            f"replay: engine must be one of {', '.join(get_args(Engine))}, got {engine!r}."
        )
    if max_memory is not None and max_memory < 1:
        raise ValueError(f"replay: max_memory must be a number of bytes, got {max_memory}.")
    asked = [model.n_layers] if depths is None else list(depths)
    if not asked or asked != sorted(set(asked)) or not 0 <= asked[0] <= asked[-1] <= model.n_layers:
        raise ValueError(
            f"replay: depths must ascend within 0...{model.n_layers} (n_layers), got {asked}."
        )
    batch = model.tokenize(base)
    model.check_weights()
    checked = [[check_edit(edit, batch, caller="replay") for edit in edits] for edits in edit_sets]
    for edits in checked:
        for edit in edits:
            model.check_hook(edit.hook)
    shape = (len(checked), len(batch))
    if only is None:
        only = torch.ones(shape, dtype=torch.bool)
    elif only.shape != shape:
        raise ValueError(f"replay: `only` must have shape {list(shape)}, got {list(only.shape)}.")
    return Plan(
        model=model,
        batch=batch,
        edit_sets=checked,
        read=resolve_positions(batch, positions),
        depths=asked,
        only=only,
        max_memory=max_memory,
    )
