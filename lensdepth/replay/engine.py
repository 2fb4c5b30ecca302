"""The outcome of many interventions, exactly, from one base run.

Layers before an edit, positions before an edit and positions after what is read cannot change, so
they are taken from the base run and not computed again; the keys and values of the base run stand
for the positions before an edit; in the last block only the asked queries are computed. What is
left of many interventions goes through each block in one sequence. The result equals the plain
hook-by-hook run (`DepthModel.run_edits`) up to the rounding of float32.

    >>> sets = [[SiteEdit(hook=depth_hook(d, model.n_layers), positions=batch.last,
    ...                   edit=polar.full_swap, source=states[d])] for d in range(11)]
    >>> replay_measure(model, batch, sets, lambda logits, prompts: {"top": logits.argmax(-1)})
"""

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel, check_edit
from lensdepth.polar import Edit
from lensdepth.replay.base import BaseRun, record
from lensdepth.replay.blocks import Blocks, blocks_of
from lensdepth.replay.chunk import Chunk
from lensdepth.replay.copies import Unreplayable
from lensdepth.replay.runs import INSIDE, Runs, pack_edits, place_of, plan_runs
from lensdepth.tokens import Positions, Prompts, TokenBatch, resolve_positions

logger = logging.getLogger(__name__)

Engine = Literal["auto", "replay", "hooks"]
Work = TypeVar("Work", Runs, Tensor)
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest accepted difference of a logit between the engine and the plain hooks, as a share of
the largest logit (or of 1, if that is more)."""
MAX_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Largest number of tokens in one packed sequence; more would not be faster."""
CPU_MEMORY = 2 * 2**30
"""Bytes that the engine plans with on the CPU; on a GPU it takes half of what is free."""

READOUT_BYTES = 128 * 2**20
"""Logits that are read out at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some finished runs, in no particular order."""

    sets: Int[Tensor, " run"]
    """Which set of edits."""
    prompts: Int[Tensor, " run"]
    """Which prompt."""
    resid: Float[Tensor, "run depth pos d_model"]
    """Residual states at the asked depths and positions, in the model's dtype, on its device."""


def replay(
    model: DepthModel,
    base: Prompts,
    edit_sets: Sequence[Sequence[SiteEdit]],
    *,
    positions: Positions = "last",
    depths: Sequence[int] | None = None,
    only: Bool[Tensor, "set batch"] | None = None,
    engine: Engine = "auto",
    check: bool = True,
    grad: bool = False,
    max_memory: int | None = None,
) -> Iterator[Part]:
    """Residual states of the base prompts under many sets of edits, a part at a time.

    All edits of a set act in one run, later ones on what earlier ones produced. An edit treats
    each state by itself: what differs from prompt to prompt belongs in its `source`.

    Args:
        model: any wrapped model.
        base: the prompts that are edited.
        edit_sets: what to change in each run; an empty set is the base run.
        positions: where to read.
        depths: which depths to read, ascending; None reads depth L, from which the logits come.
        only: which prompts each set runs on; all by default.
        engine: `"replay"` insists on the fast way, `"hooks"` on the plain one; `"auto"` takes the
            fast one wherever the model allows it, and says once where it does not.
        check: compare one self-patch and one run of the sweep with the plain way first.
        grad: keep the graph, so that results can be differentiated; otherwise everything runs in
            inference mode.
        max_memory: bytes to plan with; None takes a sensible share of what there is. Where memory
            runs out all the same, the work is halved and goes on.
    Raises:
        ValueError: before any forward pass: an edit does not fit, or an option is unknown.
        RuntimeError: an edit never ran, or with `engine="replay"` the check failed or the model
            cannot be replayed.
    """
    plan = _plan(model, base, edit_sets, positions, depths, only, engine, max_memory)
    return _replay(plan, engine, check, grad)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    model: DepthModel
    batch: TokenBatch
    edit_sets: list[list[SiteEdit]]
    read: Int[Tensor, "batch pos"]
    depths: list[int]
    only: Bool[Tensor, "set batch"]
    max_memory: int | None


def _plan(
    model: DepthModel,
    base: Prompts,
    edit_sets: Sequence[Sequence[SiteEdit]],
    positions: Positions,
    depths: Sequence[int] | None,
    only: Bool[Tensor, "set batch"] | None,
    engine: Engine,
    max_memory: int | None,
) -> _Plan:
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
    checked = [[check_edit(edit, batch, caller="replay") for edit in edits] for edits in edit_sets]
    for edits in checked:
        for edit in edits:
            model.check_hook(edit.hook)
    shape = (len(checked), len(batch))
    if only is None:
        only = torch.ones(shape, dtype=torch.bool)
    elif only.shape != shape:
        raise ValueError(f"replay: `only` must have shape {list(shape)}, got {list(only.shape)}.")
    return _Plan(
        model=model,
        batch=batch,
        edit_sets=checked,
        read=resolve_positions(batch, positions),
        depths=asked,
        only=only,
        max_memory=max_memory,
    )


