"""The states of all pairs, and the subspaces that are fitted to those apart from each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.circuit.frozen import final_norm
from lensdepth.model import DepthModel
from lensdepth.subspaces.bases import leading, random_basis
from lensdepth.subspaces.parts import SHUFFLED
from lensdepth.sweep.apart import Fits
from lensdepth.sweep.controls import shuffled_sources
from lensdepth.sweep.roles import Roles
from lensdepth.sweep.states import states_at
from lensdepth.tokens import TokenBatch

LARGEST_DRAW = 2**31
"""Seeds of draws are below it."""
LEARNED = ("das", "das" + SHUFFLED)
"""Bases that are trained."""


class Key(NamedTuple):
    """Which trained basis: its name, fit, depth, position and dimensions."""

    name: str
    fit: int
    depth: int
    place: int
    k: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PairStates:
    """What stands at each place in the base run and in the source run of every pair.

    They are held all at once, since bases are fitted to all pairs but a few: 4 bytes a number,
    twice pairs x depths x positions x d_model of them.
    """

    base: Float[Tensor, "depth pair position d_model"]
    source: Float[Tensor, "depth pair position d_model"]
    partner: Int[Tensor, " pair"]
    """For each pair another one, with another answer wherever possible."""

    def differences(
        self, depth: int, place: int, pairs: Bool[Tensor, " pair"], *, shuffled: bool = False
    ) -> Float[Tensor, "sample d_model"]:
        """Source less base of some pairs at one place; or with the source of another of them."""
        source, base = self.source[depth, :, place], self.base[depth, :, place]
        if shuffled:
            source, pairs = source[self.partner], pairs & pairs[self.partner]
        return (source - base)[pairs]


def read_states(
    model: DepthModel, roles: Roles, hooks: Sequence[str], positions: Sequence[str], seed: int
) -> PairStates:
    """The states of both runs at some positions, by depth."""

    def read(batch: TokenBatch, at: Mapping[str, Tensor]) -> Tensor:
        return states_at(model, batch, hooks, [at[name][:, None] for name in positions]).states

    n_pairs = len(roles.base)
    alone = torch.arange(n_pairs)
    return PairStates(
        base=read(roles.base, roles.base_positions),
        source=read(roles.source, roles.source_positions),
        partner=shuffled_sources(roles.intended, seed) if n_pairs > 1 else alone,
    )


def readout_differences(
    model: DepthModel, roles: Roles, last: Float[Tensor, "pair d_model"]
) -> Float[Tensor, "pair d_model"]:
    """The direction along which a state's logit difference grows, one a pair.

    w(target) - w(foil), rows of the unembedding, as they act on a state in front of the final norm
    with the scale that it has in the base run.

    Args:
        model: whose final norm and unembedding it is.
        roles: of the pairs.
        last: the base run's states at depth L.
    Raises:
        ValueError: the model reads its logits by something that is no plain matrix.
    """
    return _pulled_back(model, last, roles.target, roles.foil)


def arbitrary_differences(
    model: DepthModel, last: Float[Tensor, "pair d_model"], seed: int
) -> Float[Tensor, "pair d_model"]:
    """The same of two tokens drawn at random for each pair."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, len(last))
    first, second = torch.randint(model.d_vocab, shape, generator=generator)
    return _pulled_back(model, last, first, second)


def _pulled_back(
    model: DepthModel,
    last: Float[Tensor, "pair d_model"],
    tokens: Int[Tensor, " pair"],
    others: Int[Tensor, " pair"],
) -> Float[Tensor, "pair d_model"]:
    rows = model.unembedding()[0].detach().cpu().double()
    frozen = final_norm(model, last.double())
    return frozen.pull_back(rows[tokens] - rows[others]).float()


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """Bases of the subspaces that judge each pair, by fit."""

    states: PairStates
    fits: Fits
    readout: dict[str, Float[Tensor, "pair d_model"]]
    """Of the unembedding and of its control: a direction a pair, at every depth."""
    learned: Mapping[Key, Float[Tensor, "d_model k"]]
    """Those that are trained for each dimension by itself; of all others the first columns make
    the smaller subspaces."""
    seed: int

    @cached_property
    def _known(self) -> dict[tuple[str, int, int, int], Float[Tensor, "d_model k"]]:
        return {}

    def basis(
        self, name: str, fit: int, depth: int, place: int, k: int
    ) -> Float[Tensor, "d_model least"]:
        """Orthonormal columns, k of them or as many as there are.

        Args:
            name: of a basis or a control that has one.
            fit: which of the fits.
            depth: by its index.
            place: position, by its index.
            k: dimensions.
        """
        if name in LEARNED:
            return self.learned[Key(name, fit, depth, place, k)]
        if name in self.readout:
            depth = place = 0
        key = (name, fit, depth, place)
        if key not in self._known:
            train = self.fits.train[fit]
            if name in self.readout:
                vectors = self.readout[name][train]
            else:
                arbitrary = name.endswith(SHUFFLED)
                vectors = self.states.differences(depth, place, train, shuffled=arbitrary)
            self._known[key] = leading(vectors)
        return self._known[key][:, :k]

    def rank(self, name: str, depth: int, place: int) -> int:
        """The dimensions that the fit with fewest has; of trained bases, all that there are."""
        d_model = self.states.base.shape[-1]
        if name in LEARNED:
            return d_model
        fits = range(len(self.fits))
        return min(self.basis(name, fit, depth, place, d_model).shape[1] for fit in fits)

    def random(self, fit: int, depth: int, place: int, k: int) -> Float[Tensor, "d_model k"]:
        """A random subspace, drawn anew for each fit, depth and position."""
        n_depths, _, n_places, d_model = self.states.base.shape
        number = (fit * n_depths + depth) * n_places + place
        return random_basis(d_model, k, seed=(self.seed * 1_000_003 + number) % LARGEST_DRAW)
