"""Residual states in polar form, and the edits that act on direction or norm alone.

x = r u with norm r = |x| and direction u = x / r. The zero vector has norm 0 and direction 0,
so that splitting and recombining gives it back. An edit takes the state found at a site and a
second state (the source run's, a mean, a vector to add), and gives the state to put there; edits
are the same functions for ablation, patching and steering. All arithmetic is in float32 or wider.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lensdepth.metrics import widen

Edit = Callable[
    [Float[Tensor, "batch d_model"], Float[Tensor, "batch d_model"] | None],
    Float[Tensor, "batch d_model"],
]
"""(base state found at the site, source state or None) -> state put there."""

UNDEFINED = 1e-6
"""Shortest vector, beside one of length 1, that is taken to have a direction."""


def norm(x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
    """Euclidean length, in float32 or wider."""
    largest, scaled = _scaled(x)
    return largest.squeeze(-1) * scaled.norm(dim=-1)


def direction(x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
    """Unit vector along x; zero where x is zero."""
    largest, scaled = _scaled(x)
    return torch.where(largest > 0, scaled / scaled.norm(dim=-1, keepdim=True), 0.0)


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Largest absolute coordinate, and x divided by it.

    Tiny and huge vectors would under- or overflow where their coordinates are squared.
    """
    wide = widen(x)
    largest = wide.abs().amax(-1, keepdim=True)
    return largest, torch.where(largest > 0, wide / largest, 0.0)


