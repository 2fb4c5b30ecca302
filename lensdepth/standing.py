"""Edits that stay: they act in every forward pass until they are lifted.

Where a `SiteEdit` names one position of each prompt for one pass, a `StandingEdit` names positions
from the start of whatever text comes: a whole prompt at once, or one more token by a key/value
cache. `DepthModel.steer` is what most callers want.

They belong to the context that made them (`contextvars`): another thread sees the model as it is,
unless it runs in a copy of that context.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.generation import n_cached
from lensdepth.hooks import (
    RESID_MID,
    Hook,
    SiteEdit,
    apply_edit,
    carry,
    check_hook,
    hooked,
    put_states,
)
from lensdepth.interface import ReadModel
from lensdepth.passes import Passes
from lensdepth.polar import Edit
from lensdepth.site import Stream, depth_hook, site_hook
from lensdepth.turns import is_as_it_is

logger = logging.getLogger(__name__)

STEERED = " (steered)"
"""Behind the name of a model while edits stand on it."""
ELSEWHERE = (
    "it is steered in another context; this one sees it as it is. To carry steering into "
    "a thread, run what it does by contextvars.copy_context().run."
)
StandingPositions = Literal["all"] | int | slice | Sequence[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class StandingEdit:
    """One edit of one activation in every forward pass, at the same positions of every text."""

    hook: str
    """Full hook name, from `depth_hook` or `site_hook`."""
    positions: range | frozenset[int]
    """The edited positions, from the start of each text."""
    edit: Edit
    """Gives the states to put there, each by itself."""
    source: Float[Tensor, " d_source"] | None
    """What the edit refers to, one state for all texts and positions; None for edits that need
    nothing."""
    head: int | None = None
    """At `z`, the one head to edit; None gives the edit all heads side by side."""

    def of(self, positions: Tensor) -> SiteEdit:
        """The edit of some states in one pass."""
        source = None if self.source is None else self.source.expand(len(positions), -1)
        return SiteEdit(
            hook=self.hook, positions=positions, edit=self.edit, source=source, head=self.head
        )


def standing_positions(positions: StandingPositions, n_ctx: int) -> range | frozenset[int]:
    """Positions from a text's start, as a set of numbers below `n_ctx`.

    Raises:
        ValueError: there are none, or one is negative or lies beyond the context.
    """
    if isinstance(positions, slice):
        bounds = [b for b in (positions.start, positions.stop, positions.step) if b is not None]
        asked = range(*positions.indices(n_ctx))
    elif isinstance(positions, str):
        if positions != "all":
            raise ValueError(
                f"steer: positions must be 'all', a slice or indices from the start, got "
                f"{positions!r}. {_GROWS}"
            )
        bounds, asked = [], range(n_ctx)
    else:
        bounds = [positions] if isinstance(positions, int) else list(positions)
        asked = frozenset(bounds)
    odd = [b for b in bounds if not isinstance(b, int) or isinstance(b, bool)]
    if odd:
        raise ValueError(f"steer: positions must be whole numbers, got {odd[0]!r}.")
    negative = [bound for bound in bounds if bound < 0]
    if negative:
        raise ValueError(f"steer: positions cannot be negative, got {negative[0]}. {_GROWS}")
    if not asked or max(asked) >= n_ctx:
        raise ValueError(
            f"steer: positions must lie in 0...{n_ctx - 1}, which the model reads, and be one "
            f"at least; got {positions!r}."
        )
    return asked


_GROWS = "Text grows as it is generated, so positions count from its start."


def standing_edits(
    passes: Passes,
    edit: Edit,
    depths: int | Sequence[int],
    positions: StandingPositions,
    source: Float[Tensor, "*depth d_source"] | None,
    stream: Stream,
    head: int | None,
) -> list[StandingEdit]:
    """One edit for each depth; see `DepthModel.steer`.

    Raises:
        ValueError: an argument does not fit the model, or the edit fails on a state of ones.
    """
    asked = [depths] if isinstance(depths, int) else list(depths)
    if not asked or len(set(asked)) < len(asked):
        raise ValueError(f"steer: depths must be one at least, and each once; got {asked}.")
    hooks = [
        depth_hook(depth, passes.n_layers) if stream == "resid_pre" else site_hook(stream, depth)
        for depth in asked
    ]
    for hook in hooks:
        check_hook(passes.hook_points, hook)
        passes.check_head(hook, head, "steer")
    d_source = passes.d_hook(hooks[0], head)
    if source is not None:
        if tuple(source.shape) not in ((d_source,), (len(asked), d_source)):
            raise ValueError(
                f"steer: source must have shape [{d_source}] or, for {len(asked)} depths, "
                f"[{len(asked)}, {d_source}]; got {list(source.shape)}."
            )
        if not source.isfinite().all():
            raise ValueError("steer: source holds NaN or infinite numbers; give finite ones.")
        source = source.expand(len(asked), d_source)
    places = standing_positions(positions, passes.n_ctx)
    edits = [
        StandingEdit(
            hook=hook,
            positions=places,
            edit=edit,
            source=None if source is None else source[i],
            head=head,
        )
        for i, hook in enumerate(hooks)
    ]
    # An edit that lacks its source, or gives another shape, fails here and not in mid-pass.
    probe = replace(edits[0].of(torch.zeros(1, dtype=torch.long)), head=None)
    ones = torch.ones(1, d_source, device=passes.device, dtype=torch.float32)
    apply_edit(probe, ones, probe.source)
    return edits


_ACTING: ContextVar[tuple["_Watch", ...]] = ContextVar("acting", default=())
"""What stands in this context."""


def as_steered(name: str, lock: AbstractContextManager[Any]) -> str:
    """The name of the model with this lock; it says so while edits stand on it in this context."""
    return name + STEERED * any(watch.lock is lock for watch in _ACTING.get())


@contextmanager
def steered(model: ReadModel, edits: Sequence[StandingEdit]) -> Iterator[None]:
    """Let edits act in every pass of a model in this context; see `standing`."""
    passes = model.passes
    with standing(
        passes.hook_points,
        edits,
        last=passes.depth_hooks[-1],
        n_cached=n_cached,
        resid_mid_is_branch=passes.resid_mid_is_branch,
        lock=passes.lock,
        elsewhere=lambda: model.warn_once("elsewhere", ELSEWHERE),
    ):
        yield


@contextmanager
def standing(
    points: Mapping[str, Any],
    edits: Sequence[StandingEdit],
    *,
    last: str,
    n_cached: Callable[[], int],
    resid_mid_is_branch: bool,
    lock: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 - it holds nothing
    elsewhere: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Let edits act in every forward pass of this context, and check at the end that they did.

    Args:
        points: the model's `hook_dict`.
        edits: at the same positions, each at another hook.
        last: the hook of the last block's output, which every whole pass reaches.
        n_cached: how many positions stand in a cache in front of those that a pass runs.
        resid_mid_is_branch: as for `hooks.capture`.
        lock: of the model.
        elsewhere: called when a pass of another context goes by.
    Raises:
        RuntimeError: at the end, passes ran and a hook did not, or no position was reached.
    """
    watch = _Watch(lock=lock)

    def acts() -> bool:
        if is_as_it_is():
            return False
        here = watch in _ACTING.get()
        if not here:
            elsewhere()
        return here

    carries: list[Hook] = []
    changes: list[Hook] = []
    for edit in edits:
        deltas: list[Tensor] | None = None
        if resid_mid_is_branch and edit.hook.endswith(RESID_MID):
            deltas = []
            carries.append(carry(edit.hook, deltas))
        changes.append((edit.hook, _standing_hook(edit, watch, n_cached, deltas)))
    _ACTING.set((*_ACTING.get(), watch))
    try:
        functions = [*changes, (last, watch.count)]
        with hooked(points, functions, first=carries, acts=acts, alone=lock):
            yield
    finally:
        # Not by a token: whoever leaves may be in another context than whoever entered.
        _ACTING.set(tuple(other for other in _ACTING.get() if other is not watch))
    watch.check(edits)


