"""What is read off the logits of an edited run: named metrics, or any function of the logits."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth import metrics
from lensdepth.finite import first_row
from lensdepth.model import DepthModel
from lensdepth.patching.sites import EditSets
from lensdepth.replay import Engine, replay_measure
from lensdepth.roles import Roles

Metric = Callable[[Float[Tensor, "run d_vocab"], Int[Tensor, " run"]], Float[Tensor, " run"]]
"""(next-token logits of some runs, which pair each belongs to) -> one number a run."""

METRICS = ("logit_diff", "log_prob", "kl", "js", "flip", "success")
"""Metrics that go by a name.

- `logit_diff`: logit(target) - logit(foil), in nats.
- `log_prob`: log-probability of the intended answer, the source run's own, in nats.
- `kl`: KL(base || edited) in nats.
- `js`: Jensen-Shannon divergence of base and edited run in nats.
- `flip`: 1 where the most likely token is not the base run's.
- `success`: 1 where the most likely token is the source run's answer.
"""


class Readings:
    """Reads the asked metrics off logits, `[metric, run]`.

    Args:
        asked: names of METRICS, or functions.
        roles: of the pairs.
        base_logits: of the unedited base run; None where no metric needs them.
    """

    def __init__(
        self,
        asked: Sequence[str | Metric],
        roles: Roles,
        base_logits: Float[Tensor, "pair d_vocab"] | None,
    ) -> None:
        self._asked, self._roles, self._base = asked, roles, base_logits

    def __call__(
        self, logits: Float[Tensor, "run d_vocab"], pairs: Int[Tensor, " run"]
    ) -> Float[Tensor, "metric run"]:
        """The metrics of runs on the whole vocabulary."""
        return torch.stack([self._one(metric, logits, pairs).float() for metric in self._asked])

    def of_sets(
        self,
        model: DepthModel,
        sets: EditSets,
        engine: Engine,
        max_memory: int | None,
        description: str,
    ) -> Float[Tensor, "metric set pair"]:
        """The metrics of every set of edits; NaN where a set was not run."""
        roles, columns = self._roles, None
        if only_answers(self._asked):
            columns = torch.stack([roles.target, roles.foil], dim=1)

        def measure(logits: Tensor, pairs: Tensor) -> dict[str, Tensor]:
            if columns is not None:
                return {"0": logits[:, 0] - logits[:, 1]}
            return {str(i): values for i, values in enumerate(self(logits, pairs))}

        found = replay_measure(
            model,
            roles.base,
            sets.sets,
            measure,
            columns=columns,
            only=sets.only,
            engine=engine,
            max_memory=max_memory,
            description=description,
        )
        return torch.stack([found[str(i)] for i in range(len(self._asked))])

    def _one(self, metric: str | Metric, logits: Tensor, pairs: Tensor) -> Tensor:
        roles = self._roles
        if not isinstance(metric, str):
            return checked_metric(metric, logits, pairs)
        if metric == "logit_diff":
            return metrics.logit_diff(logits, roles.target[pairs], roles.foil[pairs])
        if metric == "log_prob":
            return metrics.token_log_prob(logits, roles.intended[pairs])
        if metric == "success":
            return metrics.is_top1(logits, roles.intended[pairs])
        assert self._base is not None
        base = self._base[pairs]
        if metric == "kl":
            return metrics.kl_divergence(base, logits)
        if metric == "js":
            return metrics.js_divergence(base, logits)
        return ~metrics.is_top1(logits, base.argmax(-1))


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


def only_answers(asked: Sequence[str | Metric]) -> bool:
    """Whether the logits of target and foil are all that is read."""
    return all(metric == "logit_diff" for metric in asked)


def measure_sets(
    model: DepthModel,
    roles: Roles,
    sets: EditSets,
    asked: Sequence[str | Metric],
    n_sites: int,
    *,
    engine: Engine,
    max_memory: int | None,
    description: str = "patching",
) -> tuple[Float[Tensor, "metric pair"], Float[Tensor, "metric site pair"]]:
    """The metrics of the base run and of the runs of each site; what was not run is the base's."""
    need_base = any(metric in ("kl", "js", "flip") for metric in asked)
    read = Readings(asked, roles, model.logits(roles.base)[:, 0] if need_base else None)
    found = read.of_sets(model, sets, engine, max_memory, description)
    filled = torch.stack([sets.filled(values, n_sites) for values in found])
    return found[:, 0], filled


def measure_source(
    model: DepthModel, roles: Roles, asked: Sequence[str | Metric]
) -> Float[Tensor, "metric pair"]:
    """The metrics of the source run, against the base run where they compare."""
    need_base = any(metric in ("kl", "js", "flip") for metric in asked)
    read = Readings(asked, roles, model.logits(roles.base)[:, 0] if need_base else None)
    return read(model.logits(roles.source)[:, 0], torch.arange(len(roles.base)))
