"""The edits that go by a name: function, strength, what each needs, its control, its words.

An edit is added here, in one place: a function that makes it (`polar` holds the geometry), and its
entry in EDITS. Every sweep, `intervene`, the command line, hypothesis files and the explorer take
their names from this table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import radians
from typing import Literal

import torch
from torch import Tensor

from lensdepth import polar
from lensdepth.metrics import widen
from lensdepth.polar import Edit

CONTROL = " control"
"""Behind a run's name: the same run with a random direction."""


@dataclass(frozen=True, kw_only=True)
class NamedEdit:
    """What an edit does, and what its strength measures."""

    make: Callable[[float], Edit]
    """From a strength to the edit."""
    action: str
    """In a menu."""
    does: str
    """In a few words."""
    unit: str = ""
    low: float = 1.0
    high: float = 1.0
    default: float = 1.0
    """Strength where none is given; an edit whose range is one number has none to choose."""
    needs: Literal["source", "reference"] | None = "source"
    """A state of the source run, or a mean over other prompts."""
    turns: bool = True
    """Whether the direction changes, so that a random direction as far away is its control."""
    is_control: bool = False
    """It stands beside other edits and is no intervention of its own in a sweep."""


def each_once(strengths: Sequence[float], *, caller: str) -> list[float]:
    """Strengths, ascending.

    Raises:
        ValueError: there is none, or one stands twice.
    """
    doses = sorted(map(float, strengths))
    if not doses or len(set(doses)) < len(doses):
        raise ValueError(
            f"{caller}: strengths must be numbers, one at least and each once, got "
            f"{list(strengths)}; " + ("leave out the second." if doses else "give some.")
        )
    return doses


def unit_of(edit: str) -> str:
    """What a strength of an edit measures; of `add`, which has none of EDITS, too."""
    return EDITS[edit].unit if edit in EDITS else "times the vector"


def towards(share: float) -> Edit:
    """Move a share of the way to the source, along the straight line: 0 the base, 1 a swap."""
    if share == 1:
        return polar.full_swap

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        return base + share * (polar.full_swap(base, source) - base)

    return edit


def turned_towards(share: float) -> Edit:
    """Turn by a share of the angle to the source, the norm kept: 0 the base, 1 a swap."""
    return polar.direction_swap if share == 1 else polar.rotate_part(share)


def norm_towards(share: float) -> Edit:
    """Move the norm a share of the way to the source's, the direction kept; never below 0."""
    if share == 1:
        return polar.norm_swap

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        own, other = polar.norm(base), polar.norm(polar.full_swap(base, source))
        length = (own + share * (other - own)).clamp_min(0.0)
        return polar.recombine(length, polar.direction(base)).to(base.dtype)

    return edit


def reflect(share: float = 1.0) -> Edit:
    """Mirror the component along the source's direction: x - 2 share (x . u) u.

    1 is the mirror image, a Householder reflection, which keeps the norm and undoes itself; 1/2
    takes the component out. Where the source is zero, nothing changes.
    """

    def edit(base: Tensor, source: Tensor | None) -> Tensor:
        along = polar.project_on(base, polar.full_swap(base, source))
        return (widen(base) - 2 * share * along).to(base.dtype)

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


EDITS: dict[str, NamedEdit] = {
    "full": NamedEdit(
        make=towards,
        action="Swap the whole state",
        does="swap the whole state for the source's",
        unit="share of the way to the source",
        low=0.0, high=1.5,
    ),
    "direction": NamedEdit(
        make=turned_towards,
        action="Direction only",
        does="swap the direction alone, the norm kept",
        unit="share of the angle to the source",
        low=0.0, high=1.5,
    ),
    "norm": NamedEdit(
        make=norm_towards,
        action="Norm only",
        does="swap the norm alone, the direction kept",
        unit="share of the way to the source's norm",
        low=0.0, high=1.5, turns=False,
    ),
    "self": NamedEdit(
        make=lambda _: polar.self_swap,
        action="Put back what was found",
        does="put back what was found, which must change nothing",
        needs=None, turns=False, is_control=True,
    ),
    "reflect": NamedEdit(
        make=reflect,
        action="Mirror along the source",
        does="mirror the part along the source's direction, the norm kept",
        unit="share of the way to the mirror image",
        low=0.0, high=1.0,
    ),
    "rotate": NamedEdit(
        make=lambda degrees: polar.rotate(radians(degrees)),
        action="Rotate by an angle",
        does="turn by an angle towards the source, the norm kept",
        unit="degrees",
        low=0.0, high=180.0, default=45.0,
    ),
    "scale": NamedEdit(
        make=polar.scale,
        action="Scale the norm",
        does="multiply the norm, the direction kept",
        unit="times the norm found",
        low=0.0, high=4.0, default=2.0, needs=None, turns=False,
    ),
    "mean": NamedEdit(
        make=towards,
        action="Mean of other prompts",
        does="swap the state for the mean over other prompts",
        unit="share of the way to the mean",
        low=0.0, high=1.5, needs="reference",
    ),
    "random": NamedEdit(
        make=lambda share: at_random(polar.rotate_part(share)),
        action="Random direction",
        does="turn as far as the source is, but in a random direction",
        unit="share of the angle to the source",
        low=0.0, high=1.5, turns=False, is_control=True,
    ),
}  # fmt: skip
"""Edits by name."""

SWAPS = (polar.full_swap, polar.direction_swap, polar.norm_swap, polar.self_swap)
"""Edits that change nothing where source and base agree."""
SWEPT = tuple(name for name, one in EDITS.items() if one.needs != "reference" and name != "random")
"""Those that need no more than base and source, and so go by their name in every sweep."""
STRONG_EDITS = {name: one for name, one in EDITS.items() if one.low < one.high}
"""Those with a strength to choose: what `intervene` makes, and the explorer offers."""


@cache
def edit_of(name: str) -> Edit:
    """An edit at its default strength, the same function each time.

    Raises:
        KeyError: there is none of that name.
    """
    return EDITS[name].make(EDITS[name].default)


def named_edit(edit: str | Edit, *, caller: str) -> tuple[str, Edit]:
    """The edit of a sweep, and its name.

    Raises:
        ValueError: there is none of that name.
    """
    if isinstance(edit, str):
        if edit not in SWEPT:
            raise ValueError(
                f"{caller}: edit must be one of {', '.join(SWEPT)} or a function of the state "
                f"found and the source's, got {edit!r}."
            )
        return edit, edit_of(edit)
    return getattr(edit, "__name__", "edit"), edit


def strong_edit(name: str, strength: float | None, *, caller: str) -> tuple[float, Edit]:
    """An edit of that strength, and the strength: its own default where none is given.

    Raises:
        ValueError: there is no such edit, or its strength is out of range.
    """
    if name not in STRONG_EDITS:
        raise ValueError(f"{caller}: edit must be one of {', '.join(STRONG_EDITS)}, got {name!r}.")
    kind = EDITS[name]
    value = kind.default if strength is None else float(strength)
    if not kind.low <= value <= kind.high:
        raise ValueError(
            f"{caller}: the strength of {name!r} is in {kind.unit}, from {kind.low:g} to "
            f"{kind.high:g}, got {strength!r}."
        )
    return value, kind.make(value)
