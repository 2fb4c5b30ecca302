"""Edits of the prediction position that hold length against direction, and a prompt against others.

A swap of norms moves a state far less than a swap of directions, so that "the direction does it"
may only mean that it moves further. `stretched` moves a state along itself by exactly the length by
which the direction swap moves it.

Control by angle is selective where turning from one answer to another changes that answer and no
other. `turned` is a rotation of the whole space about the mean state, in the plane of the base's
and the source's deviation from it, by the angle between these: it leads the base's answer to the
source's, and leaves all that is orthogonal to both where it is. `misled` is the rotation of another
pair, with other answers, applied to this prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.claims.zones import at_all_depths
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects
from lensdepth.provenance import Provenance
from lensdepth.site import depth_hook
from lensdepth.sweep.blocks import pair_blocks
from lensdepth.sweep.choices import check_depths
from lensdepth.sweep.controls import other_pairs
from lensdepth.sweep.loop import Planned, run_sweep, sweep_provenance
from lensdepth.sweep.options import Options
from lensdepth.sweep.roles import Mode, assign_roles
from lensdepth.sweep.runs import Run
from lensdepth.sweep.states import states_at
from lensdepth.tasks.task import Task

NORMS = ("halved", "doubled", "swapped", "stretched")
"""Edits that keep the direction."""
DIRECTIONS = ("turned", "misled")
"""Rotations about the mean state."""
CONTRASTS = (*NORMS, *DIRECTIONS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contrasts:
    """Outcome of CONTRASTS at the prediction position, at depths between 0 and L."""

    provenance: Provenance
    mode: Mode
    outcome: Effects
    """By edit, pair and depth: `logit_diff`, `flip`, `success`, `entropy` in nats, and
    `own_probability` of the base run's right answer."""

    def change(self, edit: str, metric: str) -> Float[Tensor, "pair depth"]:
        """By how much an edit changes a metric, at depths 0 ... L; NaN where none was made."""
        return self._by_depth(self.outcome.change(metric)[self.outcome.index("edit", edit)])

    def of(self, edit: str, metric: str) -> Float[Tensor, "pair depth"]:
        """A metric of the edited runs, likewise."""
        return self._by_depth(self.outcome.of(metric, edit=edit))

    @property
    def scaled(self) -> Float[Array, "pair depth"]:
        """Share of halved and doubled norms that change the first choice, at depths 0 ... L; see
        `at_all_depths`."""
        flips = torch.stack([self.outcome.of("flip", edit=edit) for edit in ("halved", "doubled")])
        return at_all_depths(flips.double().mean(0), self)

    def _by_depth(self, values: Float[Tensor, "pair measured"]) -> Float[Tensor, "pair depth"]:
        every = values.new_full((len(values), self.n_layers + 1), torch.nan)
        every[:, self.depths] = values
        return every

    @property
    def depths(self) -> Int[Tensor, " depth"]:
        """Where the edits were made."""
        return self.outcome.places("depth")

    @property
    def n_layers(self) -> int:
        return self.provenance.model.n_layers


