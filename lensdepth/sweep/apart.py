"""Cross-fitting: what is fitted to pairs, or chosen by them, is judged on pairs apart from these.

Pairs that share a prompt, a word or a wording are not independent. Their values are dealt into
folds, and what judges a pair was made without every pair that has a value in one of its folds.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lensdepth.outside import shown
from lensdepth.tasks.task import Task
from lensdepth.units import CORRUPTED, Grouping, Units

FEWEST_FITTED = 2
"""Pairs that something is fitted to, at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fits:
    """Which pairs each fit is made from, and which fit judges each pair."""

    of_pair: Int[Tensor, " pair"]
    train: Bool[Tensor, "fit pair"]

    def __len__(self) -> int:
        return len(self.train)

    @property
    def fewest(self) -> int:
        """Pairs behind the fit that has fewest."""
        return int(self.train.sum(1).min())


def kept_apart(task: Task, apart: str, *, caller: str) -> Units:
    """The groupings that a fit and what it judges have no value in common of.

    Args:
        task: pairs.
        apart: `"prompts"`; `"units"`, all that intervals go over; or the name of one label, or
            `"input"`, whose values in the other prompt count as well.
        caller: who asks, for messages.
    Raises:
        ValueError: there is none of that name.
    """
    prompts = Grouping(name="prompt", values=task.clean, other=task.corrupted or ())
    if apart == "prompts":
        return (prompts,)
    if apart == "units":
        return task.units or (prompts,)
    labels = {str(name): tuple(map(str, task.labels[name])) for name in task.labels}
    named = {
        name: Grouping(name=name, values=values, other=labels.get(CORRUPTED + name, ()))
        for name, values in labels.items()
        if not name.startswith(CORRUPTED)
    }
    if task.inputs is not None:
        other = task.corrupted_inputs or ()
        named.setdefault("input", Grouping(name="input", values=task.inputs, other=other))
    if apart not in named:
        raise ValueError(
            f"{caller}: apart must be one of prompts, units, {', '.join(named)}, got "
            f"{shown(apart)}."
        )
    return (named[apart],)


def deal_fits(units: Units, *, n_folds: int, seed: int, caller: str) -> Fits:
    """Fits, each without the folds that the pairs which it judges are in.

    Values that stand in one pair go into one fold where that leaves folds enough, so that a pair
    has one fold and not two; the more pairs are left to fit to.

    Args:
        units: what a fit and its pairs share nothing of.
        n_folds: parts of the values of each grouping.
        seed: of the deal.
        caller: who asks, for messages.
    Raises:
        ValueError: fewer than two folds, or a pair has fewer than FEWEST_FITTED pairs apart from
            it.
    """
    if n_folds < 2:
        raise ValueError(
            f"{caller}: n_folds must be at least 2, since what judges a pair is made of the "
            f"others; got {n_folds}."
        )
    generator = torch.Generator().manual_seed(seed)
    member = torch.cat([_folds_of(one, n_folds, generator) for one in units], dim=1)
    keys, of_pair = torch.unique(member, dim=0, return_inverse=True)
    train = ~(keys[:, None] & member[None]).any(-1)
    fits = Fits(of_pair=of_pair, train=train)
    if fits.fewest < FEWEST_FITTED:
        names = " and ".join(one.name for one in units)
        raise ValueError(
            f"{caller}: with {n_folds} folds of the {names} some pair has {fits.fewest} others "
            f"apart from it, and {FEWEST_FITTED} are needed; ask for more folds or pairs, or keep "
            f"apart less."
        )
    return fits


def _folds_of(one: Grouping, n_folds: int, generator: torch.Generator) -> Bool[Tensor, "pair fold"]:
    """The folds that a pair's values are in, in all roles that there are."""
    together = _together(one)
    groups = together if len(together) >= n_folds else [[value] for g in together for value in g]
    order = torch.randperm(len(groups), generator=generator).tolist()
    order.sort(key=lambda i: -len(groups[i]))
    sizes, fold = [0] * n_folds, dict[str, int]()
    for i in order:
        smallest = sizes.index(min(sizes))
        sizes[smallest] += len(groups[i])
        fold |= dict.fromkeys(groups[i], smallest)
    inside = torch.zeros(len(one), n_folds, dtype=torch.bool)
    for role in one.roles:
        inside[torch.arange(len(one)), torch.tensor([fold[value] for value in role])] = True
    return inside


def _together(one: Grouping) -> list[list[str]]:
    """Values that stand in one pair, or are linked by pairs, each list sorted."""
    link: dict[str, str] = {}

    def root(value: str) -> str:
        while link.setdefault(value, value) != value:
            value = link[value]
        return value

    for pair in zip(*one.roles, strict=True):
        for value in pair:
            link[root(value)] = root(pair[0])
    found = defaultdict[str, list[str]](list)
    for value in sorted(link):
        found[root(value)].append(value)
    return list(found.values())
