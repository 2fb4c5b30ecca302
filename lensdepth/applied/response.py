"""One steering vector applied to every pair of a task, beside random turns as far.

The edit is the vector's own, at its own depths and positions, in the base run of each pair; what is
read is the prediction at the prompt's end.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from einops import repeat
from jaxtyping import Bool, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.applied.profile import TURN, VECTOR, VectorResponse
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.edits import at_random, each_once
from lensdepth.model import DepthModel
from lensdepth.outcome import ANSWERS, Effects
from lensdepth.provenance import text_fingerprint
from lensdepth.replay.plan import Engine
from lensdepth.steering.vector import SteeringVector, moved, vector_edit
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled, pair_noise
from lensdepth.sweep.loop import Planned, run_sweep, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Mode, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch

ALSO = ("kl", "flip", "success", "answer_probability", *ANSWERS)


@checked
@bounded
def vector_response(
    model: DepthModel,
    task: Task,
    vector: SteeringVector,
    *,
    strengths: Sequence[float] | None = None,
    mode: Mode = "denoise",
    n_random: int = 3,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> VectorResponse:
    """Hold a steering vector on in the base run of every pair, at one strength or at several.

    Each run is what `apply_vector` makes the model say. A random turn turns each state as far as
    the vector does at that strength, in a direction that is the pair's own.

    Args:
        model: the one that the vector belongs to; for another one see `SteeringVector.moved_to`.
        task: pairs of prompts.
        vector: what `steering_vector`, `difference_vector`, `centroid_vector` or `load` gave.
        strengths: in place of the vector's own, each once, in the unit of its edit.
        mode: "denoise" edits the corrupted run, whose source is the clean answer; "noise" the
            clean run.
        n_random: random turns beside the vector, where it turns states.
        control_pairs: pairs that turns are run on, drawn at random; `"all"` of them.
        seed: of the random directions; all strengths turn a pair in the same ones.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        VectorResponse.
    Raises:
        ValueError: before any forward pass: a task without pairs; strengths that are none, given
            twice or out of range; no random turn; a vector of another model, or one none of whose
            positions is in any prompt.
    Example:
        >>> vector_response(model, task, load("june.safetensors")).verdict_frame()
    """
    caller = "vector_response"
    own = [vector.strength] if strengths is None else [float(one) for one in strengths]
    for one in own:
        vector_edit(vector.edit, one, caller=caller)  # says where it is out of range
    doses = each_once(own, caller=caller)
    if n_random < 1:
        raise ValueError(f"{caller}: n_random must be 1 or more, got {n_random}.")
    there = moved(vector, model, None, False, caller=caller)
    roles = assign_roles(task, mode, positions=("prediction",), caller=caller)
    tokens = _tokens(there, roles.base, caller)
    turns = [f"{TURN} {i + 1}" for i in range(n_random)] if vector.edit != "norm" else []
    edits = (VECTOR, *turns)
    options = Options(
        caller=caller,
        also=(*ALSO, first_choice),
        mode=mode,
        seed=seed,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
        own={
            "vector": there.described(),
            "edit": there.edit,
            "stream": there.stream,
            "depths": list(there.depths),
            "head": there.head,
            "strengths": doses,
            "n_random": n_random,
            "control_pairs": control_pairs,
        },
    )
    model.check_weights()
    functions = [replace(there, strength=one).function for one in doses]
    random = [at_random(function) for function in functions]
    drawn = controlled(len(task), control_pairs, seed)

    def plan(block: slice) -> Planned:
        at, moves = tokens[block], (tokens[block] >= 0).any(1)
        n_pairs, n_tokens = at.shape
        given = repeat(there.vector, "depth d -> depth pair d", pair=n_pairs)
        sources = [given]
        for i in range(len(turns)):
            noise = pair_noise(range(len(tokens))[block], tuple(there.vector.shape), seed + i)
            sources.append(torch.cat([given, noise.transpose(0, 1)], dim=-1))
        return Planned(
            runs=[
                Run(
                    cells=[(e, s)],
                    hooks=list(there.hooks),
                    tokens=at,
                    states=[one[:, None].expand(-1, n_tokens, -1) for one in sources[e]],
                    edit=functions[s] if e == 0 else random[s],
                    there=torch.ones(n_pairs, dtype=torch.bool) if e == 0 else drawn[block],
                    moves=moves,
                    head=there.head,
                )
                for e in range(len(edits))
                for s in range(len(doses))
            ]
        )

    effects = run_sweep(
        model, roles, options, plan, {"edit": edits, "strength": doses},
        n_numbers=(1 + 2 * len(turns)) * there.vector.numel(), description="applying the vector",
    ).effects  # fmt: skip
    effects, chosen, base = _choices_apart(effects)
    seen = torch.cat([chosen.flatten(), base]).unique().tolist()
    return VectorResponse(
        provenance=sweep_provenance(model, task, options),
        outcome=effects,
        first_choice=chosen,
        base_choice=base,
        seen=_seen(vector, task, mode),
        vocabulary={str(token): model.token_text(token) for token in seen if token >= 0},
    )


def first_choice(logits: Tensor, pairs: Tensor) -> Tensor:
    """The token that comes first, as a number: float32 has every one below 2 ** 24."""
    return metrics.first_choice(logits).float()


def _tokens(vector: SteeringVector, base: TokenBatch, caller: str) -> Int[Tensor, "pair token"]:
    """The tokens of each prompt at which the vector acts, -1 behind the last.

    Raises:
        ValueError: no prompt has one of them.
    """
    width = base.tokens.shape[1]
    everywhere = vector.positions == "all"
    asked = range(width) if everywhere else sorted(int(at) for at in vector.positions)
    at = torch.tensor(list(asked)).expand(len(base), -1)
    tokens = torch.where(at < base.lengths[:, None], at, -1)
    if not (tokens >= 0).any():
        raise ValueError(
            f"{caller}: the vector acts at the tokens {list(asked)} of a text, and the longest "
            f"prompt has {width}; give longer prompts, or make the vector for other positions."
        )
    return tokens


def _seen(vector: SteeringVector, task: Task, mode: Mode) -> Bool[Tensor, " pair"]:
    """Whether the vector was made from each base prompt, as far as it says."""
    made, (clean, corrupted) = vector.provenance, (task.clean, task.corrupted or ())
    if made.prompts_fingerprint == text_fingerprint([*clean, *corrupted]):
        return torch.ones(len(task), dtype=torch.bool)
    base = corrupted if mode == "denoise" else clean
    return torch.tensor([prompt in {*made.prompts} for prompt in base])


def _choices_apart(
    effects: Effects,
) -> tuple[Effects, Int[Tensor, "edit strength pair"], Int[Tensor, " pair"]]:
    """The tokens that come first, of edited and of base runs, and what else was read: tokens are
    no sizes."""
    rest = [i for i, name in enumerate(effects.metrics) if name != first_choice.__name__]
    chosen = effects.of(first_choice.__name__).nan_to_num(-1.0).long()
    base = effects.unedited("base", first_choice.__name__).long()
    plain = replace(
        effects,
        metrics=tuple(effects.metrics[i] for i in rest),
        values=effects.values[rest],
        base=effects.base[rest],
        source=effects.source[rest],
        floor=tuple(effects.floor[i] for i in rest),
    )
    return plain, chosen, base
