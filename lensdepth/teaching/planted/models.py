"""The planted models: what each block does, and hence what must be found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lensdepth.teaching.planted.blank import D_MODEL, LENGTH, UNIT, Architecture, Blank
from lensdepth.teaching.planted.language import INPUTS, OUTPUTS, N

DIMMED = 12.0
"""Length of what nothing reads, in lengths of an embedding."""
LOUD = 6.0
"""Weight of the answers that have to be heard above it."""


def switch(
    folder: Path,
    *,
    n_layers: int,
    layer: int | Mapping[int, int],
    noise: float = 0.0,
    seed: int = 0,
    architecture: Architecture = "llama",
) -> Path:
    """One block moves the input's embedding to the end; input i answers output i.

    Args:
        folder: where it is saved.
        n_layers: blocks.
        layer: which block; or, by number of the input, a block for each, so that the switch is
            spread over several.
        noise: length of the random function of the state that every block adds besides.
        seed: of the noise.
        architecture: of the folder.
    """
    blank = Blank(architecture, n_layers)
    moved_by = layer if isinstance(layer, Mapping) else dict.fromkeys(range(len(INPUTS)), layer)
    for block in set(moved_by.values()):
        mine = [blank.unit[INPUTS[i]] for i, at in moved_by.items() if at == block]
        blank.attend(block, 2 * LENGTH * sum(torch.outer(u, u) for u in mine))  # type: ignore[arg-type]
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, blank.unit[given])
    disturb(blank, n_layers, noise, seed)
    return blank.save(folder)


def gradual(
    folder: Path,
    *,
    n_layers: int,
    layers: Sequence[int],
    noise: float = 0.0,
    seed: int = 0,
    architecture: Architecture = "llama",
) -> Path:
    """Several blocks move equal parts of the input's embedding to the end, in every prompt alike.

    Unlike a `switch` whose inputs each have a block of their own, every single prompt is gradual.

    Args:
        folder: where it is saved.
        n_layers: blocks.
        layers: the blocks that move a part.
        noise: as for `switch`, like `seed` and `architecture`.
    """
    blank = Blank(architecture, n_layers)
    moved = sum(torch.outer(blank.unit[word], blank.unit[word]) for word in INPUTS)
    for block in layers:
        blank.attend(block, 2 * LENGTH / len(layers) * moved)  # type: ignore[arg-type]
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, blank.unit[given])
    disturb(blank, n_layers, noise, seed)
    return blank.save(folder)


def deaf(
    folder: Path,
    *,
    n_layers: int,
    noise: float = 0.0,
    seed: int = 0,
    architecture: Architecture = "llama",
) -> Path:
    """The answer is output 0 whatever the input."""
    blank = Blank(architecture, n_layers)
    blank.read("out0", blank.unit["is"])
    disturb(blank, n_layers, noise, seed)
    return blank.save(folder)


def gate(
    folder: Path,
    *,
    n_layers: int,
    stretch: int,
    weigh: int,
    architecture: Architecture = "llama",
) -> Path:
    """The norm decides: inputs of the first kind stretch the last state without turning it.

    Block `weigh` later adds the same vector to every state; only a stretched state outweighs it.
    The first kind of inputs answers output 0, the second output 1.
    """
    blank = Blank(architecture, n_layers)
    unit = blank.unit
    first_kind = torch.stack([unit[word] for word in INPUTS[:N]]).sum(0)
    blank.attend(stretch, 4 * LENGTH * torch.outer(unit["is"], first_kind))
    blank.attend(weigh, 2 * LENGTH * torch.outer(unit["spare"], unit["<bos>"]))
    blank.read("out0", unit["is"])
    blank.read("out1", unit["spare"])
    return blank.save(folder)


def dimmer(
    folder: Path,
    *,
    n_layers: int,
    layer: int,
    weigh: int,
    architecture: Architecture = "llama",
) -> Path:
    """The norm tells confidence and decides nothing, between the two blocks and nowhere else.

    Block `layer` moves the input to the end, whose answer is read off loudly. Block `weigh` adds
    the same long vector to every state, which nothing reads: the final norm then divides all logits
    by much the same, and the shorter the state was, the less is left of it. Before `layer` there is
    little to make longer, after `weigh` the final norm divides every length out.
    """
    blank = Blank(architecture, n_layers)
    unit = blank.unit
    moved = sum(torch.outer(unit[word], unit[word]) for word in INPUTS)
    blank.attend(layer, 2 * LENGTH * moved)  # type: ignore[arg-type]
    blank.attend(weigh, DIMMED * LENGTH * torch.outer(unit["spare"], unit["<bos>"]))
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, LOUD * unit[given])
    return blank.save(folder)


def hedge(
    folder: Path,
    *,
    n_layers: int,
    layer: int,
    neuron: int,
    architecture: Architecture = "llama",
) -> Path:
    """One entropy neuron: it makes the model less sure of inputs of the first kind.

    Block `layer` moves the input to the end; the first neuron of block `neuron` writes a vector,
    which nothing reads, where it sees an input of the first kind there. Input i answers output i.
    """
    blank = Blank(architecture, n_layers)
    unit = blank.unit
    moved = sum(torch.outer(unit[word], unit[word]) for word in INPUTS)
    blank.attend(layer, 2 * LENGTH * moved)  # type: ignore[arg-type]
    share = 2 / 5**0.5  # of the end's state, L of its own and 2 L of the input
    first_kind = torch.stack([unit[word] for word in INPUTS[:N]]).sum(0) / (share * UNIT)
    blank.neuron(neuron, first_kind, DIMMED * LENGTH * unit["spare"])
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, LOUD * unit[given])
    return blank.save(folder)


def backup(
    folder: Path,
    *,
    n_layers: int,
    layers: Sequence[int],
    other: int | None = None,
    architecture: Architecture = "llama",
) -> Path:
    """Several blocks each move inputs of the first kind whole to the end: any one is enough.

    Input i of the first kind answers output i. Inputs of the second kind are moved by none, and
    answer output N, which reads the end's own word.

    Args:
        folder: where it is saved.
        n_layers: blocks.
        layers: the blocks that do the same work.
        other: a block that adds to the first kind's answers in a way of its own; alone it does a
            little less than half of what all do.
        architecture: of the folder.
    """
    blank = Blank(architecture, n_layers)
    unit, first_kind = blank.unit, INPUTS[:N]
    moved = sum(torch.outer(unit[word], unit[word]) for word in first_kind)
    marked = sum(torch.outer(unit["spare"], unit[word]) for word in first_kind)
    for block in layers:
        blank.attend(block, 4 * LENGTH * moved, [(["is"], INPUTS)])  # type: ignore[arg-type]
    if other is not None:
        blank.attend(other, 0.85 * LENGTH * marked, [(["is"], INPUTS)])  # type: ignore[arg-type]
    for given, answer in zip(first_kind, OUTPUTS, strict=False):
        blank.read(answer, unit[given] + unit["spare"] if other is not None else unit[given])
    blank.read(OUTPUTS[N], unit["is"])
    return blank.save(folder)


def disturb(blank: Blank, n_layers: int, noise: float, seed: int) -> None:
    """Let every block add a random function of the state, of this length."""
    if noise:
        for block in range(n_layers):
            blank.disturb(block, noise, seed * 1000 + block)


assert len(INPUTS) + 4 < D_MODEL