def _replay(plan: _Plan, engine: Engine, check: bool, grad: bool) -> Iterator[Part]:
    blocks = None
    if engine != "hooks":
        try:
            blocks = _fitting_blocks(plan)
            if check:
                _check(plan, blocks)
        except Unreplayable as reason:
            if engine == "replay":
                raise RuntimeError(
                    f"replay: {plan.model.info.name!r} cannot be replayed: {reason}. "
                    f"Use engine='auto' or engine='hooks'."
                ) from reason
            plan.model.warn_once(f"interventions run hook by hook, since {reason}.")
            blocks = None
    if blocks is None:
        yield from _by_hooks(plan)
    else:
        yield from _by_replay(plan, blocks, grad)


class _Replayed:
    """A model's blocks, whose inner hooks lead to the chunk at work."""

    def __init__(self, model: DepthModel, hooks: Sequence[str]) -> None:
        self.blocks: Blocks = blocks_of(model)
        self.chunk: Chunk | None = None
        for hook in hooks:
            self.blocks.watch(hook, self._change(hook))

    def _change(self, hook: str) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            return x if self.chunk is None else self.chunk.change(hook, x)

        return change


def _fitting_blocks(plan: _Plan) -> _Replayed:
    hooks = sorted({edit.hook for edits in plan.edit_sets for edit in edits})
    places = {hook: place_of(hook) for hook in hooks}
    for hook, place in places.items():
        if place is None:
            raise Unreplayable(f"an edit at {hook} needs the whole forward pass")
    inside = [hook for hook, place in places.items() if place and place.stream in INSIDE]
    return _Replayed(plan.model, inside)


def _by_hooks(plan: _Plan) -> Iterator[Part]:
    """The plain way: one forward pass a set."""
    last = plan.depths[-1]
    for index, edits in enumerate(plan.edit_sets):
        reaching = [e for e in edits if _depth_needed(e) <= last]
        prompts = plan.only[index].nonzero()[:, 0]
        for rows in prompts.split(_prompts_at_once(plan)):
            resid = plan.model.edited_states(
                plan.batch[rows],
                [e.of(rows) for e in reaching],
                plan.depths,
                plan.read[rows],
            )
            yield Part(sets=torch.full_like(rows, index), prompts=rows, resid=resid.transpose(0, 1))


def _depth_needed(edit: SiteEdit) -> int:
    """Shallowest depth that an edit can change."""
    place = place_of(edit.hook)
    return 0 if place is None else place.depth + (place.stream in INSIDE)


def _by_replay(plan: _Plan, replayed: _Replayed, grad: bool) -> Iterator[Part]:
    runs, idle = plan_runs(plan.edit_sets, plan.read, plan.only, plan.depths[-1])
    pending = list(torch.arange(len(plan.batch)).split(_prompts_at_once(plan)))[::-1]
    while pending:
        prompts = pending.pop()
        mine = runs[(runs.prompts >= prompts[0]) & (runs.prompts <= prompts[-1])]
        still = idle[:, prompts]
        if not len(mine) and not still.any():
            continue
        tokens = plan.batch[prompts].tokens.to(plan.model.device)
        joins = set(mine.depths.unique().tolist())
        try:
            with _mode(grad):
                base = record(
                    replayed.blocks,
                    tokens,
                    depths=joins | set(plan.depths),
                    first_layer=min(joins, default=plan.model.n_layers),
                )
        except RuntimeError as error:
            pending += _halves(prompts, error)
            continue
        yield from _unchanged(plan, base, prompts, still, grad)
        yield from _changed(plan, replayed, base, mine, int(prompts[0]), grad)


