"""What testing would run, before it is run: edited runs, time and memory."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lensdepth.arguments import checked
from lensdepth.claims.architecture import N_TWINS
from lensdepth.claims.contrasts import EDITS as CONTRASTS
from lensdepth.claims.evidence import FACTORS, check_pairs
from lensdepth.claims.experiment import check_hypotheses
from lensdepth.claims.hypothesis import EDITS, Hypothesis
from lensdepth.claims.sweeps import needed_sweeps
from lensdepth.claims.twins import MOST_PAIRS
from lensdepth.model import DepthModel
from lensdepth.replay.memory import CPU_MEMORY
from lensdepth.tasks import Task

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

    @property
    def edited_runs(self) -> int:
        return sum(n for _, n in self.sweeps)

    @property
    def most_seconds(self) -> float:
        """Were every edited run a whole forward pass; replaying takes a part of that."""
        return (self.edited_runs + self.plain_runs) * self.seconds_per_prompt

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
        n_edits = 1 if one.kind == "patch" else len(EDITS[one.kind])
        n_runs = n_edits * depths * len(one.positions) * len(one.scopes) * len(task)
        stream = "" if one.stream == "resid_pre" else one.stream
        places = " and ".join(one.positions), " and ".join(one.scopes)
        sweeps.append((" ".join(filter(None, (one.kind, one.edit, stream, *places))), n_runs))
    return _plan(model, task, sweeps)


def claim_sweeps(n_layers: int, n_pairs: int, *, twins: int = 0) -> list[tuple[str, int]]:
    """Name and number of edited runs of the sweeps behind the claims, for a model of this depth.

    Args:
        n_layers: blocks.
        n_pairs: pairs that the model answers rightly.
        twins: untrained twins; each runs them on as many pairs, 60 at most.
    """
    depths = n_layers + 1
    sweeps = [
        ("patch at input and prediction, with controls", 4 * depths * n_pairs),
        ("ablate at prediction", len(EDITS["ablate"]) * depths * n_pairs),
        ("halve and double norms at prediction", len(FACTORS) * depths * n_pairs),
        ("steer at input and prediction", 2 * len(EDITS["steer"]) * depths * n_pairs),
        ("attention alone, together, all but one", (2 * n_layers + 1) * n_pairs),
        ("attention, the trajectory after it", n_layers * n_pairs),
        ("stretch and turn at prediction", len(CONTRASTS) * (n_layers - 1) * n_pairs),
    ]
    if twins:
        # No controls of patches and no trajectory.
        spared = (2 * depths + n_layers) * n_pairs
        each = (sum(n for _, n in sweeps) - spared) * min(n_pairs, MOST_PAIRS) // max(n_pairs, 1)
        sweeps.append((f"the same on {twins} untrained twins, at most", twins * each))
    return sweeps


def plain_runs(n_sweeps: int, n_pairs: int) -> int:
    """Unedited runs: base and source of every sweep, and both prompts once for the answers."""
    return 2 * n_pairs * (n_sweeps + 1)


def states_bytes(n_layers: int, d_model: int, n_tokens: int, n_pairs: int) -> int:
    """The stream at every depth, keys and values of base and source runs, in float32, at once."""
    return 4 * 2 * n_pairs * n_tokens * ((n_layers + 1) + 2 * n_layers) * d_model


@checked
def plan_claims(model: DepthModel, task: Task, *, twins: int = N_TWINS) -> Workload:
    """The sweeps that `evaluate_claims` would run, if the model answers all pairs rightly.

    Raises:
        ValueError: as `evaluate_claims`.
    """
    check_pairs(task, caller="plan_claims")
    return _plan(model, task, claim_sweeps(model.n_layers, len(task), twins=twins))


def _plan(model: DepthModel, task: Task, sweeps: Sequence[tuple[str, int]]) -> Workload:
    assert task.corrupted_tokens is not None
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    longest = max(task.clean_tokens.tokens.shape[1], task.corrupted_tokens.tokens.shape[1])
    return Workload(
        sweeps=tuple(sweeps),
        plain_runs=plain_runs(len(sweeps), len(task)),
        seconds_per_prompt=_time_prompt(model, task),
        weights_bytes=weights,
        states_bytes=min(
            states_bytes(model.n_layers, model.d_model, longest, len(task)), CPU_MEMORY
        ),
    )


def _time_prompt(model: DepthModel, task: Task) -> float:
    batch = task.clean_tokens[slice(0, TIMED)]
    model.logits(batch)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.logits(batch)
        times.append(time.perf_counter() - start)
    return statistics.median(times) / len(batch)
