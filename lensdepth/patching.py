"""Activation patching by depth: put the source run's state into the base run and see what follows.

Patching at the input position asks whether the prediction still reads the input there; patching
at the prediction position asks whether the prediction is already formed. Where the two curves
cross, control passes from the input to the output (claim C2).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from lensdepth import metrics, polar
from lensdepth.hooks import SiteEdit, depth_hook
from lensdepth.model import DepthModel
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.roles import Mode, Roles, assign_roles, check_depths, shuffled_sources
from lensdepth.storage import load_result, save_result
from lensdepth.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

SELF_PATCH_TOLERANCE = 1e-4
"""Largest change of a logit that putting a run's own states back may cause in float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchProfile:
    """Outcome of swapping one residual state at a time, by position, depth and pair."""

    provenance: Provenance
    mode: Mode
    positions: tuple[str, ...]
    depths: Int[Tensor, " depth"]
    base_logit_diff: Float[Tensor, " pair"]
    """logit(target) - logit(foil) of the unedited base run."""
    source_logit_diff: Float[Tensor, " pair"]
    logit_diff: Float[Tensor, "position depth pair"]
    """logit(target) - logit(foil) of the edited run."""
    success: Float[Tensor, "position depth pair"]
    """1 where the edited run's most likely token is the source run's answer, else 0."""
    kl: Float[Tensor, "position depth pair"]
    """KL(base || edited) in nats."""
    control_success: Float[Tensor, "position depth pair"] | None
    """The same with the state of another pair's source: None for a single pair or on request."""
    self_patch_error: float
    """Largest change of any logit when the base run's own states are put back; must be 0."""

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers

    @property
    def transferred(self) -> Float[Tensor, "position depth pair"]:
        """Transferred fraction of the logit difference: 0 at the base run, 1 at the source run."""
        return metrics.transferred_fraction(
            self.logit_diff, self.base_logit_diff, self.source_logit_diff
        )

    def efficacy(self, position: str) -> Float[Tensor, "pair depth"]:
        """Success at one position: the profile that `find_transition` and `find_crossing` take.

        Raises:
            ValueError: that position was not patched.
        """
        return self.success[self._index(position)].T

    def _index(self, position: str) -> int:
        if position not in self.positions:
            raise ValueError(
                f"PatchProfile: position {position!r} was not patched; "
                f"there are {', '.join(self.positions)}."
            )
        return self.positions.index(position)

    def to_frame(self) -> "pd.DataFrame":
        """One row a position, depth and pair."""
        import pandas as pd

        n_positions, _, n_pairs = self.logit_diff.shape
        position, depth, pair = torch.meshgrid(
            torch.arange(n_positions), self.depths, torch.arange(n_pairs), indexing="ij"
        )
        columns: dict[str, object] = {
            "position": [self.positions[i] for i in position.flatten().tolist()],
            "depth": depth.flatten().numpy(),
            "relative_depth": (depth.flatten() / self.n_layers).numpy(),
            "pair": pair.flatten().numpy(),
            "base_logit_diff": self.base_logit_diff.expand_as(pair).flatten().numpy(),
            "source_logit_diff": self.source_logit_diff.expand_as(pair).flatten().numpy(),
            "logit_diff": self.logit_diff.flatten().numpy(),
            "transferred": self.transferred.flatten().numpy(),
            "success": self.success.flatten().numpy(),
            "kl": self.kl.flatten().numpy(),
        }
        if self.control_success is not None:
            columns["control_success"] = self.control_success.flatten().numpy()
        return pd.DataFrame(columns)

    def plot(self) -> "Figure":
        """Efficacy by depth at each position with 95 % bands, the control dashed."""
        from lensdepth import plotting, stats

        curves = []
        for position in self.positions:
            i = self._index(position)
            runs = {"": (self.success[i], False)}
            if self.control_success is not None:
                runs[" (shuffled source)"] = (self.control_success[i], True)
            curves += [
                plotting.Curve.from_interval(
                    f"{position} position{suffix}",
                    *stats.bootstrap_mean(success.T.numpy()),
                    role=position,
                    depths=self.depths.numpy(),
                    dashed=dashed,
                )
                for suffix, (success, dashed) in runs.items()
            ]
        return plotting.depth_figure(
            curves,
            n_layers=self.n_layers,
            title="Patching one residual state",
            y_title="efficacy (share of pairs that give the source's answer)",
            y_range=(-0.03, 1.03),
        )

    def save(self, path: str | Path) -> None:
        """Write to one safetensors file."""
        save_result(self, path)

    @classmethod
    def load(cls, path: str | Path) -> "PatchProfile":
        """Read what `save` wrote."""
        return load_result(cls, path)


