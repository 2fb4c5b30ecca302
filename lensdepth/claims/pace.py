"""How long sweeps will take, by running each kind of them on a few pairs.

What an edited run costs depends on the model, the machine, the prompts, where it is edited and what
is read off it; at how many depths a sweep runs, on where its curves move. None of it can be told
from sizes, so it is tried: nothing here is fitted to a model.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lensdepth.ablation.parts import CONTROLS, EDITS
from lensdepth.ablation.sweep import ablation_sweep
from lensdepth.claims.evidence import STREAM
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.sweep.adaptive import PILOT, Depths
from lensdepth.sweep.roles import POSITION_NAMES
from lensdepth.tasks.task import Task

PROBED_PAIRS = 6
PROBED_DEPTHS = 4
LEAST_PART = 0.2
"""Of what a probe took, for its edited runs at least: other work may have slowed the plain ones."""

Kind = Literal["both", "late", "block"]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of one edited run among many, by its kind, and the depths that are measured."""

    n_depths: int
    """Depths of a sweep of whole states: all, or those that were found on a few pairs."""
    found: bool
    """Whether they were found."""
    both: float
    """Whole states at the input and the prediction position, on average."""
    late: float
    """Whole states at the prediction position alone."""
    block: float
    """What one block's attention adds at the prediction position; two answers are read."""


def pace_of(model: DepthModel, task: Task, seconds_per_prompt: float, depths: Depths) -> Pace:
    """Try each kind of edited run on a few pairs, spread over the task.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        seconds_per_prompt: of a plain pass, which is taken off.
        depths: as of the sweeps.
    """
    some = task.select(slice(0, None, max(1, -(-len(task) // PROBED_PAIRS))))
    positions = POSITION_NAMES if task.input_positions is not None else ("prediction",)
    # The first sweep of all compares the engine with plain hooks.
    patch_sweep(model, some, positions=positions, depths=[model.n_layers // 2], controls=())

    def each(n_runs: int, seconds: float, *, passes: int = 1) -> float:
        plain = passes * 2 * len(some) * seconds_per_prompt
        return max(seconds - plain, LEAST_PART * seconds) / n_runs

    start = time.perf_counter()
    patched = patch_sweep(model, some, positions=positions, depths=depths)
    took = time.perf_counter() - start
    found = patched.depths.tolist()
    runs = patch_runs(len(found), len(some), len(positions), found=patched.depths_found)
    both = each(runs, took, passes=1 + patched.depths_found)
    at = [found[i * (len(found) - 1) // (PROBED_DEPTHS - 1)] for i in range(PROBED_DEPTHS)]
    some_depths = sorted({*at})
    blocks = sorted({min(depth, model.n_layers - 1) for depth in at})
    late = _seconds(lambda: ablation_sweep(model, some, depths=some_depths))
    block = _seconds(
        lambda: patch_sweep(
            model, some, stream=STREAM, positions=("prediction",), depths=blocks, also=(),
            controls=(),
        )
    )  # fmt: skip
    n_edits = len(EDITS) + len(CONTROLS)
    return Pace(
        n_depths=len(found),
        found=patched.depths_found,
        both=both,
        late=each(n_edits * len(some_depths) * len(some), late),
        block=each(len(blocks) * len(some), block),
    )


def patch_runs(n_depths: int, n_pairs: int, n_positions: int = 2, *, found: bool) -> int:
    """Edited runs of a patch with its control, and of the pilot that finds its depths."""
    pilot = min(n_pairs, PILOT) if found else 0
    return n_positions * n_depths * (2 * n_pairs + pilot)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
