"""Planted models in which the answer takes a way of its own, for the claims to be held against.

Their prompts have a token between input and end: `FRAMED`, "X, a filler, is".
"""

from pathlib import Path
from typing import Literal

import torch

from lensdepth.teaching.planted.blank import LENGTH, Architecture, Blank
from lensdepth.teaching.planted.language import INPUTS, OUTPUTS
from lensdepth.teaching.planted.models import disturb

Mechanism = Literal["relay", "two positions", "inhibition", "amplification", "redundant"]
FRAMED = tuple(f"{{}} out{i} is" for i in range(4))
"""Wordings with a filler; to the model all fillers are one word."""
SIZE = 2 * LENGTH
"""Of what a block moves."""


def planted_way(
    folder: Path,
    mechanism: Mechanism,
    *,
    n_layers: int = 8,
    first: int = 2,
    second: int = 5,
    noise: float = 0.0,
    seed: int = 0,
    architecture: Architecture = "llama",
) -> Path:
    """Two blocks that bring about input i's answer, output i, together.

    - relay: the first moves the input to the filler, the second from there to the end; between
      them the input rests at a third token.
    - two positions: the first copies the input to the filler, the second moves half of each.
    - inhibition: the first moves the input to the end, the second takes half of it away there.
    - amplification: the second adds as much again instead.
    - redundant: each of the two moves the whole input.

    Args:
        folder: where it is saved.
        mechanism: see above.
        n_layers: blocks.
        first: the earlier block.
        second: the later one.
        noise: as for `switch`, like `seed`.
        architecture: of the folder.
    """
    blank = Blank(architecture, n_layers)
    unit = blank.unit
    moved = sum(torch.outer(unit[word], unit[word]) for word in INPUTS)
    assert isinstance(moved, torch.Tensor)
    inputs, filler, end, nothing = INPUTS, ["spare"], ["is"], ["<bos>"]
    if mechanism in ("relay", "two positions"):
        blank.attend(first, SIZE * moved, [(filler, inputs), (end, nothing)])
        if mechanism == "relay":
            blank.attend(second, SIZE * moved, [(end, filler)])
        else:  # it sees everything, the input and its copy alike
            blank.attend(second, SIZE / 2 * moved)
    else:
        blank.attend(first, SIZE * moved, [(end, inputs)])
        if mechanism == "redundant":
            blank.attend(second, SIZE * moved, [(end, inputs)])
        else:
            share = -0.5 if mechanism == "inhibition" else 1.0
            # The end looks at itself, where of its normed state most is what was moved.
            blank.attend(second, share * SIZE * moved, [(end, end)])
    for given, answer in zip(INPUTS, OUTPUTS, strict=True):
        blank.read(answer, unit[given])
    disturb(blank, n_layers, noise, seed)
    return blank.save(folder)
