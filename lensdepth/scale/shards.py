"""A sweep cut into shards: one model, one task, one analysis with its settings, one slice of pairs.

The cut depends on nothing but the configuration and how many pairs each task has, so that every run
of a sweep, on whichever engine, has the same shards under the same names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lensdepth.scale.config import SweepConfig
from lensdepth.scale.kinds import KINDS


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What one part of the table is made of."""

    number: int
    model: int
    """Of the configuration's models, and so are the other two."""
    task: int
    analysis: int
    start: int
    """The pairs start ... stop - 1 of the task."""
    stop: int
    place: str
    """Of its part in the folder of the sweep, without an ending."""

    @property
    def n_pairs(self) -> int:
        return self.stop - self.start

    @property
    def part(self) -> str:
        """Its rows."""
        return f"{self.place}.parquet"

    @property
    def receipt(self) -> str:
        """What says that they are whole."""
        return f"{self.place}.json"


def cut(config: SweepConfig, n_pairs: Sequence[Sequence[int]]) -> list[Shard]:
    """All shards, model by model, so that each is loaded once.

    Args:
        config: of the sweep.
        n_pairs: of each task, for each model.
    """
    found: list[Shard] = []
    for model, of_tasks in enumerate(n_pairs):
        for task, n in enumerate(of_tasks):
            for analysis, spec in enumerate(config.analyses):
                longest = config.pairs_per_shard if KINDS[spec.analysis].sliced else n
                for i, (start, stop) in enumerate(slices(n, longest)):
                    found.append(
                        Shard(
                            number=len(found), model=model, task=task, analysis=analysis,
                            start=start, stop=stop,
                            place=f"parts/{model:03}-{task:03}-{analysis:03}/{i:05}",
                        )
                    )  # fmt: skip
    return found


def slices(n: int, longest: int) -> Iterator[tuple[int, int]]:
    """So many pairs in slices of nearly equal size, none longer than that.

    A rest of one pair would have no other pair for its controls.
    """
    parts = max(1, -(-n // longest))
    for i in range(parts):
        yield i * n // parts, (i + 1) * n // parts
