"""Direction-only, norm-only and full ablation at every depth, locally and globally.

At each depth the state at a position is replaced whole, in its direction alone (the norm found is
kept) or in its norm alone (the direction found is kept), each beside its matched control. Under a
final LayerNorm or RMSNorm the norm cannot matter at depth L whatever the model does; summaries
leave that depth out.

In a global scope each edit of the run keeps the part that it finds there, after the edits before
it. At the prediction position the scopes `suffix` and `all` also set the last state, from which
the logits are read: full and direction edits then give the replacement's answer by construction.
Read the norm edit there, and the scope `prefix`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth.ablation.checks import (
    check_others,
    check_parts,
    check_reference,
    reference_settings,
)
from lensdepth.ablation.given import (
    GivenParts,
    edit_names,
    given_parts,
    partners,
    states_of,
    strangers,
)
from lensdepth.ablation.parts import CONTROLS, Reference
from lensdepth.ablation.places import Spot, at_end, prepare_places
from lensdepth.ablation.profile import ALSO, AblationProfile
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.coordinates import CoordinateName
from lensdepth.model import DepthModel
from lensdepth.patching.found import settled_depths
from lensdepth.replay.plan import Engine
from lensdepth.site import depth_hook
from lensdepth.sweep.adaptive import Depths, finds_depths
from lensdepth.sweep.choices import Scope, check_depths, check_edits, check_scopes, scope_depths
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled, depth_noise
from lensdepth.sweep.loop import (
    Planned,
    check_self_patch,
    run_sweep,
    say_undefined,
    sweep_provenance,
)
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode, Roles, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import PatchPositions, Span, by_name, comparable_spans, named_positions
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task


@checked
@bounded
def ablation_sweep(
    model: DepthModel,
    task: Task,
    *,
    depths: Depths = None,
    positions: PatchPositions = ("prediction",),
    to: Reference = "source",
    scopes: Sequence[Scope] = ("local",),
    coordinates: CoordinateName = "raw",
    reference: Task | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    edits: Sequence[str] | None = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> AblationProfile:
    """Replace the whole state, its direction alone and its norm alone, depth by depth.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        depths: residual depths 0 ... n_layers, some of them or `"all"`; `"auto"`, which is the
            default in models of more than 16 blocks, those at which patching a few of the pairs
            moves (`lensdepth.sweep.adaptive`), and a coarse grid.
        positions: where to edit: names, indices or spans, one after the other; see
            `lensdepth.sweep.spans.PatchPositions`.
        to: what goes in: `"source"` the source run's state at the same place; `"mean"` the mean
            direction (on the sphere) and the mean norm of a reference set, and both together (the
            pair's own source is one of the task's, so small sets want a `reference`);
            `"shuffled"` the state of another pair's source; `"random"` a direction as far away as
            the source's, and a norm drawn from the other pairs' sources.
        scopes: which depths one run edits: `"local"` one; `"suffix"` it and all later ones,
            `"prefix"` it and all earlier ones, `"all"` every one (the same result at each depth).
        coordinates: in which direction and norm are taken: `"raw"`; `"centred"`, from the mean of
            the reference set; `"final_norm"`, less what a final LayerNorm subtracts.
        reference: pairs whose source runs the means are taken over; by default the task's own. Not
            where no mean is taken.
        metric: one of `lensdepth.sweep.readings.METRICS`, or a function of the logits and the pairs
            that they belong to; transferred fractions are of this one.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        edits: those that are run, edits and controls; the others have no numbers (NaN). None: all.
        control_pairs: pairs that controls are run on, drawn at random; `"all"` of them.
        seed: of the random directions and of the shuffling.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        AblationProfile. Controls: `random_direction`, as far away in angle; `random_norm`, another
        pair's; `random_full`, as far away with the same norm. A single pair has no `random_norm`,
        and with `to="random"` the edits are controls themselves.
    Raises:
        ValueError: before any forward pass: a task without pairs, an unknown option, a depth or
            position out of range, one pair alone where another one is needed, or mean directions
            in centred coordinates. Later: mean directions that cancel.
        RuntimeError: putting the base run's own states back changes its logits.
    Source: claims C5 and C6 of Haim & McNamee, arXiv 2602.04931.
    Example:
        >>> profile = ablation_sweep(model, load_task("months", model))
        >>> profile.of("transferred", edit="norm", scope="local", position="prediction").mean(0)
    """
    caller = "ablation_sweep"
    found = finds_depths(depths, model.n_layers, whole=True, caller=caller)
    asked = check_depths(None if found else depths, model.n_layers, caller=caller)
    chosen = check_scopes(scopes, caller=caller)
    check_parts(to, coordinates, len(task), caller=caller)
    check_reference(reference, to=to, coordinates=coordinates, caller=caller)
    if to == "mean" and reference is None and len(task) < 2:
        raise ValueError(
            f"{caller}: the mean over 1 pair is its own source; give a reference set, or use "
            f"to='source'."
        )
    roles = assign_roles(task, mode, positions=named_positions(task, positions), caller=caller)
    spans = comparable_spans(roles, positions, caller=caller)
    check_others(to, spans, caller)
    wanted = check_edits(edits, edit_names(to, len(task)), caller=caller)
    takes_means = to == "mean" or coordinates == "centred"
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
            "positions": [*by_name(spans)],
            "depths": asked,
            "depths_found": found,
            "to": to,
            "scopes": list(chosen),
            "coordinates": coordinates,
            "reference": reference_settings(reference or task) if takes_means else None,
            "edits": list(wanted),
            "control_pairs": control_pairs,
        },
    )
    model.check_weights()
    asked, options = settled_depths(model, task, options, asked)
    # Global scopes reach depths that were not asked for.
    swept = asked if chosen == ("local",) else list(range(model.n_layers + 1))
    hooks = [depth_hook(depth, model.n_layers) for depth in swept]
    places = prepare_places(
        model, roles, spans, hooks, positions,
        to=to, coordinates=coordinates, reference=reference, caller=caller,
    )  # fmt: skip
    error = check_self_patch(model, roles, hooks, [span.base for span in spans], options)
    parts = _Parts(
        model=model, roles=roles, places=places, asked=asked, swept=swept, scopes=chosen, to=to,
        wanted=wanted, seed=seed, controlled=controlled(len(task), control_pairs, seed),
    )  # fmt: skip
    read = run_sweep(
        model, roles, options, parts.plan, parts.coords,
        n_numbers=6 * len(hooks) * model.d_model * sum(span.base.shape[1] for span in spans),
        description="ablating",
    )  # fmt: skip
    say_undefined(read.effects, options)
    shared = [place.means.n for place in places if place.means is not None]
    return AblationProfile(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        to=to,
        coordinates=coordinates,
        n_reference=min(shared) if shared else 0,
        at_end=tuple(at_end([spans[i] for i in at], roles) for at in by_name(spans).values()),
        outcome=read.effects.averaged("position"),
        angle=_by_place(read.beside["angle"], spans),
        norm_ratio=_by_place(read.beside["norm_ratio"], spans),
        self_patch_error=error,
    )


def _by_place(
    values: Float[Tensor, "span depth pair"], spans: Sequence[Span]
) -> Float[Tensor, "pair depth position"]:
    """Numbers of the spans, the mean over those of one name."""
    means = [values[at].nanmean(0) for at in by_name(spans).values()]
    return rearrange(torch.stack(means), "position depth pair -> pair depth position")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """What goes in where, and in which runs."""

    model: DepthModel
    roles: Roles
    places: list[Spot]
    asked: list[int]
    swept: list[int]
    """The asked depths, and those that global scopes reach besides."""
    scopes: tuple[Scope, ...]
    to: Reference
    wanted: tuple[str, ...]
    """The edits that are run."""
    seed: int
    controlled: Bool[Tensor, " pair"]
    """The pairs that controls are run on."""

    @property
    def coords(self) -> dict[str, Sequence[str | int]]:
        """Labels of the result's axes."""
        return {
            "edit": self.edits,
            "scope": self.scopes,
            "depth": self.asked,
            "position": [place.span.name for place in self.places],
        }

    @property
    def edits(self) -> tuple[str, ...]:
        """Edits and their controls."""
        return edit_names(self.to, len(self.roles.base))

    @property
    def hooks(self) -> list[str]:
        """By swept depth."""
        return [depth_hook(depth, self.model.n_layers) for depth in self.swept]

    @cached_property
    def partners(self) -> list[Int[Tensor, " pair"]]:
        """Whose states a shuffled or random edit takes, by place."""
        return [partners(self.roles, place.span, self.seed) for place in self.places]

    @cached_property
    def strangers(self) -> list[Int[Tensor, " pair"]]:
        """Whose norms the control of the norm edit takes, by place; -1 for nobody's."""
        # Where the edit itself takes another pair's state, its control takes a third one's norm.
        avoided = self.partners if self.to == "shuffled" else [None] * len(self.places)
        return [
            strangers(self.roles, place.span, self.seed, partner)
            for place, partner in zip(self.places, avoided, strict=True)
        ]

    def plan(self, block: slice) -> Planned:
        """The runs of some pairs, how far the edits turn, and how much they scale."""
        parts = [self._parts(p, block) for p in range(len(self.places))]
        at = [self.swept.index(depth) for depth in self.asked]
        return Planned(
            runs=self._runs(parts, block),
            beside={
                "angle": torch.stack([part.angle[at] for part in parts]),
                "norm_ratio": torch.stack([part.norm_ratio[at] for part in parts]),
            },
        )

    def _parts(self, p: int, block: slice) -> GivenParts:
        """What goes in at one place, for some pairs, at every swept depth."""
        place, roles = self.places[p], self.roles
        mine, span = roles.of(block), place.span.of(block)

        def of(pairs: Tensor) -> Tensor:
            return states_of(self.model, roles, place.span, self.hooks, pairs[block])

        return given_parts(
            states_at(self.model, mine.base, self.hooks, [span.base]).states,
            states_at(self.model, mine.source, self.hooks, [span.source]).states,
            of(self.partners[p]) if self.to in ("shuffled", "random") else None,
            of(self.strangers[p].clamp(min=0)) if "random_norm" in self.edits else None,
            None if place.means is None else place.means.polar,
            there=span.base >= 0,
            to=self.to,
            coordinates=place.coordinates,
            noise=depth_noise(
                range(len(roles.base))[block],
                self.swept,
                (span.base.shape[1], self.model.d_model),
                self.seed,
            ),
        )

    def _runs(self, parts: Sequence[GivenParts], block: slice) -> Iterator[Run]:
        """One a place, edit, scope and depth; of the scope `all`, one for all depths."""
        where = {depth: i for i, depth in enumerate(self.swept)}
        for p, (place, part) in enumerate(zip(self.places, parts, strict=True)):
            span = place.span.of(block)
            for e, name in enumerate(self.edits):
                if name not in self.wanted:
                    continue
                edit, states = part.edits[name]
                inside = [place.coordinates[i].edit(edit) for i in range(len(self.swept))]
                changed = (states != part.base).flatten(2).any(-1)
                there = span.present & self.controlled[block] if name in CONTROLS else span.present
                if name == "random_norm":
                    there = there & (self.strangers[p][block] >= 0)
                for s, scope in enumerate(self.scopes):
                    every = [(e, s, d, p) for d in range(len(self.asked))]
                    for d, depth in enumerate(self.asked[:1] if scope == "all" else self.asked):
                        at = [where[x] for x in scope_depths(scope, depth, self.model.n_layers)]
                        yield Run(
                            cells=every if scope == "all" else [every[d]],
                            hooks=[self.hooks[i] for i in at],
                            tokens=span.base,
                            states=[states[i] for i in at],
                            edit=[inside[i] for i in at],
                            there=there,
                            moves=changed[at].any(0),
                        )
