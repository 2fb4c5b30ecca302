"""Edit one prompt at chosen sites, here, from here on, and in a whole window of depths."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.edits import CONTROL, EDITS, at_random, strong_edit, with_noise
from lensdepth.hooks import SiteEdit
from lensdepth.intervention.floor import measure_floor
from lensdepth.intervention.result import Intervention
from lensdepth.intervention.states import mean_states, source_states
from lensdepth.model import DepthModel
from lensdepth.prompts import gather_prompts
from lensdepth.provenance import make_provenance
from lensdepth.replay.engine import replay
from lensdepth.replay.plan import Engine
from lensdepth.site import Site, Stream, last_place
from lensdepth.sweep.choices import check_heads, check_stream
from lensdepth.tasks.locate import REMEDY, answer_tokens, settle_joining
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, TokenBatch, resolve_positions

Reach = Literal["local", "suffix", "window"]
"""Which depths one run edits: `local` the one depth, `suffix` it and all later ones, `window` all
of a window."""
REACHES: tuple[Reach, ...] = get_args(Reach)
Giver = Literal["source", "base"]
"""The run that gives the states: the source prompt's, or the base's own, unedited."""
N_NAMED = 20
"""Most likely tokens of each run whose text is kept."""


@checked
@bounded
def intervene(
    model: DepthModel,
    base: str | Sequence[int],
    source: str | Sequence[int] | None = None,
    *,
    depth: int,
    positions: Sequence[int] = (-1,),
    window: tuple[int, int] | None = None,
    scopes: Sequence[Reach] = REACHES,
    stream: Stream = "resid_pre",
    head: int | None = None,
    given_by: Giver = "source",
    source_depth: int | None = None,
    source_positions: Sequence[int] | None = None,
    edit: str = "full",
    strength: float | None = None,
    reference: Task | Prompts | None = None,
    answers: tuple[str | int, str | int] | None = None,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> Intervention:
    """Run one edit of one prompt, locally and globally, each beside its random control.

    In a global scope each edit sees what the edits before it have made of the state. At the last
    token such a scope also sets the state at depth L, from which the logits are read: a swap then
    gives the source's answer by construction (`reads_edit`), and the trajectory says more.

    Args:
        model: any wrapped model.
        base: the prompt that is edited.
        source: the prompt that gives the states; None for edits that need none. Its tokens need
            not be as many: see `map_positions`.
        depth: residual depth 0 ... L at `resid_pre`, a block 0 ... L - 1 at other streams.
        positions: the tokens to edit, all of them in one run; negative ones count from the end.
        window: first and last depth of the scope `"window"`; None is all there are.
        scopes: some of `"local"`, `"suffix"`, `"window"`.
        stream: what to edit.
        head: at `z`, the one head to edit.
        given_by: whose states go in: those of the source prompt's run, or of the base's own, which
            moves a state within one run; the source prompt then says only what its answer is.
        source_depth: the depth (or block) that the state comes from, with `scopes=("local",)`; None
            is the depth that it goes to. No block reads a state of another depth in an ordinary
            run: norms grow with depth, which the edit "direction" keeps as they are found.
        source_positions: the giving prompt's tokens that go to `positions`, one each; None: those
            that correspond.
        edit: one of `lensdepth.EDITS` that has a range of strengths.
        strength: in the unit given there; None takes the edit's default.
        reference: for `"mean"`: prompts whose states at the corresponding tokens are averaged,
            directions on the sphere and norms by themselves.
        answers: target (the source's answer) and foil (the base's), as text with the space in front
            that it has, or as token ids; None takes what the model says.
        seed: of the random directions.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        Intervention. An edit that leaves the direction alone has no control, since a random
        direction would not be matched to it.
    Raises:
        ValueError: before any edited pass: an unknown option, a depth, position or head out of
            range, an edit without the states that it needs or with a reference or a giver that it
            does not use, a window without its scope, or a token of the base prompt that none of
            the source prompt corresponds to.
    Source: local and global interventions as in claim C7 of Haim & McNamee, arXiv 2602.04931.
    Example:
        >>> found = intervene(model, "Two months from May is", "Two months from June is", depth=8)
        >>> found.to_frame()[["run", "top1", "transferred"]]
    """
    caller = "intervene"
    check_stream(model, stream, caller=caller)
    if head is not None:
        check_heads(model, stream, [head], caller=caller)
    value, function = strong_edit(edit, strength, caller=caller)
    kind = EDITS[edit]
    if reference is not None and kind.needs != "reference":
        raise ValueError(
            f"{caller}: the edit {edit!r} takes nothing from a reference; leave it out."
        )
    if window is not None and "window" not in scopes:
        raise ValueError(
            f"{caller}: window goes with the scope 'window', which is not among {tuple(scopes)}."
        )
    depths = _scope_depths(model, stream, depth, window, scopes)
    batch = _one(model, base, "base")
    places = resolve_positions(batch, torch.tensor([list(positions)]))[0].tolist()
    if not places or len(set(places)) < len(places):
        raise ValueError(f"{caller}: positions must be one at least, each once, got {positions}.")
    given = None if source is None else _one(model, source, "source")
    giver = batch if given_by == "base" else given
    swept = sorted({at for some in depths.values() for at in some})
    hooks = {at: Site(stream, at).hook for at in swept}
    if (given_by, source_depth, source_positions) != ("source", None, None):
        if kind.needs != "source":
            raise ValueError(
                f"{caller}: the edit {edit!r} takes no states of a run; leave given_by, "
                f"source_depth and source_positions out."
            )
        taken_at = _taken_at(giver, source_positions, len(places))
    else:
        taken_at = None
    taken = hooks
    if source_depth is not None:
        _check_depth(model, stream, source_depth, "source_depth")
        if list(depths) != ["local"]:
            raise ValueError(
                f"{caller}: source_depth goes with scopes=('local',), in which one state goes to "
                f"one depth; got {tuple(depths)}."
            )
        taken = {source_depth: Site(stream, source_depth).hook}
    others = None if reference is None else gather_prompts(model, reference)[2]
    theirs, states, taken_from = source_states(
        model, batch, given, kind, edit, stream, taken, places,
        giver=giver, at=taken_at, caller=caller,
    )  # fmt: skip
    if kind.needs == "reference":
        states = mean_states(model, batch, others, list(hooks.values()), places, caller=caller)
    if states is not None and head is not None:
        states = rearrange(states, "hook place (h d) -> h hook place d", h=model.info.n_heads)[head]
    noisy = None
    if states is not None and (kind.turns or edit == "random"):
        noisy = with_noise(states, torch.Generator().manual_seed(seed))

    def edits(of: Sequence[int], apply: polar.Edit, using: Tensor | None) -> list[SiteEdit]:
        return [
            SiteEdit(
                hook=hooks[at],
                positions=torch.tensor([place]),
                edit=apply,
                source=None if using is None else using[swept.index(at), j][None],
                head=head,
            )
            for at in of
            for j, place in enumerate(places)
        ]

    sets = [edits(of, function, noisy if edit == "random" else states) for of in depths.values()]
    names, edited = list(depths), list(depths.values())
    if kind.turns:
        control = at_random(function)
        sets += [edits(of, control, noisy) for of in depths.values()]
        names, edited = [*names, *(name + CONTROL for name in names)], edited + edited
    # What putting back the states of one depth changes is rounding.
    sets.append(edits(next(iter(depths.values())), polar.self_swap, None))
    resid = _last_states(model, batch, [[], *sets], engine, max_memory)
    resid, still = resid[:-1], resid[-1:]
    names, edited = ["base", *names], [[], *edited]
    if theirs is not None:
        resid = torch.cat([resid[:1], theirs[None], resid[1:]])
        names, edited = [names[0], "source", *names[1:]], [[], *edited]
    logits = model.readout(resid[:, -1])
    target, foil = _answers(model, answers, base, source, logits, given is not None, caller)
    differ = target is not None and target != foil
    top = logits.topk(min(N_NAMED, model.d_vocab), dim=-1).indices.unique().tolist()
    to_source = polar.angle(resid, resid[1:2].expand_as(resid)) if given is not None else None
    return Intervention(
        provenance=make_provenance(
            caller,
            model.info,
            task="pair" if source is not None else "prompt",
            prompts=[str(base)] if source is None else [str(source)],
            corrupted=[] if source is None else [str(base)],
            settings={
                "depth": depth,
                "positions": places,
                "window": list(_window(model, stream, window)),
                "scopes": list(depths),
                "stream": stream,
                "head": head,
                "given_by": given_by,
                "source_depth": source_depth,
                "source_positions": taken_from,
                "edit": edit,
                "strength": value,
                "reference": None if others is None else len(others),
                "answers": None if answers is None else list(answers),
                "engine": engine,
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        stream=stream,
        edit=edit,
        strength=value,
        depth=depth,
        window=_window(model, stream, window),
        positions=tuple(places),
        tokens=tuple(model.token_text(int(batch.tokens[0, place])) for place in places),
        head=head,
        given_by=given_by,
        source_depth=source_depth,
        source_positions=tuple(taken_from),
        reads_edit=tuple(
            name
            for name, of in depths.items()
            if stream == "resid_pre"
            and edit in ("full", "direction", "mean")
            and of[-1] == model.n_layers
            and int(batch.last[0]) in places
        ),
        runs=tuple(names),
        edited=tuple(tuple(of) for of in edited),
        target=target,
        foil=foil,
        log_probs=metrics.log_probs(logits),
        logit_diffs=logits[:, target] - logits[:, foil]
        if differ
        else torch.full((len(names),), torch.nan, dtype=torch.float32),
        angle_from_base=polar.angle(resid, resid[:1].expand_as(resid)),
        angle_to_source=torch.full(resid.shape[:2], torch.nan, dtype=torch.float32)
        if to_source is None
        else to_source,
        norm=polar.norm(resid),
        floor=measure_floor(model, batch, model.readout(still[:, -1]), logits[:1], target, foil),
        vocabulary={
            str(token): model.token_text(token)
            for token in {*top, foil, *(() if target is None else (target,))}
        },
    )


def _one(model: DepthModel, prompt: str | Sequence[int], name: str) -> TokenBatch:
    if not isinstance(prompt, str) and not all(isinstance(token, int) for token in prompt):
        raise ValueError(f"intervene: {name} must be one prompt, as text or as token ids.")
    return model.tokenize([prompt])  # type: ignore[list-item]


def _window(model: DepthModel, stream: str, window: tuple[int, int] | None) -> tuple[int, int]:
    last = last_place(stream, model.n_layers)
    first, stop = (0, last) if window is None else window
    if not 0 <= first <= stop <= last:
        raise ValueError(
            f"intervene: window must be a first and a last depth within 0...{last}, got {window}."
        )
    return first, stop


def _scope_depths(
    model: DepthModel,
    stream: str,
    depth: int,
    window: tuple[int, int] | None,
    scopes: Sequence[str],
) -> dict[str, list[int]]:
    """The depths of each scope, ascending."""
    last = last_place(stream, model.n_layers)
    _check_depth(model, stream, depth, "depth" if stream == "resid_pre" else "block")
    first, stop = _window(model, stream, window)
    wrong = [scope for scope in scopes if scope not in REACHES]
    if isinstance(scopes, str) or wrong or not scopes:
        raise ValueError(f"intervene: scopes must be some of {', '.join(REACHES)}, got {scopes!r}.")
    reach = {
        "local": [depth],
        "suffix": list(range(depth, last + 1)),
        "window": list(range(first, stop + 1)),
    }
    return {scope: reach[scope] for scope in dict.fromkeys(scopes)}


def _check_depth(model: DepthModel, stream: str, depth: int, what: str) -> None:
    last = last_place(stream, model.n_layers)
    if not 0 <= depth <= last:
        raise ValueError(f"intervene: {what} must lie in 0...{last}, got {depth}.")


def _taken_at(
    giver: TokenBatch | None, positions: Sequence[int] | None, n_places: int
) -> list[int] | None:
    """The giving prompt's tokens that go to the places."""
    if positions is None or giver is None:
        return None
    if len(positions) != n_places:
        raise ValueError(
            f"intervene: source_positions must name one token for each of the {n_places} "
            f"positions, got {len(positions)}."
        )
    return resolve_positions(giver, torch.tensor([list(positions)]))[0].tolist()


