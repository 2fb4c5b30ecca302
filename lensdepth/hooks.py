"""Edits as data, and the plain way of reading and editing activations in one forward pass.

Reach for this to describe an intervention as data (`SiteEdit`). It works on the
TransformerLens object of either line. `DepthModel.run_edits` is what most callers want.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.polar import Edit
from lensdepth.telling.names import STREAMS


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteEdit:
    """One edit of one activation, at one position of each prompt."""

    hook: str
    """Hook name, from `depth_hook` or `site_hook`, or short, as `DepthModel.read` takes it."""
    positions: Int[Tensor, " batch"]
    """The edited position of each prompt; negative ones count from the prompt's own end."""
    edit: Edit
    """Gives the state to put there."""
    source: Float[Tensor, "batch d_model"] | None
    """What the edit refers to, one state per prompt; None for edits that need nothing."""
    head: int | None = None
    """At `z`, the one head to edit; None gives the edit all heads side by side."""

    def of(self, rows: slice | Int[Tensor, " row"]) -> "SiteEdit":
        """The edit for some of the prompts."""
        source = None if self.source is None else self.source[rows]
        return replace(self, positions=self.positions[rows], source=source)


RESID_MID = ".hook_resid_mid"


class StopPass(BaseException):
    """Ends a forward pass that has given all that was asked.

    Not an `Exception`, so that no handler inside the model swallows it.
    """


Hook = tuple[str, Callable[[Tensor], Tensor | None]]
"""A hook name and a function of the activation: gives the one to go on with, or None."""


@contextmanager
def hooked(
    points: Mapping[str, Any],
    hooks: Sequence[Hook],
    *,
    first: Sequence[Hook] = (),
    acts: Callable[[], bool] | None = None,
    alone: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 - it holds nothing
) -> Iterator[None]:
    """Attach functions to hook points, in order; take away these and no others at the end.

    Args:
        points: the model's `hook_dict`.
        hooks: run after whatever is attached already.
        first: run before it.
        acts: asked at every call whether the functions act in the pass at work; None: in every one.
        alone: held while functions are attached or taken away, so that no pass of another thread
            sees half of them; nothing where the caller holds the model's lock already.
    Raises:
        ValueError: the model has no hook point of that name.
    """
    handles: list[tuple[Any, Any]] = []
    try:
        with alone:
            for (name, function), prepend in [
                *((hook, True) for hook in first),
                *((hook, False) for hook in hooks),
            ]:
                check_hook(points, name)

                def call(activation: Tensor, hook: Any, function: Any = function) -> Tensor | None:
                    return function(activation) if acts is None or acts() else None

                point = points[name]
                point.add_hook(call, prepend=prepend)
                handle = point.fwd_hooks[0 if prepend else -1]
                handle.lensdepth_acts = acts
                handles.append((point, handle))
        yield
    finally:
        with alone:
            for point, handle in handles:
                handle.hook.remove()
                point.fwd_hooks = [other for other in point.fwd_hooks if other is not handle]


