"""Norms scaled depth by depth, beside turns that move the state as far: what becomes of confidence?

Beside them stands how much of what MLPs write lies in the null space of the unembedding, where all
that a write can do is lengthen the state, and what entropy owes to that.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.twins import in_a_twin
from lensdepth.confidence.profile import EDITS, ConfidenceProfile
from lensdepth.confidence.verdict import NormVerdict
from lensdepth.confidence.writes import AT_A_TIME, null_writes
from lensdepth.model import DepthModel
from lensdepth.patching.found import settled_depths
from lensdepth.replay.plan import Engine
from lensdepth.site import depth_hook
from lensdepth.sweep.adaptive import Depths, finds_depths
from lensdepth.sweep.choices import check_depths
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled, depth_noise
from lensdepth.sweep.loop import Planned, run_sweep, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch

FACTORS = (0.5, 0.8, 1.25, 2.0)
FARTHEST = 3.0
"""Factor beyond which no turn moves a state as far: the whole way round is twice its length."""


@checked
@bounded
def confidence_response(
    model: DepthModel,
    task: Task,
    *,
    factors: Sequence[float] = FACTORS,
    depths: Depths = None,
    null_dims: int | None = None,
    twin: bool = False,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> ConfidenceProfile:
    """Scale the last state's norm in the clean runs, and turn it as far, depth by depth.

    A factor f moves a state x by |f - 1| |x| along itself. Its control turns x, the norm kept, by
    2 asin(|f - 1| / 2) in a random direction: that moves it by the same length.

    Args:
        model: any wrapped model.
        task: pairs; their clean prompts are run. Calibration needs right and wrong answers
            (`keep="all"`).
        factors: of the norm, above 0, at most 3, and not 1.
        depths: residual depths 0 ... n_layers, some of them or `"all"`; `"auto"`, which is the
            default in models of more than 16 blocks, those at which patching a few of the pairs
            moves (`lensdepth.sweep.adaptive`), and a coarse grid.
        null_dims: directions that the unembedding reads least, which are taken for its null space;
            None takes 1 % of them, rounded up.
        twin: measure an untrained twin of the model as well, on its own answers to these prompts.
        control_pairs: pairs that turns are run on, drawn at random; `"all"` of them.
        seed: of the random directions, and of the twin; all factors turn a pair in the same one.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        ConfidenceProfile. Depth 0, which is the token's own embedding, and L, where the final norm
        divides every factor out, decide nothing.
    Raises:
        ValueError: before any forward pass: a task without pairs, factors or `null_dims` out of
            range, or a depth that is not there.
    Source: the null space after Stolfo et al. 2024, arXiv 2406.16254; that norms tell how sure a
        model is, Zhang et al. 2026, "The Tell-Tale Norm", arXiv 2606.06188, of reasoning.
    Example:
        >>> confidence_response(model, load_task("months", model)).verdict
    """
    caller = "confidence_response"
    found = finds_depths(depths, model.n_layers, whole=True, caller=caller)
    asked = check_depths(None if found else depths, model.n_layers, caller=caller)
    _check(factors, null_dims, model.d_model, caller)
    roles = assign_roles(task, "noise", positions=("prediction",), caller=caller)
    options = Options(
        caller=caller,
        metric=entropy,
        mode="noise",
        seed=seed,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
        own={
            "factors": list(factors),
            "depths": asked,
            "depths_found": found,
            "null_dims": null_dims,
            "twin": twin,
            "control_pairs": control_pairs,
        },
    )
    model.check_weights()
    asked, options = settled_depths(model, task, options, asked)
    own, right_answer = _first_choices(model, roles.base), roles.replaced

    def own_probability(logits: Tensor, pairs: Tensor) -> Tensor:
        return metrics.token_prob(logits, own[pairs])

    def right(logits: Tensor, pairs: Tensor) -> Tensor:
        return metrics.is_top1(logits, right_answer[pairs]).float()

    options = replace(options, also=("flip", own_probability, confidence, right))
    hooks = [depth_hook(depth, model.n_layers) for depth in asked]
    drawn = controlled(len(task), control_pairs, seed)

    def plan(block: slice) -> Planned:
        mine = roles.of(block)
        at = mine.base_positions["prediction"][:, None]
        base = states_at(model, mine.base, hooks, [at]).states
        pairs, shape = range(len(task))[block], (1, model.d_model)
        noise = depth_noise(pairs, asked, shape, seed)
        everyone = torch.ones(len(at), dtype=torch.bool)
        runs = []
        for k, factor in enumerate(factors):
            turned = polar.rotate_by(base, noise, 2 * math.asin(abs(factor - 1) / 2))
            made = {
                "norm": (base, polar.scale(factor), everyone),
                "turn": (turned, polar.full_swap, drawn[block]),
            }
            runs += [
                Run(
                    cells=[(e, k, d)],
                    hooks=[hook],
                    tokens=at,
                    states=[made[name][0][d]],
                    edit=made[name][1],
                    there=made[name][2],
                )
                for e, name in enumerate(EDITS)
                for d, hook in enumerate(hooks)
            ]
        return Planned(runs=runs)

    read = run_sweep(
        model, roles, options, plan,
        {"edit": EDITS, "factor": [float(x) for x in factors], "depth": asked},
        n_numbers=(2 + len(factors)) * len(hooks) * model.d_model, description="scaling norms",
    )  # fmt: skip
    in_twin: tuple[tuple[int, NormVerdict], ...] = ()
    note = ""
    if twin:

        def again(other: DepthModel, own: Task) -> ConfidenceProfile:
            return confidence_response(
                other, own, factors=factors, depths=asked, null_dims=null_dims,
                control_pairs=control_pairs, seed=seed, engine=engine, batch_size=batch_size,
                max_memory=max_memory,
            )  # fmt: skip

        found_there, note = in_a_twin(model, task, again, seed=seed)
        if found_there is not None:
            in_twin = tuple((d, one.verdict) for d, one in found_there.judged.items())
    return ConfidenceProfile(
        provenance=sweep_provenance(model, task, options),
        outcome=read.effects,
        twin=in_twin,
        twin_note=note,
        null=null_writes(model, roles.base, n_dims=null_dims),
    )


def entropy(logits: Tensor, pairs: Tensor) -> Tensor:
    """Of the next token's distribution, in nats."""
    return metrics.entropy(logits)


