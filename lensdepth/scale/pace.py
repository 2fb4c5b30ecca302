"""How far a sweep is: events in plain data, with throughput and the time that is left."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lensdepth.scale.shards import Shard
from lensdepth.telling.plain import Json

Watch = Callable[[Json], None]
"""Takes each event: `event` is `model` (one is known, and its tasks), `planned`, `resumed`,
`damaged`, `shard`, `failed` or `finished`."""


@dataclass(kw_only=True)
class Pace:
    """Counts what is done. What a pair takes is told by the shards of its model and analysis that
    are done, in earlier runs too; where there are none, by all."""

    shards: Sequence[Shard]
    done: set[int] = field(default_factory=set)
    _took: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _pairs: int = 0
    _seconds: float = 0.0

    def known(self, shard: Shard, seconds: float) -> None:
        """A shard was done in an earlier run."""
        self.done.add(shard.number)
        for key in ((shard.model, shard.analysis), (-1, -1)):
            took = self._took.setdefault(key, [0.0, 0.0])
            took[0] += seconds
            took[1] += shard.n_pairs

    def finished(self, shard: Shard, seconds: float) -> None:
        """A shard has been done now."""
        self.known(shard, seconds)
        self._pairs += shard.n_pairs
        self._seconds += seconds

    @property
    def pairs_per_second(self) -> float:
        """In this run, all workers together."""
        return self._pairs / max(time.monotonic() - self._begun, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at this pace; None where nothing is known."""
        if (-1, -1) not in self._took:
            return None
        seconds = 0.0
        for shard in self.shards:
            if shard.number not in self.done:
                key = (shard.model, shard.analysis)
                took, pairs = self._took.get(key, self._took[-1, -1])
                seconds += took / pairs * shard.n_pairs
        at_once = self._seconds / max(time.monotonic() - self._begun, 1e-9)
        return seconds / max(at_once, 1.0)

    def told(self) -> Json:
        """Where the sweep is."""
        left = self.left
        return {
            "done": len(self.done),
            "total": len(self.shards),
            "pairs_per_second": round(self.pairs_per_second, 3),
            "left_seconds": None if left is None else round(left, 1),
        }