def patch_sweep(
    model: DepthModel,
    task: Task,
    *,
    positions: tuple[str, ...] = ("input", "prediction"),
    depths: list[int] | None = None,
    mode: Mode = "denoise",
    control: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> PatchProfile:
    """Swap the residual state at one position and depth for the source run's, for each of them.

    Args:
        model: any wrapped model.
        task: pairs of prompts; they need not have equal token counts, each run has its own
            positions.
        positions: "input", "prediction" or both.
        depths: residual depths 0 ... n_layers; all by default.
        mode: "denoise" edits the corrupted run with clean states, "noise" the reverse.
        control: also patch in the state of another pair's source (another answer).
        seed: picks that other pair.
    Returns:
        PatchProfile; its transferred fraction is 0 at the base run and 1 at the source run.
    Raises:
        ValueError: a task without pairs, an unknown position or mode, a depth out of range.
        RuntimeError: putting the base run's own states back changes its logits.
    Source: Vig et al. 2020, arXiv 2004.12265; Meng et al. 2022, arXiv 2202.05262;
        Heimersheim & Nanda 2024, arXiv 2404.15255.
    Example:
        >>> patch_sweep(model, load_task("months", model)).efficacy("input").mean(0)
    """
    roles = assign_roles(task, mode, positions=positions, caller="patch_sweep")
    asked = check_depths(depths, model.n_layers, caller="patch_sweep")
    states = source_states(model, roles, positions, batch_size=batch_size)
    base_logits = model.logits(roles.base, batch_size=batch_size)[:, 0]
    source_logits = model.logits(roles.source, batch_size=batch_size)[:, 0]

    def one_site(position: int, depth: int, rows: Tensor | None = None) -> list[SiteEdit]:
        state = states[depth, :, position]
        return [
            SiteEdit(
                hook=depth_hook(depth, model.n_layers),
                positions=roles.base_positions[positions[position]],
                edit=polar.full_swap,
                source=state if rows is None else state[rows],
            )
        ]

    sites = [(i, depth) for i in range(len(positions)) for depth in asked]
    edit_sets = [one_site(i, depth) for i, depth in sites]
    if shuffle := control and len(task) > 1:
        partner = shuffled_sources(roles.intended, seed)
        edit_sets += [one_site(i, depth, partner) for i, depth in sites]
    read = [
        {
            "logit_diff": metrics.logit_diff(logits, roles.target, roles.foil),
            "success": metrics.is_top1(logits, roles.intended).float(),
            "kl": metrics.kl_divergence(base_logits, logits),
        }
        for logits in edited_logits(model, roles, edit_sets, "patching", batch_size)
    ]
    shape = (len(positions), len(asked), len(task))

    def grid(name: str, start: int) -> Tensor:
        return torch.stack([r[name] for r in read[start : start + len(sites)]]).view(shape)

    return PatchProfile(
        provenance=make_provenance(
            "patch_sweep",
            model.info,
            task=task.name,
            prompts=task.clean,
            corrupted=task.corrupted or (),
            settings={
                "positions": list(positions),
                "mode": mode,
                "stream": "resid",
                "edit": "full",
            },
            seed=seed,
        ),
        mode=mode,
        positions=tuple(positions),
        depths=torch.tensor(asked),
        base_logit_diff=metrics.logit_diff(base_logits, roles.target, roles.foil),
        source_logit_diff=metrics.logit_diff(source_logits, roles.target, roles.foil),
        logit_diff=grid("logit_diff", 0),
        success=grid("success", 0),
        kl=grid("kl", 0),
        control_success=grid("success", len(sites)) if shuffle else None,
        self_patch_error=self_patch_error(model, roles, positions, batch_size=batch_size),
    )


def source_states(
    model: DepthModel, roles: Roles, positions: tuple[str, ...], *, batch_size: int | None = None
) -> Float[Tensor, "depth pair position d_model"]:
    """Residual states of the source run at the named positions."""
    where = torch.stack([roles.source_positions[name] for name in positions], dim=1)
    return model.residual_stream(roles.source, positions=where, batch_size=batch_size).resid


def base_states(
    model: DepthModel, roles: Roles, positions: tuple[str, ...], *, batch_size: int | None = None
) -> Float[Tensor, "depth pair position d_model"]:
    """Residual states of the base run at the named positions."""
    where = torch.stack([roles.base_positions[name] for name in positions], dim=1)
    return model.residual_stream(roles.base, positions=where, batch_size=batch_size).resid


def self_patch_error(
    model: DepthModel, roles: Roles, positions: tuple[str, ...], *, batch_size: int | None = None
) -> float:
    """Put the base run's own states back at every depth at once; the largest change of a logit.

    Raises:
        RuntimeError: it is above the tolerance, so no patch of this model can be trusted.
    """
    states = base_states(model, roles, positions, batch_size=batch_size)
    edits = [
        SiteEdit(
            hook=depth_hook(depth, model.n_layers),
            positions=roles.base_positions[name],
            edit=polar.full_swap,
            source=states[depth, :, i],
        )
        for depth in range(model.n_layers + 1)
        for i, name in enumerate(positions)
    ]
    plain, patched = (
        logits[:, 0] for logits in model.run_edits(roles.base, [[], edits], batch_size=batch_size)
    )
    error = (patched - plain).abs().max().item()
    if not error <= SELF_PATCH_TOLERANCE:
        raise RuntimeError(
            f"self-patch: putting the model's own states back changed a logit by {error:.1e}, "
            f"where {SELF_PATCH_TOLERANCE:.0e} is allowed; hooks on {model.info.name!r} "
            f"({model.info.backend}) cannot be trusted."
        )
    return error


def edited_logits(
    model: DepthModel,
    roles: Roles,
    edit_sets: list[list[SiteEdit]],
    what: str,
    batch_size: int | None,
) -> Iterator[Float[Tensor, "pair d_vocab"]]:
    """Logits at the prediction position after each set of edits, with a progress bar."""
    runs = model.run_edits(roles.base, edit_sets, batch_size=batch_size)
    for logits in tqdm(runs, desc=what, total=len(edit_sets), disable=None, leave=False):
        yield logits[:, 0]
