"""What a part of a state is replaced by, and the matched controls."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.ablation.parts import CONTROLS, EDITS, Reference
from lensdepth.coordinates import Coordinates
from lensdepth.edits import edit_of
from lensdepth.model import DepthModel
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.controls import other_pairs, shuffled_sources
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.spans import Span
from lensdepth.sweep.states import states_at
from lensdepth.tokens import number_texts

States = Float[Tensor, "depth pair token d_model"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenParts:
    """What goes in at one span of some pairs."""

    base: States
    """What stands there in the base run."""
    edits: dict[str, tuple[polar.Edit, States]]
    """By name: how a state is combined with what is given, in the coordinates; and what is."""
    angle: Float[Tensor, "depth pair"]
    """Between the base's state and what the edits put in, in radians, mean over the tokens."""
    norm_ratio: Float[Tensor, "depth pair"]
    """Norm of what the edits put in over the base's norm, mean over the tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Means:
    """Of a reference set at one span, over its prompts and the tokens of the span."""

    state: Float[Tensor, "depth d_model"]
    """Arithmetic mean of the states: the center of centred coordinates."""
    polar: Float[Tensor, "depth d_model"]
    """Mean direction (on the sphere) times mean norm, in the coordinates of the edits."""
    n: int
    """Prompts."""


def reference_means(
    model: DepthModel,
    roles: Roles,
    hooks: Sequence[str],
    span: Span,
    coordinates: Coordinates,
    *,
    polar_mean: bool,
) -> Means:
    """Means over the source runs' states at a span, block by block.

    Args:
        roles: of the reference set.
        span: of the same pairs.
        coordinates: in which direction and norm are taken, without a center.
        polar_mean: whether the polar mean is needed; it may not exist where only the center is.
    Raises:
        ValueError: no prompt has the span, or its directions cancel.
    """
    shape = (len(hooks), model.d_model)
    total, along = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
    length, n = torch.zeros(len(hooks), dtype=torch.float64), 0
    per_pair = len(hooks) * span.source.shape[1] * model.d_model
    for block in pair_blocks(len(roles.source), per_pair):
        here = span.of(block)
        states = states_at(model, roles.source[block], hooks, [here.source]).states
        kept = states[:, here.source >= 0]  # depth state d_model
        total += kept.double().sum(1)
        r, u = polar.split(coordinates.inner(kept))
        along += u.double().sum(1)
        length += r.double().sum(1)
        n += kept.shape[1]
    if not n:
        raise ValueError(f"reference: none of its prompts has the position {span.name!r}.")
    mean = total.float() / n
    if polar_mean:
        u = polar.mean_of_directions((along / n).float(), n)
        mean_polar = polar.recombine((length / n).float(), u)
    else:
        mean_polar = torch.full(shape, torch.nan, dtype=torch.float32)
    return Means(state=mean, polar=mean_polar, n=int(span.present.sum()))


def random_turn(
    y: Float[Tensor, "*batch d_model"],
    theta: Float[Tensor, "*batch"],
    noise: Float[Tensor, "*batch d_model"],
    coordinates: Coordinates,
) -> Float[Tensor, "*batch d_model"]:
    """y turned by `theta` radians in a random direction within its own space, its norm kept."""
    turned = polar.rotate_by(y, coordinates.tangent(noise.to(y)), theta.nan_to_num(0.0))
    # No turn is none at all, not one up to rounding: what changes nothing need not be run.
    return torch.where((theta > 0).unsqueeze(-1), turned, y)


def given_parts(
    base: States,
    source: States,
    other: States | None,
    stranger: States | None,
    mean: Float[Tensor, "depth d_model"] | None,
    *,
    there: Bool[Tensor, "pair token"],
    to: Reference,
    coordinates: Coordinates,
    noise: States,
) -> GivenParts:
    """The edits of each part and their controls.

    Args:
        base: states found in the base run.
        source: states of the source run.
        other: states of other pairs' sources, which shuffled and random edits put in; None for a
            single pair, which has no other.
        stranger: states whose norms the control of the norm edit takes.
        mean: polar mean of the reference set, where `to` is "mean".
        there: where a pair's span has a token at all.
        to: what is put in.
        coordinates: of the states, by depth.
        noise: the random directions.
    """
    found = coordinates.inner(base)
    if to == "mean":
        assert mean is not None
        given = rearrange(mean, "depth d_model -> depth 1 1 d_model").expand_as(found)
    elif to == "source":
        given = coordinates.inner(source)
    else:
        assert other is not None
        given = coordinates.inner(other)
        if to == "random":
            theta = polar.angle(found, coordinates.inner(source))
            turned = random_turn(found, theta, noise, coordinates)
            given = polar.recombine(polar.norm(given), polar.direction(turned))
    put = coordinates.outer(given, base)
    edits = {name: (edit_of(name), put) for name in EDITS}
    theta = polar.angle(found, given)
    if to != "random":
        turned = random_turn(found, theta, noise, coordinates)
        whole = polar.recombine(polar.norm(given), polar.direction(turned))
        edits["random_full"] = (polar.full_swap, coordinates.outer(whole, base))
        edits["random_direction"] = (polar.direction_swap, coordinates.outer(turned, base))
        if stranger is not None:
            edits["random_norm"] = (polar.norm_swap, stranger)
    ratio = polar.norm(given) / polar.norm(found)
    return GivenParts(
        base=base,
        edits=edits,
        angle=torch.where(there, theta, torch.nan).nanmean(-1),
        norm_ratio=torch.where(there, ratio, torch.nan).nanmean(-1),
    )


def edit_names(to: Reference, n_pairs: int) -> tuple[str, ...]:
    """Edits, and the controls that there are beside them."""
    if to == "random":
        return EDITS
    return (*EDITS, *(c for c in CONTROLS if n_pairs > 1 or c != "random_norm"))


def partners(roles: Roles, span: Span, seed: int) -> Int[Tensor, " pair"]:
    """For each pair that has the span another one that has it; see `shuffled_sources`."""
    having = span.present.nonzero()[:, 0]
    partner = torch.arange(len(roles.base))
    if len(having) > 1:
        partner[having] = having[shuffled_sources(roles.intended[having], seed)]
    return partner


def strangers(
    roles: Roles, span: Span, seed: int, partner: Int[Tensor, " pair"] | None
) -> Int[Tensor, " pair"]:
    """For each pair another one, whose source is another prompt: the norms of a control.

    Drawn from all such pairs, whatever their answers, since it stands for "some norm of the same
    prompts". -1 where there is none.

    Args:
        partner: whose states the edit itself takes, and whose prompts the control then avoids.
    """
    (prompt,) = number_texts(roles.source)

    def fits(pair: int) -> Bool[Tensor, " pair"]:
        other = span.present & (prompt != prompt[pair])
        return other if partner is None else other & (prompt != prompt[partner[pair]])

    # Not the seed of the partners, or the two draws would be alike.
    return other_pairs(len(prompt), fits, seed + 1)


def states_of(
    model: DepthModel,
    roles: Roles,
    span: Span,
    hooks: Sequence[str],
    pairs: Int[Tensor, " pair"],
) -> States:
    """Source states at the span of some pairs; a shorter span's last token stands for the rest."""
    at = span.source[pairs]
    last = ((at >= 0).sum(1, keepdim=True) - 1).clamp(min=0)
    at = at.gather(1, torch.arange(at.shape[1]).expand_as(at).minimum(last))
    return states_at(model, roles.source[pairs], hooks, [at]).states
