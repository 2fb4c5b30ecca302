"""Subspaces learned by gradient: distributed alignment search (DAS), and what it is held against.

An orthonormal basis of k columns is trained so that the interchange within it makes the model give
the source's answer. Trained so, a basis may find what is no variable of the model's: it fits
arbitrary answers and untrained models too. So the same is trained on arbitrary answers (each answer
stands for another one throughout), and both are judged on pairs that neither was trained on.

Source: Geiger et al. 2023, arXiv 2303.02536; the controls as in Arora et al. 2024, arXiv
2402.12560. Their rotation is learned whole; here only the columns that are used are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.hooks import SiteEdit
from lensdepth.model import DepthModel
from lensdepth.progress import one_by_one, unwatched
from lensdepth.replay.engine import replay
from lensdepth.subspaces.bases import random_basis
from lensdepth.subspaces.fitting import LARGEST_DRAW, LEARNED, Key, PairStates
from lensdepth.sweep.apart import Fits
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Roles

STEPS, AT_ONCE, RATE = 100, 32, 0.02
"""Steps of Adam, pairs in each, and its rate; the same for every basis and control."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """Trained bases, and their losses on pairs that they were not trained on."""

    bases: Mapping[Key, Float[Tensor, "d_model k"]]
    loss: Float[Tensor, "basis dim depth position"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trainer:
    """What all trainings of a sweep share."""

    model: DepthModel
    roles: Roles
    states: PairStates
    fits: Fits
    hooks: Sequence[str]
    positions: Sequence[str]
    dims: Sequence[int]
    options: Options

    def learned(self) -> Learned:
        """Every basis: by answers and by arbitrary ones, fit, depth, position and dimension."""
        shape = len(LEARNED), len(self.dims), len(self.hooks), len(self.positions)
        total = torch.zeros(shape, dtype=torch.float32)
        bases: dict[Key, Tensor] = {}
        for fit in one_by_one(range(len(self.fits)), "learning subspaces"):
            with unwatched():
                found = self._trained(self._keys(fit))
                judged = (self.fits.of_pair == fit).nonzero()[:, 0]
                losses = self._losses(list(found), list(found.values()), judged)
            bases |= found
            for key, loss in zip(found, losses.tolist(), strict=True):
                cell = LEARNED.index(key.name), self.dims.index(key.k), key.depth, key.place
                total[cell] += loss / len(self.roles.base)
        untrained = [i for i, k in enumerate(self.dims) if k not in self._widths]
        total[:, untrained] = torch.nan
        return Learned(bases=bases, loss=total)

    @property
    def _widths(self) -> list[int]:
        """Dimensions that there is something to learn of."""
        return [k for k in self.dims if 0 < k < self.states.base.shape[-1]]

    def _keys(self, fit: int) -> list[Key]:
        return [
            Key(name, fit, depth, place, k)
            for name in LEARNED
            for depth in range(len(self.hooks))
            for place in range(len(self.positions))
            for k in self._widths
        ]

    @cached_property
    def _answers(self) -> dict[str, Int[Tensor, " pair"]]:
        """What each kind is trained to bring about."""
        made_up = arbitrary(self.roles, self.options.seed)
        return dict(zip(LEARNED, (self.roles.intended, made_up), strict=True))

    def _trained(self, keys: Sequence[Key]) -> dict[Key, Float[Tensor, "d_model k"]]:
        """Bases of one fit, trained side by side on the same pairs, so that their base runs are
        made once; each is trained as if it were alone."""
        if not keys:
            return {}
        fit = keys[0].fit
        train = self.fits.train[fit].nonzero()[:, 0]
        generator = torch.Generator().manual_seed(self.options.seed + fit)
        with self.model.passes.differentiating(self.options.caller):
            weights = [self._start(key).requires_grad_() for key in keys]
            adam = torch.optim.Adam(weights, lr=RATE)
            for _ in range(STEPS):
                some = train[torch.randperm(len(train), generator=generator)[:AT_ONCE]]
                adam.zero_grad()
                self._losses(keys, weights, some, learn=True)
                for one in weights:
                    assert one.grad is not None
                    one.grad /= len(some)
                adam.step()
            return {
                key: torch.linalg.qr(one.detach())[0]
                for key, one in zip(keys, weights, strict=True)
            }

    def _start(self, key: Key) -> Float[Tensor, "d_model k"]:
        """A random subspace, the same for answers and for arbitrary ones."""
        place = (key.fit * len(self.hooks) + key.depth) * len(self.positions) + key.place
        d_model = self.states.base.shape[-1]
        number = self.options.seed * 1_000_003 + place * d_model + key.k
        return random_basis(d_model, key.k, seed=number % LARGEST_DRAW)

    def _losses(
        self,
        keys: Sequence[Key],
        weights: Sequence[Tensor],
        pairs: Int[Tensor, " some"],
        *,
        learn: bool = False,
    ) -> Float[Tensor, " basis"]:
        """Cross-entropy of the answers after each interchange, summed over some pairs.

        Args:
            keys: of the bases.
            weights: whose columns span the subspaces.
            pairs: which.
            learn: whether the gradients are added to the weights' own.
        """
        puts = [self._put(key, one, pairs) for key, one in zip(keys, weights, strict=True)]
        leaves = [put.detach().requires_grad_(learn) for put in puts]
        slopes = [torch.zeros_like(leaf) for leaf in leaves]
        sets = [[self._edit(key, leaf, pairs)] for key, leaf in zip(keys, leaves, strict=True)]
        wanted = torch.stack([self._answers[key.name][pairs] for key in keys])
        total = torch.zeros(len(keys), dtype=torch.float32)
        for part in replay(
            self.model, self.roles.base[pairs], sets, engine=self.options.engine, check=False,
            grad=learn, max_memory=self.options.max_memory,
        ):  # fmt: skip
            logits = self.model.readout(part.resid[:, 0, 0], grad=learn).cpu()
            right = wanted[part.sets, part.prompts]
            loss = torch.nn.functional.cross_entropy(logits, right, reduction="none")
            total.index_add_(0, part.sets, loss.detach())
            if learn:
                found = torch.autograd.grad(loss.sum(), leaves, allow_unused=True)
                for slope, one in zip(slopes, found, strict=True):
                    if one is not None:
                        slope += one
        if learn:
            torch.autograd.backward(puts, slopes)
        return total

    def _put(
        self, key: Key, weights: Float[Tensor, "d_model k"], pairs: Int[Tensor, " some"]
    ) -> Float[Tensor, "some d_model"]:
        base, source = (
            states[key.depth, pairs, key.place] for states in (self.states.base, self.states.source)
        )
        return polar.swap_within(torch.linalg.qr(weights)[0])(base, source)

    def _edit(self, key: Key, put: Float[Tensor, "some d_model"], pairs: Tensor) -> SiteEdit:
        at = self.roles.base_positions[self.positions[key.place]][pairs]
        return SiteEdit(hook=self.hooks[key.depth], positions=at, edit=polar.full_swap, source=put)


def arbitrary(roles: Roles, seed: int) -> Int[Tensor, " pair"]:
    """For each pair another answer than its source's; the same one for equal answers."""
    answers = torch.cat([roles.target, roles.foil]).unique()
    generator = torch.Generator().manual_seed(seed)
    order = answers[torch.randperm(len(answers), generator=generator)]
    stands_for = dict(zip(order.tolist(), order.roll(1).tolist(), strict=True))
    return torch.tensor([stands_for[token] for token in roles.intended.tolist()])
