"""Dose and response of whole texts: how strong must a held edit be before the model writes another?

The base's text is written once. At every strength the model writes anew while the edit stands, and
the base's own tokens are put before it; the same is done with each state turned as far in random
directions.
"""

from collections.abc import Sequence

import torch

from lensdepth import generation
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.continuation.dose_profile import ContinuationDose
from lensdepth.continuation.held import held
from lensdepth.continuation.profile import EDITED
from lensdepth.continuation.texts import Asked, base_text, last_states, padded, vocabulary_of
from lensdepth.edits import CONTROL, each_once
from lensdepth.model import DepthModel
from lensdepth.provenance import make_provenance
from lensdepth.site import Stream
from lensdepth.steering.vector import SteeringVector
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts


@checked
@bounded
def continuation_dose(
    model: DepthModel,
    prompt: str,
    *,
    strengths: Sequence[float],
    n_tokens: int = 20,
    temperature: float = 0.0,
    edit: str | None = None,
    source: str | Sequence[int] | None = None,
    depths: int | slice | Sequence[int] | None = None,
    positions: Sequence[int] = (-1,),
    onward: bool = False,
    stream: Stream = "resid_pre",
    head: int | None = None,
    reference: Task | Prompts | None = None,
    vector: SteeringVector | None = None,
    n_random: int = 3,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> ContinuationDose:
    """What a model writes while an edit is held on, strength by strength, beside random turns.

    Each strength is what `generation_profile` does with it: the text that is written meanwhile,
    the first token in which it differs from the base's, and KL(base || edited) token by token
    along the base's own text. A random turn turns each state as far as the edit does at that
    strength, in one random direction for all strengths.

    Args:
        model: any wrapped model; within `model.steer`, the base is the steered one.
        prompt: the text to continue.
        strengths: of the edit, in the unit that `lensdepth.EDITS` gives; each once.
        n_tokens: at most; fewer if the model ends its text or its context is full.
        temperature: 0 takes the most likely token each time; higher ones draw. All runs draw by
            the same random numbers.
        edit: one of `lensdepth.EDITS` that has a range of strengths.
        source: the prompt that gives the states; None for edits that need none.
        depths: residual depths 0 ... L at `resid_pre`, blocks 0 ... L - 1 at other streams; one
            or several, or a slice of all, edited together in every pass.
        positions: the tokens of the prompt to edit; negative ones count from its end.
        onward: edit every token that is written as well, with the state for the last of
            `positions`.
        stream: what to edit.
        head: at `z`, the one head to edit.
        reference: for `"mean"`: prompts whose states at the corresponding tokens are averaged.
        vector: in place of an edit: a steering vector, held on where it says itself; `strengths`
            stand for its own.
        n_random: random turns beside the edit, where it turns states.
        seed: of the drawing and of the first random turn; the others have the seeds after it.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        ContinuationDose.
    Raises:
        ValueError: before any pass: no strength, one that the edit does not allow, or one twice;
            no random turn; neither edit nor vector; and as for `generation_profile`.
    Example:
        >>> continuation_dose(model, "Two months from January is", edit="full",
        ...     source="Two months from June is", depths=8, strengths=[0.5, 1]).dose_frame()
    """
    asked = Asked(
        caller="continuation_dose", prompt=prompt, n_tokens=n_tokens, temperature=temperature,
        edit=edit, source=source, depths=depths, positions=positions, onward=onward, stream=stream,
        head=head, reference=reference, vector=vector, seed=seed,
    )  # fmt: skip
    if asked.name is None:
        raise ValueError(
            f"{asked.caller}: there is nothing to hold on; name an edit, or give a vector."
        )
    doses = each_once(strengths, caller=asked.caller)
    if n_random < 1:
        raise ValueError(f"{asked.caller}: n_random must be 1 or more, got {n_random}.")
    holds = asked.held(model, doses, n_random=n_random)
    base = base_text(model, asked)
    turns = [f"{EDITED}{CONTROL} {i + 1}" for i in range(len(holds[0].controls))]
    written: list[list[int]] = []
    kl = []
    for hold in holds:
        for run, edits in zip((EDITED, *turns), (hold.edited, *hold.controls), strict=True):
            with held(model, edits):
                written.append(asked.write(model, f"{run}, strength {hold.strength:g}")[1])
                kl.append(base.diverge(model, last_states(model, base.ids, base.new))[0])
    shape = (len(doses), 1 + len(turns), -1)
    tokens = padded(written, max(len(base.new), *map(len, written))).reshape(shape)
    prompt_tokens, base_tokens = torch.tensor(base.ids), torch.tensor(base.new)
    texts = iter([generation.continued_text(model, base.ids, new) for new in written])
    return ContinuationDose(
        provenance=make_provenance(
            asked.caller,
            model.info,
            task="prompts",
            prompts=[prompt],
            corrupted=[] if source is None else [str(source)],
            settings={
                **asked.settings(holds[0]),
                "strengths": doses,
                "n_random": n_random,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        edit=asked.name,
        strengths=tuple(doses),
        runs=(EDITED, *turns),
        prompt_tokens=prompt_tokens,
        base_tokens=base_tokens,
        tokens=tokens,
        base_text=generation.continued_text(model, base.ids, base.new),
        texts=tuple(tuple(next(texts) for _ in (EDITED, *turns)) for _ in doses),
        forced_kl=torch.stack(kl).reshape(shape),
        vocabulary=vocabulary_of(model, prompt_tokens, base_tokens, tokens),
    )
