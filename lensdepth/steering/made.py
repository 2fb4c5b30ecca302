"""Steering vectors from what a model does: a tensor, a difference of means, a sweep's centroids."""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.model import DepthModel
from lensdepth.prompts import gather_prompts
from lensdepth.provenance import make_provenance, other_than
from lensdepth.site import Site, Stream, last_place
from lensdepth.steering.labels import accompanied, label_prompts, members, pool_prompts
from lensdepth.steering.profile import SteeringProfile
from lensdepth.steering.vector import (
    SteeringVector,
    VectorCoordinates,
    VectorPositions,
    places,
    vector_edit,
)
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.roles import assign_roles
from lensdepth.tasks.task import Task
from lensdepth.tokens import Prompts, TokenBatch


@checked
def steering_vector(
    model: DepthModel,
    vector: Float[Tensor, "*depth d_source"],
    *,
    depths: int | Sequence[int],
    edit: str = "add",
    strength: float | None = None,
    positions: VectorPositions = "all",
    stream: Stream = "resid_pre",
    head: int | None = None,
    coordinates: VectorCoordinates = "raw",
) -> SteeringVector:
    """A tensor as a steering vector of this model.

    Args:
        model: the one whose states the vector is taken from, or fits.
        vector: one for all depths, or one for each.
        depths: depths 0 ... L at stream `"resid_pre"`, else blocks.
        edit: `"add"`, or one of `lensdepth.EDITS` that refers to one state.
        strength: in the edit's own unit; None takes its default, 1 for `"add"`.
        positions: `"all"`, or indices from the start of each text.
        stream: where in the block.
        head: at stream `"z"`, the one head to edit; None edits all heads side by side.
        coordinates: `"final_norm"` leaves out what a LayerNorm at the end takes out.
    Raises:
        ValueError: an argument does not fit the model or the others.
    Example:
        >>> steering_vector(model, july - march, depths=8).save("july.safetensors")
    """
    caller = "steering_vector"
    value = vector_edit(edit, strength, caller=caller)[0]
    asked = _asked(model, stream, depths, caller)
    d_source = _width(model, stream, asked, head, caller)
    if tuple(vector.shape) not in ((d_source,), (len(asked), d_source)):
        raise ValueError(
            f"{caller}: vector must have shape [{d_source}] or, for {len(asked)} depths, "
            f"[{len(asked)}, {d_source}]; got {list(vector.shape)}."
        )
    settings = {"depths": list(asked), "stream": stream, "head": head}
    return _vector(
        model, caller, vector.expand(len(asked), -1), asked, edit, value, positions, stream, head,
        coordinates, settings,
    )  # fmt: skip


@checked
def difference_vector(
    model: DepthModel,
    base: Task | Prompts,
    source: Task | Prompts,
    *,
    depths: int | Sequence[int],
    token: int = -1,
    strength: float | None = None,
    positions: VectorPositions = "all",
    stream: Stream = "resid_pre",
    head: int | None = None,
) -> SteeringVector:
    """The mean state of some prompts less that of others, to be added.

    Args:
        model: any wrapped model.
        base: the prompts to lead away from.
        source: the prompts to lead to; there may be more or fewer of them.
        depths: depths 0 ... L at stream `"resid_pre"`, else blocks.
        token: the token of each prompt whose state is read, from its end if negative.
        strength: factor of the difference; None is 1.
        positions: where it is added: `"all"`, or indices from the start of each text.
        stream: where in the block.
        head: at stream `"z"`, the one head; None takes all heads side by side.
    Raises:
        ValueError: an argument does not fit the model, or a prompt has no such token.
    Source: differences of means as in Rimsky et al. 2024, "Steering Llama 2 via Contrastive
        Activation Addition", arXiv 2312.06681.
    Example:
        >>> difference_vector(model, ["May is"], ["June is"], depths=[3]).vector.shape
    """
    caller = "difference_vector"
    value = vector_edit("add", strength, caller=caller)[0]
    asked = _asked(model, stream, depths, caller)
    _width(model, stream, asked, head, caller)
    (_, away, first), (_, to, second) = (gather_prompts(model, one) for one in (base, source))
    ends = [
        _mean(model, batch, torch.full((len(batch),), token), asked, stream, head)
        for batch in (first, second)
    ]
    settings = {
        "depths": list(asked),
        "stream": stream,
        "head": head,
        "token": token,
        "n_prompts": [len(first), len(second)],
    }
    return _vector(
        model, caller, ends[1] - ends[0], asked, "add", value, positions, stream, head, "raw",
        settings, prompts=to, corrupted=away,
    )  # fmt: skip


