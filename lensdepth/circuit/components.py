"""Heads, MLPs and whole attention layers: their names, and sets of them.

>>> parse_component("L5H3", n_layers=12, n_heads=12)
Component(kind='head', layer=5, head=3, at=None)
>>> str(parse_component("mlp7@input", n_layers=12, n_heads=12))
'MLP7@input'
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.outside import shown

Kind = Literal["head", "attn", "mlp"]
_FORMS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("head", re.compile(r"L(\d+)H(\d+)", re.IGNORECASE)),
    ("attn", re.compile(r"ATTN(\d+)", re.IGNORECASE)),
    ("mlp", re.compile(r"MLP(\d+)", re.IGNORECASE)),
)
INDEX = re.compile(r"-?\d{1,9}")


@dataclass(frozen=True)
class Component:
    """One part of a model that writes to the residual stream."""

    kind: Kind
    """`attn` is all heads of a block together."""
    layer: int
    head: int | None = None
    """Of a `head`; None of the others."""
    at: str | int | None = None
    """The tokens at which it is patched: `input`, `prediction`, `all`, an index; None where the
    others are."""

    def __post_init__(self) -> None:
        if (self.kind == "head") != (self.head is not None):
            raise ValueError(
                f"Component: a head has a number, and nothing else has one; got kind "
                f"{self.kind!r} with head {self.head}."
            )

    def __str__(self) -> str:
        """`L5H3`, `ATTN4` or `MLP7@input`, which `parse_component` reads."""
        name = (
            f"L{self.layer}H{self.head}"
            if self.kind == "head"
            else f"{self.kind.upper()}{self.layer}"
        )
        return name if self.at is None else f"{name}@{self.at}"


@checked
def parse_component(text: str, n_layers: int, n_heads: int) -> Component:
    """The component of a name: `L5H3` (a head), `MLP7`, or `ATTN4` (all heads of a block).

    Behind an `@` may stand where it is patched: `MLP7@input`, `L5H3@-1`.

    Args:
        text: the name; capitals or not.
        n_layers: blocks of the model, numbered from 0.
        n_heads: heads of each block, numbered from 0.
    Raises:
        ValueError: it is no such name, or the model has no such block or head.
    """
    name, placed, where = (part.strip() for part in text.partition("@"))
    for kind, form in _FORMS:
        if (found := form.fullmatch(name)) and bool(placed) == bool(where):
            layer, *head = (int(number) for number in found.groups())
            at = (int(where) if INDEX.fullmatch(where) else where) if placed else None
            component = Component(kind, layer, *head, at=at)
            check_component(component, n_layers, n_heads)
            return component
    raise ValueError(
        f"parse_component: {shown(text.strip())} names no component; write L5H3 for head 3 of "
        f"block 5, MLP7 for the MLP of block 7, ATTN4 for all heads of block 4, and MLP7@input for "
        f"one that is patched at the input position."
    )


def check_component(component: Component, n_layers: int, n_heads: int) -> None:
    """Say whether a model has such a component.

    Raises:
        ValueError: it has no such block or head.
    """
    if not 0 <= component.layer < n_layers:
        raise ValueError(
            f"parse_component: '{component}' names block {component.layer}; the blocks are "
            f"0...{n_layers - 1}."
        )
    if component.head is not None and not 0 <= component.head < n_heads:
        raise ValueError(
            f"parse_component: '{component}' names head {component.head}; the heads of each block "
            f"are 0...{n_heads - 1}."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ComponentSet:
    """Which heads and which MLPs of a model."""

    heads: Bool[Tensor, "layer head"]
    mlps: Bool[Tensor, " layer"]

    @classmethod
    def of(cls, components: Iterable[Component], n_layers: int, n_heads: int) -> "ComponentSet":
        """These components; what is named twice is in it once."""
        heads = torch.zeros(n_layers, n_heads, dtype=torch.bool)
        mlps = torch.zeros(n_layers, dtype=torch.bool)
        for component in components:
            if component.kind == "mlp":
                mlps[component.layer] = True
            elif component.kind == "attn":
                heads[component.layer] = True
            else:
                heads[component.layer, component.head] = True
        return cls(heads=heads, mlps=mlps)

    @property
    def complement(self) -> "ComponentSet":
        """All other heads and MLPs."""
        return ComponentSet(heads=~self.heads, mlps=~self.mlps)

    @property
    def everything(self) -> "ComponentSet":
        """All heads and MLPs of the model."""
        return ComponentSet(heads=torch.ones_like(self.heads), mlps=torch.ones_like(self.mlps))

    def drawn_like(self, seed: int) -> "ComponentSet":
        """As many heads and as many MLPs, drawn at random from all of the model."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.zeros_like(part) for part in (self.heads, self.mlps)]
        for part, mine in zip(drawn, (self.heads, self.mlps), strict=True):
            order = torch.randperm(part.numel(), generator=generator)
            part.view(-1)[order[: int(mine.sum())]] = True
        return ComponentSet(heads=drawn[0], mlps=drawn[1])

    def names(self) -> tuple[str, ...]:
        """`L0H1`, `MLP0`, ... from the first block to the last."""
        found = []
        for layer in range(len(self.mlps)):
            found += [f"L{layer}H{head}" for head in self.heads[layer].nonzero()[:, 0].tolist()]
            found += [f"MLP{layer}"] if self.mlps[layer] else []
        return tuple(found)

    def __len__(self) -> int:
        return int(self.heads.sum() + self.mlps.sum())


def named_components(
    components: str | Sequence[str | Component], n_layers: int, n_heads: int, *, caller: str
) -> list[Component]:
    """Components given as objects, as names, or as one text with commas between them.

    Raises:
        ValueError: there is none, or one of them is not in the model.
    """
    given = components.split(",") if isinstance(components, str) else list(components)
    given = [part for part in given if not isinstance(part, str) or part.strip()]
    if not given:
        raise ValueError(
            f"{caller}: no component given; name some, such as L{n_layers - 1}H0 or MLP0."
        )
    found = []
    for part in given:
        if isinstance(part, Component):
            check_component(part, n_layers, n_heads)
        found.append(
            part if isinstance(part, Component) else parse_component(part, n_layers, n_heads)
        )
    return found
