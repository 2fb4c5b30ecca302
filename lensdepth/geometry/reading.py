"""One pass over the prompts: what each state says by itself, and running sums over all of them.

Memory holds the states of a few prompts at a time and of the sample between which pairs are
measured; of every other prompt a handful of numbers a depth is kept. `read_states` keeps the states
of all prompts, for whoever measures several things on them: `geometry_profile` and the claims.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import metrics, polar
from lensdepth.model import DepthModel
from lensdepth.prompts import origin_of
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.site import Stream, depth_hook, site_hook
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch

NUMBERS_AT_ONCE = 2**24
"""Most numbers in the residual states held at once: 64 MiB. One prompt may need more."""
READOUT_BATCH = 32
"""Prompts whose logits the readout works on at once."""
MASSIVE, MASSIVE_RATIO = 100.0, 1000.0
"""A massive activation is larger than both: this, and so many times the state's median."""
WRITES: tuple[Stream, ...] = ("attn_out", "mlp_out")


class Moments:
    """Mean and variance of every coordinate, in float64, one batch after the other.

    Source: Chan, Golub & LeVeque 1983, "Algorithms for Computing the Sample Variance".
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor = torch.zeros((), dtype=torch.float32)
        self._squares: Tensor = torch.zeros((), dtype=torch.float32)

    def add(self, x: Float[Tensor, "depth batch d_model"]) -> None:
        """Take in some prompts."""
        wide, n = x.double(), x.shape[1]
        mean = wide.mean(1)
        squares = (wide - mean[:, None]).square().sum(1)
        if self.count == 0:
            self.mean, self._squares = torch.zeros_like(mean), torch.zeros_like(mean)
        gap, total = mean - self.mean, self.count + n
        self._squares = self._squares + squares + gap.square() * (self.count * n / total)
        self.mean = self.mean + gap * (n / total)
        self.count = total

    @property
    def variance(self) -> Float[Tensor, "depth d_model"]:
        """Over all prompts so far, divided by their number."""
        return self._squares / self.count


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What one pass over the prompts gives."""

    per_prompt: dict[str, Tensor]
    """By measure, `[depth, prompt]` or `[layer, prompt]`."""
    mean: Float[Tensor, "depth d_model"]
    """Of every coordinate over all prompts, in float64."""
    variance: Float[Tensor, "depth d_model"]
    sample: Int[Tensor, " sample"]
    """Prompts whose states were kept, ascending."""
    states: Float[Tensor, "depth sample d_model"]
    """Those of the sample."""
    log_probs: Float[Tensor, "sample d_vocab"]
    """The model's own predictions there."""
    provenance: Provenance | None = None
    """Of what `read_states` made."""

    def of(self, prompts: Int[Tensor, " asked"]) -> "Reading":
        """The same with the states of some of the sample alone.

        Args:
            prompts: those to keep, ascending, all of them of the sample.
        """
        at = torch.searchsorted(self.sample, prompts)
        states, log_probs = self.states[:, at], self.log_probs[at]
        return replace(self, sample=prompts, states=states, log_probs=log_probs, provenance=None)


def read_states(model: DepthModel, task: Task, *, batch_size: int | None = None) -> Reading:
    """Read every clean prompt of a task at its own last token, and keep all of the states.

    What `geometry_profile` and the claims read of a task, for both to take.

    Args:
        model: any wrapped model.
        task: pairs, of which the clean prompts are read, or plain prompts.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
    """
    batch = task.clean_tokens
    every = torch.arange(len(batch))
    reading = read_prompts(
        model, batch, batch.last, every, include_first=False, batch_size=batch_size
    )
    provenance = make_provenance(
        "read_states", model.info, **origin_of(task, task.clean), settings={}
    )
    return replace(reading, provenance=provenance)


