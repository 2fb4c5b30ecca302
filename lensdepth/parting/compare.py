"""Two models' runs side by side: where they part, what each block adds, whose writes decide."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded, bounds
from lensdepth.model import DepthModel
from lensdepth.parting.alike import check_alike
from lensdepth.parting.noise import distance, floor_above, own_noise, stated_tolerance
from lensdepth.parting.profile import RunComparison
from lensdepth.parting.reading import given, read_run, swap_sets, written
from lensdepth.prompts import gather_prompts, origin_of
from lensdepth.provenance import make_provenance
from lensdepth.replay.engine import replay_measure
from lensdepth.replay.plan import Engine
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, TokenBatch
from lensdepth.units import Grouping, given_units

BLOCK_BYTES, COPIES = 2**30, 10
"""States that are held at a time, where no memory is named, and how often they are held."""


@checked
@bounded
def compare_runs(
    model_a: DepthModel,
    model_b: DepthModel,
    task: Task | Prompts,
    *,
    positions: Literal["all", "last"] = "all",
    tolerance: float | None = None,
    units: Sequence[Grouping | Sequence[str | int]] | None = None,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> RunComparison:
    """Where the runs of two models of one architecture part, and what it takes to swap them.

    With x_A(d) the state of depth d in A's run, and B_b what block b of B makes of a state, the
    two states behind block b differ by

        x_B(b+1) - x_A(b+1)  =  [B_b(x_A(b)) - x_A(b+1)]  +  [x_B(b+1) - B_b(x_A(b))]

    the block's own divergence, from the same input, and what it carries over. A component (a
    block's attention, its MLP from the very attention output that A's has, embedding, readout)
    parts where it writes something else from the same input beyond the floor: twice the largest
    distance of a state from the same model's in another batch size, or the stated tolerance, if
    that is larger. States of depth d may be d + 1 floors apart. Then each model is run with one
    write of the other's (all that its block adds to the state), and on from the other's state of
    each depth.

    Args:
        model_a: one checkpoint, precision, backend or quantisation.
        model_b: another of the same architecture, shape and tokenizer.
        task: a task (its clean prompts are read), one prompt or several, as text or token ids.
        positions: the tokens whose states are compared and swapped; predictions are those of the
            last one. With `"last"` later blocks read the other tokens as they were.
        tolerance: distance below which a write of one component is noise whatever was measured;
            None takes `noise.STEPS` last digits of the coarser dtype.
        units: which prompts go together, a list of groupings, each a label per prompt; None takes
            the task's, or each prompt by itself.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None takes as many as fit.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        RunComparison.
    Raises:
        ValueError: before any forward pass: the models differ in more than numbers, or tolerance
            and units that are none.
    Source: swapping activations as in Vig et al. 2020, "Investigating Gender Bias in Language
        Models Using Causal Mediation Analysis"; between two models ours.
    Example:
        >>> compare_runs(model, load_model("calendar", dtype="bfloat16"), "May is").first
    """
    caller = "compare_runs"
    check_alike(model_a, model_b, caller=caller)
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"{caller}: tolerance must be 0 or more and finite, got {tolerance}.")
    of_task, texts, batch = gather_prompts(model_a, task)
    origin: dict[str, Any] = origin_of(of_task, texts)
    if units is not None:
        origin["units"] = given_units(units, len(batch), caller=caller)
    if tolerance is None:
        tolerance = stated_tolerance(model_a, model_b)
    logits = [model.logits(batch)[:, 0] for model in (model_a, model_b)]
    noise = [
        own_noise(model, batch, own) for model, own in zip((model_a, model_b), logits, strict=True)
    ]
    parts = [
        _block(
            model_a, model_b, batch[rows], [one[rows] for one in logits], positions, engine,
            max_memory,
        )
        for rows in _blocks(model_a, batch, max_memory)
    ]  # fmt: skip
    # Whether writes add up is said of all prompts or of none.
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if not joined.pop("adds_up").all():
        for name in ("attention", "mlp"):
            joined[name] = torch.full_like(joined[name], torch.nan)
    measured = max(most for most, _ in noise)
    return RunComparison(
        provenance=make_provenance(
            caller,
            model_a.info,
            **origin,
            settings={
                "positions": positions,
                "tolerance": tolerance,
                "units": None if units is None else [one.name for one in origin["units"]],
                "engine": engine,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
        ),
        other=model_b.info,
        positions=positions,
        measured=measured,
        tolerance=tolerance,
        floor=floor_above(measured, tolerance),
        kl_floor=max(most for _, most in noise),
        **joined,
    )


def _blocks(model: DepthModel, batch: TokenBatch, max_memory: int | None) -> Iterator[slice]:
    """Prompts whose states are held at a time."""
    states = 4 * (model.n_layers + 1) * batch.tokens.shape[1] * model.d_model * COPIES
    room = max_memory or bounds().max_memory or BLOCK_BYTES
    n = max(1, room // states)
    yield from (slice(i, i + n) for i in range(0, len(batch), n))


def _block(
    model_a: DepthModel,
    model_b: DepthModel,
    batch: TokenBatch,
    logits: list[Float[Tensor, "prompt d_vocab"]],
    positions: Literal["all", "last"],
    engine: Engine,
    max_memory: int | None,
) -> dict[str, Tensor]:
    """All numbers of some prompts; the prompt is the first axis."""
    n_pos, last = batch.tokens.shape[1], batch.last[:, None]
    every = torch.minimum(torch.arange(n_pos).expand(len(batch), -1), last)
    a, b = (read_run(model, batch, every) for model in (model_a, model_b))
    rounding = stated_tolerance(model_a, model_b)
    # B's blocks on A's states: whole, and once more each MLP on A's very attention output.
    own = given(model_b, batch, every, a, attention=False)
    from_mlp = given(model_b, batch, every, a, attention=True).mlp
    own_states = torch.cat([b.states[:1], own.states[1:]])
    chosen = _Chosen(batch, positions)
    ends = a.states[1:], own.states[1:]
    found = {
        **_apart("", a.states, b.states, chosen),
        **_apart("own_", a.states, own_states, chosen),
        **_apart("carried_", own_states, b.states, chosen),
        "attention": chosen.most(distance(a.attention, own.attention, beside=ends)),
        "mlp": chosen.most(distance(a.mlp, from_mlp, beside=ends)),
        "adds_up": torch.tensor([one.adds_up(rounding) for one in (a, b)]).all().expand(len(batch)),
    }
    state = a.states[-1, :, -1]
    readouts = [model.readout(state.to(model.device)).cpu() for model in (model_a, model_b)]
    found["readout"] = distance(readouts[0], readouts[1])
    log_a, log_b = map(metrics.log_probs, logits)
    found["kl"] = torch.stack(
        [metrics.kl_of_log_probs(log_a, log_b), metrics.kl_of_log_probs(log_b, log_a)], dim=1
    )
    found["agree"] = (log_a.argmax(-1) == log_b.argmax(-1)).float()

    def measure(edited: Tensor, prompts: Tensor) -> dict[str, Tensor]:
        log_p = metrics.log_probs(edited)
        return {
            name: metrics.kl_of_log_probs(log_q[prompts], log_p)
            for name, log_q in (("a", log_a), ("b", log_b))
        }

    places = chosen.of(every)
    runs = []
    for model, mine, others in ((model_a, a.states, b.states), (model_b, b.states, a.states)):
        sources = [chosen.of(states, 1) for states in (written(mine, others), others)]
        sets = swap_sets(model.n_layers, sources, places)
        kl = replay_measure(
            model, batch, sets, measure, engine=engine, max_memory=max_memory,
            description="swapping across",
        )  # fmt: skip
        runs.append(torch.stack([kl["a"], kl["b"]]).unflatten(1, (2, model.n_layers + 1)))
    # run goal kind depth prompt
    kinds = torch.stack(runs).permute(2, 4, 0, 1, 3)
    return found | {"write_kl": kinds[0], "state_kl": kinds[1]}


class _Chosen:
    """The tokens that are compared, of states that are read at every token."""

    def __init__(self, batch: TokenBatch, positions: Literal["all", "last"]) -> None:
        self.all = positions == "all"
        self.real = batch.mask if self.all else None

    def of(self, x: Tensor, axis: int = 0) -> Tensor:
        """Tokens stand behind the prompt; beyond an end stands the last one again."""
        return x if self.all else x.narrow(axis + 1, x.shape[axis + 1] - 1, 1)

    def mean(self, x: Float[Tensor, "place prompt pos"]) -> Float[Tensor, "prompt place"]:
        kept = self.of(x, 1)
        if self.real is None:
            return kept[..., 0].T
        return torch.where(self.real, kept, torch.nan).nanmean(-1).T

    def most(self, x: Float[Tensor, "place prompt pos"]) -> Float[Tensor, "prompt place"]:
        """The largest over a prompt's tokens."""
        # A prompt's end stands again beyond it, which changes no maximum.
        return self.of(x, 1).amax(-1).T


def _apart(
    name: str,
    x: Float[Tensor, "depth prompt pos d_model"],
    y: Float[Tensor, "depth prompt pos d_model"],
    chosen: _Chosen,
) -> dict[str, Float[Tensor, "prompt depth"]]:
    """How far the second states are from the first: in direction, in norm, and altogether."""
    ratio = (polar.norm(y) / polar.norm(x)).log()
    return {
        f"{name}angle": chosen.mean(polar.angle(x, y)),
        f"{name}norm": chosen.mean(ratio),
        f"{name}distance": chosen.most(distance(x, y)),
    }
