"""The two ways of running a plan: block by block on packed tokens, or hook by hook."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor

from lensdepth.finite import all_finite, first_row
from lensdepth.hooks import SiteEdit, acting_functions
from lensdepth.interface import ReadModel
from lensdepth.not_finite import not_finite
from lensdepth.passes import FREE
from lensdepth.plain_runs import is_shared, made_once
from lensdepth.reading import edited_states
from lensdepth.replay.base import BaseRun, record
from lensdepth.replay.blocks import Blocks, unset
from lensdepth.replay.chunk import Chunk
from lensdepth.replay.copies import Unreplayable
from lensdepth.replay.hooked import HookedBlocks
from lensdepth.replay.hugging_face import HuggingFaceBlocks
from lensdepth.replay.memory import base_bytes, halves, prompts_at_once, tokens_at_once
from lensdepth.replay.plan import Part, Plan
from lensdepth.replay.runs import Runs, pack_edits, plan_runs
from lensdepth.sending import sent
from lensdepth.site import INSIDE, block_site
from lensdepth.tokens import of_like_lengths


def blocks_of(model: ReadModel) -> Blocks:
    """The blocks of a wrapped model.

    Raises:
        Unreplayable: with the reason, for an architecture whose blocks do not fit.
    """
    with model.passes.lock:
        # Permanent ones are TransformerLens's own in some architectures; the check covers them.
        foreign = [name for name, own in acting_functions(model.passes.hook_points) if not own]
        if foreign:
            raise Unreplayable(f"functions are attached to its hooks, the first at {foreign[0]}")
        return HookedBlocks(model) if model.passes.backend == "hooked" else HuggingFaceBlocks(model)


class Replayed:
    """A model's blocks, whose inner hooks lead to the chunk at work."""

    def __init__(self, model: ReadModel, hooks: Sequence[str]) -> None:
        self.blocks: Blocks = blocks_of(model)
        self.chunk: Chunk | None = None
        for hook in hooks:
            self.blocks.watch(hook, self._change(hook))

    def _change(self, hook: str) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            return x if self.chunk is None else self.chunk.change(hook, x)

        return change


def fitting_blocks(plan: Plan) -> Replayed:
    """The model's blocks, with every hook of the plan that stands inside one.

    Raises:
        Unreplayable: the model or an edit does not fit.
    """
    hooks = sorted({edit.hook for edits in plan.edit_sets for edit in edits})
    places = {hook: block_site(hook) for hook in hooks}
    for hook, place in places.items():
        if place is None:
            raise Unreplayable(f"an edit at {hook} needs the whole forward pass")
    inside = [hook for hook, place in places.items() if place and place.stream in INSIDE]
    return Replayed(plan.model, inside)


def by_hooks(plan: Plan, *, grad: bool) -> Iterator[Part]:
    """The plain way: one forward pass a set."""
    last = plan.depths[-1]
    for index, edits in enumerate(plan.edit_sets):
        reaching = [e for e in edits if _depth_needed(e) <= last]
        prompts = plan.only[index].nonzero()[:, 0]
        for rows in _together(plan, prompts):
            resid = edited_states(
                plan.model,
                plan.batch[rows],
                [e.of(rows) for e in reaching],
                plan.depths,
                plan.read[rows].clamp(min=0),
                grad=grad,
            )
            resid = rearrange(resid, "depth run pos d_model -> run depth pos d_model")
            yield _part(plan, torch.full_like(rows, index), rows, resid)


def _part(plan: Plan, sets: Tensor, prompts: Tensor, resid: Tensor) -> Part:
    """Finished runs; what was read nowhere is 0."""
    columns = sent(plan.columns[prompts], resid.device)[:, None, :, None]
    resid = torch.take_along_dim(resid, columns, dim=2)
    there = sent(plan.asked[prompts] >= 0, resid.device)
    resid = torch.where(there[:, None, :, None], resid, 0.0)
    if not all_finite(resid):
        run = first_row(resid)
        raise not_finite(
            plan.model, plan.batch, int(prompts[run]), edits=plan.edit_sets[int(sets[run])]
        )
    return Part(sets=sets, prompts=prompts, resid=resid)


def _depth_needed(edit: SiteEdit) -> int:
    """Shallowest depth that an edit can change."""
    place = block_site(edit.hook)
    return 0 if place is None else place.joins + (place.stream in INSIDE)


def by_replay(plan: Plan, replayed: Replayed, *, grad: bool) -> Iterator[Part]:
    """The fast way: the base run once, then only what each run can change."""
    try:
        yield from _blocks_of_prompts(plan, replayed, grad=grad)
    finally:
        # What attention was last set to knows the last chunk, which need not wait for the
        # garbage collector.
        replayed.blocks.attend = unset


