"""Let a model write, and read where each token is decided; with an edit held on, once more.

The text is generated as `DepthModel.generate` does it. Then one pass over the whole of it gives
the states from which each token came, at every depth: what a token reads of is what stands before
it, so that these are the states of the moment at which it was written. Logits are streamed, and
of them the asked numbers alone are kept.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import generation, metrics, reading
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.continuation.counterfactual import settled_beside
from lensdepth.continuation.held import HeldEdit, Standing, held, hold, hold_vector
from lensdepth.continuation.profile import BASE, EDITED, GenerationProfile
from lensdepth.edits import CONTROL
from lensdepth.finite import NotFinite
from lensdepth.lens.read import LOGITS_AT_ONCE, positions_at_once, read_logits
from lensdepth.model import DepthModel
from lensdepth.not_finite import not_finite
from lensdepth.progress import counted
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
            `apply_vector`), or a model that ends its text at once.
    Source: the lens by nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru.
    Example:
        >>> generation_profile(model, "Two months from January is", n_tokens=3).settled
    """
    caller = "generation_profile"
    if n_tokens < 1:
        raise ValueError(f"{caller}: n_tokens must be 1 or more, got {n_tokens}.")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"{caller}: temperature must be 0 or more, got {temperature}.")
    holds, others = None, (strength, source, depths, head, reference)
    if vector is not None:
        if edit is not None or onward or any(one is not None for one in others):
            raise ValueError(
                f"{caller}: a vector brings its own edit, strength and site; leave out edit, "
                f"strength, source, depths, onward, head and reference, or the vector."
            )
        holds = hold_vector(model, vector, seed, caller=caller)
        edit, stream, head = vector.edit, vector.stream, vector.head
    elif edit is not None:
        holds = hold(
            model, prompt, edit, strength, source, depths, positions, onward, stream, head,
            reference, seed, caller=caller,
        )  # fmt: skip
    elif any(one is not None for one in others) or onward:
        raise ValueError(
            f"{caller}: strength, source, depths, onward, head and reference go with an edit; "
            f"name one, or leave them out."
        )
    model.ending.check()  # of the model as it is

    def write(run: str) -> tuple[list[int], list[int]]:
        with counted(n_tokens, f"writing, {run}") as update:
            return generation.continued_ids(
                model,
                prompt,
                reading.cached_step(model),
                n_tokens,
                temperature,
                seed,
                caller,
                each=lambda: update(1),
            )

    ids, base = write(BASE)
    if not base:
        raise ValueError(
            f"{caller}: the model writes nothing behind this prompt: it ends its text at once, "
            f"or its {model.n_ctx} tokens of context are full. Take another prompt."
        )
    if counterfactual is not None and counterfactual == prompt:
        raise ValueError(
            f"{caller}: counterfactual is the prompt itself, beside which nothing can be told; "
            f"name one that the model continues in another way."
        )
    runs = _runs(holds)
    written, parts = {}, {}
    forced: dict[str, tuple[Tensor, Tensor]] = {}
    own = _last_states(model, ids, base)
    for name, edits in runs.items():
        with held(model, edits):
            written[name] = base if name == BASE else write(name)[1]
            parts[name] = _read(model, ids, written[name])
            theirs = own if name == BASE else _last_states(model, ids, base)
            forced[name] = _diverge(model, own, theirs, base)
    longest = max(map(len, written.values()))
    tokens = torch.full((len(runs), longest), -1)
    for row, new in enumerate(written.values()):
        tokens[row, : len(new)] = torch.tensor(new, dtype=torch.long)
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
    every = torch.cat([torch.tensor(ids), tokens.flatten(), fields["top_tokens"].flatten()])
    return GenerationProfile(
        provenance=make_provenance(
            caller,
            model.info,
            task="prompts",
            prompts=[prompt],
            corrupted=[] if source is None else [str(source)],
            settings={
                "n_tokens": n_tokens,
                "temperature": temperature,
                "edit": edit,
                "strength": None if holds is None else holds.strength,
                "source": None if source is None else str(source),
                "depths": None if holds is None else list(holds.depths),
                "positions": None if holds is None else list(holds.places),
                "onward": onward,
                "stream": stream,
                "head": head,
                "reference": None if reference is None else "given",
                "vector": None if vector is None else vector.described(),
                "counterfactual": counterfactual,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        edit=edit,
        runs=tuple(runs),
        prompt_tokens=torch.tensor(ids),
        tokens=tokens,
        texts=tuple(generation.continued_text(model, ids, new) for new in written.values()),
        pieces=tuple(_pieces(model, ids, new) for new in written.values()),
        forced_kl=kl,
        forced_log_prob=log_prob,
        counterfactual=counterfactual,
        settled_by_patching=patched,
        vocabulary={
            str(token): model.token_text(token) for token in every.unique().tolist() if token >= 0
        },
        **fields,
    )


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


def _runs(holds: HeldEdit | None) -> dict[str, Standing]:
    """The runs by name, and what is held on in each."""
    found: dict[str, Standing] = {BASE: ()}
    if holds is not None:
        found[EDITED] = holds.edited
        if holds.control is not None:
            found[EDITED + CONTROL] = holds.control
    return found


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


def _last_states(
    model: DepthModel, ids: list[int], new: list[int]
) -> Float[Tensor, "token d_model"]:
    """What the readout takes where each new token is due, in a pass over all of them."""
    places = torch.arange(len(ids) - 1, len(ids) - 1 + len(new))
    last = model.passes.depth_hooks[-1]
    return model.activations([[*ids, *new[:-1]]], [last], places[None])[0, 0]


def _diverge(
    model: DepthModel,
    own: Float[Tensor, "token d_model"],
    theirs: Float[Tensor, "token d_model"],
    tokens: list[int],
) -> tuple[Float[Tensor, " token"], Float[Tensor, " token"]]:
    """KL(base || run) in nats at each token, and the run's log-probability of it."""
    kl, log_prob = [], []
    size = max(1, LOGITS_AT_ONCE // model.d_vocab)
    some: Int[Tensor, " part"]
    for mine, other, some in zip(
        own.split(size), theirs.split(size), torch.tensor(tokens).split(size), strict=True
    ):
        logits, others = (model.readout(states.to(model.device)) for states in (mine, other))
        kl.append(metrics.kl_divergence(logits, others).cpu())
        found = metrics.log_probs(others).cpu()
        log_prob.append(found.gather(-1, some[:, None])[:, 0])
    return torch.cat(kl), torch.cat(log_prob)


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