def _changed(
    plan: _Plan, replayed: _Replayed, base: BaseRun, runs: Runs, first: int, grad: bool
) -> Iterator[Part]:
    device = plan.model.device
    pending = list(runs.chunks(_tokens_at_once(plan)))[::-1]
    while pending:
        chunk_runs = pending.pop()
        try:
            with _mode(grad):
                edits = pack_edits(plan.edit_sets, chunk_runs, device)
                local = replace(chunk_runs, prompts=chunk_runs.prompts - first)
                read = plan.read[chunk_runs.prompts]
                replayed.chunk = Chunk(replayed.blocks, base, local, edits, read, device)
                resid = replayed.chunk.resid(plan.depths)
        except RuntimeError as error:
            pending += _halves(chunk_runs, error)
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
        # A clone made here is an ordinary tensor, which inference mode does not follow.
        yield Part(sets=chunk_runs.sets, prompts=chunk_runs.prompts, resid=resid.clone())


def _unchanged(
    plan: _Plan, base: BaseRun, prompts: Tensor, idle: Tensor, grad: bool
) -> Iterator[Part]:
    """What no edit reaches: the base run itself."""
    sets, rows = idle.nonzero(as_tuple=True)
    if not len(sets):
        return
    for some in torch.arange(len(sets)).split(_tokens_at_once(plan)):
        read = plan.read[prompts[rows[some]]].clamp(min=0).to(plan.model.device)
        at = rows[some].to(plan.model.device)[:, None]
        with _mode(grad):
            resid = torch.stack([base.resid[depth][at, read] for depth in plan.depths], dim=1)
        yield Part(sets=sets[some], prompts=prompts[rows[some]], resid=resid.clone())


def _mode(grad: bool) -> contextlib.AbstractContextManager[object]:
    return torch.enable_grad() if grad else torch.inference_mode()


def _halves(work: Work, error: RuntimeError) -> list[Work]:
    """The two halves of work for which memory ran out, second half first.

    Raises:
        RuntimeError: the error given, if it is another one or nothing is left to halve.
    """
    words = str(error).lower()
    full = isinstance(error, torch.OutOfMemoryError) or ("alloc" in words and "memory" in words)
    if not full or len(work) < 2:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(work) // 2
    logger.info("replay: out of memory; going on with half as much at a time")
    return [work[half:], work[:half]]


def _memory(plan: _Plan) -> int:
    if plan.max_memory is not None:
        return plan.max_memory
    if plan.model.device.type == "cuda":
        return torch.cuda.mem_get_info(plan.model.device)[0] // 2
    return CPU_MEMORY


