"""What of a state a steering vector changes, and the controls."""

from collections.abc import Callable

from lensdepth import polar

PARTS: dict[str, Callable[[polar.Edit], polar.Edit]] = {
    "full": lambda add: add,
    "direction": polar.keep_norm,
    "norm": polar.keep_direction,
}
"""What of the state is changed as adding the vector would change it."""
CONTROLS = ("random", "shuffled")

STRONGEST = 1e6
"""Largest factor of a vector: beyond it states overflow in float32, and nothing is learned from it
before."""
