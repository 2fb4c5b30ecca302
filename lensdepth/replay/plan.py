"""What is asked of the engine, checked, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.hooks import SiteEdit
from lensdepth.interface import ReadModel
from lensdepth.reading import check_edit
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

    model: ReadModel
    batch: TokenBatch
    edit_sets: list[list[SiteEdit]]
    asked: Int[Tensor, "batch pos"]
    """Positions as they were asked for, -1 beyond a prompt's end."""
    read: Int[Tensor, "batch distinct"]
    """The same, each once and in order; -1 where a prompt has fewer."""
    columns: Int[Tensor, "batch pos"]
    """Where in `read` each asked position stands."""
    depths: list[int]
    only: Bool[Tensor, "set batch"]
    max_memory: int | None


def make_plan(
    model: ReadModel,
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
    n_layers = model.passes.n_layers
    asked = [n_layers] if depths is None else list(depths)
    if not asked or asked != sorted(set(asked)) or not 0 <= asked[0] <= asked[-1] <= n_layers:
        raise ValueError(
            f"replay: depths must ascend within 0...{n_layers} (n_layers), got {asked}."
        )
    batch = model.tokenize(base)
    model.check_weights()
    checked = [
        [check_edit(model, edit, batch, caller="replay") for edit in edits] for edits in edit_sets
    ]
    shape = (len(checked), len(batch))
    if only is None:
        only = torch.ones(shape, dtype=torch.bool)
    elif only.shape != shape:
        raise ValueError(f"replay: `only` must have shape {list(shape)}, got {list(only.shape)}.")
    where = resolve_positions(batch, positions)
    read, columns = _distinct(where)
    return Plan(
        model=model,
        batch=batch,
        edit_sets=checked,
        asked=where,
        read=read,
        columns=columns,
        depths=asked,
        only=only,
        max_memory=max_memory,
    )


def _distinct(
    asked: Int[Tensor, "batch pos"],
) -> tuple[Int[Tensor, "batch distinct"], Int[Tensor, "batch pos"]]:
    """Each row's positions once and in order, and where in them each asked one stands."""
    if asked.shape[1] == 1:
        return asked, torch.zeros_like(asked)
    rows = [row[row >= 0].unique() for row in asked]
    width = max(1, *map(len, rows))
    read = torch.full((len(rows), width), -1)
    columns = torch.zeros_like(asked)
    for i, row in enumerate(rows):
        read[i, : len(row)] = row
        columns[i] = torch.searchsorted(row, asked[i].clamp(min=0)).clamp(max=width - 1)
    return read, columns
