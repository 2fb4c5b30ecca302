"""Interchange within subspaces: how many dimensions of a state carry the prediction, by depth?

Between replacing a state's direction and replacing the whole state lie subspaces. At each depth the
base's state gets the source's part within a subspace of k dimensions and keeps its own outside it;
the engine replays the rest of the run. With all dimensions this is a plain patch, with none the
base run. A subspace is fitted to other pairs than those that it judges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.outside import shown
from lensdepth.packed import is_packed
from lensdepth.patching.found import settled_depths
from lensdepth.replay.plan import Engine
from lensdepth.site import depth_hook
from lensdepth.subspaces.bases import part_within
from lensdepth.subspaces.fitting import (
    Fitted,
    arbitrary_differences,
    read_states,
    readout_differences,
)
from lensdepth.subspaces.learned import Trainer
from lensdepth.subspaces.parts import (
    FULL,
    MATCHED,
    RANDOM,
    SHUFFLED,
    BasisName,
    is_control,
    with_controls,
)
from lensdepth.subspaces.profile import ALSO, SubspaceProfile
from lensdepth.subspaces.twin import in_a_twin
from lensdepth.sweep.adaptive import Depths, finds_depths
from lensdepth.sweep.apart import deal_fits, kept_apart
from lensdepth.sweep.choices import check_depths
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled
from lensdepth.sweep.loop import (
    Planned,
    check_self_patch,
    run_sweep,
    say_undefined,
    sweep_provenance,
)
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import POSITION_NAMES, Mode, PositionName, Roles, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task

LARGEST_DIM = 32
"""Where no dimensions are asked for, they are the powers of two up to this."""


@checked
@bounded
def subspace_sweep(
    model: DepthModel,
    task: Task,
    *,
    depths: Depths = None,
    positions: Sequence[PositionName] = ("prediction",),
    dims: Sequence[int] | None = None,
    bases: Sequence[BasisName] = ("pca", "unembedding"),
    apart: str = "prompts",
    n_folds: int = 5,
    twin: bool = False,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> SubspaceProfile:
    """Put the source's part within a subspace into the base run, for every depth and dimension.

    With an orthonormal basis B of the subspace, base state x and source state s,

        x' = x + (s - x) B B^T

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        depths: residual depths 0 ... n_layers, some of them or `"all"`; `"auto"`, which is the
            default in models of more than 16 blocks, those at which patching a few of the pairs
            moves (`lensdepth.sweep.adaptive`), and a coarse grid.
        positions: where states are exchanged: `"prediction"`, `"input"` or both, one at a time.
        dims: dimensions of the subspaces, 0 ... d_model; None takes 1, 2, 4 ... LARGEST_DIM. Where
            the fitted vectors span fewer, the subspace is all that they span; with d_model it is
            everything.
        bases: where subspaces come from, see `lensdepth.subspaces.parts.BasisName`; the controls
            `random` and `matched` go with the first.
        apart: what the pairs behind a subspace share no value of with the pairs that it judges:
            `"prompts"`; `"units"`, all that intervals go over, such as words that it has then
            never seen; `"input"`, or the name of one label.
        n_folds: parts of these values; each pair is judged by what is fitted without the parts
            that its own values are in.
        twin: measure an untrained twin of the model as well, on its own answers to these prompts.
        metric: one of `lensdepth.sweep.readings.METRICS`, or a function of the logits and the pairs
            that they belong to; transferred fractions are of this one.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        control_pairs: pairs that controls are run on, drawn at random; `"all"` of them.
        seed: of the folds and the controls.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        SubspaceProfile. Controls: another pair's whole state; each basis fitted to arbitrary labels
        (sources shuffled among pairs; rows of other tokens); a random subspace of equal dimension;
        and one in which the state moves as far as in the first basis.
    Raises:
        ValueError: before any forward pass: a task without pairs, an unknown option, a depth or
            dimension out of range, or too few pairs apart from each other.
        RuntimeError: putting the base run's own states back changes its logits.
    Source: Geiger et al. 2023, arXiv 2303.02536 (interchange within a subspace); the controls are
        those of Arora et al. 2024, arXiv 2402.12560, and Makelov et al. 2023, arXiv 2311.17030.
    Example:
        >>> subspace_sweep(model, load_task("months", model)).dimensions("pca")
    """
    caller = "subspace_sweep"
    found = finds_depths(depths, model.n_layers, whole=True, caller=caller)
    asked = check_depths(None if found else depths, model.n_layers, caller=caller)
    widths = check_dims(dims, model.d_model, caller=caller)
    chosen = _some(bases, get_args(BasisName), "bases", caller)
    if "das" in chosen and is_packed(model.model):
        raise ValueError(
            f"{caller}: 'das' is learned by gradient, and the weights of "
            f"{shown(model.passes.name)} are kept packed, through which none can be had; leave it "
            f"out of bases."
        )
    where: tuple[PositionName, ...] = _some(positions, POSITION_NAMES, "positions", caller)  # type: ignore[assignment]
    roles = assign_roles(task, mode, positions=(*where, "prediction"), caller=caller)
    fits = deal_fits(
        kept_apart(task, apart, caller=caller), n_folds=n_folds, seed=seed, caller=caller
    )
    options = Options(
        caller=caller,
        metric=metric,
        also=also,
        mode=mode,
        seed=seed,
        engine=engine,
        batch_size=batch_size,
        max_memory=max_memory,
        own={
            "positions": list(where),
            "depths": asked,
            "depths_found": found,
            "dims": widths,
            "bases": list(chosen),
            "apart": apart,
            "n_folds": n_folds,
            "twin": twin,
            "control_pairs": control_pairs,
        },
    )
    model.check_weights()
    asked, options = settled_depths(model, task, options, asked)
    hooks = [depth_hook(depth, model.n_layers) for depth in asked]
    spans = [roles.base_positions[name][:, None] for name in where]
    error = check_self_patch(model, roles, hooks, spans, options)
    states = read_states(model, roles, hooks, where, seed)
    learned = None
    if "das" in chosen:
        learned = Trainer(
            model=model, roles=roles, states=states, fits=fits, hooks=hooks, positions=where,
            dims=widths, options=options,
        ).learned()  # fmt: skip
    fitted = Fitted(
        states=states,
        fits=fits,
        readout=_readout(model, roles, seed) if "unembedding" in chosen else {},
        learned={} if learned is None else learned.bases,
        seed=seed,
    )
    parts = _Parts(
        roles=roles, fitted=fitted, hooks=hooks, asked=asked, positions=where, dims=widths,
        bases=chosen, controlled=controlled(len(task), control_pairs, seed),
    )  # fmt: skip
    n_labels = len(parts.labels) * len(widths)
    effects = run_sweep(
        model, roles, options, lambda rows: Planned(runs=parts.runs(rows)), parts.coords,
        n_numbers=n_labels * len(hooks) * len(where) * model.d_model, description="exchanging",
    ).effects  # fmt: skip
    say_undefined(effects, options)
    in_twin, note = None, ""
    if twin:

        def again(other: DepthModel, own: Task) -> SubspaceProfile:
            return subspace_sweep(
                other, own, depths=asked, positions=where, dims=widths,
                bases=chosen,  # type: ignore[arg-type]
                apart=apart if apart == "units" else "prompts", n_folds=n_folds, metric=metric,
                also=(), mode=mode, control_pairs=control_pairs, seed=seed, engine=engine,
                batch_size=batch_size, max_memory=max_memory,
            )  # fmt: skip

        in_twin, note = in_a_twin(model, task, again, seed)
    return SubspaceProfile(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        bases=chosen,
        apart=apart,
        n_fits=len(fits),
        n_fitted=fits.fewest,
        rank=parts.ranks(),
        outcome=effects,
        loss=None if learned is None else learned.loss,
        twin=in_twin,
        twin_note=note,
        self_patch_error=error,
    )


def check_dims(dims: Sequence[int] | None, d_model: int, *, caller: str) -> list[int]:
    """The asked dimensions, ascending, or powers of two.

    Raises:
        ValueError: one lies outside 0 ... d_model or stands twice, or there is none.
    """
    if dims is None:
        return [2**i for i in range(LARGEST_DIM.bit_length()) if 2**i <= d_model]
    if not dims or any(not 0 <= k <= d_model for k in dims) or len(set(dims)) < len(dims):
        raise ValueError(
            f"{caller}: dims must be different whole numbers between 0 and {d_model} (d_model), "
            f"got {list(dims)}."
        )
    return sorted(dims)


def _some(given: Sequence[str], there: Sequence[str], name: str, caller: str) -> tuple[str, ...]:
    """The words asked for, each once."""
    if isinstance(given, str) or not given or any(one not in there for one in given):
        raise ValueError(f"{caller}: {name} must be some of {', '.join(there)}, got {given!r}.")
    return tuple(dict.fromkeys(given))


def _readout(model: DepthModel, roles: Roles, seed: int) -> dict[str, Tensor]:
    """What the readout weighs the answers by, and the same of other tokens."""
    last = depth_hook(model.n_layers, model.n_layers)
    states = states_at(model, roles.base, [last], [roles.base.last[:, None]]).states[0, :, 0]
    return {
        "unembedding": readout_differences(model, roles, states),
        "unembedding" + SHUFFLED: arbitrary_differences(model, states, seed),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """What goes in where, and in which runs."""

    roles: Roles
    fitted: Fitted
    hooks: list[str]
    asked: list[int]
    positions: tuple[str, ...]
    dims: list[int]
    bases: tuple[str, ...]
    controlled: Bool[Tensor, " pair"]
    """The pairs that controls are run on."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The whole state, bases, controls."""
        return with_controls(self.bases, shuffled=len(self.roles.base) > 1)

    @property
    def coords(self) -> dict[str, Sequence[str | int]]:
        """Labels of the result's axes."""
        return {
            "basis": self.labels, "dim": self.dims, "depth": self.asked,
            "position": self.positions,
        }  # fmt: skip

    def ranks(self) -> Tensor:
        """`[basis, depth, position]`: the fewest dimensions that any fit of a basis has."""
        shape = len(self.bases), len(self.hooks), len(self.positions)
        found = torch.zeros(shape, dtype=torch.long)
        for b, name in enumerate(self.bases):
            for d in range(len(self.hooks)):
                for p in range(len(self.positions)):
                    found[b, d, p] = self.fitted.rank(name, d, p)
        return found

    def put(
        self, name: str, k: int, depth: int, place: int, rows: slice
    ) -> Float[Tensor, "pair d_model"]:
        """What stands there after the exchange, in some pairs."""
        states = self.fitted.states
        base, source = (x[depth, rows, place] for x in (states.base, states.source))
        if name in (FULL, FULL + SHUFFLED):
            return source if name == FULL else states.source[depth, states.partner[rows], place]
        if k in (0, base.shape[-1]):  # whatever the basis
            return base + (source - base) if k else base
        found = torch.empty_like(base)
        of_pair = self.fitted.fits.of_pair[rows]
        for fit in of_pair.unique().tolist():
            mine = of_pair == fit
            found[mine] = self._exchanged(name, k, fit, depth, place, base[mine], source[mine])
        return found

    def _exchanged(
        self,
        name: str,
        k: int,
        fit: int,
        depth: int,
        place: int,
        base: Float[Tensor, "pair d_model"],
        source: Float[Tensor, "pair d_model"],
    ) -> Float[Tensor, "pair d_model"]:
        if name not in (RANDOM, MATCHED):
            return polar.swap_within(self.fitted.basis(name, fit, depth, place, k))(base, source)
        drawn = self.fitted.random(fit, depth, place, k)
        if name == RANDOM:
            return polar.swap_within(drawn)(base, source)
        first = self.fitted.basis(self.bases[0], fit, depth, place, k)
        length = polar.norm(part_within(first, source - base))
        along = polar.direction(part_within(drawn, source - base))
        return base + polar.recombine(length, along)

    def runs(self, rows: slice) -> Iterator[Run]:
        """One a position, depth, basis and dimension; of whole states one for all dimensions."""
        mine = self.roles.of(rows)
        everyone = torch.ones(len(mine.base), dtype=torch.bool)
        for p, position in enumerate(self.positions):
            at = mine.base_positions[position][:, None]
            for d, hook in enumerate(self.hooks):
                base = self.fitted.states.base[d, rows, p]
                for b, name in enumerate(self.labels):
                    there = self.controlled[rows] if is_control(name) else everyone
                    whole = name in (FULL, FULL + SHUFFLED)
                    every = [(b, k, d, p) for k in range(len(self.dims))]
                    for cell, k in zip(every, self.dims[:1] if whole else self.dims, strict=False):
                        put = self.put(name, k, d, p, rows)
                        yield Run(
                            cells=every if whole else [cell],
                            hooks=[hook],
                            tokens=at,
                            states=[put[:, None]],
                            edit=polar.full_swap,
                            there=there,
                            moves=(put != base).any(-1),
                        )