def confidence(logits: Tensor, pairs: Tensor) -> Tensor:
    """Probability of a run's own first choice, whichever that is."""
    return metrics.token_prob(logits, metrics.first_choice(logits))


def _first_choices(model: DepthModel, prompts: TokenBatch) -> Int[Tensor, " pair"]:
    """Of the unedited runs, a few at a time: the logits of all never exist at once."""
    parts = [slice(i, i + AT_A_TIME) for i in range(0, len(prompts), AT_A_TIME)]
    return torch.cat([metrics.first_choice(model.logits(prompts[part])[:, 0]) for part in parts])


def _check(factors: object, null_dims: int | None, d_model: int, caller: str) -> None:
    if not isinstance(factors, Sequence) or isinstance(factors, str) or not factors:
        raise ValueError(f"{caller}: factors must be a list of numbers, got {factors!r}.")
    wrong = [x for x in factors if not 0 < x <= FARTHEST or x == 1]
    if wrong:
        raise ValueError(
            f"{caller}: factors of the norm lie above 0, go up to {FARTHEST:g} (no turn moves a "
            f"state further) and are not 1, which changes nothing; got {wrong[0]}."
        )
    if len(set(factors)) < len(factors):
        raise ValueError(f"{caller}: each factor is given once, got {list(factors)}.")
    if null_dims is not None and not 1 <= null_dims < d_model:
        raise ValueError(f"{caller}: null_dims lies between 1 and {d_model - 1}, got {null_dims}.")
