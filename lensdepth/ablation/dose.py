"""Dose and response: how far must a direction turn, or a norm grow, before the prediction moves?

At every depth the state is turned by a share of its angle to the source's (0 is the base, 1 the
direction swap), towards the source and, as a control, in a random direction; and its norm is
scaled, its direction kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import polar
from lensdepth.ablation.checks import check_parts, check_reference, reference_settings
from lensdepth.ablation.profile import ALSO, AtEnd, Effect, holds_by_identity, named_effect
from lensdepth.ablation.sweep import prepare_places
from lensdepth.arguments import checked
from lensdepth.coordinates import CoordinateName
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects
from lensdepth.provenance import Provenance
from lensdepth.replay.plan import Engine
from lensdepth.site import depth_hook
from lensdepth.storage import load_result, save_result
from lensdepth.sweep.choices import check_depths
from lensdepth.sweep.controls import pair_noise
from lensdepth.sweep.loop import Options, Planned, run_sweep, say_undefined, sweep_provenance
from lensdepth.sweep.readings import Metric
from lensdepth.sweep.roles import Mode, PositionName, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.spans import resolve_spans
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

ANGLES = (0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
PARTS = ("direction", "random_direction", "norm")


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class DoseProfile:
    """Outcome of turns and stretches of growing size, by depth and pair."""

    provenance: Provenance
    mode: Mode
    coordinates: CoordinateName
    position: str
    parts: tuple[str, ...]
    """For each dose: `direction` (towards the source), its control `random_direction`, `norm`."""
    doses: Float[Tensor, " dose"]
    """Share of the angle to the source where a direction turns; factor where a norm is scaled."""
    angle: Float[Tensor, "pair depth"]
    """Radians between base and source: the whole turn."""
    outcome: Effects
    """By dose, pair and depth."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        return torch.tensor(self.outcome.coords["depth"])

    @property
    def base_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.outcome.base[self.outcome.index("metric", "logit_diff")]

    @property
    def source_logit_diff(self) -> Float[Tensor, " pair"]:
        return self.outcome.source[self.outcome.index("metric", "logit_diff")]

    @property
    def logit_diff(self) -> Float[Tensor, "dose pair depth"]:
        return self.outcome.of("logit_diff", owner="DoseProfile")

    @property
    def kl(self) -> Float[Tensor, "dose pair depth"]:
        """KL(base || edited) in nats."""
        return self.outcome.of("kl", owner="DoseProfile")

    @property
    def flip(self) -> Float[Tensor, "dose pair depth"]:
        return self.outcome.of("flip", owner="DoseProfile")

    @property
    def success(self) -> Float[Tensor, "dose pair depth"]:
        return self.outcome.of("success", owner="DoseProfile")

    @property
    def identity_depth(self) -> int | None:
        """Depth L, where no factor of the norm can matter; see `AblationProfile.identity_depth`."""
        at_end: AtEnd = "always" if self.position == "prediction" else "never"
        normalization = self.provenance.model.normalization
        there = self.n_layers in self.depths.tolist()
        holds = there and holds_by_identity(at_end, normalization, self.coordinates)
        return self.n_layers if holds else None

    @property
    def transferred(self) -> Float[Tensor, "dose pair depth"]:
        """Transferred fraction of the main metric: 0 at the base run, 1 at the source run."""
        return self.outcome.transferred()

    def effect(self, name: Effect = "transferred") -> Float[Tensor, "dose pair depth"]:
        """An effect by its name; 0 where the edit does nothing."""
        return named_effect(self.outcome, name, owner="DoseProfile")

    def curve(
        self, part: str, values: Float[Tensor, "dose pair depth"], depth: int
    ) -> tuple[Float[Tensor, " part_dose"], Float[Tensor, "pair part_dose"]]:
        """The doses of one part and the response of each pair to them, at one depth.

        Raises:
            ValueError: that part or depth was not swept.
        """
        if part not in self.parts or depth not in self.depths.tolist():
            raise ValueError(
                f"DoseProfile: there is no dose of {part!r} at depth {depth}; parts are "
                f"{', '.join(dict.fromkeys(self.parts))}, depths {self.depths.tolist()}."
            )
        rows = torch.tensor([p == part for p in self.parts])
        return self.doses[rows], rearrange(
            values[rows, :, self.depths.tolist().index(depth)], "dose pair -> pair dose"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row a part, dose, depth and pair."""
        frame = self.outcome.to_frame(
            "resid_pre",
            self.n_layers,
            {"amount": ("dose", self.doses), "angle": ("pair depth", self.angle)},
        )
        parts = [self.parts[i] for i in frame["dose"]]
        frame = frame.assign(position=self.position, part=parts, dose=frame["amount"])
        return frame.drop(columns="amount")

    def plot(self, effect: Effect = "transferred") -> "Figure":
        """One small panel a depth: response to the turn, and to the norm."""
        from lensdepth.ablation.figures import dose_figure

        return dose_figure(self, effect)

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "DoseProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


@checked
def dose_response(
    model: DepthModel,
    task: Task,
    *,
    angles: Sequence[float] = ANGLES,
    factors: Sequence[float] = FACTORS,
    position: PositionName = "prediction",
    depths: Sequence[int] | None = None,
    coordinates: CoordinateName = "raw",
    reference: Task | None = None,
    metric: str | Metric = "logit_diff",
    also: Sequence[str | Metric] = ALSO,
    mode: Mode = "denoise",
    seed: int = 0,
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> DoseProfile:
    """Turn a state by shares of its angle to the source's, and scale its norm, depth by depth.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        angles: shares of the angle between base and source, 0 ... 1 (0 the base, 1 the source's
            direction); beyond 1 the turn goes on past the source.
        factors: of the norm, above 0.
        position: where to edit.
        depths: residual depths 0 ... n_layers; all by default.
        coordinates: in which direction and norm are taken; see `ablation_sweep`.
        reference: pairs whose source runs give the center of centred coordinates;
            not with others.
        metric: as for `ablation_sweep`.
        also: further metrics that are read off the same runs.
        mode: "denoise" edits the corrupted run, "noise" the clean one.
        seed: of the random directions.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
    Returns:
        DoseProfile. At depth L the norm's curve is flat by the final norm (see
        `AblationProfile.identity_depth`).
    Raises:
        ValueError: before any forward pass: no dose, a negative one or one that is no number, and
            as for `ablation_sweep`.
    """
    caller = "dose_response"
    asked = check_depths(depths, model.n_layers, caller=caller)
    _check_doses(angles, factors, caller)
    check_parts("source", coordinates, len(task), caller=caller)
    check_reference(reference, to="source", coordinates=coordinates, caller=caller)
    roles = assign_roles(task, mode, positions=(position,), caller=caller)
    spans = resolve_spans(roles, (position,), caller=caller)
    parts = [name for name in PARTS[:2] for _ in angles] + ["norm" for _ in factors]
    edits = [polar.rotate_part(share) for _ in PARTS[:2] for share in angles]
    edits += [polar.scale(factor) for factor in factors]
    centred = coordinates == "centred"
    options = Options(
        caller=caller,
        metric=metric,
        also=also,
        mode=mode,
        seed=seed,
        engine=engine,
        max_memory=max_memory,
        own={
            "angles": list(angles),
            "factors": list(factors),
            "position": position,
            "depths": asked,
            "coordinates": coordinates,
            "reference": reference_settings(reference or task) if centred else None,
        },
    )
    model.check_weights()
    hooks = [depth_hook(depth, model.n_layers) for depth in asked]
    (place,) = prepare_places(
        model, roles, spans, hooks, (position,),
        to="source", coordinates=coordinates, reference=reference, caller=caller,
    )  # fmt: skip
    inside = [place.coordinates[d] for d in range(len(asked))]

    def plan(block: slice) -> Planned:
        mine, at = roles.of(block), place.span.of(block)
        base = states_at(model, mine.base, hooks, [at.base]).states
        source = states_at(model, mine.source, hooks, [at.source]).states
        y = place.coordinates.inner(base)
        theta = polar.angle(y, place.coordinates.inner(source))
        noise = pair_noise(range(len(task))[block], (len(hooks), 1, model.d_model), seed)
        noise = rearrange(noise, "pair depth token d_model -> depth pair token d_model")
        # As far from the base as the source is, so that a share of the angle is the same turn.
        turned = polar.rotate_by(y, place.coordinates.tangent(noise), theta.nan_to_num(0.0))
        control = place.coordinates.outer(turned, base)
        towards = {"direction": source, "random_direction": control, "norm": base}
        everyone = torch.ones(len(mine.base), dtype=torch.bool)
        runs = [
            Run(
                cells=[(i, d)],
                hooks=[hook],
                tokens=at.base,
                states=[towards[part][d]],
                edit=inside[d].edit(dose),
                there=everyone,
            )
            for i, (part, dose) in enumerate(zip(parts, edits, strict=True))
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
        position=position,
        parts=tuple(parts),
        doses=torch.tensor([*angles, *angles, *factors], dtype=torch.float32),
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
