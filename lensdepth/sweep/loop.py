"""The one loop of all sweeps: blocks of pairs, source run, edited runs, provenance.

An analysis says what it runs (`plan`) and under which labels the numbers belong; everything that
all of them share stands here. `check_self_patch` shows beforehand that putting a run's own states
back changes nothing.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects, Label, axes_in_order
from lensdepth.progress import unwatched
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.replay.engine import replay, replay_measure
from lensdepth.replay.plan import Engine
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.floor import Replayed, measure_floor
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric, PairBlock
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.runs import Run, RunSets
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task

logger = logging.getLogger(__name__)

SELF_PATCH_TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.1}
"""Largest change of a logit that putting a run's own states back may cause, as a share of the
largest logit (or of 1, if that is more); 1e-5 in float32 and wider."""
SELF_PATCHED = 8
"""Pairs whose own states are put back as a check, at every site at once: what is wrong with a model
shows in each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Planned:
    """What is run on one block of pairs."""

    runs: Iterable[Run]
    beside: Mapping[str, Float[Tensor, "*shape pair"]] = field(default_factory=dict)
    """Numbers that need no edited run, by name."""


Planner = Callable[[slice], Planned]
"""From some pairs of the task to what is run on them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Swept:
    """What a sweep found."""

    effects: Effects
    beside: dict[str, Float[Tensor, "*shape pair"]]


def run_sweep(
    model: DepthModel,
    roles: Roles,
    options: Options,
    plan: Planner,
    coords: Mapping[str, Sequence[Label]],
    *,
    n_numbers: int,
    description: str,
    floor: bool = True,
) -> Swept:
    """Run a plan block by block, and put its numbers under their labels.

    Args:
        model: any wrapped model.
        roles: of all pairs.
        options: which metrics, and how they are computed.
        plan: what is run; a `Run`'s cells are indices into the axes of `coords`, in their order.
        coords: labels of the result's axes, metric and pair aside.
        n_numbers: numbers that one pair's states take, which bounds the size of a block.
        description: shown with the progress bars.
        floor: whether it is measured how far numbers move when nothing is changed; 0 where not.
    """
    blocks = pair_blocks(len(roles.base), n_numbers)
    quiet = None if len(blocks) > 1 else True
    shape = [len(labels) for labels in coords.values()]
    base, source, values, beside = [], [], [], []
    floors: tuple[float, ...] = () if floor else (0.0,) * len(options.names)
    for rows in tqdm(blocks, desc=description, disable=quiet, leave=False):
        block = PairBlock(model=model, roles=roles.of(rows), start=rows.start)
        planned = plan(rows)
        sets = RunSets(planned.runs, len(block.roles.base))
        read = _measured(
            block,
            sets,
            options.asked,
            engine=options.engine,
            max_memory=options.max_memory,
            description=description,
        )
        base.append(read[:, 0])
        if not floors:
            asked, names = options.asked, options.names
            floors = measure_floor(block, sets, asked, names, read[:, 0], _unwatched_by(options))
        every = torch.arange(len(block.roles.base))
        source.append(block.read(options.asked, block.source, every))
        values.append(sets.filled(read, shape))
        beside.append(planned.beside)
    given = " ".join([*coords, "pair"])
    effects = Effects(
        metrics=options.names,
        coords={axis: tuple(coords[axis]) for axis in axes_in_order(coords) if axis != "pair"},
        values=rearrange(
            torch.cat(values, dim=-1),
            f"metric {given} -> metric {' '.join(axes_in_order(coords))}",
        ),
        base=torch.cat(base, dim=-1),
        source=torch.cat(source, dim=-1),
        intended="target" if roles.mode == "denoise" else "foil",
        floor=floors,
    )
    names = beside[0]
    return Swept(
        effects=effects,
        beside={name: torch.cat([part[name] for part in beside], dim=-1) for name in names},
    )


def _unwatched_by(options: Options) -> Replayed:
    """How the floor is measured: as the sweep is, but as no part of what is watched."""

    def replayed(
        block: PairBlock,
        sets: Sequence[Sequence[SiteEdit]],
        only: Bool[Tensor, "set pair"],
        measure: Callable[[Tensor, Tensor], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        with unwatched():
            return replay_measure(
                block.model,
                block.roles.base,
                sets,
                measure,
                only=only,
                engine=options.engine,
                max_memory=options.max_memory,
                description="measuring the floor",
            )

    return replayed


def _measured(
    block: PairBlock,
    sets: RunSets,
    asked: Sequence[str | Metric],
    *,
    engine: Engine,
    max_memory: int | None,
    description: str,
) -> Float[Tensor, "metric set pair"]:
    """The metrics of every set of edits; NaN where a set was not run."""
    roles, columns = block.roles, None
    if all(metric == "logit_diff" for metric in asked):
        # Two columns of the unembedding are far less work than the whole vocabulary.
        columns = torch.stack([roles.target, roles.foil], dim=1)

    def measure(logits: Tensor, pairs: Tensor) -> dict[str, Tensor]:
        if columns is not None:
            return {"0": logits[:, 0] - logits[:, 1]}
        return {str(i): values for i, values in enumerate(block.read(asked, logits, pairs))}

    found = replay_measure(
        block.model,
        roles.base,
        sets.sets,
        measure,
        columns=columns,
        only=sets.only,
        engine=engine,
        max_memory=max_memory,
        description=description,
        # A user's function sees logits on the CPU; named metrics need not wait for a copy.
        on_device=all(isinstance(metric, str) for metric in asked),
    )
    return torch.stack([found[str(i)] for i in range(len(asked))])


def say_undefined(effects: Effects, options: Options) -> None:
    """Say how many pairs have no transferred fraction, so that means are over the others."""
    base = effects.base[0]
    n = int((~effects.has_way).sum())
    if n:
        logger.warning(
            "%s: base and source have the same %s in %d of %d pairs; these have no transferred "
            "fraction, and its means are over the others.",
            options.caller, effects.metrics[0], n, len(base),
        )  # fmt: skip


def sweep_provenance(model: DepthModel, task: Task, options: Options) -> Provenance:
    """Where the result of a sweep comes from, with every option under its name."""
    return make_provenance(
        options.caller,
        model.info,
        **task.origin,
        settings=options.settings,
        seed=options.seed,
    )


def check_self_patch(
    model: DepthModel,
    roles: Roles,
    hooks: Sequence[str],
    positions: Sequence[Int[Tensor, "pair _"]],
    options: Options,
) -> float:
    """Put the base run's own states back at every site at once; the largest change of a logit.

    Raises:
        RuntimeError: it is above the tolerance, so no patch of this model can be trusted.
    """
    first = slice(0, SELF_PATCHED)
    mine, at = roles.of(first), [tokens[first] for tokens in positions]
    own = states_at(model, mine.base, hooks, at)
    sets = RunSets(
        [
            Run(
                cells=(),
                hooks=hooks,
                tokens=tokens,
                states=[own.at(d, i) for d in range(len(hooks))],
                edit=polar.full_swap,
                there=(tokens >= 0).any(1),
            )
            for i, tokens in enumerate(at)
        ],
        len(mine.base),
    )
    plain = model.logits(mine.base)[:, 0]
    error = 0.0
    for part in replay(model, mine.base, sets.sets, only=sets.only, engine=options.engine):
        logits = model.readout(part.resid[:, 0, 0]).cpu()
        error = max(error, float((logits - plain[part.prompts]).abs().max()))
    allowed = SELF_PATCH_TOLERANCE.get(model.dtype, 1e-5) * max(1.0, float(plain.abs().max()))
    if not error <= allowed:
        raise RuntimeError(
            f"self-patch: putting the model's own states back changed a logit by {error:.1e}, "
            f"where {allowed:.1e} is allowed; patches of {model.info.name!r} "
            f"({model.info.backend}) cannot be trusted."
        )
    return error
