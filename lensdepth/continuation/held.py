"""An edit that is held on while a model writes: the edit of one prompt, made to stand.

The tokens of the prompt are edited in every pass, each with its own state of the source prompt,
and so is, where that is asked for, every token that is written.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from lensdepth.edits import EDITS, at_random, strong_edit, with_noise
from lensdepth.intervention.states import mean_states, source_states
from lensdepth.model import DepthModel
from lensdepth.polar import Edit
from lensdepth.prompts import gather_prompts
from lensdepth.site import Site, Stream, last_place
from lensdepth.standing import StandingEdit, steered
from lensdepth.steering.vector import SteeringVector, moved, vector_edit
from lensdepth.sweep.choices import check_heads, check_stream
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, resolve_positions

Standing = tuple[tuple[StandingEdit, ...], ...]
"""Edits by token: each at one token (and at what is written), at every depth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldEdit:
    """One edit, ready to be held on."""

    strength: float
    depths: tuple[int, ...]
    places: tuple[int, ...]
    """The edited tokens of the prompt; () for all of them."""
    edited: Standing
    controls: tuple[Standing, ...]
    """Each state turned as far in a random direction, once a seed; () where the edit turns
    nothing."""


def hold(
    model: DepthModel,
    prompt: str,
    edit: str,
    strengths: Sequence[float | None],
    source: str | Sequence[int] | None,
    depths: int | slice | Sequence[int] | None,
    positions: Sequence[int],
    onward: bool,
    stream: Stream,
    head: int | None,
    reference: Task | Prompts | None,
    seeds: Sequence[int],
    *,
    caller: str,
) -> list[HeldEdit]:
    """An edit to hold on at each strength, its states found once; the other arguments are those of
    `generation_profile`, and there is a control for each seed.

    Raises:
        ValueError: see there; before any pass.
    """
    check_stream(model, stream, caller=caller)
    if head is not None:
        check_heads(model, stream, [head], caller=caller)
    strong = [strong_edit(edit, strength, caller=caller) for strength in strengths]
    kind = EDITS[edit]
    for name, given in (("source", source), ("reference", reference)):
        if given is not None and kind.needs != name:
            raise ValueError(
                f"{caller}: the edit {edit!r} takes nothing from a {name}; leave it out."
            )
    asked = _depths(model, stream, depths, caller=caller)
    batch = model.tokenize(prompt)
    places = resolve_positions(batch, torch.tensor([list(positions)]))[0].tolist()
    if not places or len(set(places)) < len(places):
        raise ValueError(f"{caller}: positions must be one at least, each once, got {positions}.")
    theirs = None
    if source is not None:
        theirs = model.tokenize(source if isinstance(source, str) else [source])
    hooks = {at: Site(stream, at).hook for at in asked}
    if kind.needs == "reference":
        others = None if reference is None else gather_prompts(model, reference)[2]
        states = mean_states(model, batch, others, list(hooks.values()), places, caller=caller)
    else:
        states = source_states(
            model, batch, theirs, kind, edit, stream, hooks, places,
            giver=theirs, at=None, caller=caller,
        )[1]  # fmt: skip
    if states is not None and head is not None:
        states = rearrange(states, "hook place (h d) -> h hook place d", h=model.info.n_heads)[head]
    noisy = [] if states is None else [with_noise(states, drawing(seed)) for seed in seeds]
    reach = [frozenset({place}) for place in places]
    if onward:
        reach[-1] |= frozenset(range(int(batch.lengths[0]), model.n_ctx))

    def standing(apply: Edit, using: Float[Tensor, "hook place d_source"] | None) -> Standing:
        return tuple(
            tuple(
                StandingEdit(
                    hook=hook,
                    positions=reach[j],
                    edit=apply,
                    source=None if using is None else using[i, j],
                    head=head,
                )
                for i, hook in enumerate(hooks.values())
            )
            for j in range(len(places))
        )

    return [
        HeldEdit(
            strength=value,
            depths=asked,
            places=tuple(places),
            edited=standing(function, noisy[0] if edit == "random" else states),
            controls=tuple(standing(at_random(function), one) for one in noisy if kind.turns),
        )
        for value, function in strong
    ]


def hold_vector(
    model: DepthModel,
    vector: SteeringVector,
    strengths: Sequence[float | None],
    seeds: Sequence[int],
    *,
    caller: str,
) -> list[HeldEdit]:
    """A steering vector to hold on at each strength (None: its own), where it says itself.

    Raises:
        ValueError: a strength is out of range, or it belongs to another model, or does not fit
            this one.
    """
    own = vector.strength
    values = [
        vector_edit(vector.edit, own if one is None else one, caller=caller)[0] for one in strengths
    ]
    there = moved(vector, model, None, False, caller=caller)
    noisy = [with_noise(vector.vector, drawing(seed)) for seed in seeds]
    everywhere = vector.positions == "all"

    def at(strength: float) -> HeldEdit:
        strong = replace(there, strength=strength)
        edits, turned = strong.standing(model), at_random(strong.function)
        return HeldEdit(
            strength=strength,
            depths=vector.depths,
            places=() if everywhere else tuple(vector.positions),  # type: ignore[arg-type]
            edited=(tuple(edits),),
            controls=tuple(
                (tuple(replace(edit, edit=turned, source=one[i]) for i, edit in enumerate(edits)),)
                for one in noisy
                if vector.edit != "norm"
            ),
        )

    return [at(value) for value in values]


def drawing(seed: int) -> torch.Generator:
    """What the random directions of a seed are drawn by."""
    return torch.Generator().manual_seed(seed)


def _depths(
    model: DepthModel, stream: Stream, depths: int | slice | Sequence[int] | None, *, caller: str
) -> tuple[int, ...]:
    """The depths, ascending."""
    last = last_place(stream, model.n_layers)
    if isinstance(depths, slice):
        depths = range(last + 1)[depths]
    asked = [depths] if isinstance(depths, int) else sorted(depths or ())
    there = all(0 <= depth <= last for depth in asked)
    if not asked or len(set(asked)) < len(asked) or not there:
        what = "depths" if stream == "resid_pre" else "blocks"
        raise ValueError(
            f"{caller}: an edit needs depths, {what} within 0...{last}, each once; got {depths}."
        )
    return tuple(asked)


@contextmanager
def held(model: DepthModel, edits: Standing) -> Iterator[None]:
    """Let all these act in every pass of this context; without any, the model is as it is."""
    with ExitStack() as stack:
        for of_token in edits:
            stack.enter_context(steered(model, of_token))
        yield
