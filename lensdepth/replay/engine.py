"""The outcome of many interventions, exactly, from one base run: states, or numbers read off them.

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
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.finite import NotFinite
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.not_finite import not_finite
from lensdepth.progress import counted
from lensdepth.replay.copies import Unreplayable
from lensdepth.replay.memory import held_bytes
from lensdepth.replay.plan import Engine, Part, Plan, make_plan
from lensdepth.replay.runs import rows_of
from lensdepth.replay.trust import check_blocks
from lensdepth.replay.ways import by_hooks, by_replay, fitting_blocks
from lensdepth.tally import Tally, clock, counting
from lensdepth.tokens import Positions, Prompts

READOUT_BYTES = {"cpu": 2**25, "cuda": 2**28}
"""Logits that are read out at a time, by where they are measured; metrics make several times as
much of them. On a processor more is no faster (SmolLM2, 200 pairs, processor seconds of two depths
of an ablation: 40.6, of 128 MiB 40.5)."""


@checked
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
    plan = make_plan(model, base, edit_sets, positions, depths, only, engine, max_memory)
    return run_plan(plan, engine, check, grad)


@checked
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
    on_device: bool = False,
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
        on_device: let `measure` see the logits where the model computes, and give its numbers
            there, so that a vocabulary of logits is not copied for each run.
    Raises:
        ValueError: an edit or an option does not fit, or more than one position is asked for.
    """
    plan = make_plan(model, base, edit_sets, positions, None, only, engine, max_memory)
    if plan.asked.shape[1] != 1:
        raise ValueError(
            f"replay_measure: one position a prompt is needed, got {plan.asked.shape[1]}."
        )
    shape = (len(plan.edit_sets), len(plan.batch))
    tally, whole = counting(), columns is None
    if tally is not None and tally.rehearsed:
        _count(tally, plan, whole=whole)
        return _of_the_base_run(model, plan, measure, columns)
    results: dict[str, Tensor] = {}
    held = READOUT_BYTES.get(model.device.type if on_device else "cpu", READOUT_BYTES["cpu"])
    at_once = max(1, held // (4 * (model.d_vocab if columns is None else 1)))
    bar = counted(int(plan.only.sum()), description)
    with bar as update, contextlib.closing(run_plan(plan, engine, check, grad=False)) as parts:
        for part in parts:
            start = clock()
            for some in torch.arange(len(part.sets)).split(at_once):
                prompts = part.prompts[some]
                states = part.resid[some.to(part.resid.device), 0, 0]
                wanted = None if columns is None else columns[prompts]
                try:
                    logits = model.readout(states, wanted)
                except NotFinite as error:
                    run = some[error.row]
                    edits = plan.edit_sets[int(part.sets[run])]
                    raise not_finite(
                        model, plan.batch, int(prompts[error.row]), edits=edits
                    ) from error
                logits = logits if on_device else logits.cpu()
                for name, values in measure(logits, prompts).items():
                    out = results.setdefault(
                        name, torch.full(shape, torch.nan, dtype=torch.float32)
                    )
                    out[part.sets[some], prompts] = values.float().cpu()
            if tally is not None:
                tally.reads += whole * len(part.sets)
                tally.read_seconds += clock() - start
            update(len(part.sets))
    return results


def _of_the_base_run(
    model: DepthModel,
    plan: Plan,
    measure: Callable[[Tensor, Tensor], Mapping[str, Tensor]],
    columns: Int[Tensor, "batch column"] | None,
) -> dict[str, Float[Tensor, "set batch"]]:
    """In a rehearsal: what is measured of the unedited prompts, for every set."""
    found: dict[str, Tensor] = {}
    shape = (len(plan.batch),)
    for part in by_hooks(_unedited(plan), grad=False):
        wanted = None if columns is None else columns[part.prompts]
        logits = model.readout(part.resid[:, 0, 0], wanted).cpu()
        for name, values in measure(logits, part.prompts).items():
            row = found.setdefault(name, torch.full(shape, torch.nan, dtype=torch.float32))
            row[part.prompts] = values.float().cpu()
    return {name: torch.where(plan.only, row, torch.nan) for name, row in found.items()}


def _unedited(plan: Plan) -> Plan:
    """The same prompts, those that any set runs on, with one empty set."""
    return replace(plan, edit_sets=[[]], only=plan.only.any(0, keepdim=True))


def _unedited_parts(plan: Plan) -> Iterator[Part]:
    """In a rehearsal: the unedited states, for every set."""
    for part in by_hooks(_unedited(plan), grad=False):
        for index, mine in enumerate(plan.only[:, part.prompts]):
            if mine.any():
                sets = torch.full((int(mine.sum()),), index)
                resid = part.resid[mine.to(part.resid.device)]
                yield Part(sets=sets, prompts=part.prompts[mine], resid=resid)


def _count(tally: Tally, plan: Plan, *, whole: bool) -> None:
    """Add what a plan puts through the model: its base runs, and what edits can change."""
    n_layers = plan.model.passes.n_layers
    tally.rows += rows_of(plan.edit_sets, plan.read, plan.only, plan.depths[-1])
    prompts = plan.only.any(0).nonzero()[:, 0].tolist()
    base = plan.model.passes.name, *(tuple(plan.batch.row(prompt)) for prompt in prompts)
    if base not in tally.bases:
        tally.bases.add(base)
        tally.rows += int(plan.batch.lengths[prompts].sum()) * n_layers
    tally.runs += int(plan.only.sum())
    tally.reads += whole * int(plan.only.sum())
    longest = plan.batch.tokens.shape[1]
    tally.n_bytes = max(tally.n_bytes, held_bytes(plan.model, longest, plan.max_memory))


def run_plan(plan: Plan, engine: Engine, check: bool, grad: bool) -> Generator[Part, None, None]:
    """What `replay` does once its options are checked."""
    tally = counting()
    if tally is None:
        yield from _run(plan, engine, check, grad)
        return
    if tally.rehearsed:
        _count(tally, plan, whole=False)
        yield from _unedited_parts(plan)
        return
    _count(tally, plan, whole=False)
    parts = _run(plan, engine, check, grad)
    while True:
        start = clock()
        part = next(parts, None)
        tally.row_seconds += clock() - start
        if part is None:
            return
        yield part


def _run(plan: Plan, engine: Engine, check: bool, grad: bool) -> Generator[Part, None, None]:
    blocks = None
    if engine != "hooks":
        try:
            blocks = fitting_blocks(plan)
            if check:
                check_blocks(plan, blocks)
        except Unreplayable as reason:
            if engine == "replay":
                raise RuntimeError(
                    f"replay: {plan.model.info.name!r} cannot be replayed: {reason}. "
                    f"Use engine='auto' or engine='hooks'."
                ) from reason
            message = f"interventions run hook by hook, since {reason}."
            plan.model.warn_once(reason.what, message)
            blocks = None
    if blocks is None:
        yield from by_hooks(plan, grad=grad)
    else:
        yield from by_replay(plan, blocks, grad=grad)