def _blocks_of_prompts(plan: Plan, replayed: Replayed, *, grad: bool) -> Iterator[Part]:
    runs, idle = plan_runs(plan.edit_sets, plan.read, plan.only, plan.depths[-1])
    pending = _together(plan, torch.arange(len(plan.batch)))[::-1]
    while pending:
        prompts = pending.pop()
        place = torch.full((len(plan.batch),), -1)
        place[prompts] = torch.arange(len(prompts))
        mine = runs[place[runs.prompts] >= 0]
        still = idle[:, prompts]
        if not len(mine) and not still.any():
            continue
        try:
            base = _base_of(plan, replayed, prompts, mine, grad)
        except RuntimeError as error:
            pending += halves(prompts, error)
            continue
        yield from _unchanged(plan, base, prompts, still, grad)
        yield from _changed(plan, replayed, base, mine, place, grad)


def _base_of(plan: Plan, replayed: Replayed, prompts: Tensor, runs: Runs, grad: bool) -> BaseRun:
    """The unedited run of some prompts: recorded, or kept from another plan of the same work."""
    tokens = plan.batch[prompts].tokens
    joins = set(runs.depths.unique().tolist())
    n_layers = plan.model.passes.n_layers
    depths = joins | set(plan.depths)
    first_layer = min(joins, default=n_layers)

    def recorded(depths: Collection[int], first_layer: int) -> BaseRun:
        with _mode(grad):
            return record(
                replayed.blocks,
                tokens.to(plan.model.passes.device),
                depths=depths,
                first_layer=first_layer,
            )

    if grad or not is_shared():
        return recorded(depths, first_layer)
    return made_once(
        plan.model.passes,
        tuple(map(tuple, tokens.tolist())),
        # Whole, as `prompts_at_once` reckons with: the next plan edits at other depths.
        lambda: recorded(range(n_layers + 1), 0),
        fits=lambda kept: kept.has(depths, first_layer),
        n_bytes=lambda kept: kept.n_bytes,
        most=base_bytes(plan.model, plan.max_memory),
    )


def _changed(
    plan: Plan, replayed: Replayed, base: BaseRun, runs: Runs, place: Tensor, grad: bool
) -> Iterator[Part]:
    """Runs on the prompts of one block; `place` is where in it each prompt of the plan is."""
    pending = list(runs.chunks(tokens_at_once(*_bounds(plan))))[::-1]
    while pending:
        chunk_runs = pending.pop()
        try:
            with _mode(grad):
                edits = pack_edits(plan.edit_sets, chunk_runs, replayed.blocks.device_at)
                local = replace(chunk_runs, prompts=place[chunk_runs.prompts])
                read = plan.read[chunk_runs.prompts]
                replayed.chunk = Chunk(replayed.blocks, base, local, edits, read)
                resid = replayed.chunk.resid(plan.depths)
        except RuntimeError as error:
            pending += halves(chunk_runs, error)
            continue
        finally:
            fired = replayed.chunk.fired if replayed.chunk else set()
            replayed.chunk = None
        for hook in edits:
            if hook not in fired and _depth_needed(edits[hook][0].edit) <= plan.depths[-1]:
                raise RuntimeError(
                    f"The hook {hook!r} took an edit and never ran it, so nothing was changed "
                    f"there. Use another stream for this model."
                )
        # What is made of it here is an ordinary tensor, no longer one of inference mode.
        yield _part(plan, chunk_runs.sets, chunk_runs.prompts, resid)


def _unchanged(
    plan: Plan, base: BaseRun, prompts: Tensor, idle: Tensor, grad: bool
) -> Iterator[Part]:
    """What no edit reaches: the base run itself."""
    sets, rows = idle.nonzero(as_tuple=True)
    if not len(sets):
        return
    for some in torch.arange(len(sets)).split(tokens_at_once(*_bounds(plan))):
        read, at = plan.read[prompts[rows[some]]].clamp(min=0), rows[some][:, None]
        where = base.resid[plan.depths[-1]].device
        with _mode(grad):
            states = [base.resid[depth] for depth in plan.depths]
            kept = [x[sent(at, x.device), sent(read, x.device)].to(where) for x in states]
            resid = torch.stack(kept, dim=1)
        yield _part(plan, sets[some], prompts[rows[some]], resid)


def _mode(grad: bool) -> contextlib.AbstractContextManager[object]:
    # Who asks for gradients has left inference mode (`Passes.differentiating`).
    return torch.enable_grad() if grad else torch.inference_mode()


def _together(plan: Plan, prompts: Tensor) -> list[Tensor]:
    """Prompts in blocks of like lengths, as many at a time as memory holds."""
    model, _, memory = _bounds(plan)
    blocks = of_like_lengths(
        plan.batch.lengths[prompts],
        lambda longest: prompts_at_once(model, longest, memory),
        free=tokens_at_once(*_bounds(plan)) // FREE,
    )
    return [prompts[rows] for rows in blocks]


def _bounds(plan: Plan) -> tuple[ReadModel, int, int | None]:
    """What decides how much goes through at a time."""
    return plan.model, plan.batch.tokens.shape[1], plan.max_memory
