"""What is read off the logits of an edited run: named metrics, or any function of the logits.

A metric is added here: a function of logits in `lensdepth.metrics`, its entry in METRICS, and its
words in `lensdepth.telling.names`. Every sweep, every hypothesis and
`lensdepth patch --metric` take it from there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.finite import first_row
from lensdepth.model import DepthModel
from lensdepth.sweep.roles import Roles

Metric = Callable[[Float[Tensor, "run d_vocab"], Int[Tensor, " run"]], Float[Tensor, " run"]]
"""(next-token logits of some runs, which pair of the task each belongs to) -> one number a run."""


CACHED = 2**20
"""Logits of runs that are read together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBlock:
    """Some pairs of a task, and the unedited runs that metrics compare with."""

    model: DepthModel
    roles: Roles
    """Of these pairs."""
    start: int = 0
    """The first of them in the task."""

    @cached_property
    def base(self) -> Float[Tensor, "pair d_vocab"]:
        """Next-token logits of the base run."""
        return self.model.logits(self.roles.base)[:, 0]

    @cached_property
    def source(self) -> Float[Tensor, "pair d_vocab"]:
        """Next-token logits of the source run."""
        return self.model.logits(self.roles.source)[:, 0]

    def read(
        self,
        asked: Sequence[str | Metric],
        logits: Float[Tensor, "run d_vocab"],
        pairs: Int[Tensor, " run"],
    ) -> Float[Tensor, "metric run"]:
        """The metrics of some runs.

        Args:
            asked: names of METRICS, or functions.
            logits: over the whole vocabulary; named metrics are read where they lie, functions
                see them on the CPU.
            pairs: of the block, one a run; on the CPU.
        """
        if logits.device.type != "cpu":
            return self._read(asked, logits, pairs)
        # A few runs at a time: what is made of their logits then stays in the processor's cache,
        # which takes a fraction of the time.
        rows = torch.arange(len(pairs)).split(max(1, CACHED // logits.shape[-1]))
        return torch.cat([self._read(asked, logits[some], pairs[some]) for some in rows], dim=1)

    def _read(self, asked: Sequence[str | Metric], logits: Tensor, pairs: Tensor) -> Tensor:
        runs = RunLogits(block=self, logits=logits, pairs=pairs)
        return torch.stack(
            [
                METRICS[metric].read(runs).float()
                if isinstance(metric, str)
                else checked_metric(metric, logits.cpu(), pairs + self.start)
                .float()
                .to(logits.device)
                for metric in asked
            ]
        )

    def placed(self, name: str, device: torch.device) -> Tensor:
        """What this block has under a name, on a device; copied there once."""
        kept = vars(self).setdefault("_placed", {})
        if (name, device) not in kept:
            kept[name, device] = getattr(self, name).to(device)
        return kept[name, device]

    @cached_property
    def base_log_probs(self) -> Float[Tensor, "pair d_vocab"]:
        """Log-probabilities of the base run."""
        return metrics.log_probs(self.base)

    @cached_property
    def source_log_probs(self) -> Float[Tensor, "pair d_vocab"]:
        """Log-probabilities of the source run."""
        return metrics.log_probs(self.source)

    @cached_property
    def base_choice(self) -> Int[Tensor, " pair"]:
        """The base run's first choice."""
        return metrics.first_choice(self.base)


@dataclass(frozen=True, kw_only=True, eq=False)
class RunLogits:
    """Logits of some runs with all that a metric may hold them against."""

    block: PairBlock
    logits: Float[Tensor, "run d_vocab"]
    pairs: Int[Tensor, " run"]

    def held(self, name: str) -> Tensor:
        """What the block has under a name, a row a run, where the logits lie."""
        return self.block.placed(name, self.logits.device)[self._rows]

    @cached_property
    def _rows(self) -> Int[Tensor, " run"]:
        return self.pairs.to(self.logits.device)

    @property
    def target(self) -> Int[Tensor, " run"]:
        return self.block.roles.target[self.pairs]

    @property
    def foil(self) -> Int[Tensor, " run"]:
        return self.block.roles.foil[self.pairs]

    @property
    def intended(self) -> Int[Tensor, " run"]:
        """The answer of the source run."""
        return self.block.roles.intended[self.pairs]

    @property
    def replaced(self) -> Int[Tensor, " run"]:
        """The answer of the base run."""
        return self.block.roles.replaced[self.pairs]

    @property
    def succeeds(self) -> Bool[Tensor, " run"]:
        """Whether the source's answer comes first, or before the base's where that is asked."""
        if self.block.roles.preferred:
            return metrics.logit_diff(self.logits, self.intended, self.replaced) > 0
        return self.first_choice == self.intended.to(self.logits.device)

    @cached_property
    def first_choice(self) -> Int[Tensor, " run"]:
        return metrics.first_choice(self.logits)

    @cached_property
    def log_probs(self) -> Float[Tensor, "run d_vocab"]:
        return metrics.log_probs(self.logits)

    @property
    def base(self) -> Float[Tensor, "run d_vocab"]:
        return self.held("base")


@dataclass(frozen=True, kw_only=True)
class NamedMetric:
    """How a metric is read."""

    read: Callable[[RunLogits], Tensor]
    has_slope: bool = False
    """Whether it has a slope at the base run: divergences have none there, flips none at all."""


METRICS: dict[str, NamedMetric] = {
    "logit_diff": NamedMetric(
        read=lambda x: metrics.logit_diff(x.logits, x.target, x.foil), has_slope=True
    ),
    "target_logit": NamedMetric(
        read=lambda x: metrics.answer_logit(x.logits, x.target, x.foil), has_slope=True
    ),
    "foil_logit": NamedMetric(
        read=lambda x: metrics.answer_logit(x.logits, x.foil, x.target), has_slope=True
    ),
    "log_prob": NamedMetric(
        read=lambda x: metrics.token_log_prob(x.logits, x.intended), has_slope=True
    ),
    "answer_probability": NamedMetric(
        read=lambda x: metrics.token_prob(x.logits, x.intended), has_slope=True
    ),
    "kl": NamedMetric(
        read=lambda x: metrics.kl_of_log_probs(x.held("base_log_probs"), x.log_probs)
    ),
    "kl_to_source": NamedMetric(
        read=lambda x: metrics.kl_of_log_probs(x.held("source_log_probs"), x.log_probs)
    ),
    "js": NamedMetric(read=lambda x: metrics.js_divergence(x.base, x.logits)),
    "flip": NamedMetric(read=lambda x: x.first_choice != x.held("base_choice")),
    "success": NamedMetric(read=lambda x: x.succeeds),
    "preference": NamedMetric(
        read=lambda x: metrics.logit_diff(x.logits, x.intended, x.replaced) > 0
    ),
}
"""Metrics that go by a name.

- `logit_diff`: logit(target) - logit(foil), in nats.
- `target_logit`, `foil_logit`: logit of one of the two answers less the mean logit of all tokens
  that are neither, in nats. `logit_diff` is their difference, so that beside it they tell a target
  brought along from a foil erased (`Effects.target_gain`, `Effects.foil_loss`).
- `log_prob`: log-probability of the intended answer, the source run's own, in nats.
- `answer_probability`: probability of the intended answer.
- `kl`: KL(base || edited) in nats.
- `kl_to_source`: KL(source || edited) in nats.
- `js`: Jensen-Shannon divergence of base and edited run in nats.
- `flip`: 1 where the most likely token is not the base run's.
- `success`: 1 where the most likely token is the source run's answer; of pairs kept by preference
  (`load_task(..., keep="preferred")`), what `preference` says.
- `preference`: 1 where the source run's answer is likelier than the base run's.
"""


SHARES = ("flip", "success", "preference")
"""Those that are 0 or 1 for each pair, so that rounding does not show in their size."""


def check_metrics(asked: Sequence[str | Metric], *, caller: str) -> tuple[str, ...]:
    """The names of the asked metrics; a function goes by its own.

    Raises:
        ValueError: a name that is none, or the same one twice.
    """
    names = []
    for metric in asked:
        if isinstance(metric, str) and metric not in METRICS:
            raise ValueError(
                f"{caller}: metric must be one of {', '.join(METRICS)} or a function of the "
                f"logits and the pairs, got {metric!r}."
            )
        names.append(metric if isinstance(metric, str) else getattr(metric, "__name__", "metric"))
    if len(set(names)) < len(names):
        raise ValueError(f"{caller}: each metric is read once, got {', '.join(names)}.")
    return tuple(names)


def checked_metric(metric: Metric, logits: Tensor, pairs: Tensor) -> Tensor:
    """What a user's metric gives, once its shape is right."""
    values = metric(logits, pairs)
    if not isinstance(values, Tensor) or values.shape != pairs.shape:
        got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"metric: the function must give one number a run, a tensor of shape "
            f"{list(pairs.shape)}, got {got}."
        )
    if not values.isfinite().all():
        pair = int(pairs[first_row(values[:, None])])
        raise ValueError(
            f"metric: {getattr(metric, '__name__', 'the function')!r} gave NaN or infinity for "
            f"pair {pair}; a mean would leave it out or be lost in it. Give a finite number."
        )
    return values.detach() if not logits.requires_grad else values
