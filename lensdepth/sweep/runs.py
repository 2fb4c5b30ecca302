"""Runs of a sweep as data: what goes in where, and which numbers of the result come of it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.hooks import SiteEdit
from lensdepth.polar import Edit

Cell = tuple[int, ...]
"""An entry of the result, an index for each of its axes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One span edited in one run of every pair, at one hook or at several."""

    cells: Sequence[Cell]
    """The entries that it gives; several where they are one run."""
    hooks: Sequence[str]
    tokens: Int[Tensor, "pair token"]
    """The span, -1 behind its end."""
    states: Sequence[Float[Tensor, "pair token _"]]
    """What goes in, for each hook."""
    edit: Edit | Sequence[Edit]
    """The same at each hook, or one for each."""
    there: Bool[Tensor, " pair"]
    """The pairs that have a number here; the others have NaN."""
    moves: Bool[Tensor, " pair"] | None = None
    """Pairs in which something changes; of the rest that are there, the base run's numbers hold.
    None: all of them."""
    head: int | None = None
    """At `z`, the one head that `states` are of."""

    @property
    def wanted(self) -> Bool[Tensor, " pair"]:
        """The pairs to run."""
        return self.there if self.moves is None else self.there & self.moves


class RunSets:
    """Runs as sets of edits for the engine; the first set is the base run itself.

    Spans of several widths need several sets a run.

    Args:
        runs: in any order.
        n_pairs: prompts of the base run.
    """

    def __init__(self, runs: Iterable[Run], n_pairs: int) -> None:
        self.runs = list(runs)
        self.sets: list[list[SiteEdit]] = [[]]
        self.of_run: list[int] = [-1]
        """Which run each set belongs to; -1 for the base run."""
        masks = [torch.ones(n_pairs, dtype=torch.bool)]
        for number, run in enumerate(self.runs):
            widths = (run.tokens >= 0).sum(1)
            for width in widths[run.wanted].unique().tolist():
                if width and run.hooks:
                    self.of_run.append(number)
                    masks.append(run.wanted & (widths == width))
                    self.sets.append(_edits(run, width))
        self.only: Bool[Tensor, "set pair"] = torch.stack(masks)
        """Which prompts each set runs on."""

    def filled(
        self, read: Float[Tensor, "metric set pair"], shape: Sequence[int]
    ) -> Float[Tensor, "metric *shape pair"]:
        """Numbers by entry: what was run as it came out, what changes nothing as the base has it.

        NaN where a run has no pair, or an entry no run.
        """
        n_metrics, _, n_pairs = read.shape
        values = torch.full((n_metrics, math.prod(shape), n_pairs), torch.nan, dtype=read.dtype)
        if not self.runs:
            return values.view(n_metrics, *shape, n_pairs)
        there = torch.stack([run.there for run in self.runs])
        by_run = torch.where(there, read[:, :1], torch.nan)
        ran, pair = self.only[1:].nonzero().T
        by_run[:, torch.tensor(self.of_run[1:], dtype=torch.long)[ran], pair] = read[
            :, 1 + ran, pair
        ]
        numbers = torch.tensor([n for n, run in enumerate(self.runs) for _ in run.cells])
        cells = np.array([cell for run in self.runs for cell in run.cells], dtype=int)
        at = np.ravel_multi_index(tuple(cells.T), tuple(shape)) if len(shape) else [0]
        values[:, torch.as_tensor(at)] = by_run[:, numbers]
        return values.view(n_metrics, *shape, n_pairs)


def _edits(run: Run, width: int) -> list[SiteEdit]:
    edits = run.edit if isinstance(run.edit, Sequence) else [run.edit] * len(run.hooks)
    return [
        SiteEdit(
            hook=hook,
            positions=run.tokens[:, j].clamp(min=0),
            edit=edit,
            source=given[:, j],
            head=run.head,
        )
        for hook, given, edit in zip(run.hooks, run.states, edits, strict=True)
        for j in range(width)
    ]
