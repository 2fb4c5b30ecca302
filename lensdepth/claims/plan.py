"""What testing would run, before it is run: edited runs, time and memory."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lensdepth.ablation import parts as ablation
from lensdepth.arguments import checked
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.complete import READ_EDITS, TWIN_CONTROLS
from lensdepth.claims.contrasts import CONTRASTS
from lensdepth.claims.evidence import check_pairs
from lensdepth.claims.experiment import check_hypotheses
from lensdepth.claims.hypothesis import EDITS_OF, Hypothesis
from lensdepth.claims.pace import Pace, pace_of, searched_pairs
from lensdepth.claims.sweeps import needed_sweeps
from lensdepth.claims.twins import MOST_PAIRS
from lensdepth.model import DepthModel
from lensdepth.replay.memory import memory_of
from lensdepth.steering import parts as steering
from lensdepth.sweep.adaptive import Depths
from lensdepth.sweep.controls import CONTROL_PAIRS
from lensdepth.tasks import Task

PATCH = "patch at input and prediction"
ABLATE = "ablate at prediction, at most"
STEER = "steer at input and prediction"
TRAJECTORY = "attention, the trajectory after it"
TIMED = 8
"""Prompts in the forward passes that are timed."""
REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Workload:
    """How much work there is."""

    sweeps: tuple[tuple[str, int], ...]
    """Name and number of edited runs of each."""
    plain_runs: int
    """Forward passes of one prompt without an edit."""
    seconds_per_prompt: float
    """One plain forward pass, as timed on a few prompts."""
    weights_bytes: int
    states_bytes: int
    """States, keys and values that are kept beside the weights, at most."""
    pace: Pace | None = None
    """What runs take, where that was tried."""
    starts: tuple[tuple[tuple[int, ...], int], ...] = ()
    """Of each sweep, where it was tried: pairs of its starts (see `Pace.start`), and pairs that are
    run plain beside them, to find depths."""

    @property
    def edited_runs(self) -> int:
        return sum(n for _, n in self.sweeps)

    @property
    def most_seconds(self) -> float:
        """Were every edited run a whole forward pass; replaying takes a part of that."""
        return (self.edited_runs + self.plain_runs) * self.seconds_per_prompt

    @property
    def timed(self) -> tuple[tuple[str, float], ...]:
        """Name and seconds of each sweep; () where none was tried."""
        if self.pace is None:
            return ()
        pace = self.pace
        return tuple(
            (name, n * pace.edited + sum(map(pace.start, begun)) + searched * pace.beyond)
            for (name, n), (begun, searched) in zip(self.sweeps, self.starts, strict=True)
        )

    @property
    def seconds(self) -> float | None:
        """All of them; None where none was tried."""
        return sum(took for _, took in self.timed) if self.pace is not None else None

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "sweeps": [{"name": name, "edited_runs": n} for name, n in self.sweeps],
            "edited_runs": self.edited_runs,
            "plain_runs": self.plain_runs,
            "seconds_per_prompt": self.seconds_per_prompt,
            "most_seconds": self.most_seconds,
            "weights_bytes": self.weights_bytes,
            "states_bytes": self.states_bytes,
        }


@checked
def plan_hypotheses(model: DepthModel, task: Task, hypotheses: Sequence[Hypothesis]) -> Workload:
    """The sweeps that `evaluate_hypotheses` would run.

    Raises:
        ValueError: as `evaluate_hypotheses`.
    """
    check_hypotheses(model, task, hypotheses)
    sweeps = []
    for one in needed_sweeps(hypotheses):
        depths = model.n_layers + (one.stream == "resid_pre")
        n_edits = 1 if one.kind == "patch" else len(EDITS_OF[one.kind])
        n_runs = n_edits * depths * len(one.positions) * len(one.scopes) * len(task)
        stream = "" if one.stream == "resid_pre" else one.stream
        places = " and ".join(one.positions), " and ".join(one.scopes)
        sweeps.append((" ".join(filter(None, (one.kind, one.edit, stream, *places))), n_runs))
    return _plan(model, task, sweeps)


def claim_sweeps(
    n_layers: int,
    n_pairs: int,
    *,
    twins: int = 0,
    n_depths: int | None = None,
    n_steered: int | None = None,
) -> list[tuple[str, int]]:
    """Name and number of edited runs of the sweeps behind the claims, for a model of this depth.

    Args:
        n_layers: blocks.
        n_pairs: pairs that the model answers rightly.
        twins: untrained twins; each runs them on as many pairs, 60 at most.
        n_depths: at which whole states are edited, where they are found; None for all of them.
        n_steered: pairs whose words and answers others have too; None for all.
    """
    depths = n_layers + 1 if n_depths is None else n_depths

    def runs(n: int, steered: int, controlled: int) -> dict[str, int]:
        """By sweep, on so many pairs, with controls on so many of them."""
        ablated, added = (
            sum(min(size, controlled) if edit in controls else size for edit in READ_EDITS[name])
            for name, size, controls in (
                ("ablation", n, ablation.CONTROLS),
                ("steering", steered, steering.CONTROLS),
            )
        )
        return {
            PATCH: 2 * depths * n,
            ABLATE: depths * ablated,
            STEER: 2 * depths * added,
            "attention alone, together, all but one": (2 * n_layers + 1) * n,
            TRAJECTORY: n_layers * n,
            "stretch and turn at prediction, at most": len(CONTRASTS) * (depths - 2) * n,
        }

    steered = n_pairs if n_steered is None else n_steered
    sweeps = [*runs(n_pairs, steered, CONTROL_PAIRS).items()]
    if twins:
        few = min(n_pairs, MOST_PAIRS)
        each = runs(few, few, TWIN_CONTROLS)
        n = twins * (sum(each.values()) - each[TRAJECTORY])
        sweeps.append((f"the same on {twins} untrained twins, at most", n))
    return sweeps


def plain_runs(n_pairs: int) -> int:
    """Unedited runs, which all sweeps share: of both prompts for what is in the stream and once
    more for what attention writes, and the one that edited runs are replayed on."""
    return 5 * n_pairs


def states_bytes(n_layers: int, d_model: int, n_tokens: int, n_pairs: int) -> int:
    """The stream at every depth, keys and values of base and source runs, in float32, at once."""
    return 4 * 2 * n_pairs * n_tokens * ((n_layers + 1) + 2 * n_layers) * d_model


@checked
def plan_claims(
    model: DepthModel,
    task: Task,
    *,
    twins: int = N_TWINS,
    depths: Depths = None,
    n_steered: int | None = None,
    probe: bool = False,
) -> Workload:
    """The sweeps that `evaluate_claims` would run, if the model answers all pairs rightly.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        twins: untrained twins.
        depths: as of `evaluate_claims`; how many are found is known where a probe is run.
        n_steered: pairs that can be steered; None for all.
        probe: run a few edited runs of each kind.
    Raises:
        ValueError: as `evaluate_claims`.
    """
    check_pairs(task, caller="plan_claims")
    plan = _plan(model, task, claim_sweeps(model.n_layers, len(task), twins=twins))
    if not probe:
        return plan
    pace = pace_of(model, task, depths, plan.seconds_per_prompt)
    n, found = len(task), pace.n_depths if pace.found else None
    sweeps = claim_sweeps(model.n_layers, n, twins=twins, n_depths=found, n_steered=n_steered)
    searched = searched_pairs(model.n_layers, n, found=pace.found)
    starts: list[tuple[tuple[int, ...], int]] = [
        ((n,), searched * (name == PATCH)) for name, _ in claim_sweeps(model.n_layers, n)
    ]
    if twins:  # no trajectory
        begun = (min(n, MOST_PAIRS),) * (len(starts) - 1)
        starts.append((twins * begun, twins * searched))
    return replace(plan, sweeps=tuple(sweeps), starts=tuple(starts), pace=pace)


def _plan(model: DepthModel, task: Task, sweeps: Sequence[tuple[str, int]]) -> Workload:
    assert task.corrupted_tokens is not None
    longest = max(task.clean_tokens.tokens.shape[1], task.corrupted_tokens.tokens.shape[1])
    return Workload(
        sweeps=tuple(sweeps),
        plain_runs=plain_runs(len(task)),
        seconds_per_prompt=time_prompt(model, task),
        weights_bytes=model.passes.n_bytes,
        states_bytes=min(
            states_bytes(model.n_layers, model.d_model, longest, len(task)), memory_of(model)
        ),
    )


def time_prompt(model: DepthModel, task: Task) -> float:
    """Seconds of a plain pass of one prompt among several."""
    batch = task.clean_tokens[slice(0, TIMED)]
    model.logits(batch)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.logits(batch)
        times.append(time.perf_counter() - start)
    return statistics.median(times) / len(batch)
