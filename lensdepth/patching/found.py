"""The depths of a sweep of whole states that is not asked for any: those where patching moves."""

from dataclasses import replace

from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.sweep.adaptive import pilot
from lensdepth.sweep.options import Options
from lensdepth.sweep.spans import named_positions
from lensdepth.tasks.task import Task


def settled_depths(
    model: DepthModel, task: Task, options: Options, asked: list[int]
) -> tuple[list[int], Options]:
    """The depths of a sweep and its options with them: those asked for, or, where its options say
    that they are found, those where patching moves."""
    if not options.own["depths_found"]:
        return asked, options
    found = _moving_depths(model, task, options)
    return found, replace(options, own={**options.own, "depths": found})


def _moving_depths(model: DepthModel, task: Task, options: Options) -> list[int]:
    """A coarse grid of depths, and every one at which patching a few of the pairs moves.

    Args:
        model: any wrapped model.
        task: the pairs of the sweep.
        options: of the sweep, whose mode, seed, engine and bounds these are.
    """
    found = patch_sweep(
        model, task.select(pilot(len(task))), depths="auto", controls=(), also=("success",),
        positions=named_positions(task, "all"),
        mode=options.mode, seed=options.seed, engine=options.engine,
        batch_size=options.batch_size, max_memory=options.max_memory,
    )  # fmt: skip
    return found.depths.tolist()
