"""What is read in forward passes at the asked positions: states, activations, attention, logits.

`DepthModel` reads by these. Whatever comes out is finite, or the error says where it is not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.finite import NotFinite, all_finite, first_row
from lensdepth.generation import CachedStep, Uncacheable, holding
from lensdepth.hook_names import full_name
from lensdepth.hooks import SiteEdit
from lensdepth.interface import ReadModel
from lensdepth.not_finite import not_finite
from lensdepth.plain_runs import read_once
from lensdepth.residual import ResidualStream
from lensdepth.sending import fetched
from lensdepth.site import pattern_hook, site_hook
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions


def check_edit(model: ReadModel, edit: SiteEdit, batch: TokenBatch, *, caller: str) -> SiteEdit:
    """The edit at a full hook name, with positions from the start, once it fits.

    Raises:
        ValueError: there is no such hook or head, a position lies outside its prompt, or there
            is not one source per prompt.
    """
    hook = full_name(model.passes.hook_points, edit.hook)
    if edit.source is not None and len(edit.source) != len(batch):
        raise ValueError(
            f"{caller}: one source state per prompt is needed, "
            f"got {len(edit.source)} for {len(batch)} prompts."
        )
    model.passes.check_head(hook, edit.head, caller)
    return replace(edit, hook=hook, positions=resolve_positions(batch, edit.positions)[:, 0])


def captured(
    model: ReadModel,
    batch: TokenBatch,
    hooks: Sequence[str],
    positions: Int[Tensor, "batch pos"],
    *,
    edits: Sequence[SiteEdit] = (),
    grad: bool = False,
    cache: Any = None,
) -> dict[str, Tensor]:
    """`Passes.capture`, whose numbers are finite at real positions; of plain runs what is known
    already, where an analysis shares them (`lensdepth.plain_runs`).

    Raises:
        NotFinite: they are not.
    """

    def run(hooks: Sequence[str], positions: Tensor) -> dict[str, Tensor]:
        return model.passes.capture(batch, hooks, positions, edits=edits, grad=grad, cache=cache)

    if edits or grad or cache is not None:
        kept = run(hooks, positions)
    else:
        kept = read_once(model.passes, batch, hooks, positions, run)
    for states in kept.values():
        if not all_finite(states):
            real = torch.where(positions.to(states.device)[..., None] >= 0, states.flatten(2), 0)
            if not real.isfinite().all():
                raise not_finite(model, batch, first_row(real), edits=edits)
    return kept


def residual_stream(
    model: ReadModel, prompts: Prompts, positions: Positions, batch_size: int | None
) -> ResidualStream:
    """See `DepthModel.residual_stream`."""
    batch, passes = model.tokenize(prompts), model.passes
    asked = resolve_positions(batch, positions)
    shape = (passes.n_layers + 1, *asked.shape, passes.d_model)
    resid = torch.zeros(shape, dtype=torch.float32)
    for rows in passes.batches(batch, batch_size):
        kept = captured(model, batch[rows], passes.depth_hooks, asked[rows])
        near = fetched(kept)
        for depth, hook in enumerate(passes.depth_hooks):
            resid[depth, rows] = near[hook]
    resid[:, asked < 0] = 0
    return ResidualStream(resid=resid, positions=asked, tokens=batch, info=model.info)


def activations(
    model: ReadModel,
    prompts: Prompts,
    names: Sequence[str],
    positions: Positions,
    batch_size: int | None,
    *,
    one_width: bool = False,
) -> dict[str, Float[Tensor, "batch pos _"]]:
    """See `DepthModel.read`; several widths are refused where one is needed."""
    batch = model.tokenize(prompts)
    asked = resolve_positions(batch, positions)
    if not names:
        caller = "activations" if one_width else "read"
        raise ValueError(f"{caller}: hooks must be a list of hook names, got none.")
    hooks = {name: full_name(model.passes.hook_points, name) for name in names}
    parts, order = [], []
    for rows in model.passes.batches(batch, batch_size):
        kept = captured(model, batch[rows], list(dict.fromkeys(hooks.values())), asked[rows])
        # Heads, and whatever else has axes of its own, side by side.
        flat = {h: rearrange(x, "batch pos ... -> batch pos (...)") for h, x in kept.items()}
        if one_width:
            _check_width({name: flat[hook].shape[-1] for name, hook in hooks.items()})
        parts.append(fetched(flat))
        order.append(rows)
    back = torch.cat(order).argsort()
    found = {name: torch.cat([part[hook] for part in parts])[back] for name, hook in hooks.items()}
    for states in found.values():
        states[asked < 0] = 0
    return found


def stack(
    model: ReadModel,
    prompts: Prompts,
    names: Sequence[str],
    positions: Positions,
    batch_size: int | None,
) -> Float[Tensor, "hook batch pos d_hook"]:
    """See `DepthModel.activations`."""
    found = activations(model, prompts, names, positions, batch_size, one_width=True)
    return torch.stack([found[name] for name in names])


def _check_width(widths: Mapping[str, int]) -> None:
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"activations: hooks of one width are needed, got "
            f"{', '.join(f'{name} ({width})' for name, width in widths.items())}. Ask for each "
            f"width by itself, or for all of them by read."
        )


def attention(
    model: ReadModel, prompts: Prompts, layers: Sequence[int], batch_size: int | None
) -> Float[Tensor, "layer batch head query key"]:
    """See `DepthModel.attention`."""
    batch = model.tokenize(prompts)
    hooks = [pattern_hook(layer) for layer in layers]
    n_pos = batch.tokens.shape[1]
    found = torch.full(
        (len(hooks), len(batch), model.passes.n_heads, n_pos, n_pos), torch.nan, dtype=torch.float32
    )
    for rows in model.passes.batches(batch, batch_size):
        kept = model.passes.capture_whole(batch[rows], hooks)
        for i, hook in enumerate(hooks):
            width = kept[hook].shape[-1]
            found[i][rows, :, :width, :width] = kept[hook]
    real = batch.mask[:, None, :, None] & batch.mask[:, None, None, :]
    # HookedTransformer puts 0 where scores are NaN: a token that looks nowhere at all.
    seen = torch.where(real, found, 0.0).sum(-1)
    blank = ~(seen > 0) & batch.mask[:, None, :]
    if blank.any():
        raise not_finite(model, batch, int(blank.nonzero()[0, 1]))
    return torch.where(real, found, torch.nan)


def edited_states(
    model: ReadModel,
    batch: TokenBatch,
    edits: Sequence[SiteEdit],
    depths: Sequence[int],
    positions: Int[Tensor, "batch pos"],
    *,
    grad: bool = False,
) -> Float[Tensor, "depth batch pos d_model"]:
    """Residual states of one edited run, in the model's dtype and on its device.

    One forward pass that ends at the deepest of `depths`; the plain way, hook by hook.

    Args:
        model: of the run.
        batch: the base prompts.
        edits: acting at or before the deepest depth, as `check_edit` gives them.
        depths: in ascending order.
        positions: indices from each prompt's start.
        grad: let gradients pass from the edits' sources.
    """
    passes = model.passes
    # What enters a block has been through every edit at that depth.
    hooks = [
        site_hook("resid_pre", depth) if edits and depth < passes.n_layers
        else passes.depth_hooks[depth]
        for depth in depths
    ]  # fmt: skip
    kept = captured(model, batch, hooks, positions, edits=edits, grad=grad)
    where = kept[hooks[-1]].device  # blocks may lie on different ones
    return torch.stack([kept[hook].to(where) for hook in hooks])


def edited_logits(
    model: ReadModel,
    prompts: Prompts,
    edit_sets: Iterable[Sequence[SiteEdit]],
    positions: Positions,
    batch_size: int | None,
) -> Iterator[Float[Tensor, "batch pos d_vocab"]]:
    """See `DepthModel.run_edits`."""
    batch, last = model.tokenize(prompts), [model.passes.n_layers]
    asked = resolve_positions(batch, positions)
    for edits in edit_sets:
        fit = [check_edit(model, edit, batch, caller="run_edits") for edit in edits]
        out = torch.zeros(*asked.shape, model.passes.d_vocab, dtype=torch.float32)
        for rows in model.passes.batches(batch, batch_size):
            mine = [edit.of(rows) for edit in fit]
            with model.passes.lock:  # states and their logits are of one model as it is
                state = edited_states(model, batch[rows], mine, last, asked[rows])[0]
                try:
                    out[rows] = model.readout(state).cpu()
                except NotFinite as error:
                    row = error.row // asked.shape[1]
                    raise not_finite(model, batch[rows], row, edits=mine) from error
        out[asked < 0] = 0
        yield out


def embedded(
    model: ReadModel, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_model"]:
    """What enters block 0 at every position, in the model's dtype and on its device."""
    n_prompts, n_pos = tokens.shape
    batch = TokenBatch(tokens=tokens.cpu(), lengths=torch.full((n_prompts,), n_pos))
    return edited_states(model, batch, (), [0], torch.arange(n_pos).expand(n_prompts, -1))[0]


def cached_step(model: ReadModel) -> CachedStep:
    """Passes on one text that go on where the last one ended.

    Raises:
        Uncacheable: when it runs, the model keeps no keys and values.
    """
    last = model.passes.depth_hooks[-1]
    cache: Any = None

    def step(ids: Sequence[int], n_held: int) -> Float[Tensor, " d_vocab"]:
        nonlocal cache
        tokens = torch.tensor([list(ids)])
        if cache is None:
            logits, cache = model.passes.start_cache(tokens[:, :1])
            if cache is None:
                raise Uncacheable("it keeps no keys and values")
            if len(ids) == 1:
                return logits
            tokens, n_held = tokens[:, 1:], 1
        batch = TokenBatch(tokens=tokens, lengths=torch.tensor([tokens.shape[1]]))
        with holding(n_held):
            kept = captured(model, batch, [last], batch.last[:, None], cache=cache)
        return model.readout(kept[last][0, 0]).cpu()

    return step
