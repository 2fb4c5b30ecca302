"""Residual states in polar form, and the edits that act on direction or norm alone.

x = r u with norm r = |x| and direction u = x / r. The zero vector has norm 0 and direction 0,
so that splitting and recombining gives it back. An edit takes the state found at a site and the
source's state there, and gives the state to put there; edits are the same functions for
ablation, patching and steering.
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


def norm(x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
    """Euclidean length, in float32 or wider."""
    return widen(x).norm(dim=-1)


def direction(x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
    """Unit vector along x; zero where x is zero."""
    wide = widen(x)
    # Dividing by the largest coordinate first keeps tiny and huge vectors from under- or
    # overflowing when they are squared.
    largest = wide.abs().amax(-1, keepdim=True)
    scaled = torch.where(largest > 0, wide / largest, 0.0)
    length = scaled.norm(dim=-1, keepdim=True)
    return torch.where(largest > 0, scaled / length, 0.0)


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


def spherical_mean(x: Float[Tensor, "sample d_model"]) -> Float[Tensor, " d_model"]:
    """Mean direction: the mean of the unit vectors, renormalised.

    Raises:
        ValueError: the unit vectors cancel, so that there is no mean direction.
    """
    mean = direction(x).mean(0)
    length = mean.norm()
    if length < 1e-6:
        raise ValueError(
            f"spherical_mean: the {len(x)} directions cancel (resultant length {length:.1e}), "
            f"so they have no mean direction; use fewer or more similar states."
        )
    return mean / length


def rotate_by(
    x: Float[Tensor, "*batch d_model"],
    towards: Float[Tensor, "*batch d_model"],
    theta: Float[Tensor, "*batch"] | float,
) -> Float[Tensor, "*batch d_model"]:
    """Turn x by `theta` radians in the plane of x and `towards`, keeping its norm.

    Where the two are parallel or one is zero the plane is not defined and x is kept.
    """
    u = direction(x)
    t = direction(towards)
    across = t - (t * u).sum(-1, keepdim=True) * u
    # One more projection: the first leaves a remainder along u when t is nearly parallel to it.
    across = across - (across * u).sum(-1, keepdim=True) * u
    defined = across.norm(dim=-1, keepdim=True) > 1e-6
    w = direction(across)
    turn = torch.as_tensor(theta, dtype=u.dtype, device=u.device).unsqueeze(-1)
    turned = norm(x).unsqueeze(-1) * (turn.cos() * u + turn.sin() * w)
    return torch.where(defined, turned, widen(x)).to(x.dtype)


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
    swapped = norm(base).unsqueeze(-1) * u
    return torch.where((u != 0).any(-1, keepdim=True), swapped, widen(base)).to(base.dtype)


def norm_swap(
    base: Float[Tensor, "*batch d_model"], source: Float[Tensor, "*batch d_model"] | None
) -> Float[Tensor, "*batch d_model"]:
    """The base's direction at the source's norm; a zero base stays zero."""
    given = _need(source, "norm_swap").to(base.device)
    return (norm(given).unsqueeze(-1) * direction(base)).to(base.dtype)


def self_swap(
    base: Float[Tensor, "*batch d_model"], source: Float[Tensor, "*batch d_model"] | None
) -> Float[Tensor, "*batch d_model"]:
    """The base itself: the control whose effect must be exactly zero."""
    return base


def random_direction_swap(generator: torch.Generator) -> Edit:
    """Control of `direction_swap`: as far from the base in angle, but in a random direction."""

    def edit(
        base: Float[Tensor, "batch d_model"], source: Float[Tensor, "batch d_model"] | None
    ) -> Float[Tensor, "batch d_model"]:
        given = _need(source, "random_direction_swap").to(base.device)
        theta = angle(base, given)
        return random_at_angle(base, theta.nan_to_num(0.0), generator)

    return edit


EDITS: dict[str, Edit] = {
    "full": full_swap,
    "direction": direction_swap,
    "norm": norm_swap,
    "self": self_swap,
}
"""Edits that need nothing but base and source, by the name that options use."""
