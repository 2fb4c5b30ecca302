"""Edits by name, each with a strength, and the random control of each.

The functions are those of `polar`; here they get a name, a dose and a matched control.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import radians

import torch
from torch import Tensor

from lensdepth import polar
from lensdepth.polar import Edit

CONTROL = " control"
"""Behind a scope's name: the same run with a random direction."""


@dataclass(frozen=True, kw_only=True)
class Strength:
    """What an edit does and what its strength measures."""

    make: Callable[[float], Edit]
    """From a strength to the edit."""
    does: str
    """In a few words."""
    unit: str
    low: float
    high: float
    default: float
    needs: str | None
    """`source`: a state of the source run; `reference`: a mean over other prompts; None."""
    turns: bool = True
    """Whether the direction changes, so that there is a random direction to compare with."""


def towards(share: float) -> Edit:
    """Move a share of the way to the source, along the straight line: 0 the base, 1 a swap."""

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        swapped = polar.full_swap(base, source)
        return swapped if share == 1 else base + share * (swapped - base)

    return edit


def norm_towards(share: float) -> Edit:
    """Move the norm a share of the way to the source's, the direction kept; never below 0."""

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        own, other = polar.norm(base), polar.norm(polar.full_swap(base, source))
        length = (own + share * (other - own)).clamp_min(0.0)
        return polar.recombine(length, polar.direction(base)).to(base.dtype)

    return edit


def at_random(edit: Edit) -> Edit:
    """An edit's control: as far from the base in angle and of the same norm, direction random.

    It reads the random direction from the second half of its source, so that each site has one.
    """

    def control(base: Tensor, source: Tensor | None) -> Tensor:
        assert source is not None
        given, noise = source.chunk(2, dim=-1)
        put = edit(base, given)
        turned = polar.rotate_by(base, noise, polar.angle(base, put).nan_to_num(0.0))
        return polar.recombine(polar.norm(put), polar.direction(turned)).to(base.dtype)

    return control


def with_noise(source: Tensor, generator: torch.Generator) -> Tensor:
    """Source states with a random direction behind each, as `at_random` reads them."""
    noise = torch.randn(source.shape, generator=generator, dtype=torch.float32)
    return torch.cat([source, noise], dim=-1)


EDITS: dict[str, Strength] = {
    "full": Strength(
        make=towards,
        does="swap the whole state for the source's",
        unit="share of the way to the source",
        low=0.0, high=1.5, default=1.0, needs="source",
    ),
    "direction": Strength(
        make=polar.rotate_part,
        does="swap the direction alone, the norm kept",
        unit="share of the angle to the source",
        low=0.0, high=1.5, default=1.0, needs="source",
    ),
    "norm": Strength(
        make=norm_towards,
        does="swap the norm alone, the direction kept",
        unit="share of the way to the source's norm",
        low=0.0, high=1.5, default=1.0, needs="source", turns=False,
    ),
    "rotate": Strength(
        make=lambda degrees: polar.rotate(radians(degrees)),
        does="turn by an angle towards the source, the norm kept",
        unit="degrees",
        low=0.0, high=180.0, default=45.0, needs="source",
    ),
    "scale": Strength(
        make=polar.scale,
        does="multiply the norm, the direction kept",
        unit="times the norm found",
        low=0.0, high=4.0, default=2.0, needs=None, turns=False,
    ),
    "mean": Strength(
        make=towards,
        does="swap the state for the mean over other prompts",
        unit="share of the way to the mean",
        low=0.0, high=1.5, default=1.0, needs="reference",
    ),
    "random": Strength(
        make=lambda share: at_random(polar.rotate_part(share)),
        does="turn as far as the source is, but in a random direction",
        unit="share of the angle to the source",
        low=0.0, high=1.5, default=1.0, needs="source", turns=False,
    ),
}  # fmt: skip
"""Edits by name."""


def strong_edit(name: str, strength: float | None, *, caller: str) -> tuple[float, Edit]:
    """An edit of that strength, and the strength: its own default where none is given.

    Raises:
        ValueError: there is no such edit, or its strength is out of range.
    """
    if name not in EDITS:
        raise ValueError(f"{caller}: edit must be one of {', '.join(EDITS)}, got {name!r}.")
    kind = EDITS[name]
    value = kind.default if strength is None else float(strength)
    if not kind.low <= value <= kind.high:
        raise ValueError(
            f"{caller}: the strength of {name!r} is in {kind.unit}, from {kind.low:g} to "
            f"{kind.high:g}, got {strength!r}."
        )
    return value, kind.make(value)
