"""What every sweep is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lensdepth.replay.plan import Engine
from lensdepth.sweep.readings import Metric, check_metrics
from lensdepth.sweep.roles import Mode


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every sweep is told, checked."""

    caller: str
    """Name of the public function."""
    metric: str | Metric = "logit_diff"
    also: Sequence[str | Metric] = ()
    mode: Mode = "denoise"
    seed: int = 0
    engine: Engine = "auto"
    batch_size: int | None = None
    max_memory: int | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    """The options that only this sweep has, by name, as JSON values."""

    def __post_init__(self) -> None:
        _ = self.names  # says which metrics there are

    @property
    def asked(self) -> list[str | Metric]:
        """The metrics, the main one first."""
        return [self.metric, *(other for other in self.also if other != self.metric)]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return check_metrics(self.asked, caller=self.caller)

    def with_own(self, own: Mapping[str, Any]) -> "Options":
        """With further options of the sweep's own."""
        return replace(self, own={**own, **self.own})

    @property
    def settings(self) -> dict[str, Any]:
        """Every option but the seed, under the name that it has in the call."""
        shared = {
            "metric": self.names[0],
            "also": list(self.names[1:]),
            "mode": self.mode,
            "engine": self.engine,
            "batch_size": self.batch_size,
            "max_memory": self.max_memory,
        }
        return {**shared, **self.own}