def read_prompts(
    model: DepthModel,
    batch: TokenBatch,
    position: Int[Tensor, " prompt"],
    sample: Int[Tensor, " sample"],
    *,
    include_first: bool,
    batch_size: int | None,
) -> Reading:
    """Run every prompt once for its residual states and once for what its blocks write.

    Args:
        model: any wrapped model.
        batch: the prompts.
        position: the position of each that is measured.
        sample: the prompts whose states are kept.
        include_first: let position 0 take part in the curvature.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
    """
    width = (model.n_layers + 1) * batch.tokens.shape[1] * model.d_model
    at_once = max(1, NUMBERS_AT_ONCE // width)
    hooks = write_hooks(model)
    gathered = Gathered(sample)
    for start in range(0, len(batch), at_once):
        rows = torch.arange(start, min(start + at_once, len(batch)))
        every = model.residual_stream(batch[rows], "all", batch_size=batch_size)
        states = every.resid[:, torch.arange(len(rows)), position[rows]]
        there = every.positions >= (0 if include_first else 1)
        beside = {"curvature": curvature(every.resid, there)}
        if hooks:
            # The last state of all ends the pass after every block has written.
            names = [*hooks.values(), [depth_hook(model.n_layers, model.n_layers)]]
            flat = [hook for hooks_of in names for hook in hooks_of]
            found = model.activations(batch[rows], flat, position[rows], batch_size=batch_size)
            for i, name in enumerate(hooks):
                of_stream = found[i * model.n_layers : (i + 1) * model.n_layers, :, 0]
                beside[name] = _share(polar.norm(of_stream), polar.norm(states[:-1]))
        gathered.add(rows, states, beside)
    return gathered.reading(model.readout)


class Gathered:
    """What is kept of prompts that are read one lot after the other.

    Args:
        sample: the prompts whose states are kept.
    """

    def __init__(self, sample: Int[Tensor, " sample"]) -> None:
        self._sample, self._moments = sample, Moments()
        self._parts: list[dict[str, Tensor]] = []
        self._kept: list[Tensor] = []

    def add(
        self,
        rows: Int[Tensor, " row"],
        states: Float[Tensor, "depth row d_model"],
        beside: dict[str, Tensor],
    ) -> None:
        """Take in some prompts.

        Args:
            rows: which they are.
            states: at the position of each that is measured.
            beside: what else is known of each, `[depth or layer, row]`, by measure.
        """
        self._moments.add(states)
        self._kept.append(states[:, torch.isin(rows, self._sample)])
        self._parts.append(measure_states(states) | beside)

    def reading(self, readout: Callable[[Tensor], Tensor]) -> Reading:
        """All of it, with the predictions of the sample."""
        states = torch.cat(self._kept, dim=1)
        last = states[-1].split(READOUT_BATCH)
        return Reading(
            per_prompt={
                name: torch.cat([part[name] for part in self._parts], dim=1)
                for name in self._parts[0]
            },
            mean=self._moments.mean,
            variance=self._moments.variance,
            sample=self._sample,
            states=states,
            log_probs=torch.cat([metrics.log_probs(readout(x)) for x in last]),
        )


def write_hooks(model: DepthModel) -> dict[str, list[str]]:
    """Hooks of what attention and MLP add, by measure; a stream that some block lacks is left out.

    Blocks whose MLP reads what attention wrote and blocks with both side by side have them alike.
    """
    named = {
        stream.replace("_out", "_write"): [site_hook(stream, i) for i in range(model.n_layers)]
        for stream in WRITES
    }
    return {
        name: hooks
        for name, hooks in named.items()
        if all(hook in model.hook_points for hook in hooks)
    }


def measure_states(x: Float[Tensor, "depth prompt d_model"]) -> dict[str, Tensor]:
    """Norm, turns, update and massive activations of each prompt's states."""
    norm, update = polar.norm(x), x[1:] - x[:-1]
    size = x.abs()
    bound = (MASSIVE_RATIO * size.median(-1, keepdim=True).values).clamp(min=MASSIVE)
    return {
        "norm": norm,
        "step_angle": polar.angle(x[:-1], x[1:]),
        "angle_to_final": polar.angle(x, x[-1:].expand_as(x)),
        "update": _share(polar.norm(update), norm[:-1]),
        "update_angle": polar.angle(x[:-1], update),
        "massive": (size > bound).sum(-1).float(),
    }


def curvature(
    x: Float[Tensor, "depth prompt pos d_model"], there: Bool[Tensor, "prompt pos"]
) -> Float[Tensor, "depth prompt"]:
    """Mean angle between the steps from token to token; NaN with fewer than three tokens.

    Source: Hosseini & Fedorenko 2023, arXiv 2311.04930.
    """
    step = x[:, :, 1:] - x[:, :, :-1]
    turn = polar.angle(step[:, :, :-1], step[:, :, 1:])
    both = there[:, :-2] & there[:, 1:-1] & there[:, 2:]
    return torch.where(both, turn, torch.nan).nanmean(-1)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """A length over another; NaN where that is 0."""
    return torch.where(whole > 0, part / whole, torch.nan)
