"""One checkpoint, asked: what it answers, where control passes, how angles go with predictions."""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import stats
from lensdepth.claims.evaluate import evaluate_claims
from lensdepth.dynamics.moment import LEARNED, UNKNOWN, Kind, Moment
from lensdepth.geometry.coupling import PairTable
from lensdepth.geometry.halves import half_interval, halve_units
from lensdepth.geometry.pairs import distribution_distances, state_distances
from lensdepth.lens.read import logit_lens
from lensdepth.model import DepthModel
from lensdepth.patching.sweep import patch_sweep
from lensdepth.sweep.adaptive import Depths
from lensdepth.tasks.keeping import answered
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import Interval, percent
from lensdepth.transition.crossing import ENDS, find_crossing
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.find import FEWEST_DEPTHS, find_transition
from lensdepth.transition.result import Transition
from lensdepth.units import FEWEST_UNITS, count, take

MOST_PROMPTS, N_HALVES = 80, 100
"""Prompts between which angles are taken, and halves of them behind the interval."""


def measure_moment(
    model: DepthModel,
    task: Task,
    step: int,
    *,
    depths: Depths,
    claims: bool,
    seed: int,
) -> tuple[Moment, Float[Tensor, " pair"]]:
    """One checkpoint on all pairs of a task, and where each pair hands over by itself.

    Args:
        model: the checkpoint.
        task: all pairs.
        step: of its training.
        depths: as of `patch_sweep`.
        claims: whether to evaluate these as well.
        seed: of all draws.
    Returns:
        The moment, and by pair the depth; NaN where it is not right or does not hand over.
    """
    sides = answered(task, model, caller="training_dynamics")
    right, preferred = (one & other for one, other in sides)
    kept = right.numpy()
    mean, low, high = stats.mean_interval(kept.astype(float)[:, None], units=task.units, share=True)
    share = Interval(value=float(mean[0]), low=float(low[0]), high=float(high[0]))
    places = torch.full((len(task),), torch.nan, dtype=torch.float32)
    n_right = int(kept.sum())
    found: Crossing | None = None
    lens: Transition | None = None
    width, coupling, verdicts = UNKNOWN, UNKNOWN, dict[str, str]()
    kind: Kind = "not learned"
    reason = f"it answers {percent(share.value)} of the pairs rightly, and {percent(LEARNED)} count"
    if share.value >= LEARNED:
        some = task.select(right)
        profile = patch_sweep(
            model, some, positions=ENDS, also=("success",), controls=(), depths=depths, seed=seed
        )
        found = find_crossing(profile, seed=seed)
        kind, reason = found.verdict, found.reason
        places[right] = found.pairs.depth
        width = handover_width(found, seed=seed)
        if model.n_layers >= FEWEST_DEPTHS - 1:
            lens = find_transition(logit_lens(model, some), seed=seed)
        coupling = coupled(model, some, seed=seed)
        if claims:
            table = evaluate_claims(model, task, depths=depths, seed=seed)
            verdicts = {one.claim: one.verdict for one in table.claims}
    crosses = found is not None and found.verdict == "crossing"
    switches = lens is not None and lens.verdict in ("transition", "rise")
    return Moment(
        step=step,
        model=model.info,
        kind=kind,
        reason=reason,
        right=share,
        preferred=float(preferred.float().mean()),
        n_right=n_right,
        n_units=count(take(task.units, kept), n_right) if n_right else 0,
        depth=_of(found, "depth", "low", "high") if crosses else UNKNOWN,
        width=width if crosses else UNKNOWN,
        leaves=math.nan if found is None else found.leaves,
        arrives=math.nan if found is None else found.arrives,
        lens="" if lens is None else lens.verdict,
        lens_depth=_of(lens, "location", "location_low", "location_high") if switches else UNKNOWN,
        lens_width=_of(lens, "width", "width_low", "width_high") if switches else UNKNOWN,
        coupling=coupling,
        claims=verdicts,
    ), places


def handover_width(found: Crossing, *, seed: int) -> Interval:
    """How many depths the handover takes; none where depths are too few, or it is no rise."""
    enough = found.n_units >= FEWEST_UNITS and len(found.depths) >= FEWEST_DEPTHS
    if not enough:
        return UNKNOWN
    handed = find_transition(
        found.second - found.first, depths=found.depths.tolist(), units=found.units, seed=seed
    )
    if handed.verdict not in ("transition", "rise"):
        return UNKNOWN
    return _of(handed, "width", "width_low", "width_high")


def coupled(model: DepthModel, task: Task, *, seed: int) -> Interval:
    """Whether the angle between two prompts' last states at depth L - 1 goes with how differently
    they are continued; no number of fewer than eight prompts, or of states that lie all alike."""
    first = dict(reversed([(prompt, row) for row, prompt in enumerate(task.clean)]))
    rows = sorted(first.values())[:MOST_PROMPTS]
    prompts = task.clean_tokens[torch.tensor(rows)]
    resid = model.residual_stream(prompts, positions="last").resid[-2, :, 0]
    js = distribution_distances(model.log_probs(prompts)[:, 0].cpu())["js"]
    table = PairTable(state_distances(resid)[None], js[None])
    halves = halve_units(take(task.units, rows), len(rows), N_HALVES, seed)
    value = _angle(table.all_pairs())
    drawn = np.array([_angle(table.among(half)) for half in halves]).reshape(-1, 1)
    low, high = half_interval(value, drawn, halves)
    return Interval(value=float(value[0]), low=float(low[0]), high=float(high[0]))


def _angle(couplings: Float[Array, "coupling target depth"]) -> Float[Array, " depth"]:
    return couplings[0, 0]


def _of(found: object, *names: str) -> Interval:
    value, low, high = (float(getattr(found, name)) for name in names)
    return Interval(value=value, low=low, high=high)
