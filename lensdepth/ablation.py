"""Direction-only against norm-only: which part of a state carries the prediction?

At each depth the state at one position is replaced by the source run's, whole, in its direction
alone (the base's norm kept) or in its norm alone (the base's direction kept). Each part has its
matched control: a random direction just as far away in angle, and the norm of another pair's
source. Under a final LayerNorm or RMSNorm the norm cannot matter at depth L whatever the model
does, so depth L is an identity there and summaries leave it out.

Source: claims C5 and C6 of Haim & McNamee, arXiv 2602.04931.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.hooks import depth_hook
from lensdepth.model import DepthModel
from lensdepth.patching.grid import self_patch_error
from lensdepth.patching.readings import measure_sets, measure_source
from lensdepth.patching.sites import EditSets, states_at
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.replay import Engine
from lensdepth.roles import Mode, PositionName, assign_roles, check_depths, shuffled_sources
from lensdepth.storage import load_result, save_result
from lensdepth.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

EDITS = ("full", "direction", "norm")
CONTROLS = ("random_direction", "shuffled_norm")
METRICS = ("logit_diff", "kl", "flip", "success")


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationProfile:
    """Outcome of each edit by depth and pair, at one position."""

    provenance: Provenance
    mode: Mode
    position: str
    depths: Int[Tensor, " depth"]
    edits: tuple[str, ...]
    """`full`, `direction`, `norm`, then the controls `random_direction` and `shuffled_norm`."""
    base_logit_diff: Float[Tensor, " pair"]
    source_logit_diff: Float[Tensor, " pair"]
    logit_diff: Float[Tensor, "edit depth pair"]
    kl: Float[Tensor, "edit depth pair"]
    """KL(base || edited) in nats."""
    flip: Float[Tensor, "edit depth pair"]
    """1 where the edited run's most likely token is not the base run's."""
    success: Float[Tensor, "edit depth pair"]
    """1 where the edited run's most likely token is the source run's answer."""
    angle: Float[Tensor, "depth pair"]
    """Angle between base and source state in radians: how far the direction edit turns."""
    norm_ratio: Float[Tensor, "depth pair"]
    """Source norm over base norm: how much the norm edit scales."""
    self_patch_error: float

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def transferred(self) -> Float[Tensor, "edit depth pair"]:
        """Transferred fraction of the logit difference: 0 at the base run, 1 at the source run."""
        return metrics.transferred_fraction(
            self.logit_diff, self.base_logit_diff, self.source_logit_diff
        )

    @property
    def identity_depth(self) -> int | None:
        """Depth at which the norm cannot matter because the final norm divides it out."""
        final = self.position == "prediction" and self.n_layers in self.depths.tolist()
        return self.n_layers if final and self.provenance.model.normalization != "none" else None

    def of(
        self, edit: str, values: Float[Tensor, "edit depth pair"]
    ) -> Float[Tensor, "pair depth"]:
        """One edit's values, pairs first: `profile.of("norm", profile.transferred)`.

        Raises:
            ValueError: that edit was not made.
        """
        if edit not in self.edits:
            raise ValueError(
                f"AblationProfile: edit {edit!r} was not made; there are {', '.join(self.edits)}."
            )
        return values[self.edits.index(edit)].T

    def to_frame(self) -> "pd.DataFrame":
        """One row an edit, depth and pair."""
        import pandas as pd

        n_edits, _, n_pairs = self.logit_diff.shape
        edit, depth, pair = torch.meshgrid(
            torch.arange(n_edits), self.depths, torch.arange(n_pairs), indexing="ij"
        )
        return pd.DataFrame(
            {
                "position": self.position,
                "edit": [self.edits[i] for i in edit.flatten().tolist()],
                "depth": depth.flatten().numpy(),
                "relative_depth": (depth.flatten() / self.n_layers).numpy(),
                "pair": pair.flatten().numpy(),
                "angle": self.angle.expand_as(depth).flatten().numpy(),
                "norm_ratio": self.norm_ratio.expand_as(depth).flatten().numpy(),
                "base_logit_diff": self.base_logit_diff.expand_as(pair).flatten().numpy(),
                "source_logit_diff": self.source_logit_diff.expand_as(pair).flatten().numpy(),
                "logit_diff": self.logit_diff.flatten().numpy(),
                "transferred": self.transferred.flatten().numpy(),
                "kl": self.kl.flatten().numpy(),
                "flip": self.flip.flatten().numpy(),
                "success": self.success.flatten().numpy(),
            }
        )

    def plot(self) -> "Figure":
        """Transferred fraction by depth for each edit with 95 % bands, controls dashed."""
        from lensdepth import plotting, stats

        roles = {"random_direction": "direction", "shuffled_norm": "norm"}
        names = {"random_direction": "random direction", "shuffled_norm": "another pair's norm"}
        curves = [
            plotting.Curve.from_interval(
                names.get(edit, f"{edit} swap"),
                *stats.bootstrap_mean(self.of(edit, self.transferred).numpy()),
                role=roles.get(edit, edit),
                depths=self.depths.numpy(),
                dashed=edit in CONTROLS,
            )
            for edit in self.edits
        ]
        return plotting.depth_figure(
            curves,
            n_layers=self.n_layers,
            title=f"Direction against norm at the {self.position} position",
            y_title="transferred fraction (0 = base run, 1 = source run)",
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "AblationProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


def ablation_sweep(
    model: DepthModel,
    task: Task,
    *,
    position: PositionName = "prediction",
    depths: list[int] | None = None,
    mode: Mode = "denoise",
    seed: int = 0,
    engine: Engine = "auto",
    max_memory: int | None = None,
) -> AblationProfile:
    """Swap the whole state, its direction alone and its norm alone, one depth at a time.

    Args:
        model: any wrapped model.
        task: pairs of prompts.
        position: where to edit.
        depths: residual depths 0 ... n_layers; all by default.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        seed: of the random directions and of the shuffled norms.
        engine: see `lensdepth.replay.replay`.
        max_memory: see `lensdepth.replay.replay`.
    Returns:
        AblationProfile. With fewer than two pairs there is no `shuffled_norm` control.
    Raises:
        ValueError: a task without pairs, an unknown position or mode, a depth out of range.
        RuntimeError: putting the base run's own states back changes its logits.
    Source: Haim & McNamee, arXiv 2602.04931.
    Example:
        >>> profile = ablation_sweep(model, load_task("months", model))
        >>> profile.of("norm", profile.transferred).mean(0)
    """
    roles = assign_roles(task, mode, positions=(position,), caller="ablation_sweep")
    asked = check_depths(depths, model.n_layers, caller="ablation_sweep")
    model.check_weights()
    hooks = [depth_hook(depth, model.n_layers) for depth in asked]
    at = roles.base_positions[position][:, None]
    base = states_at(model, roles.base, hooks, [at]).states[:, :, 0]
    source_at = roles.source_positions[position][:, None]
    source = states_at(model, roles.source, hooks, [source_at]).states[:, :, 0]
    angles = polar.angle(base, source)
    generator = torch.Generator().manual_seed(seed)

    edits = {name: (polar.EDITS[name], source) for name in EDITS}
    # The control is made here and not inside the hook, so that it does not depend on batching.
    turned = polar.random_at_angle(base, angles.nan_to_num(0.0), generator)
    edits["random_direction"] = (polar.full_swap, turned)
    if len(task) > 1:
        partner = shuffled_sources(roles.intended, seed)
        edits["shuffled_norm"] = (polar.norm_swap, source[:, partner])
    sets = EditSets(len(task))
    everyone = torch.ones(len(task), dtype=torch.bool)
    for i, (edit, states) in enumerate(edits.values()):
        for d, hook in enumerate(hooks):
            site = i * len(hooks) + d
            sets.add(site, [hook], at, [states[d, :, None]], edit, wanted=everyone)
    base_values, values = measure_sets(
        model, roles, sets, METRICS, len(edits) * len(hooks), engine=engine, max_memory=max_memory,
        description="ablating",
    )  # fmt: skip
    source_values = measure_source(model, roles, METRICS)
    read = values.view(len(METRICS), len(edits), len(hooks), len(task))
    return AblationProfile(
        provenance=make_provenance(
            "ablation_sweep",
            model.info,
            task=task.name,
            prompts=task.clean,
            corrupted=task.corrupted or (),
            settings={"position": position, "mode": mode, "scope": "local"},
            seed=seed,
        ),
        mode=mode,
        position=position,
        depths=torch.tensor(asked),
        edits=tuple(edits),
        base_logit_diff=base_values[0],
        source_logit_diff=source_values[0],
        angle=angles,
        norm_ratio=polar.norm(source) / polar.norm(base),
        self_patch_error=self_patch_error(model, roles, hooks, [at], engine=engine),
        **dict(zip(METRICS, read, strict=True)),
    )
