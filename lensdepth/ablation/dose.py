"""Dose and response: how far must a direction turn, or a norm grow, before the prediction moves?

At every depth the state is turned by a share of its angle to the source's (0 is the base, 1 the
direction swap), towards the source and, as a control, in a random direction; and its norm is
scaled, its direction kept.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange

from lensdepth import polar
from lensdepth.ablation.checks import check_parts, check_reference, reference_settings
from lensdepth.ablation.dose_profile import DoseProfile
from lensdepth.ablation.places import at_end, prepare_places
from lensdepth.ablation.profile import ALSO
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.coordinates import CoordinateName
from lensdepth.model import DepthModel
from lensdepth.patching.found import settled_depths
from lensdepth.replay.plan import Engine
from lensdepth.site import depth_hook
from lensdepth.sweep.adaptive import Depths, finds_depths
from lensdepth.sweep.choices import check_depths
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs, controlled, depth_noise
from lensdepth.sweep.loop import Planned, run_sweep, say_undefined, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import named_positions, resolve_spans
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task

ANGLES = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
PARTS = ("direction", "random_direction", "norm")
NONE = {"direction": 0.0, "random_direction": 0.0, "norm": 1.0}
"""Doses that change nothing, and are not run."""


@checked
@bounded
def dose_response(
    model: DepthModel,
    task: Task,
    *,
    angles: Sequence[float] = ANGLES,
    factors: Sequence[float] = FACTORS,
    depths: Depths = None,
    position: str | int = "prediction",
    coordinates: CoordinateName = "raw",
    reference: Task | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    engine: Engine = "auto",
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> DoseProfile:
    """Turn a state by shares of its angle to the source's, and scale its norm, depth by depth.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        angles: shares of the angle between base and source, 0 ... 1 (0 the base, 1 the source's
            direction); beyond 1 the turn goes on past the source.
        factors: of the norm, above 0.
        depths: residual depths 0 ... n_layers, some of them or `"all"`; `"auto"`, which is the
            default in models of more than 16 blocks, those at which patching a few of the pairs
            moves (`lensdepth.sweep.adaptive`), and a coarse grid.
        position: where to edit: `"input"`, `"prediction"`, or an index.
        coordinates: in which direction and norm are taken; see `ablation_sweep`.
        reference: pairs whose source runs give the center of centred coordinates;
            not with others.
        metric: as for `ablation_sweep`.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run, "noise" the clean one.
        control_pairs: pairs that controls are run on, drawn at random; `"all"` of them.
        seed: of the random directions.
        engine: see `lensdepth.replay.replay`.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        DoseProfile. At depth L the norm's curve is flat by the final norm (see
        `AblationProfile.identity_depth`).
    Raises:
        ValueError: before any forward pass: no dose, a negative one or one that is no number, and
            as for `ablation_sweep`.
    """
    caller = "dose_response"
    found = finds_depths(depths, model.n_layers, whole=True, caller=caller)
    asked = check_depths(None if found else depths, model.n_layers, caller=caller)
    _check_doses(angles, factors, caller)
    check_parts("source", coordinates, len(task), caller=caller)
    check_reference(reference, to="source", coordinates=coordinates, caller=caller)
    named = named_positions(task, (position,))
    roles = assign_roles(task, mode, positions=named, caller=caller)
    spans = resolve_spans(roles, (position,), caller=caller)
    parts = [name for name in PARTS[:2] for _ in angles] + ["norm" for _ in factors]
    edits = [polar.rotate_part(share) for _ in PARTS[:2] for share in angles]
    edits += [polar.scale(factor) for factor in factors]
    doses = [*angles, *angles, *factors]
    centred = coordinates == "centred"
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
            "angles": list(angles),
            "factors": list(factors),
            "position": position,
            "depths": asked,
            "depths_found": found,
            "coordinates": coordinates,
            "reference": reference_settings(reference or task) if centred else None,
            "control_pairs": control_pairs,
        },
    )
    model.check_weights()
    asked, options = settled_depths(model, task, options, asked)
    hooks = [depth_hook(depth, model.n_layers) for depth in asked]
    (place,) = prepare_places(
        model, roles, spans, hooks, (position,),
        to="source", coordinates=coordinates, reference=reference, caller=caller,
    )  # fmt: skip
    inside = [place.coordinates[d] for d in range(len(asked))]
    drawn = controlled(len(task), control_pairs, seed)

    def plan(block: slice) -> Planned:
        mine, at = roles.of(block), place.span.of(block)
        base = states_at(model, mine.base, hooks, [at.base]).states
        source = states_at(model, mine.source, hooks, [at.source]).states
        y = place.coordinates.inner(base)
        theta = polar.angle(y, place.coordinates.inner(source))
        pairs, shape = range(len(task))[block], (1, model.d_model)
        noise = depth_noise(pairs, asked, shape, seed)
        # As far from the base as the source is, so that a share of the angle is the same turn.
        turned = polar.rotate_by(y, place.coordinates.tangent(noise), theta.nan_to_num(0.0))
        control = place.coordinates.outer(turned, base)
        nobody = torch.zeros(len(mine.base), dtype=torch.bool)
        towards = {"direction": source, "random_direction": control, "norm": base}
        runs = [
            Run(
                cells=[(i, d)],
                hooks=[hook],
                tokens=at.base,
                states=[towards[part][d]],
                edit=inside[d].edit(edit),
                there=at.present & drawn[block] if part == "random_direction" else at.present,
                moves=nobody if dose == NONE[part] else None,
            )
            for i, (part, dose, edit) in enumerate(zip(parts, doses, edits, strict=True))
            for d, hook in enumerate(hooks)
        ]
        return Planned(runs=runs, beside={"angle": theta[..., 0]})

    read = run_sweep(
        model, roles, options, plan, {"dose": range(len(parts)), "depth": asked},
        n_numbers=3 * len(hooks) * model.d_model, description="dosing",
    )  # fmt: skip
    say_undefined(read.effects, options)
    return DoseProfile(
        provenance=sweep_provenance(model, task, options),
        mode=mode,
        coordinates=coordinates,
        position=place.span.name,
        at_end=at_end([place.span], roles),
        parts=tuple(parts),
        doses=torch.tensor(doses, dtype=torch.float32),
        angle=rearrange(read.beside["angle"], "depth pair -> pair depth"),
        outcome=read.effects,
    )


def _check_doses(angles: object, factors: object, caller: str) -> None:
    for given, name in ((angles, "angles"), (factors, "factors")):
        if not isinstance(given, Sequence) or isinstance(given, str):
            raise ValueError(f"{caller}: {name} must be a list of numbers, got {given!r}.")
    assert isinstance(angles, Sequence)
    assert isinstance(factors, Sequence)
    if not angles and not factors:
        raise ValueError(f"{caller}: there is no dose; give angles, factors or both.")
    wrong = [x for x in angles if not (math.isfinite(x) and x >= 0)]
    if wrong:
        raise ValueError(
            f"{caller}: angles are shares of the angle to the source, 0 or more, got {wrong[0]}."
        )
    wrong = [x for x in factors if not (math.isfinite(x) and x > 0)]
    if wrong:
        raise ValueError(f"{caller}: factors of the norm are above 0, got {wrong[0]}.")