def contrast_sweep(
    model: DepthModel, task: Task, *, depths: Sequence[int] | None = None, seed: int = 0
) -> Contrasts:
    """Stretch and turn the base runs' last states, depth by depth.

    Args:
        model: any wrapped model of two blocks or more.
        task: pairs that it answers rightly.
        depths: residual depths, of which 0 and L take no part; all by default.
        seed: of which other pair misleads each one.
    Raises:
        ValueError: the task has plain prompts alone.
    """
    caller = "contrast_sweep"
    roles = assign_roles(task, "denoise", positions=("prediction",), caller=caller)
    own = roles.foil

    def entropy(logits: Tensor, pairs: Tensor) -> Tensor:
        return metrics.entropy(logits)

    def own_probability(logits: Tensor, pairs: Tensor) -> Tensor:
        return metrics.token_prob(logits, own.to(pairs.device)[pairs])

    options = Options(
        caller=caller,
        also=("flip", "success", entropy, own_probability),
        seed=seed,
    )
    asked = check_depths(depths, model.n_layers, caller=caller)
    inside = [depth for depth in asked if 0 < depth < model.n_layers]
    hooks = [depth_hook(depth, model.n_layers) for depth in inside]
    partner = strangers(roles.target, roles.foil, seed)
    base_at, source_at = (at["prediction"] for at in (roles.base_positions, roles.source_positions))

    def states(pairs: slice | Int[Tensor, " pair"]) -> tuple[Tensor, Tensor]:
        base, source = (
            states_at(model, prompts[pairs], hooks, [at[pairs][:, None]]).states
            for prompts, at in ((roles.base, base_at), (roles.source, source_at))
        )
        return base, source

    blocks = pair_blocks(len(task), 2 * len(hooks) * model.d_model)
    sums = [torch.stack([x.double().sum(1) for x in states(block)]).sum(0) for block in blocks]
    mean = (torch.stack(sums).sum(0) / (2 * len(task))).float()[:, None]

    def plan(block: slice) -> Planned:
        at = base_at[block][:, None]
        base, source = states(block)
        other = states(partner[block].clamp(min=0))
        turn = polar.angle(base, source).nan_to_num(0.0)
        longer = 1 + 2 * torch.sin(turn / 2)
        alone = partner[block] < 0
        put = {
            "halved": base / 2,
            "doubled": base * 2,
            "swapped": polar.norm_swap(base, source),
            "stretched": base * longer[..., None],
            "turned": mean + rotated(base - mean, base - mean, source - mean),
            "misled": mean + rotated(base - mean, *(x - mean for x in other)),
        }
        everyone = torch.ones(len(at), dtype=torch.bool)
        runs = [
            Run(
                cells=[(e, d)],
                hooks=[hook],
                tokens=at,
                states=[put[name][d]],
                edit=polar.full_swap,
                there=~alone if name == "misled" else everyone,
                moves=(put[name][d] != base[d]).flatten(1).any(-1),
            )
            for e, name in enumerate(CONTRASTS)
            for d, hook in enumerate(hooks)
        ]
        return Planned(runs=runs)

    read = run_sweep(
        model, roles, options, plan, {"edit": CONTRASTS, "depth": inside},
        n_numbers=(3 + len(CONTRASTS)) * len(hooks) * model.d_model, description="contrasting",
    )  # fmt: skip
    return Contrasts(
        provenance=sweep_provenance(model, task, options), mode="denoise", outcome=read.effects
    )


def rotated(
    x: Float[Tensor, "*batch d_model"],
    first: Float[Tensor, "*batch d_model"],
    second: Float[Tensor, "*batch d_model"],
) -> Float[Tensor, "*batch d_model"]:
    """x rotated in the plane of two vectors, by the angle that leads the first to the second.

    What is orthogonal to both stays, and so does everything where the two are parallel.
    """
    u = polar.direction(first)
    off = polar.project_off(polar.direction(second), u)
    off = torch.where(off.norm(dim=-1, keepdim=True) > polar.UNDEFINED, off, 0.0)
    w = polar.direction(off)
    theta = polar.angle(first, second).nan_to_num(0.0)[..., None]
    along, across = (x * u).sum(-1, keepdim=True), (x * w).sum(-1, keepdim=True)
    inside = theta.cos() * (along * u + across * w) + theta.sin() * (along * w - across * u)
    turned = x - along * u - across * w + inside
    return torch.where((w != 0).any(-1, keepdim=True), turned, x)


def strangers(
    target: Int[Tensor, " pair"], foil: Int[Tensor, " pair"], seed: int
) -> Int[Tensor, " pair"]:
    """For each pair another one whose answers are neither of its own; -1 where there is none."""
    answers = rearrange([target, foil], "side pair -> pair side")

    def fits(pair: int) -> Bool[Tensor, " pair"]:
        return ~torch.isin(answers, answers[pair]).any(1)

    return other_pairs(len(answers), fits, seed)