@checked
def centroid_vector(
    profile: SteeringProfile,
    model: DepthModel,
    task: Task,
    *,
    base: str,
    source: str,
    depths: int | Sequence[int] | None = None,
    position: str | None = None,
    positions: VectorPositions = "all",
) -> SteeringVector:
    """What a steering sweep adds to lead from one label to another, as a vector to take along.

    The sweep steers each pair by centroids of other prompts than its own; these are of all its
    prompts with either label. They are scaled as the sweep scaled them (`strength`, `budget`).

    Args:
        profile: what `steering_sweep` gave.
        model: the model of the sweep.
        task: its pairs.
        base: the label to lead away from, one of `profile.labels`.
        source: the label to lead to.
        depths: some of the sweep's; all by default.
        position: one of `profile.positions`; the first by default.
        positions: where the vector is added: `"all"`, or indices from the start of each text.
    Raises:
        ValueError: the sweep is of another model or of other pairs, or there is no such label,
            depth or position in it.
    Example:
        >>> centroid_vector(profile, model, task, base="May", source="June", depths=3).save(path)
    """
    caller = "centroid_vector"
    where = profile.positions[0] if position is None else position
    swept = profile.depths.tolist()
    asked = tuple(swept if depths is None else [depths] if isinstance(depths, int) else depths)
    if where not in profile.positions or not set(asked) <= {*swept}:
        raise ValueError(
            f"{caller}: the sweep steered at the positions {', '.join(profile.positions)} and at "
            f"depths {swept}; asked for {where!r} and {list(asked)}."
        )
    task = _steered_pairs(task, profile, caller)
    why = other_than(
        profile.provenance, model.info, prompts=task.clean, corrupted=task.corrupted or ()
    )
    if why:
        raise ValueError(
            f"{caller}: the sweep is {why}; give the model and the pairs of the sweep."
        )
    roles = _roles(task, profile, caller)
    labelled = label_prompts(task, roles, where, _columns(profile)[where], caller=caller)
    if not {base, source} <= {*labelled.names} or base == source:
        raise ValueError(
            f"{caller}: base and source must be two of the labels at the {where} position "
            f"({', '.join(labelled.names)}), got {base!r} and {source!r}."
        )
    pool = pool_prompts(roles)
    has = members(pool, labelled)
    rows = [has[:, labelled.names.index(label)].nonzero()[:, 0] for label in (base, source)]
    at = pool.positions[where]
    ends = [_mean(model, pool.tokens[some], at[some], asked, "resid_pre", None) for some in rows]
    vector = ends[1] - ends[0]
    if profile.budget is not None:
        of_depth = [swept.index(depth) for depth in asked]
        norms = profile.state_norm[of_depth, profile.positions.index(where)]
        vector = profile.budget * norms[:, None] * polar.direction(vector)
    settings = {
        "depths": list(asked),
        "base": base,
        "source": source,
        "position": where,
        "budget": profile.budget,
        "n_prompts": [len(some) for some in rows],
        "steering_sweep": profile.provenance.created,
    }
    return _vector(
        model, caller, vector, asked, "add", profile.strength, positions, "resid_pre", None, "raw",
        settings, prompts=task.clean, corrupted=task.corrupted or (), task=task.name,
    )  # fmt: skip


def _columns(profile: SteeringProfile) -> dict[str, str | None]:
    """The label columns of a sweep by position; None where it took words and answers."""
    found = {}
    for position, option, plain in (
        ("input", "input_label", "input"),
        ("prediction", "output_label", "answer"),
    ):
        column = profile.provenance.settings.get(option, plain)
        found[position] = None if column == plain else str(column)
    return found


def _roles(task: Task, profile: SteeringProfile, caller: str) -> Any:
    return assign_roles(task, profile.mode, positions=profile.positions, caller=caller)  # type: ignore[arg-type]


def _steered_pairs(task: Task, profile: SteeringProfile, caller: str) -> Task:
    """The pairs of the sweep, of those that it was given."""
    columns = {name: _columns(profile)[name] for name in profile.positions}
    there, _ = accompanied(task, _roles(task, profile, caller), columns, caller=caller)
    return task if there.all() else task.select(there)


def _asked(
    model: DepthModel, stream: Stream, depths: int | Sequence[int], caller: str
) -> tuple[int, ...]:
    asked = (depths,) if isinstance(depths, int) else tuple(depths)
    last = last_place(stream, model.n_layers)
    if not asked or len(set(asked)) < len(asked) or not all(0 <= depth <= last for depth in asked):
        what = "depths" if stream == "resid_pre" else "blocks"
        raise ValueError(
            f"{caller}: depths must be {what} within 0...{last}, each once; got {list(asked)}."
        )
    return asked


def _width(
    model: DepthModel, stream: Stream, asked: tuple[int, ...], head: int | None, caller: str
) -> int:
    hook = Site(stream, asked[0]).hook
    model.passes.check_head(hook, head, caller)
    return model.passes.d_hook(hook, head)


def _mean(
    model: DepthModel,
    batch: TokenBatch,
    at: Int[Tensor, " prompt"],
    depths: tuple[int, ...],
    stream: Stream,
    head: int | None,
) -> Float[Tensor, "depth d_source"]:
    """The mean state of some prompts, each at its own token; summed in float64."""
    hooks = [Site(stream, depth).hook for depth in depths]
    width = model.passes.d_hook(hooks[0])
    total = torch.zeros(len(hooks), width, dtype=torch.float64)
    for block in pair_blocks(len(batch), len(hooks) * width):
        states = model.activations(batch[block], hooks, at[block][:, None])[:, :, 0]
        total += states.double().sum(1)
    mean = (total / len(batch)).float()
    if head is None:
        return mean
    return rearrange(mean, "hook (h d) -> h hook d", h=model.info.n_heads)[head]


def _vector(
    model: DepthModel,
    analysis: str,
    vector: Float[Tensor, "depth d_source"],
    depths: tuple[int, ...],
    edit: str,
    strength: float,
    positions: VectorPositions,
    stream: Stream,
    head: int | None,
    coordinates: VectorCoordinates,
    settings: dict[str, Any],
    *,
    prompts: Sequence[str] = (),
    corrupted: Sequence[str] = (),
    task: str = "prompts",
) -> SteeringVector:
    hooks, relative = places(stream, depths, model.n_layers)
    return SteeringVector(
        provenance=make_provenance(
            analysis,
            model.info,
            task=task,
            prompts=prompts,
            corrupted=corrupted,
            settings=settings,
        ),
        edit=edit,
        strength=strength,
        vector=vector.detach().cpu().float().contiguous(),
        stream=stream,
        depths=depths,
        head=head,
        positions=positions,
        coordinates=coordinates,
        hooks=hooks,
        relative_depths=relative,
    )
