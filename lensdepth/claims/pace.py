"""How long sweeps will take, by trying small ones.

A sweep begins with plain passes and its own checks (base, source, self-patch, floor), which grow
with the pairs up to `CHECKED` and little beyond; then come edited runs among many. What either
costs depends on the model, the machine and the prompts; at how many depths a sweep runs, on where
its curves move. None of it can be told from sizes, so it is tried: ablations of more and of fewer
pairs, at more and at fewer depths, part the costs, and a patch finds the depths. Nothing here is
fitted to a model.
"""

import math
import time
from dataclasses import dataclass

from lensdepth.ablation.parts import CONTROLS, EDITS
from lensdepth.ablation.sweep import ablation_sweep
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.sweep.adaptive import PARTS, PILOT, Depths
from lensdepth.sweep.floor import PAIRS, STILL
from lensdepth.sweep.spans import named_positions
from lensdepth.tasks.task import Task

CHECKED = PAIRS
"""Pairs on which a sweep checks itself at most."""
PROBED_PAIRS = 16
"""As many, for an edited run is the cheaper the more of them are run together."""
FEWER_PAIRS = STILL
"""From so many pairs on, one part of the checks grows no more."""
SEARCHED_PAIRS = 6
MORE_DEPTHS = 4
LEAST_PART = 0.2
"""Of the longer ablation, taken for its edited runs at least: other work may have slowed the other
one."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds of what a sweep is made of, and the depths that are measured."""

    n_depths: int
    """Depths of a sweep of whole states: all, or those that were found on a few pairs."""
    found: bool
    """Whether they were found."""
    edited: float
    """One edited run among many."""
    fixed: float
    """What a sweep begins with, whatever its pairs."""
    plain: float
    """What each pair adds to that, up to `CHECKED` pairs."""
    beyond: float
    """And each further pair: two plain passes."""

    def start(self, n_pairs: int) -> float:
        """What a sweep of so many pairs begins with."""
        more = max(n_pairs - CHECKED, 0)
        return self.fixed + self.plain * (n_pairs - more) + self.beyond * more


def pace_of(model: DepthModel, task: Task, depths: Depths, seconds_per_prompt: float) -> Pace:
    """Try a few pairs, spread over the task.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        depths: as of the sweeps.
        seconds_per_prompt: of a plain pass.
    """
    positions = named_positions(task, "all")
    patched = patch_sweep(
        model, _spread(task, SEARCHED_PAIRS), positions=positions, depths=depths,
        also=("success",), controls=(),
    )  # fmt: skip
    at = patched.depths.tolist()
    steps = [at[i * (len(at) - 1) // MORE_DEPTHS] for i in range(MORE_DEPTHS + 1)]
    few, more = steps[MORE_DEPTHS // 2 :][:1], sorted({*steps})
    some = _spread(task, PROBED_PAIRS)
    fewer = some.select(slice(0, FEWER_PAIRS))
    took = []
    for pairs, asked in ((fewer, few), (fewer, few), (some, few), (some, more)):
        start = time.perf_counter()  # the first compares the engine with plain hooks
        ablation_sweep(model, pairs, depths=asked)
        took.append(time.perf_counter() - start)
    n_edits = len(EDITS) + len(CONTROLS)
    longest = max(took)
    edited = max(took[3] - took[2], LEAST_PART * longest)
    edited /= n_edits * len(some) * max(len(more) - 1, 1)
    starts = [
        max(t - n_edits * n * edited, 0.0) for n, t in ((len(fewer), took[1]), (len(some), took[2]))
    ]
    plain = max(starts[1] - starts[0], 0.0) / max(len(some) - len(fewer), 1)
    return Pace(
        n_depths=len(at),
        found=patched.depths_found,
        edited=edited,
        fixed=max(starts[0] - plain * len(fewer), 0.0),
        plain=plain,
        beyond=2 * seconds_per_prompt,
    )


def searched_pairs(n_layers: int, n_pairs: int, *, found: bool) -> int:
    """Pairs that are run plain in the rounds of that search, which halve a coarse grid's steps."""
    rounds = 1 + math.ceil(math.log2(max(1, round(n_layers / PARTS)))) if found else 0
    return rounds * min(n_pairs, PILOT)


def _spread(task: Task, n: int) -> Task:
    return task.select(slice(0, None, max(1, -(-len(task) // n))))
