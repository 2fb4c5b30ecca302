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
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth import metrics, polar
from lensdepth.ablation.given import STATE_BYTES
from lensdepth.ablation.profile import (
    METRICS,
    AtEnd,
    Effect,
    holds_by_identity,
    named_effect,
)
from lensdepth.ablation.sweep import check_parts, check_reference, prepare_places
from lensdepth.arguments import checked
from lensdepth.coordinates import CoordinateName
from lensdepth.hooks import depth_hook
from lensdepth.model import DepthModel
from lensdepth.patching.grid import pair_blocks
from lensdepth.patching.readings import measure_sets, measure_source
from lensdepth.patching.sites import EditSets, states_at
from lensdepth.patching.spans import resolve_spans
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.replay import Engine
from lensdepth.roles import (
    Mode,
    PositionName,
    assign_roles,
    check_depths,
    pair_noise,
    say_undefined,
)
from lensdepth.storage import load_result, save_result
from lensdepth.tasks import Task

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
    depths: Int[Tensor, " depth"]
    parts: tuple[str, ...]
    """For each dose: `direction` (towards the source), its control `random_direction`, `norm`."""
    doses: Float[Tensor, " dose"]
    """Share of the angle to the source where a direction turns; factor where a norm is scaled."""
    angle: Float[Tensor, "depth pair"]
    """Radians between base and source: the whole turn."""
    base_logit_diff: Float[Tensor, " pair"]
    source_logit_diff: Float[Tensor, " pair"]
    logit_diff: Float[Tensor, "dose depth pair"]
    kl: Float[Tensor, "dose depth pair"]
    """KL(base || edited) in nats."""
    flip: Float[Tensor, "dose depth pair"]
    success: Float[Tensor, "dose depth pair"]

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def identity_depth(self) -> int | None:
        """Depth L, where no factor of the norm can matter; see `AblationProfile.identity_depth`."""
        at_end: AtEnd = "always" if self.position == "prediction" else "never"
        normalization = self.provenance.model.normalization
        there = self.n_layers in self.depths.tolist()
        holds = there and holds_by_identity(at_end, normalization, self.coordinates)
        return self.n_layers if holds else None

    @property
    def transferred(self) -> Float[Tensor, "dose depth pair"]:
        """Transferred fraction of the logit difference: 0 at the base run, 1 at the source run."""
        return metrics.transferred_fraction(
            self.logit_diff, self.base_logit_diff, self.source_logit_diff
        )

    def effect(self, name: Effect = "transferred") -> Float[Tensor, "dose depth pair"]:
        """An effect by its name; 0 where the edit does nothing."""
        return named_effect(self, name)

    def curve(
        self, part: str, values: Float[Tensor, "dose depth pair"], depth: int
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
        return self.doses[rows], values[rows, self.depths.tolist().index(depth)].T

    def to_frame(self) -> "pd.DataFrame":
        """One row a part, dose, depth and pair."""
        import pandas as pd

        shape = self.logit_diff.shape
        dose, depth, pair = (
            axis.flatten()
            for axis in torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
        )
        return pd.DataFrame(
            {
                "position": self.position,
                "part": [self.parts[i] for i in dose.tolist()],
                "dose": self.doses[dose].numpy(),
                "depth": self.depths[depth].numpy(),
                "relative_depth": (self.depths[depth] / self.n_layers).numpy(),
                "pair": pair.numpy(),
                "angle": self.angle.expand(shape).flatten().numpy(),
                **{name: getattr(self, name).flatten().numpy() for name in METRICS},
                "transferred": self.transferred.flatten().numpy(),
            }
        )

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
    model.check_weights()
    hooks = [depth_hook(depth, model.n_layers) for depth in asked]
    (place,) = prepare_places(
        model, roles, spans, hooks, (position,),
        to="source", coordinates=coordinates, reference=reference, caller=caller,
    )  # fmt: skip
    inside = [place.coordinates[d] for d in range(len(asked))]
    parts = [name for name in PARTS[:2] for _ in angles] + ["norm" for _ in factors]
    edits = [polar.rotate_part(share) for _ in PARTS[:2] for share in angles]
    edits += [polar.scale(factor) for factor in factors]
    blocks = pair_blocks(len(task), 3 * len(hooks) * model.d_model, STATE_BYTES)
    found = []
    for block in tqdm(blocks, desc="dosing", disable=None if len(blocks) > 1 else True):
        mine, at = roles.of(block), place.span.of(block)
        base = states_at(model, mine.base, hooks, [at.base]).states
        source = states_at(model, mine.source, hooks, [at.source]).states
        y = place.coordinates.inner(base)
        theta = polar.angle(y, place.coordinates.inner(source))
        pairs = range(len(task))[block]
        noise = pair_noise(pairs, (len(hooks), 1, model.d_model), seed).movedim(0, 1)
        # As far from the base as the source is, so that a share of the angle is the same turn.
        turned = polar.rotate_by(y, place.coordinates.tangent(noise), theta.nan_to_num(0.0))
        control = place.coordinates.outer(turned, base)
        towards = {"direction": source, "random_direction": control, "norm": base}
        sets = EditSets(len(mine.base))
        everyone = torch.ones(len(mine.base), dtype=torch.bool)
        for i, (part, dose) in enumerate(zip(parts, edits, strict=True)):
            for d, hook in enumerate(hooks):
                edit, given = inside[d].edit(dose), towards[part][d]
                site = i * len(hooks) + d
                sets.add(site, [hook], at.base, [given], edit, wanted=everyone)
        base_values, values = measure_sets(
            model, mine, sets, METRICS, len(edits) * len(hooks),
            engine=engine, max_memory=max_memory, description="dosing",
        )  # fmt: skip
        found.append(
            (
                base_values[0],
                measure_source(model, mine, METRICS)[0],
                values.view(len(METRICS), len(edits), len(hooks), -1),
                theta[..., 0],
            )
        )
    base_ld, source_ld, values, theta = (torch.cat(x, dim=-1) for x in zip(*found, strict=True))
    say_undefined(base_ld, source_ld, metric="logit_diff", caller=caller)
    return DoseProfile(
        provenance=make_provenance(
            caller,
            model.info,
            task=task.name,
            prompts=task.clean,
            corrupted=task.corrupted or (),
            settings={
                "angles": list(angles),
                "factors": list(factors),
                "position": position,
                "coordinates": coordinates,
                "mode": mode,
                "engine": engine,
            },
            seed=seed,
        ),
        mode=mode,
        coordinates=coordinates,
        position=position,
        depths=torch.tensor(asked),
        parts=tuple(parts),
        doses=torch.tensor([*angles, *angles, *factors], dtype=torch.float32),
        angle=theta,
        base_logit_diff=base_ld,
        source_logit_diff=source_ld,
        **dict(zip(METRICS, values, strict=True)),
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