def split(
    x: Float[Tensor, "*batch d_model"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch d_model"]]:
    """(norm, direction) of x; (0, 0) where x is zero."""
    return norm(x), direction(x)


def recombine(
    length: Float[Tensor, "*batch"], along: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_model"]:
    """The state of a norm and a direction: what `split` took apart."""
    return length.unsqueeze(-1) * along


def angle(
    x: Float[Tensor, "*batch d_model"], y: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch"]:
    """Angle in radians, 0 to pi, accurate at both ends; NaN where either state is zero.

    2 atan2(|u - v|, |u + v|) for unit u and v: Kahan 2006, "How Futile are Mindless Assessments
    of Roundoff", section 12. An arccosine would lose half the digits near 0 and pi.
    """
    u, v = direction(x), direction(y)
    theta = 2 * torch.atan2((u - v).norm(dim=-1), (u + v).norm(dim=-1))
    defined = (u != 0).any(-1) & (v != 0).any(-1)
    return torch.where(defined, theta, torch.nan)


def spherical_mean(x: Float[Tensor, "sample *shape d_model"]) -> Float[Tensor, "*shape d_model"]:
    """Mean direction over the first axis: the mean of the unit vectors, renormalised.

    Raises:
        ValueError: the unit vectors cancel, so that there is no mean direction.
    """
    return mean_of_directions(direction(x).mean(0), len(x))


def mean_of_directions(
    mean: Float[Tensor, "*shape d_model"], n: int
) -> Float[Tensor, "*shape d_model"]:
    """A mean of `n` unit vectors, renormalised; for means that were summed up part by part.

    Raises:
        ValueError: it vanishes.
    """
    length = norm(mean)
    if length.numel() and length.min() < UNDEFINED:
        raise ValueError(
            f"spherical_mean: the {n} directions cancel (resultant length "
            f"{float(length.min()):.1e}), so they have no mean direction; use fewer or more "
            f"similar states."
        )
    return direction(mean)


def project_on(
    x: Float[Tensor, "*batch d_model"], along: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_model"]:
    """The part of x along a direction (of any length); zero where that is the zero vector."""
    u = direction(along)
    return (widen(x) * u).sum(-1, keepdim=True) * u


def project_off(
    x: Float[Tensor, "*batch d_model"], along: Float[Tensor, "*batch d_model"]
) -> Float[Tensor, "*batch d_model"]:
    """x without its part along a direction; x itself where that is the zero vector."""
    return _off(widen(x), direction(along))


def _off(x: Tensor, u: Tensor) -> Tensor:
    """x without its part along a unit vector, or along none where u is zero."""
    once = x - (x * u).sum(-1, keepdim=True) * u
    # One more projection: the first leaves a remainder when x is nearly parallel to the direction.
    return once - (once * u).sum(-1, keepdim=True) * u


def rotate_by(
    x: Float[Tensor, "*batch d_model"],
    towards: Float[Tensor, "*batch d_model"],
    theta: Float[Tensor, "*batch"] | float,
) -> Float[Tensor, "*batch d_model"]:
    """Turn x by `theta` radians along the great circle through `towards`, keeping its norm.

    Where the two are parallel, or one is zero, there is no such circle and x is kept. Where they
    are opposite there are many: the one through the axis that x has least of is taken.
    """
    u, t = direction(x), direction(towards)
    across = _off(t, u)
    unclear = across.norm(dim=-1, keepdim=True) <= UNDEFINED
    opposite = unclear & ((u * t).sum(-1, keepdim=True) < 0)
    least = torch.zeros_like(u).scatter(-1, u.abs().argmin(-1, keepdim=True), 1.0)
    across = torch.where(opposite, _off(least, u), across)
    w = direction(across)
    turn = torch.as_tensor(theta, dtype=u.dtype, device=u.device).unsqueeze(-1)
    turned = norm(x).unsqueeze(-1) * (turn.cos() * u + turn.sin() * w)
    return torch.where(unclear & ~opposite, widen(x), turned).to(x.dtype)


def random_at_angle(
    x: Float[Tensor, "*batch d_model"],
    theta: Float[Tensor, "*batch"] | float,
    generator: torch.Generator,
) -> Float[Tensor, "*batch d_model"]:
    """Turn x by `theta` radians towards a uniformly random direction, keeping its norm."""
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x.device)
    return rotate_by(x, noise, theta)


def _need(source: Tensor | None, edit: str) -> Tensor:
    if source is None:
        raise ValueError(f"{edit}: this edit needs a source state, got None; pass `source`.")
    return source


def full_swap(
    base: Float[Tensor, "*batch d_model"], source: Float[Tensor, "*batch d_model"] | None
) -> Float[Tensor, "*batch d_model"]:
    """The source's state, whole."""
    return _need(source, "full_swap").to(base)


def direction_swap(
    base: Float[Tensor, "*batch d_model"], source: Float[Tensor, "*batch d_model"] | None
) -> Float[Tensor, "*batch d_model"]:
    """The source's direction at the base's norm; the base itself where the source is zero."""
    given = _need(source, "direction_swap").to(base.device)
    u = direction(given)
    swapped = recombine(norm(base), u)
    return torch.where((u != 0).any(-1, keepdim=True), swapped, widen(base)).to(base.dtype)


def norm_swap(
    base: Float[Tensor, "*batch d_model"], source: Float[Tensor, "*batch d_model"] | None
) -> Float[Tensor, "*batch d_model"]:
    """The base's direction at the source's norm; a zero base stays zero."""
    given = _need(source, "norm_swap").to(base.device)
    return recombine(norm(given), direction(base)).to(base.dtype)


def self_swap(
    base: Float[Tensor, "*batch d_model"], source: Float[Tensor, "*batch d_model"] | None
) -> Float[Tensor, "*batch d_model"]:
    """The base itself: the control whose effect must be exactly zero."""
    return base


def swap_within(basis: Float[Tensor, "d_model k"]) -> Edit:
    """The source's part within a subspace, and the base's outside it.

    x + (s - x) B B^T, the interchange of Geiger et al. 2023, arXiv 2303.02536.

    Args:
        basis: orthonormal columns; none of them leaves the base as it is.
    """

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        x = widen(base)
        within = basis.to(x)
        step = (_need(source, "swap_within").to(x) - x) @ within @ within.T
        return (x + step).to(base.dtype)

    return edit


def add(strength: float = 1.0) -> Edit:
    """Add the source, a vector, times `strength`."""

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        return base + strength * _need(source, "add").to(base)

    return edit


def scale(factor: float) -> Edit:
    """Multiply the norm by `factor` (0 or more), the direction kept.

    Raises:
        ValueError: a negative or infinite factor.
    """
    if not 0 <= factor < float("inf"):
        raise ValueError(f"scale: the factor of a norm must be 0 or more and finite, got {factor}.")

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        return factor * base

    return edit


def rotate(theta: float) -> Edit:
    """Turn by `theta` radians towards the source, the norm kept; see `rotate_by`."""

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        return rotate_by(base, _need(source, "rotate").to(base.device), theta)

    return edit


def rotate_part(share: float) -> Edit:
    """Turn by a share of the angle to the source, the norm kept: 0 is the base, 1 a swap."""

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        given = _need(source, "rotate_part").to(base.device)
        return rotate_by(base, given, share * angle(base, given).nan_to_num(0.0))

    return edit


def mean_direction(states: Float[Tensor, "sample d_model"]) -> Edit:
    """Replace the direction by the mean direction of some states, the norm kept.

    Raises:
        ValueError: their directions cancel.
    """
    mean = spherical_mean(states)
    return lambda base, source: direction_swap(base, mean.expand_as(base))


def mean_norm(states: Float[Tensor, "sample d_model"]) -> Edit:
    """Replace the norm by the mean norm of some states, the direction kept."""
    mean = norm(states).mean()
    return lambda base, source: (mean.to(base.device) * direction(base)).to(base.dtype)


def keep_norm(edit: Edit) -> Edit:
    """The direction that an edit gives, at the norm found: its direction-only part."""
    return lambda base, source: direction_swap(base, edit(base, source))


def keep_direction(edit: Edit) -> Edit:
    """The norm that an edit gives, along the direction found: its norm-only part."""
    return lambda base, source: norm_swap(base, edit(base, source))


def random_direction_swap(generator: torch.Generator) -> Edit:
    """Control of `direction_swap`: as far from the base in angle, but in a random direction."""

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        theta = angle(base, _need(source, "random_direction_swap").to(base.device))
        return random_at_angle(base, theta.nan_to_num(0.0), generator)

    return edit