def acting_functions(points: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Hook name of each function that would act in a pass of this context, and whether it is
    permanent (TransformerLens's own in some architectures); to be asked under the model's lock."""
    return [(name, bool(handle.is_permanent)) for name, handle in _acting(points)]


def acting_numbers(points: Mapping[str, Any]) -> tuple[int, ...]:
    """The same by the number that torch gave to each, which no other function ever has."""
    return tuple(handle.hook.id for _, handle in _acting(points))


def _acting(points: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, point in points.items():
        for handle in point.fwd_hooks:
            acts = getattr(handle, "lensdepth_acts", None)
            if acts is None or acts():
                yield name, handle


def capture(
    points: Mapping[str, Any],
    forward: Callable[[Int[Tensor, "batch pos"]], Any],
    tokens: Int[Tensor, "batch pos"],
    hooks: Sequence[str],
    positions: Int[Tensor, "batch site"],
    *,
    edits: Sequence[SiteEdit] = (),
    resid_mid_is_branch: bool = False,
) -> dict[str, Tensor]:
    """Run one forward pass and keep the asked positions of some activations.

    The pass ends when all of `hooks` were reached, before the unembedding. Edits act first, in
    their order, so what is kept is what the model went on with.

    Args:
        points: the model's `hook_dict`.
        forward: runs the model on tokens.
        tokens: right padded, on the model's device.
        hooks: names, in any order.
        positions: the positions to keep, on the model's device; none of them negative.
        edits: what to change on the way, at positions that are not negative.
        resid_mid_is_branch: the hook at resid_mid reaches the MLP alone, as on the bridge; what
            an edit changes there is then added to the block's output too.
    Returns:
        For each hook, `[batch, site, ...]` in the model's dtype and on its device.
    Raises:
        ValueError: what a hook has there has no positions.
        RuntimeError: a hook never ran (some hook points take hooks and stay silent).
    """
    kept: dict[str, Tensor] = {}
    rows = torch.arange(len(tokens), device=tokens.device)[:, None]
    fired = [False] * len(edits)
    n_asked = len(set(hooks))

    def keep(name: str) -> Callable[[Tensor], None]:
        def function(activation: Tensor) -> None:
            # Blocks may lie on different devices.
            at = tuple(index.to(activation.device) for index in (rows, positions))
            kept[name] = _by_position(activation, tokens, name)[at]
            if len(kept) == n_asked:
                raise StopPass

        return function

    carried: dict[str, list[Tensor]] = {}
    if resid_mid_is_branch:
        carried = {edit.hook: [] for edit in edits if edit.hook.endswith(RESID_MID)}
    carries = [carry(name, deltas) for name, deltas in carried.items()]
    changes = [
        (edit.hook, _edit_hook(edit, i, fired, carried.get(edit.hook)))
        for i, edit in enumerate(edits)
    ]
    reads = [(name, keep(name)) for name in hooks]
    with hooked(points, [*changes, *reads], first=carries), suppress(StopPass):
        forward(tokens)
    silent = [edit.hook for edit, ran in zip(edits, fired, strict=True) if not ran]
    silent += [name for name in hooks if name not in kept]
    if silent:
        raise RuntimeError(
            f"The hook {silent[0]!r} took a function and never ran it, so nothing was read or "
            f"changed there. Use another stream for this model."
        )
    return kept


def _by_position(
    activation: Tensor, tokens: Int[Tensor, "batch pos"], name: str
) -> Float[Tensor, "batch pos ..."]:
    """An activation whose first two axes are prompts and positions.

    Raises:
        ValueError: it has others.
    """
    n_prompts, n_pos = tokens.shape
    heads_first = name.endswith(("hook_pattern", "hook_attn_scores"))
    if activation.ndim > 2 and activation.shape[1] == n_pos and not heads_first:
        if len(activation) == n_prompts:
            return activation
        if len(activation) == 1:  # the same for all prompts, such as position embeddings
            return activation.expand(n_prompts, *activation.shape[1:])
    hint = " DepthModel.attention reads patterns." if heads_first else ""
    raise ValueError(
        f"The hook {name!r} holds shape {list(activation.shape)} for {n_prompts} "
        f"prompts of {n_pos} tokens, which is no state at each token.{hint}"
    )


def carry(name: str, deltas: list[Tensor]) -> Hook:
    """Adds to a block's output what was changed at resid_mid, where that is a branch.

    It belongs in front of whatever is attached to the output, which an edit there must see whole.
    """
    return name.replace(RESID_MID, ".hook_resid_post"), lambda x: x + sum(deltas)


def _edit_hook(
    edit: SiteEdit, index: int, fired: list[bool], deltas: list[Tensor] | None
) -> Callable[[Tensor], Tensor]:
    def function(activation: Tensor) -> Tensor:
        rows = torch.arange(len(edit.positions), device=activation.device)
        changed = put_states(edit, activation, rows)
        fired[index] = True
        if deltas is not None:
            deltas.append(changed - activation)
        return changed

    return function


def put_states(
    edit: SiteEdit, activation: Float[Tensor, "row pos ..."], rows: Int[Tensor, " batch"]
) -> Float[Tensor, "row pos ..."]:
    """The activation with an edit's states in it: each in the row of its own, at its position."""
    at = edit.positions.to(activation.device)
    changed = activation.clone()
    changed[rows, at] = apply_edit(edit, activation[rows, at], edit.source)
    return changed


def apply_edit(
    edit: SiteEdit, found: Float[Tensor, "state ..."], source: Float[Tensor, "state d_model"] | None
) -> Float[Tensor, "state ..."]:
    """What an edit puts in the place of some states, in their own dtype.

    The edit sees float32 or wider, and at `z` the heads side by side or the one that it names.

    Raises:
        ValueError: the edit gives another shape, or names a head that is not there.
    """
    part = found
    if edit.head is not None:
        if found.ndim != 3 or not 0 <= edit.head < found.shape[1]:
            heads = f"heads 0...{found.shape[1] - 1}" if found.ndim == 3 else "no heads"
            raise ValueError(f"The edit at {edit.hook!r} names head {edit.head}; it has {heads}.")
        part = found[:, edit.head]
    flat = part.flatten(1)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    put = edit.edit(flat, None if source is None else source.to(flat))
    if put.shape != flat.shape:
        raise ValueError(
            f"The edit at {edit.hook!r} gave shape {list(put.shape)} for {list(flat.shape)}."
        )
    put = put.to(found.dtype).view_as(part)
    if edit.head is None:
        return put
    changed = found.clone()
    changed[:, edit.head] = put
    return changed


def check_hook(points: Mapping[str, Any], name: str) -> None:
    """Say what is there where a model has no hook of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in points:
        raise ValueError(f"This model has no hook {name!r}. {hook_hint(points, name)}".strip())


def hook_hint(points: Mapping[str, Any], name: str) -> str:
    """What a model has in the place of a hook that it lacks, where that can be said."""
    layers = {part.split(".")[1] for part in points if part.startswith("blocks.")}
    parts = name.split(".")
    if len(parts) > 1 and parts[0] == "blocks" and parts[1] not in layers:
        return f"Its blocks are 0...{len(layers) - 1}."
    if parts[0] == "blocks" and parts[-1] in {f"hook_{stream}" for stream in STREAMS}:
        return "Not every architecture has every stream: a parallel block has no resid_mid."
    return ""


def __getattr__(name: str) -> Any:
    if name in ("depth_hook", "site_hook"):  # until 0.3: as the README of 0.1 had them
        from lensdepth import site
        from lensdepth.arguments import say_moved

        say_moved(f"lensdepth.hooks.{name}", f"lensdepth.{name}")
        return getattr(site, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
