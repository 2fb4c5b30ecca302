"""Depth has one name: the same d on axis, hover and menu, in tables, JSON and sentences.

Depth 0 is the embedding, depth d the state after block d - 1, depth L the one that the readout
takes. Blocks have numbers of their own only where a block itself is meant.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lensdepth.telling.names import has_blocks
from lensdepth.telling.numbers import number, percent

AXIS = "depth · fraction of the depth"
"""Title of an axis whose ticks are `tick`."""
UNMOVED = "resampling the units does not move it"
"""In place of an interval without width: a place known no better than the depths measured."""
MEANING = (
    "Depth 0 is the embedding, depth d the state after block d − 1; blocks are numbered from 0."
)


def depth_columns(
    places: Any, n_layers: int, *, stream: str = "resid_pre", name: str = "depth"
) -> dict[str, Any]:
    """Columns that say where along the depth the rows of a frame are.

    Args:
        places: of each row: residual depths, or blocks where the stream is of what blocks put out.
        n_layers: of the model.
        stream: which of both.
        name: of the column of depths.
    Returns:
        `depth` and `relative_depth`, and `layer` for blocks; with another name `name`,
        `relative_<name>` and `<name>_layer`.
    """
    places = np.asarray(places)
    depth = places + has_blocks(stream)
    found = {name: depth, f"relative_{name}": depth / n_layers}
    if has_blocks(stream):
        found["layer" if name == "depth" else f"{name}_layer"] = places
    return found


def before_last(depths: Sequence[float | int], n_layers: int) -> list[int]:
    """Indices of all depths but L, which never decides a sentence; all of them if that is all.

    At depth L the state is the one that is read: what holds there, or does not, is arithmetic.
    """
    return [i for i, depth in enumerate(depths) if depth != n_layers] or list(range(len(depths)))


def explained(depth: float | int, n_layers: int) -> str:
    """What stands at a depth: `the embedding`, `after block 6`, `after block 9, the last`.

    Between two depths it is the nearer one that is meant.
    """
    nearest = round(depth)
    if nearest <= 0:
        return "the embedding"
    return f"after {block(nearest - 1)}" + (", the last" if nearest >= n_layers else "")


def of_depths(depth: float | int, n_layers: int) -> str:
    """`depth 7 of 10`; a place between two depths as every number is written."""
    return f"depth {int(depth) if depth == int(depth) else number(depth)} of {n_layers}"


def described(depth: float | int, n_layers: int) -> str:
    """For a hover: `depth 7 of 10 (70%), after block 6`."""
    where = f"{of_depths(depth, n_layers)} ({percent(depth / n_layers)})"
    return f"{where}, {explained(int(depth), n_layers)}" if depth == int(depth) else where


def at_depth(depth: int, n_layers: int) -> str:
    """For a sentence: `depth 7 (after block 6)`."""
    return f"depth {depth} ({explained(depth, n_layers)})"


def from_to(first: float | int, last: float | int) -> str:
    """Measured depths in a row: `depth 3`, `depth 3 to 5`."""
    return f"depth {first:g}" if first == last else f"depth {first:g} to {last:g}"


def in_menu(depth: int, n_layers: int) -> str:
    """For a menu: `7: after block 6`."""
    return f"{depth}: {explained(depth, n_layers)}"


def fraction(depth: float | int, n_layers: int) -> str:
    """Relative depth, without trailing zeros: `0.5`."""
    return f"{depth / n_layers:.2f}".rstrip("0").rstrip(".") or "0"


def block(layer: int) -> str:
    """A block where it is a block that is meant."""
    return f"block {layer}"


def block_at(layer: int) -> str:
    """For a hover over what a block puts out: `block 6 (into depth 7)`."""
    return f"{block(layer)} (into depth {layer + 1})"


def edited_at(first: int, last: int, *, stream: str = "resid_pre") -> str:
    """Where an edit is made, with the depths that a map has: `depth 3 to 5`, and of what blocks
    put out `block 6 (into depth 7)`, `block 3 to 5 (into depth 4 to 6)`."""
    if not has_blocks(stream):
        return from_to(first, last)
    blocks = block(first) if first == last else f"{block(first)} to {last}"
    return f"{blocks} (into {from_to(first + 1, last + 1)})"


def between(at: float | int, low: float | int, high: float | int, n_layers: int) -> str:
    """Where along the depth, with its interval, short."""
    return f"depth {number(at)} of {n_layers}, {spread(at, low, high)}"


def spread(at: float | int, low: float | int, high: float | int) -> str:
    """`95% interval 4.38 to 4.46`; one without width is said to be none."""
    text = ends(at, low, high)
    return text if text == UNMOVED else f"95% interval {text}"


def ends(at: float | int, low: float | int, high: float | int) -> str:
    """The same in a column of intervals: `4.38 to 4.46`."""
    numbers = number(low), number(high)
    return UNMOVED if numbers == (number(at), number(at)) else " to ".join(numbers)


def measured_step(around: tuple[float, float]) -> str:
    """A place no finer than it is known: `between depth 7 and 8`."""
    return f"between depth {around[0]:g} and {around[1]:g}"


def place(at: float, low: float, high: float, around: tuple[float, float], n_layers: int) -> str:
    """For a sentence: the two measured depths, the fraction, and what is interpolated.

    `between depth 4 and 5 of 10, 44% of the way, nearest depth 4 (after block 3) (interpolated
    4.42, 95% interval 4.38 to 4.46)`. An interval that reaches beyond the two depths says so.
    """
    wide = low < around[0] or high > around[1]
    beyond = ", which reaches beyond these two depths" if wide else ""
    return (
        f"{measured_step(around)} of {n_layers}, {percent(at / n_layers)} of the way, nearest "
        f"{at_depth(round(at), n_layers)} (interpolated {number(at)}, {spread(at, low, high)}"
        f"{beyond})"
    )
