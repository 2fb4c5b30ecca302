"""The parts of a state that are replaced, by what, and the controls: their names."""

from typing import Literal

Reference = Literal["source", "mean", "shuffled", "random"]
"""What a state is replaced by: `source` the pair's own source state; `mean` the mean direction and
the mean norm of a reference set; `shuffled` another pair's source state; `random` a direction as
far away as the source's, with a norm drawn from the same prompts."""

EDITS = ("full", "direction", "norm")
CONTROLS = ("random_full", "random_direction", "random_norm")
"""Matched controls: `random_direction` is as far away in angle as what the edit puts in,
`random_norm` is the norm of a source prompt drawn from the others, and `random_full` is as far
away in angle as what the full edit puts in, and has its norm."""
