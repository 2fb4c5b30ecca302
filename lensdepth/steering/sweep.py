"""Input-centric against output-centric steering, at every depth.

The mean state of the prompts with each label is its centroid. Steering adds the difference of two
centroids to a state: at the input position it leads from one input to another (alpha -> alpha'),
at the prediction position from one answer to another (gamma -> gamma'). Where the two efficacy
curves cross, control passes from the input to the output (claim C2).
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.model import DepthModel
from lensdepth.patching.found import settled_depths
from lensdepth.replay.plan import Engine
from lensdepth.site import depth_hook
from lensdepth.steering.centroids import Vectors, steering_vectors
from lensdepth.steering.labels import accompanied, deal_folds, label_prompts, pool_prompts, rows
from lensdepth.steering.parts import CONTROLS, PARTS, STRONGEST
from lensdepth.steering.profile import ALSO, SteeringProfile
from lensdepth.sweep.adaptive import Depths, finds_depths
from lensdepth.sweep.choices import Scope, check_depths, check_edits, check_scopes, scope_depths
from lensdepth.sweep.controls import (
    CONTROL_PAIRS,
    ControlPairs,
    controlled,
    depth_noise,
    other_pairs,
)
from lensdepth.sweep.loop import Planned, run_sweep, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import POSITION_NAMES, Mode, PositionName, Roles, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import named_positions
from lensdepth.tasks.task import Task

log = logging.getLogger(__name__)


@checked
@bounded
def steering_sweep(
    model: DepthModel,
    task: Task,
    *,
    depths: Depths = None,
    positions: Sequence[PositionName] | None = None,
    scopes: Sequence[Scope] = ("local", "suffix"),
    strength: float = 1.0,
    budget: float | None = None,
    n_folds: int = 10,
    input_label: str | None = None,
    output_label: str | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    edits: Sequence[str] | None = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> SteeringProfile:
    """Lead the base run from its label to the source's by the difference of their centroids.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        depths: residual depths 0 ... n_layers, some of them or `"all"`; `"auto"`, which is the
            default in models of more than 16 blocks, those at which patching a few of the pairs
            moves (`lensdepth.sweep.adaptive`), and a coarse grid.
        positions: `"input"` (input-centric), `"prediction"` (output-centric); by default both,
            where the task has an input position.
        scopes: `"local"` steers at one depth; `"suffix"` sustains it, adding each later depth's own
            difference there too, so that what is added piles up. See
            `lensdepth.sweep.choices.Scope`.
        strength: factor of the vectors; 0 changes nothing, negative ones lead away.
        budget: norm of everything that one run adds (before `strength`), as a share of the mean
            norm of the states there, so that positions and depths are compared at matched norms;
            a global scope divides it among its depths. None adds the differences as they are.
        n_folds: parts of the prompts, balanced in labels. Each pair is steered with centroids of
            the prompts outside the parts that its own two prompts are in; there are more parts
            where that would leave a centroid without prompts.
        input_label: column of the task's labels (with a twin `corrupted_...`) for the input
            position; by default the words that vary.
        output_label: the same for the prediction position; by default the answers.
        metric: one of `lensdepth.sweep.readings.METRICS`, or a function of the logits and the pairs
            that they belong to.
        also: further metrics that are read off the same runs.
        mode: "denoise" steers the corrupted run towards the clean answer, "noise" the reverse.
        edits: those that are run, of the vector, its parts and the controls; the others have no
            numbers (NaN). None: all.
        control_pairs: pairs that the turn and the change of norm alone and the controls are run
            on, drawn at random; `"all"` of them.
        seed: of the folds and the controls.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        SteeringProfile; `find_crossing` takes it.
    Raises:
        ValueError: with the rows at fault. Before any forward pass: a task without pairs or input
            position, an unknown option, labels that are missing or the same on both sides of a
            pair, or each pair has a label of one prompt only (where some have, these are left out,
            counted and said). Before the sweep: centroids that coincide at every depth.
    Source: claim C2 of Haim & McNamee, arXiv 2602.04931; differences of means as in Rimsky et al.
        2024, "Steering Llama 2 via Contrastive Activation Addition", arXiv 2312.06681.
    Example:
        >>> find_crossing(steering_sweep(model, load_task("months", model))).depth
    """
    caller = "steering_sweep"
    found = finds_depths(depths, model.n_layers, whole=True, caller=caller)
    asked = check_depths(None if found else depths, model.n_layers, caller=caller)
    chosen = check_scopes(scopes, caller=caller)
    _check_numbers(strength, budget, caller)
    wanted = check_edits(edits, (*PARTS, *CONTROLS), caller=caller)
    if isinstance(positions, str) or (positions is not None and not positions):
        raise ValueError(
            f"{caller}: positions must be some of {', '.join(POSITION_NAMES)}, got {positions!r}."
        )
    where = tuple(dict.fromkeys(named_positions(task, positions)))
    roles = assign_roles(task, mode, positions=where, caller=caller)
    columns = {"input": input_label, "prediction": output_label}
    for name, label in columns.items():
        if label is not None and name not in where:
            raise ValueError(
                f"{caller}: the label {label!r} is of the {name} position, where nothing is "
                f"steered; leave it out, or add {name!r} to positions."
            )
    there, why = accompanied(task, roles, {name: columns[name] for name in where}, caller=caller)
    if not there.all():
        n_alone = int((~there).sum())
        log.warning("%s: %d of %d pairs are left out: %s.", caller, n_alone, len(task), why)
        task = replace(task.select(there), n_alone=n_alone)
        roles = assign_roles(task, mode, positions=where, caller=caller)
    labels = [label_prompts(task, roles, name, columns[name], caller=caller) for name in where]
    pool = pool_prompts(roles)
    folds = deal_folds(task, pool, labels, n_folds=n_folds, seed=seed, caller=caller)
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
            "scopes": list(chosen),
            "strength": strength,
            "budget": budget,
            "n_folds": int(folds.max()) + 1,
            "input_label": input_label or "input",
            "output_label": output_label or "answer",
            "edits": list(wanted),
            "control_pairs": control_pairs,
        },
    )
    model.check_weights()
    asked, options = settled_depths(model, task, options, asked)
    # Sustained steering reaches depths that were not asked for.
    swept = asked if chosen == ("local",) else list(range(model.n_layers + 1))
    hooks = [depth_hook(depth, model.n_layers) for depth in swept]
    vectors = [steering_vectors(model, pool, one, folds, hooks) for one in labels]
    for one in vectors:
        _check_apart(task, one, caller)
    parts = _Parts(
        roles=roles, vectors=vectors, asked=asked, swept=swept, scopes=chosen,
        n_layers=model.n_layers, strength=strength, budget=budget, wanted=wanted, seed=seed,
        controlled=controlled(len(task), control_pairs, seed),
    )  # fmt: skip
    effects = run_sweep(
        model, roles, options, lambda block: Planned(runs=parts.runs(block)), parts.coords,
        n_numbers=3 * len(swept) * model.d_model * len(where), description="steering",
    ).effects  # fmt: skip
    at = [swept.index(depth) for depth in asked]
    norms = torch.stack([polar.norm(parts.added(i))[at] for i in range(len(where))])
    return SteeringProfile(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        outcome=effects,
        labels=tuple(one.names for one in labels),
        base_label=torch.stack([one.base for one in labels]),
        source_label=torch.stack([one.source for one in labels]),
        folds=torch.stack([folds[pool.base], folds[pool.source]]),
        centroid_sizes=torch.stack([found.sizes for found in vectors]),
        strength=float(strength),
        budget=budget,
        vector_norm=rearrange(norms, "position depth pair -> pair depth position"),
        state_norm=torch.stack([found.state_norm[at] for found in vectors], dim=1),
    )


def _check_numbers(strength: float, budget: float | None, caller: str) -> None:
    if isinstance(strength, str) or not abs(strength) <= STRONGEST:
        raise ValueError(
            f"{caller}: strength must be a number between -{STRONGEST:g} and {STRONGEST:g}, got "
            f"{strength!r}."
        )
    if budget is not None and not 0 < budget < math.inf:
        raise ValueError(
            f"{caller}: budget is a share of the states' mean norm, above 0, got {budget}; leave "
            f"it out to add the differences of centroids as they are."
        )


def _check_apart(task: Task, found: Vectors, caller: str) -> None:
    """Say whose centroids are one point at every depth: there is nothing to steer with."""
    one = found.labelled
    nowhere = (found.vector == 0).all(-1).all(0).nonzero()[:, 0].tolist()
    if nowhere:
        i = nowhere[0]
        ends = " and ".join(repr(one.names[int(end[i])]) for end in (one.base, one.source))
        raise ValueError(
            f"{caller}: the centroids of {ends} coincide at the {one.position} position at every "
            f"depth asked for (in {rows(task, nowhere)}), so the model's states there do not tell "
            f"these labels apart; steer at other depths or positions, or leave these pairs out."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """What is added where, and in which runs."""

    roles: Roles
    vectors: list[Vectors]
    """One a position."""
    asked: list[int]
    swept: list[int]
    scopes: tuple[Scope, ...]
    n_layers: int
    strength: float
    budget: float | None
    wanted: tuple[str, ...]
    """The edits that are run."""
    seed: int
    controlled: Bool[Tensor, " pair"]
    """The pairs that parts of the differences and controls are run on."""

    @property
    def edits(self) -> tuple[str, ...]:
        """A single pair has no other one whose vector it could take."""
        several = len(self.roles.base) > 1
        return (*PARTS, *(c for c in CONTROLS if several or c != "shuffled"))

    @property
    def coords(self) -> dict[str, Sequence[str | int]]:
        """Labels of the result's axes."""
        return {
            "edit": self.edits,
            "scope": self.scopes,
            "depth": self.asked,
            "position": [found.labelled.position for found in self.vectors],
        }

    def added(self, position: int) -> Float[Tensor, "depth pair d_model"]:
        """What a local run adds at each depth."""
        found = self.vectors[position]
        if self.budget is None:
            return self.strength * found.vector
        length = self.strength * self.budget * found.state_norm
        return length[:, None, None] * polar.direction(found.vector)

    def given(self, position: int, edit: str, block: slice) -> Float[Tensor, "depth pair d_model"]:
        """The vectors that an edit adds to some pairs, or a control's at the same norm."""
        added = self.added(position)
        mine = added[:, block]
        if edit == "random":
            pairs, shape = range(added.shape[1])[block], (added.shape[-1],)
            along = depth_noise(pairs, self.swept, shape, self.seed)
        elif edit == "shuffled":
            along = added[:, self.partners[position][block].clamp(min=0)]
        else:
            return mine
        return polar.recombine(polar.norm(mine), polar.direction(along))

    @cached_property
    def partners(self) -> list[Int[Tensor, " pair"]]:
        """By position, whose vector the shuffled control takes: one that leads to another label.

        -1 where there is none.
        """
        labels = [found.labelled.source for found in self.vectors]
        return [
            other_pairs(len(label), lambda pair, label=label: label != label[pair], self.seed)
            for label in labels
        ]

    def runs(self, block: slice) -> Iterator[Run]:
        """One a position, edit, scope and depth."""
        mine = self.roles.of(block)
        where = {depth: i for i, depth in enumerate(self.swept)}
        everyone = torch.ones(len(mine.base), dtype=torch.bool)
        # A budget is divided among the depths of a run. Runs that add alike share a function,
        # so that the engine makes their edits in one call.
        alike = cache(lambda name, n: PARTS.get(name, PARTS["full"])(polar.add(1 / n)))
        for p, found in enumerate(self.vectors):
            at = mine.base_positions[found.labelled.position][:, None]
            for e, name in enumerate(self.edits):
                if name not in self.wanted:
                    continue
                given = self.given(p, name, block)[:, :, None]
                moves = (given != 0).flatten(2).any(-1)
                there = everyone if name == "full" else self.controlled[block]
                if name == "shuffled":
                    there = there & (self.partners[p][block] >= 0)
                for s, scope in enumerate(self.scopes):
                    for d, depth in enumerate(self.asked):
                        reached = [where[x] for x in scope_depths(scope, depth, self.n_layers)]
                        n_shares = 1 if self.budget is None else len(reached)
                        yield Run(
                            cells=[(e, s, d, p)],
                            hooks=[depth_hook(self.swept[i], self.n_layers) for i in reached],
                            tokens=at,
                            states=[given[i] for i in reached],
                            edit=alike(name, n_shares),
                            there=there,
                            moves=moves[reached].any(0),
                        )
