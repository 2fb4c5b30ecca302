"""One checkpoint after the other on the same pairs."""

import gc
from collections.abc import Callable
from pathlib import Path

import torch

from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.dynamics.asked import measure_moment
from lensdepth.dynamics.course import appearance, course
from lensdepth.dynamics.listed import Checkpoints, listed
from lensdepth.dynamics.moment import Moment
from lensdepth.dynamics.profile import TrainingDynamics
from lensdepth.loading import load_model
from lensdepth.model import DepthModel
from lensdepth.plain_runs import apart
from lensdepth.progress import one_by_one
from lensdepth.provenance import ModelInfo, make_provenance
from lensdepth.sweep.adaptive import Depths, as_setting
from lensdepth.tasks.task import Task

ALIKE = ("architecture", "n_layers", "d_model", "d_vocab", "tokenizer", "dtype")
"""What all checkpoints of a training have in common."""


@checked
@bounded
def training_dynamics(
    checkpoints: Checkpoints,
    task: Task,
    *,
    depths: Depths = None,
    claims: bool = False,
    load: Callable[[str | Path], DepthModel] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> TrainingDynamics:
    """When in training control begins to pass at one place in the depth, and how that place moves.

    Every checkpoint is asked on the same pairs. Of those that it answers rightly (both prompts, by
    first choice) the crossing of its patching curves is found as by `find_crossing`, and where each
    pair hands over by itself. A checkpoint that answers fewer than half of the pairs has no place,
    and none is made up. Then, over the checkpoints that have one, on the pairs that have one in all
    of them, the mean place over the logarithm of the step is cut in two where that explains most,
    and how much that is is held against three nulls: units drawn anew about a place that is the
    same throughout, checkpoints in any order, and Brownian motion over log10(1 + step), because
    neighbouring checkpoints are alike and paths that wander look cut in two as well.

    One model is in memory at a time, but for those that are given loaded.

    Args:
        checkpoints: `{step: name, folder or model}`; or names and folders, each with its step as
            the last number of the revision (`NAME@step1000`) or of the folder's own name
            (`step-1000`); or one folder of such folders; or `"tiny@all"`, what is here of a bundled
            model.
        task: pairs with an input position, for the checkpoints' tokenizer, with `keep="all"`.
        depths: as of `patch_sweep`.
        claims: evaluate the claims at every checkpoint that answers, which takes a minute or more
            each (their verdicts are uncorrected for the number of checkpoints).
        load: opens a name or folder, where `load_model` alone will not do: on another device, say,
            in another dtype.
        seed: of all draws.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        TrainingDynamics. `.appears` says from which step on; `.course` whether it jumps, moves,
        wanders or stays, "too few" below `FEWEST_LOCATED` checkpoints with a place or
        `units.FEWEST_UNITS` units.
    Raises:
        ValueError: before any model is loaded: fewer than two checkpoints, names without a step, a
            task without pairs or input positions, or one that left pairs out. When it is loaded: a
            checkpoint of another architecture, shape, tokenizer or dtype than the first.
    Source: that abilities appear between checkpoints of a training is studied in Olsson et al.
        2022, arXiv 2209.11895, and with public checkpoints in Biderman et al. 2023, arXiv
        2304.01373; cuts as in ruptures (Truong, Oudre & Vayatis 2020). The nulls are ours.
    Example:
        >>> training_dynamics("tiny@all", load_task("months", load_model("tiny"))).appears.by
    """
    caller = "training_dynamics"
    found = listed(checkpoints, caller=caller)
    check_task(task, caller=caller)
    moments: list[Moment] = []
    places = []
    for step, given in one_by_one(list(found.items()), "checkpoints"):
        model = given if isinstance(given, DepthModel) else (load or load_model)(given)
        check_alike([one.model for one in moments] + [model.info], caller=caller)
        with apart():  # plain runs that are kept go with their checkpoint
            moment, own = measure_moment(model, task, step, depths=depths, claims=claims, seed=seed)
        moments.append(moment)
        places.append(own)
        del model  # before the next one is loaded
        if not isinstance(given, DepthModel):
            gc.collect()
    by_pair = torch.stack(places, dim=1)
    located = [i for i, one in enumerate(moments) if one.kind == "crossing"]
    return TrainingDynamics(
        provenance=make_provenance(
            caller,
            moments[-1].model,
            **task.origin,
            settings={
                "steps": list(found),
                "depths": as_setting(depths),
                "claims": claims,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        moments=tuple(moments),
        places=by_pair,
        appears=appearance(moments),
        course=course(
            by_pair[:, located], [moments[i].step for i in located], units=task.units, seed=seed
        ),
    )


def check_task(task: Task, *, caller: str) -> None:
    """Refuse pairs in which nothing is handed over, or that some model chose.

    Raises:
        ValueError
    """
    if not task.has_pairs:
        raise ValueError(f"{caller}: task {task.name!r} has plain prompts alone; pairs are needed.")
    if task.no_handover:
        raise ValueError(f"{caller}: there is no place to look for: {task.no_handover}.")
    if task.keep != "all":
        raise ValueError(
            f"{caller}: every checkpoint is asked on the same pairs, and this task kept the "
            f"{task.keep} ones of one model alone; make it with keep='all'."
        )


def check_alike(infos: list[ModelInfo], *, caller: str) -> None:
    """Refuse a checkpoint that is of no training with the first.

    Raises:
        ValueError
    """
    first, last = infos[0], infos[-1]
    for name in ALIKE:
        if getattr(first, name) != getattr(last, name):
            raise ValueError(
                f"{caller}: {first.name} and {last.name} are no two checkpoints of one training: "
                f"{name} is {getattr(first, name)} in the one and {getattr(last, name)} in the "
                f"other."
            )
