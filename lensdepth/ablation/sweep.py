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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import torch
from jaxtyping import Int
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth.ablation.given import (
    STATE_BYTES,
    GivenParts,
    Means,
    Reference,
    edit_names,
    given_parts,
    partners,
    reference_means,
    states_of,
    strangers,
)
from lensdepth.ablation.profile import METRICS, AblationProfile, AtEnd
from lensdepth.arguments import checked
from lensdepth.coordinates import CoordinateName, Coordinates, coordinates_of
from lensdepth.hooks import depth_hook
from lensdepth.model import DepthModel
from lensdepth.patching.grid import pair_blocks, self_patch_error
from lensdepth.patching.readings import measure_sets, measure_source
from lensdepth.patching.sites import EditSets, states_at
from lensdepth.patching.spans import PatchPositions, Span, named_positions, resolve_spans
from lensdepth.provenance import make_provenance, text_fingerprint
from lensdepth.replay import Engine
from lensdepth.roles import (
    Mode,
    Roles,
    Scope,
    assign_roles,
    check_depths,
    check_scopes,
    say_undefined,
    scope_depths,
)
from lensdepth.tasks import Task


@checked
def ablation_sweep(
    model: DepthModel,
    task: Task,
    *,
    positions: PatchPositions = ("prediction",),
    depths: Sequence[int] | None = None,
    to: Reference = "source",
    scopes: Sequence[Scope] = ("local",),
    coordinates: CoordinateName = "raw",
    reference: Task | None = None,
    mode: Mode = "denoise",
    seed: int = 0,
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> AblationProfile:
    """Replace the whole state, its direction alone and its norm alone, depth by depth.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        positions: where to edit: names, indices or spans, one after the other; see
            `lensdepth.patching.PatchPositions`.
        depths: residual depths 0 ... n_layers; all by default.
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
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        seed: of the random directions and of the shuffling.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
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
        >>> profile.of("norm", profile.transferred).mean(0)
    """
    caller = "ablation_sweep"
    asked = check_depths(depths, model.n_layers, caller=caller)
    chosen = check_scopes(scopes, caller=caller)
    check_parts(to, coordinates, len(task), caller=caller)
    check_reference(reference, to=to, coordinates=coordinates, caller=caller)
    if to == "mean" and reference is None and len(task) < 2:
        raise ValueError(
            f"{caller}: the mean over 1 pair is its own source; give a reference set, or use "
            f"to='source'."
        )
    roles = assign_roles(task, mode, positions=named_positions(task, positions), caller=caller)
    spans = resolve_spans(roles, positions, caller=caller)
    _check_others(to, spans, caller)
    model.check_weights()
    # Global scopes reach depths that were not asked for.
    swept = asked if chosen == ("local",) else list(range(model.n_layers + 1))
    hooks = [depth_hook(depth, model.n_layers) for depth in swept]
    places = prepare_places(
        model, roles, spans, hooks, positions,
        to=to, coordinates=coordinates, reference=reference, caller=caller,
    )  # fmt: skip
    n_numbers = 6 * len(hooks) * model.d_model * sum(span.base.shape[1] for span in spans)
    blocks = pair_blocks(len(task), n_numbers, STATE_BYTES)
    error = self_patch_error(model, roles, hooks, [span.base for span in spans], engine=engine)
    sweep = _Sweep(
        model=model, roles=roles, places=places, asked=asked, swept=swept, scopes=chosen, to=to,
        seed=seed, engine=engine, max_memory=max_memory,
    )  # fmt: skip
    quiet = None if len(blocks) > 1 else True
    found = [sweep.run(block) for block in tqdm(blocks, desc="ablating", disable=quiet)]
    base, source, values, angle, ratio = (torch.cat(x, dim=-1) for x in zip(*found, strict=True))
    say_undefined(base[0], source[0], metric="logit_diff", caller=caller)
    shared = [place.means.n for place in places if place.means is not None]
    return AblationProfile(
        provenance=make_provenance(
            caller,
            model.info,
            task=task.name,
            prompts=task.clean,
            corrupted=task.corrupted or (),
            settings={
                "positions": [span.name for span in spans],
                "to": to,
                "scopes": list(chosen),
                "coordinates": coordinates,
                "reference": reference_settings(task if reference is None else reference)
                if shared
                else None,
                "mode": mode,
                "engine": engine,
            },
            seed=seed,
        ),
        mode=mode,
        to=to,
        coordinates=coordinates,
        n_reference=min(shared) if shared else 0,
        scopes=chosen,
        positions=tuple(span.name for span in spans),
        depths=torch.tensor(asked),
        edits=sweep.edits,
        base_logit_diff=base[0],
        source_logit_diff=source[0],
        at_end=tuple(_at_end(span, roles) for span in spans),
        angle=angle,
        norm_ratio=ratio,
        self_patch_error=error,
        **dict(zip(METRICS, values, strict=True)),
    )


def check_reference(reference: object, *, to: str, coordinates: str, caller: str) -> None:
    """Say what a reference set is, and what it is for.

    Raises:
        TypeError: it is no task.
        ValueError: no mean is taken over it.
    """
    if reference is not None and not isinstance(reference, Task):
        raise TypeError(
            f"{caller}: reference must be a Task, as load_task makes it, got "
            f"{type(reference).__name__}."
        )
    if reference is not None and to != "mean" and coordinates != "centred":
        also = "to='mean' or " if caller == "ablation_sweep" else ""
        raise ValueError(
            f"{caller}: reference goes with {also}coordinates='centred'; no mean is taken here, so "
            f"leave it out."
        )


def reference_settings(reference: Task) -> dict[str, str]:
    """What the provenance says of the prompts behind means."""
    prompts = [*reference.clean, *(reference.corrupted or ())]
    return {"name": reference.name, "prompts_fingerprint": text_fingerprint(prompts)}


def check_parts(to: str, coordinates: str, n_pairs: int, *, caller: str) -> None:
    """Say which words say what goes in and in which coordinates, and what they need.

    Raises:
        ValueError: an unknown word, or options that contradict each other or the task.
    """
    for value, kind, name in ((to, Reference, "to"), (coordinates, CoordinateName, "coordinates")):
        if value not in get_args(kind):
            raise ValueError(
                f"{caller}: {name} must be one of {', '.join(get_args(kind))}, got {value!r}."
            )
    if to in ("shuffled", "random") and n_pairs < 2:
        raise ValueError(
            f"{caller}: to={to!r} takes states or norms of other pairs, and there is 1 pair; add "
            f"pairs, or use to='source'."
        )
    if to == "mean" and coordinates == "centred":
        raise ValueError(
            f"{caller}: seen from their own mean, directions cancel and have no mean; use "
            f"to='mean' with raw or final_norm coordinates."
        )


def _at_end(span: Span, roles: Roles) -> AtEnd:
    """Whether the last token, from which the logits are read, is what is edited."""
    last = (span.base == roles.base.last[:, None])[span.present]
    if not last.any():
        return "never"
    return "always" if last.any(1).all() else "sometimes"


def _check_others(to: Reference, spans: Sequence[Span], caller: str) -> None:
    """Say where there is no other pair whose state could go in."""
    for span in spans:
        if to in ("shuffled", "random") and span.present.sum() < 2:
            raise ValueError(
                f"{caller}: to={to!r} takes states or norms of other pairs, and one pair alone has "
                f"the position {span.name!r}; leave that position out, or use to='source'."
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A span with the coordinates of its states, by depth, and the means behind them."""

    span: Span
    coordinates: Coordinates
    means: Means | None


def prepare_places(
    model: DepthModel,
    roles: Roles,
    spans: Sequence[Span],
    hooks: Sequence[str],
    positions: PatchPositions,
    *,
    to: Reference,
    coordinates: CoordinateName,
    reference: Task | None,
    caller: str,
) -> list[Place]:
    """Coordinates and means at each span; nothing is run where neither is needed."""
    kind = model.info.normalization
    if to != "mean" and coordinates != "centred":
        plain = coordinates_of(coordinates, kind)
        return [Place(span=span, coordinates=plain, means=None) for span in spans]
    givers, at = roles, list(spans)
    if reference is not None:
        named = named_positions(reference, positions)
        givers = assign_roles(reference, roles.mode, positions=named, caller=caller)
        at = resolve_spans(givers, positions, caller=caller)
    places = []
    for span, given in zip(spans, at, strict=True):
        uncentred = coordinates_of("raw" if coordinates == "centred" else coordinates, kind)
        means = reference_means(model, givers, hooks, given, uncentred, polar_mean=to == "mean")
        center = means.state[:, None, None] if coordinates == "centred" else None
        places.append(
            Place(span=span, coordinates=coordinates_of(coordinates, kind, center), means=means)
        )
    return places


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sweep:
    """What goes in where, and in which runs."""

    model: DepthModel
    roles: Roles
    places: list[Place]
    asked: list[int]
    swept: list[int]
    """The asked depths, and those that global scopes reach besides."""
    scopes: tuple[Scope, ...]
    to: Reference
    seed: int
    engine: Engine
    max_memory: int | None

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

    def run(self, block: slice) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of some pairs: base and source metrics, those of the edited runs, angles, norm ratios."""
        mine = self.roles.of(block)
        parts = [self._parts(p, block) for p in range(len(self.places))]
        shape = (len(self.places), len(self.edits), len(self.scopes), len(self.asked))
        base, values = measure_sets(
            self.model, mine, self._edit_sets(parts, block), METRICS, math.prod(shape),
            engine=self.engine, max_memory=self.max_memory, description="ablating",
        )  # fmt: skip
        grid = values.view(len(METRICS), *shape, -1).movedim(1, 3)
        # metric edit scope position depth pair
        if "all" in self.scopes:
            every = self.scopes.index("all")
            grid[:, :, every] = grid[:, :, every, :, :1]
        for p, place in enumerate(self.places):
            grid[:, :, :, p, :, ~place.span.of(block).present] = torch.nan
            if "random_norm" in self.edits:
                alone = self.strangers[p][block] < 0
                grid[:, self.edits.index("random_norm"), :, p, :, alone] = torch.nan
        at = [self.swept.index(depth) for depth in self.asked]
        return (
            base,
            measure_source(self.model, mine, METRICS),
            grid,
            torch.stack([part.angle[at] for part in parts]),
            torch.stack([part.norm_ratio[at] for part in parts]),
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
            pairs=range(len(roles.base))[block],
            seed=self.seed,
        )

    def _edit_sets(self, parts: Sequence[GivenParts], block: slice) -> EditSets:
        """One set a place, edit, scope and depth, in this order."""
        sets = EditSets(len(self.roles.of(block).base))
        where = {depth: i for i, depth in enumerate(self.swept)}
        hooks, site = self.hooks, 0
        for place, part in zip(self.places, parts, strict=True):
            span = place.span.of(block)
            for name in self.edits:
                edit, states = part.edits[name]
                inside = [place.coordinates[i].edit(edit) for i in range(len(self.swept))]
                changed = (states != part.base).flatten(2).any(-1)
                for scope in self.scopes:
                    for depth in self.asked:
                        reached = scope_depths(scope, depth, self.model.n_layers)
                        at = [where[d] for d in reached]
                        if scope != "all" or depth == self.asked[0]:  # the others are one run
                            sets.add(
                                site,
                                [hooks[i] for i in at],
                                span.base,
                                [states[i] for i in at],
                                [inside[i] for i in at],
                                wanted=span.present & changed[at].any(0),
                            )
                        site += 1
        return sets
