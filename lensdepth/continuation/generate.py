"""Let a model write, and read where each token is decided; with an edit held on, once more.

The text is generated as `DepthModel.generate` does it. Then one pass over the whole of it gives
the states from which each token came, at every depth: what a token reads of is what stands before
it, so that these are the states of the moment at which it was written. Logits are streamed, and
of them the asked numbers alone are kept.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth import generation
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.continuation.counterfactual import settled_beside
from lensdepth.continuation.held import HeldEdit, Standing, held
from lensdepth.continuation.profile import BASE, EDITED, GenerationProfile
from lensdepth.continuation.texts import Asked, base_text, last_states, padded, vocabulary_of
from lensdepth.edits import CONTROL
from lensdepth.finite import NotFinite
from lensdepth.lens.read import positions_at_once, read_logits
from lensdepth.model import DepthModel
from lensdepth.not_finite import not_finite
from lensdepth.provenance import make_provenance
from lensdepth.site import Stream
from lensdepth.steering.vector import SteeringVector
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts

TOP = 5
"""Likeliest tokens that are kept of each cell."""
STATES_AT_ONCE = 2**26
"""Numbers of residual states that are held at a time."""
READ = {
    "token_log_prob": "log_prob", "token_rank": "rank", "entropy": "entropy", "kl": "kl",
    "final_rank": "final_rank", "top_tokens": "top_tokens", "top_log_probs": "top_log_probs",
}  # fmt: skip
"""Measures of a readout -> fields of the result."""


@checked
@bounded
def generation_profile(
    model: DepthModel,
    prompt: str,
    *,
    n_tokens: int = 20,
    temperature: float = 0.0,
    edit: str | None = None,
    strength: float | None = None,
    source: str | Sequence[int] | None = None,
    depths: int | slice | Sequence[int] | None = None,
    positions: Sequence[int] = (-1,),
    onward: bool = False,
    stream: Stream = "resid_pre",
    head: int | None = None,
    reference: Task | Prompts | None = None,
    vector: SteeringVector | None = None,
    counterfactual: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> GenerationProfile:
    """Where in the depth each token of a written text is settled, and what a held edit changes.

    A token is settled at the first depth from which on it is the lens's first choice; at depth L
    the lens is the model itself. A drawn token that is not the model's own first choice is
    settled nowhere.

    With an edit the model writes once more while it stands: the same edit, at the same tokens of
    the prompt, in every pass. Beside that the base's own tokens are put before the edited model:
    the divergence of its predictions from the base's, token by token along one and the same text.
    Where the edit turns states, both are done again with each state turned as far in a random
    direction.

    Args:
        model: any wrapped model; within `model.steer`, the base is the steered one.
        prompt: the text to continue.
        n_tokens: at most; fewer if the model ends its text or its context is full.
        temperature: 0 takes the most likely token each time; higher ones draw. All runs draw by
            the same random numbers.
        edit: one of `lensdepth.EDITS` that has a range of strengths, held on while the model
            writes; None: it writes as it is.
        strength: in the unit given there; None takes the edit's default.
        source: the prompt that gives the states; None for edits that need none. Its tokens need
            not be as many: see `map_positions`.
        depths: residual depths 0 ... L at `resid_pre`, blocks 0 ... L - 1 at other streams; one
            or several, or a slice of all, edited together in every pass.
        positions: the tokens of the prompt to edit; negative ones count from its end.
        onward: edit every token that is written as well, with the state for the last of
            `positions`.
        stream: what to edit.
        head: at `z`, the one head to edit.
        reference: for `"mean"`: prompts whose states at the corresponding tokens are averaged.
        vector: in place of an edit: a steering vector, held on where it says itself.
        counterfactual: another prompt, behind which the base's text is put as well. Each token is
            then settled by patching too: from the depth on at which the last token's state, put
            into that run, brings it along.
        seed: of the drawing and of the random directions.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        GenerationProfile.
    Raises:
        ValueError: fewer than one token, a temperature that is none, options of an edit without
            one, an edit that does not fit (as for `intervene`), a vector of another model (as for
            `apply_vector`), a counterfactual that is the prompt itself, or a model that ends its
            text at once.
    Source: the lens by nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    Example:
        >>> generation_profile(model, "Two months from January is", n_tokens=3).settled
    """
    asked = Asked(
        caller="generation_profile", prompt=prompt, n_tokens=n_tokens, temperature=temperature,
        edit=edit, source=source, depths=depths, positions=positions, onward=onward, stream=stream,
        head=head, reference=reference, vector=vector, seed=seed,
    )  # fmt: skip
    if vector is not None and strength is not None:
        raise ValueError(
            f"{asked.caller}: a vector brings its own edit and strength; leave out strength, got "
            f"{strength}, or give the vector another one (dataclasses.replace)."
        )
    if counterfactual is not None and counterfactual == prompt:
        raise ValueError(
            f"{asked.caller}: counterfactual is the prompt itself, beside which nothing can be "
            f"told; name one that the model continues in another way."
        )
    holds = next(iter(asked.held(model, [strength])), None)
    text = base_text(model, asked)
    ids, base = text.ids, text.new
    runs = _runs(holds)
    written, parts = {}, {}
    forced: dict[str, tuple[Tensor, Tensor]] = {}
    for name, edits in runs.items():
        with held(model, edits):
            written[name] = base if name == BASE else asked.write(model, name)[1]
            parts[name] = _read(model, ids, written[name])
            theirs = text.states if name == BASE else last_states(model, ids, base)
            forced[name] = text.diverge(model, theirs)
    longest = max(map(len, written.values()))
    tokens = padded(list(written.values()), longest)
    fields = {
        field: _side_by_side([part.get(field) for part in parts.values()], longest)
        for field in READ.values()
    }
    kl, log_prob = (_padded([forced[name][i] for name in runs], longest) for i in (0, 1))
    patched = None
    if counterfactual is not None:
        patched = settled_beside(
            model, prompt, counterfactual, base, first_choice=parts[BASE]["rank"][-1] == 0,
            seed=seed, batch_size=batch_size, max_memory=max_memory,
        )  # fmt: skip
    return GenerationProfile(
        provenance=make_provenance(
            asked.caller,
            model.info,
            task="prompts",
            prompts=[prompt],
            corrupted=[] if source is None else [str(source)],
            settings={
                **asked.settings(holds),
                "strength": None if holds is None else holds.strength,
                "counterfactual": counterfactual,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        edit=asked.name,
        runs=tuple(runs),
        prompt_tokens=torch.tensor(ids),
        tokens=tokens,
        texts=tuple(generation.continued_text(model, ids, new) for new in written.values()),
        pieces=tuple(_pieces(model, ids, new) for new in written.values()),
        forced_kl=kl,
        forced_log_prob=log_prob,
        counterfactual=counterfactual,
        settled_by_patching=patched,
        vocabulary=vocabulary_of(model, torch.tensor(ids), tokens, fields["top_tokens"]),
        **fields,
    )


def _runs(holds: HeldEdit | None) -> dict[str, Standing]:
    """The runs by name, and what is held on in each."""
    found: dict[str, Standing] = {BASE: ()}
    if holds is not None:
        found[EDITED] = holds.edited
        for control in holds.controls:
            found[EDITED + CONTROL] = control
    return found


def _pieces(model: DepthModel, ids: list[int], new: list[int]) -> tuple[str, ...]:
    """What each token adds to the text; half a character is added with its other half."""
    pieces, whole = [], ""
    for n in range(1, len(new) + 1):
        text = generation.continued_text(model, ids, new[:n])
        if n < len(new):
            text = text.rstrip("\ufffd")
        pieces.append(text[len(whole) :])
        whole = text if len(text) > len(whole) else whole
    return tuple(pieces)


def _read(model: DepthModel, ids: list[int], new: list[int]) -> dict[str, Tensor]:
    """What the lens reads where each new token was written: `[depth, token, ...]`, by field."""
    if not new:
        return {}
    batch = model.tokenize([[*ids, *new[:-1]]])
    first = len(ids) - 1
    at_once = max(1, STATES_AT_ONCE // ((model.n_layers + 1) * model.d_model))
    parts: list[dict[str, Tensor]] = []
    for places in torch.arange(first, first + len(new)).split(at_once):
        resid = model.residual_stream(batch, places[None]).resid[:, 0]
        tokens = torch.tensor(new)[places - first]
        size = positions_at_once(model.info)
        for states, token in zip(resid.split(size, dim=1), tokens.split(size), strict=True):
            try:
                logits = model.readout(states.to(model.device))
            except NotFinite as error:
                raise not_finite(model, batch, 0, reading=error.row // len(token)) from error
            top = min(TOP, model.d_vocab)
            parts.append(read_logits(logits, {"token": token.to(logits.device)}, top))
    return {
        field: torch.cat([part[name] for part in parts], dim=1).cpu()
        for name, field in READ.items()
    }


def _padded(rows: list[Tensor], longest: int) -> Float[Tensor, "run token"]:
    whole = torch.full((len(rows), longest), torch.nan, dtype=torch.float32)
    for row, values in enumerate(rows):
        whole[row, : len(values)] = values
    return whole


def _side_by_side(parts: list[Tensor | None], longest: int) -> Tensor:
    """`[depth, token, ...]` of each run as one tensor; NaN, or -1, beyond a run's end."""
    known = next(part for part in parts if part is not None)
    fill = torch.nan if known.is_floating_point() else -1
    shape = (len(parts), known.shape[0], longest, *known.shape[2:])
    whole = torch.full(shape, fill, dtype=known.dtype)
    for row, part in enumerate(parts):
        if part is not None:
            whole[row, :, : part.shape[1]] = part
    return whole