def _last_states(
    model: DepthModel,
    batch: TokenBatch,
    sets: list[list[SiteEdit]],
    engine: Engine,
    max_memory: int | None,
) -> Float[Tensor, "set depth d_model"]:
    """Residual states of the last token in every run."""
    every = list(range(model.n_layers + 1))
    found = torch.zeros(len(sets), len(every), model.d_model, dtype=torch.float32)
    for part in replay(model, batch, sets, depths=every, engine=engine, max_memory=max_memory):
        found[part.sets] = part.resid[:, :, 0].float().cpu()
    return found


def _answers(
    model: DepthModel,
    answers: tuple[str | int, str | int] | None,
    base: Any,
    source: Any,
    logits: Float[Tensor, "run d_vocab"],
    paired: bool,
    caller: str,
) -> tuple[int | None, int]:
    """Tokens of target and foil."""
    if answers is None:
        top: Int[Tensor, " run"] = logits.argmax(-1)
        return (int(top[1]) if paired else None), int(top[0])
    texts = [answer for answer in answers if isinstance(answer, str)]
    if texts and not isinstance(base, str):
        raise ValueError(f"{caller}: answers as text need prompts as text; give token ids.")
    both = (source if isinstance(source, str) else base, base)
    prompts = [prompt for prompt, a in zip(both, answers, strict=True) if isinstance(a, str)]
    joining = settle_joining(model.tokenizer, prompts, texts, caller=caller, remedy=REMEDY)
    found = iter(answer_tokens(model.tokenizer, prompts, texts, joining))
    tokens = [next(found) if isinstance(answer, str) else answer for answer in answers]
    for answer, token in zip(answers, tokens, strict=True):
        if isinstance(token, str):
            raise ValueError(f"{caller}: the answer {answer!r} is not one token: {token}.")
        if not 0 <= token < model.d_vocab:
            raise ValueError(
                f"{caller}: the answer {token} is no token; the model has {model.d_vocab}, from 0."
            )
    return int(tokens[0]), int(tokens[1])