def _tokens_at_once(plan: _Plan) -> int:
    """Length of a packed sequence: half of the memory goes to what a block makes of it."""
    cfg, longest = plan.model.model.cfg, plan.batch.tokens.shape[1]
    d_mlp = getattr(cfg, "d_mlp", None) or 4 * cfg.d_model
    # A state, its projections and sums; the MLP's inner states; scores and weights in float32.
    in_dtype = 10 * cfg.d_model + 4 * d_mlp
    each = in_dtype * plan.model.dtype.itemsize + 4 * 4 * cfg.n_heads * longest
    most = MAX_TOKENS.get(plan.model.device.type, MAX_TOKENS["cpu"])
    return min(most, max(1, _memory(plan) // 2 // each))


def _prompts_at_once(plan: _Plan) -> int:
    """Base prompts recorded together: their states, keys and values take the other half."""
    cfg, longest = plan.model.model.cfg, plan.batch.tokens.shape[1]
    kept = (cfg.n_layers + 1) * cfg.d_model + 2 * cfg.n_layers * cfg.n_heads * cfg.d_head
    base = _memory(plan) // 2 // (kept * plan.model.dtype.itemsize * longest)
    return max(1, min(base, _tokens_at_once(plan) // longest))


def _check(plan: _Plan, replayed: _Replayed) -> None:
    """Compare the engine with the plain way on one prompt, at sites of the sweep itself.

    For each stream one set is drawn; its sites are patched with the states found there, which
    must change nothing, and with those states turned round, which must do what it does by hooks.

    Raises:
        Unreplayable: they differ.
    """
    model = plan.model
    generator = torch.Generator().manual_seed(0)
    by_stream: dict[str, list[int]] = defaultdict(list)
    for i, edits in enumerate(plan.edit_sets):
        for edit in edits:
            place = place_of(edit.hook)
            if place is not None and plan.only[i].any():
                by_stream[place.stream].append(i)
    drawn = [
        int(sets[int(torch.randint(len(sets), (1,), generator=generator))])
        for sets in map(torch.tensor, by_stream.values())
    ]
    asked = plan.only[drawn].any(0) if drawn else plan.only.any(0)
    candidates = asked.nonzero()[:, 0]
    if not len(candidates):
        return
    row = candidates[int(torch.randint(len(candidates), (1,), generator=generator))][None]
    probes = [[], *([_with(e, row, _turned) for e in plan.edit_sets[i]] for i in drawn)]
    selves = [[_with(e, row, _same) for e in plan.edit_sets[i]] for i in drawn]
    one = replace(
        plan,
        batch=plan.batch[row],
        read=plan.read[row],
        only=plan.only[:, row],
        depths=[model.n_layers],
    )
    by_hooks = _all_logits(one, probes, None)
    by_replay = _all_logits(one, probes + selves, replayed)
    tolerance = TOLERANCE.get(model.dtype, 1e-4) * float(by_hooks.abs().max().clamp_min(1.0))
    error = float((by_replay[: len(probes)] - by_hooks).abs().max())
    if not error <= tolerance:
        raise Unreplayable(
            f"the replayed logits differ from the model's by {error:.1e}, where {tolerance:.1e} "
            f"is allowed"
        )
    moved = float((by_replay[len(probes) :] - by_replay[0]).abs().amax()) if selves else 0.0
    if not moved <= tolerance / 10:
        raise Unreplayable(f"putting a run's own states back changes its logits by {moved:.1e}")


def _all_logits(
    plan: _Plan, edit_sets: list[list[SiteEdit]], replayed: _Replayed | None
) -> Float[Tensor, "set pos d_vocab"]:
    everywhere = torch.ones(len(edit_sets), 1, dtype=torch.bool)
    plan = replace(plan, edit_sets=edit_sets, only=everywhere)
    parts = _by_hooks(plan) if replayed is None else _by_replay(plan, replayed, grad=False)
    done = list(parts)
    states = torch.cat([part.resid[:, 0] for part in done])[:, plan.read[0] >= 0]
    order = torch.cat([part.sets for part in done]).argsort()
    return plan.model.readout(states[order.to(states.device)]).cpu()


def _same(found: Tensor, source: Tensor | None) -> Tensor:
    return found


def _turned(found: Tensor, source: Tensor | None) -> Tensor:
    return found.flip(-1)


def _with(edit: SiteEdit, row: Tensor, function: Edit) -> SiteEdit:
    return replace(edit.of(row), edit=function, source=None)


def replay_measure(
    model: DepthModel,
    base: Prompts,
    edit_sets: Sequence[Sequence[SiteEdit]],
    measure: Callable[
        [Float[Tensor, "run column"], Int[Tensor, " run"]], Mapping[str, Float[Tensor, " run"]]
    ],
    *,
    positions: Positions = "last",
    columns: Int[Tensor, "batch column"] | None = None,
    only: Bool[Tensor, "set batch"] | None = None,
    engine: Engine = "auto",
    check: bool = True,
    max_memory: int | None = None,
    description: str = "replaying",
) -> dict[str, Float[Tensor, "set batch"]]:
    """Numbers read off the logits at one position of each prompt, for each set of edits.

    Logits are reduced to numbers a part at a time, so memory does not grow with the sets.

    Args:
        model: any wrapped model.
        base: the prompts that are edited.
        edit_sets: what to change in each run.
        measure: from logits, float32 on the CPU, and the prompts that they belong to, to named
            numbers.
        positions: one position a prompt.
        columns: token ids for each prompt; `measure` then sees only their logits, in this order.
        only: which prompts each set runs on; the rest is NaN.
        engine: see `replay`.
        check: see `replay`.
        max_memory: see `replay`.
        description: shown with the progress bar.
    Raises:
        ValueError: an edit or an option does not fit, or more than one position is asked for.
    """
    plan = _plan(model, base, edit_sets, positions, None, only, engine, max_memory)
    if plan.read.shape[1] != 1:
        raise ValueError(
            f"replay_measure: one position a prompt is needed, got {plan.read.shape[1]}."
        )
    shape = (len(plan.edit_sets), len(plan.batch))
    results: dict[str, Tensor] = {}
    at_once = max(1, READOUT_BYTES // (4 * (model.d_vocab if columns is None else 1)))
    bar = tqdm(total=int(plan.only.sum()), desc=description, disable=None, leave=False)
    with bar, contextlib.closing(_replay(plan, engine, check, grad=False)) as parts:
        for part in parts:
            for some in torch.arange(len(part.sets)).split(at_once):
                prompts = part.prompts[some]
                states = part.resid[some.to(part.resid.device), 0, 0]
                wanted = None if columns is None else columns[prompts]
                logits = model.readout(states, wanted).cpu()
                for name, values in measure(logits, prompts).items():
                    out = results.setdefault(name, torch.full(shape, torch.nan))
                    out[part.sets[some], prompts] = values.float().cpu()
            bar.update(len(part.sets))
    return results