@dataclass(eq=False)
class _Watch:
    """What standing edits have met."""

    lock: AbstractContextManager[Any]
    """Of the model that they stand on."""
    n_passes: int = 0
    """Passes that reached the last block's output; one that ended early needs no deeper edit."""
    longest: int = 0
    """Positions of the longest text that came to an edit, those in a cache included."""
    ran: set[str] = field(default_factory=set)
    """Hooks whose functions ran, whatever the positions."""
    acted: bool = False
    """Whether a position was reached."""
    changed: bool = False
    """Whether a state there became another."""

    def count(self, activation: Tensor) -> None:
        self.n_passes += 1

    def check(self, edits: Sequence[StandingEdit]) -> None:
        silent = [edit.hook for edit in edits if edit.hook not in self.ran]
        if self.n_passes and silent:
            raise RuntimeError(
                f"steer: the hook {silent[0]!r} took a function and never ran it, so nothing was "
                f"changed there. Use another stream for this model."
            )
        if self.ran and not self.acted:
            raise RuntimeError(
                f"steer: nothing was changed, since no text reached position "
                f"{_in_words(edits[0].positions)} from its start; the longest had {self.longest} "
                f"tokens. Ask for earlier positions, or for longer texts."
            )
        if self.acted and not self.changed:
            logger.warning("steer: the edit acted and left every state as it was.")


def _in_words(positions: range | frozenset[int]) -> str:
    places = sorted(positions)
    if places[-1] - places[0] == len(places) - 1 > 0:
        return f"{places[0]}...{places[-1]}"
    return ", ".join(map(str, places))


def _standing_hook(
    edit: StandingEdit, watch: _Watch, n_cached: Callable[[], int], deltas: list[Tensor] | None
) -> Callable[[Tensor], Tensor | None]:
    def function(activation: Tensor) -> Tensor | None:
        n_texts, n_pos = activation.shape[:2]
        start = n_cached()
        watch.ran.add(edit.hook)
        watch.longest = max(watch.longest, start + n_pos)
        if deltas:
            deltas.clear()  # what the last pass left
        at = [i for i in range(n_pos) if start + i in edit.positions]
        if not at:
            return None
        places = torch.tensor(at, device=activation.device).repeat(n_texts)
        rows = torch.arange(n_texts, device=activation.device).repeat_interleave(len(at))
        changed = put_states(edit.of(places), activation, rows)
        watch.acted = True
        watch.changed = watch.changed or not torch.equal(changed, activation)
        if deltas is not None:
            deltas.append(changed - activation)
        return changed

    return function
