"""A capture that is read: its states a depth of a shard at a time, whatever its size."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lensdepth.arguments import checked
from lensdepth.captures.ending import READOUT, KeptReadout, load_readout
from lensdepth.captures.foreign import foreign_index, is_foreign, read_array
from lensdepth.captures.index import Index, Shard, read_index, shard_name, tensor_name
from lensdepth.captures.shards import read_tensor
from lensdepth.captures.task_record import task_of_json
from lensdepth.outside import shown
from lensdepth.prompts import origin_of
from lensdepth.provenance import ModelInfo, Provenance, make_provenance
from lensdepth.residual import ResidualStream
from lensdepth.tasks.task import Task
from lensdepth.tokens import TokenBatch, pad_tokens

CALLER = "ResidualStream.open"


@checked
class Capture:
    """Residual states on disk; made by `capture`, opened by `ResidualStream.open`.

    Nothing is read before it is asked for, and what is read is held against its checksum.

    Args:
        folder: where it is.
        index: what it holds.
    """

    MADE_BY: ClassVar[str] = "ResidualStream.open(folder)"
    """The call that makes one."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder, self._index = folder, index

    def __repr__(self) -> str:
        return (
            f"Capture({shown(str(self.folder))}: {len(self)} prompts, depths "
            f"{', '.join(map(str, self.depths))})"
        )

    def __len__(self) -> int:
        return len(self._index.prompts)

    @property
    def info(self) -> ModelInfo:
        """The model that the states are of."""
        return self._index.model

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that were kept."""
        return self._index.depths

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts as text."""
        return self._index.prompts

    @property
    def dtype(self) -> str:
        """In which the states are stored; they are given out in float32."""
        return self._index.dtype

    @cached_property
    def task(self) -> Task | None:
        """The task that was captured; None of prompts by themselves."""
        return None if self._index.task is None else task_of_json(self._index.task)

    @property
    def side(self) -> str:
        """Which prompts of the task: `clean` or `corrupted`."""
        return self._index.side

    @cached_property
    def tokens(self) -> TokenBatch:
        """The prompts."""
        return pad_tokens(self._index.tokens, 0)

    @cached_property
    def positions(self) -> Int[Tensor, "prompt pos"]:
        """Where in its prompt each state stands; -1 where a prompt has fewer."""
        rows = self._index.positions
        width = max(1, *map(len, rows))
        return torch.tensor([[*row, *[-1] * (width - len(row))] for row in rows])

    @property
    def shards(self) -> list[dict[str, Any]]:
        """The files of states: name, first prompt, one past the last, bytes."""
        return [
            {
                "file": shard.file,
                "first": shard.first,
                "stop": shard.stop,
                "bytes": (self.folder / shard.file).stat().st_size,
            }
            for shard in self._index.shards
        ]

    @property
    def provenance(self) -> Provenance:
        """Where the states come from; the time is that of the asking."""
        settings = {"depths": list(self.depths), "side": self.side, "dtype": self.dtype}
        task = self.task if self.side == "clean" else None
        origin = origin_of(task, list(self.prompts))
        return make_provenance("capture", self.info, **origin, settings=settings)

    @property
    def has_readout(self) -> bool:
        """Whether the final norm and the unembedding were kept."""
        return bool(self._index.readout)

    def token_text(self, token: int) -> str:
        """What a token of the prompts stands for; its id where that is not known."""
        return self._index.vocabulary.get(str(token), str(token))

    @cached_property
    def ending(self) -> KeptReadout:
        """The model's final norm and unembedding.

        Raises:
            ValueError: they were not kept, or are damaged.
        """
        if not self.has_readout:
            raise ValueError(
                f"Capture: {shown(str(self.folder))} was made without the model's readout, which "
                f"lenses and couplings need; capture again with readout=True, which adds it."
            )
        return load_readout(self.folder / READOUT, self._index.readout, caller=CALLER)

    def readout(
        self,
        resid: Float[Tensor, "*shape d_model"],
        columns: Int[Tensor, "*shape column"] | None = None,
    ) -> Float[Tensor, "*shape _"]:
        """Logits of states, float32; see `DepthModel.readout`.

        Raises:
            ValueError: the readout was not kept.
        """
        return self.ending.readout(resid, columns)

    def read(
        self,
        depths: Sequence[int] | None = None,
        prompts: Sequence[int] | slice | None = None,
    ) -> Float[Tensor, "depth prompt pos d_model"]:
        """States of some depths and prompts, float32, in the order asked for.

        There are zeros where a prompt has fewer positions than others.

        Args:
            depths: of those that were kept; None: all of them.
            prompts: indices; None: all of them.
        Raises:
            ValueError: a depth that was not kept, or a shard that is damaged.
            IndexError: there is no such prompt.
            FileNotFoundError: a shard is missing.
        """
        asked = self.depths if depths is None else tuple(depths)
        absent = [depth for depth in asked if depth not in self.depths]
        if absent:
            raise ValueError(
                f"Capture: depth {absent[0]} was not kept; there are "
                f"{', '.join(map(str, self.depths))}."
            )
        rows = self._rows(prompts)
        shape = (len(asked), len(rows), self.positions.shape[1], self.info.d_model)
        out = torch.zeros(shape, dtype=torch.float32)
        for shard in self._index.shards:
            mine = ((rows >= shard.first) & (rows < shard.stop)).nonzero()[:, 0]
            if not len(mine):
                continue
            for i, depth in enumerate(asked):
                states = self._tensor(shard, depth)[rows[mine] - shard.first]
                out[i, mine, : states.shape[1]] = states.float()
        out[:, self.positions[rows] < 0] = 0
        return out

    def _rows(self, prompts: Sequence[int] | slice | None) -> Int[Tensor, " row"]:
        every = torch.arange(len(self))
        if prompts is None or isinstance(prompts, slice):
            return every[prompts or slice(None)]
        rows = torch.tensor(list(prompts), dtype=torch.long)
        wrong = rows[(rows < -len(self)) | (rows >= len(self))]
        if len(wrong):
            raise IndexError(
                f"Capture: there is no prompt {int(wrong[0])}; there are 0...{len(self) - 1}."
            )
        return every[rows]

    def _tensor(self, shard: Shard, depth: int) -> Tensor:
        path = self.folder / shard.file
        if is_foreign(shard):
            return read_array(path, shard, self.depths.index(depth), caller=CALLER)
        name = tensor_name(depth)
        return read_tensor(path, name, shard.sums[name], caller=CALLER)

    def parts(self) -> Iterator[slice]:
        """Prompts whose states lie together in a shard: what to read at a time of a large one."""
        for shard in self._index.shards:
            yield slice(shard.first, shard.stop)

    def stream(self, prompts: Sequence[int] | slice | None = None) -> ResidualStream:
        """Some prompts as a `ResidualStream`, in memory.

        Raises:
            ValueError: not every depth was kept.
        """
        self.check_whole("a ResidualStream")
        rows = self._rows(prompts)
        return ResidualStream(
            resid=self.read(prompts=rows.tolist()),
            positions=self.positions[rows],
            tokens=TokenBatch(tokens=self.tokens.tokens[rows], lengths=self.tokens.lengths[rows]),
            info=self.info,
        )

    @property
    def resid(self) -> Float[Tensor, "depth batch pos d_model"]:
        """All states, read now; `read` and `parts` take some."""
        return self.stream().resid

    def check_whole(self, what: str) -> None:
        """Refuse a capture of some depths alone.

        Raises:
            ValueError: depths are lacking for this.
        """
        if self.depths != tuple(range(self.info.n_layers + 1)):
            raise ValueError(
                f"Capture: {what} needs all depths 0...{self.info.n_layers}; "
                f"{shown(str(self.folder))} holds {', '.join(map(str, self.depths))}."
            )

    def centroids(self, by: str) -> dict[Any, Float[Tensor, "depth pos d_model"]]:
        """Mean states of the prompts of each value of a label, read shard by shard.

        Args:
            by: a label of the task.
        Raises:
            ValueError: there is no such label, or prompts have different numbers of states.
        """
        labels: Any = {} if self.task is None else self.task.labels
        if by not in labels:
            there = ", ".join(map(str, labels)) or "none"
            raise ValueError(f"Capture: there is no label {shown(by)}; there are {there}.")
        if (self.positions < 0).any():
            raise ValueError("Capture: centroids need as many states of every prompt.")
        sums: dict[Any, Tensor] = {}
        counts: dict[Any, int] = {}
        values = list(labels[by])
        for part in self.parts():
            states = self.read(prompts=part).double()
            for column, value in enumerate(values[part]):
                found = sums.setdefault(value, torch.zeros_like(states[:, 0]))
                found += states[:, column]
                counts[value] = counts.get(value, 0) + 1
        return {value: (total / counts[value]).float() for value, total in sums.items()}


@checked
def open_capture(folder: str | Path) -> Capture:
    """A capture of a folder, of which nothing is read yet but its index.

    A folder that others made is opened as well: a JSON file beside arrays of
    `[prompt, depth, d_model]`; see `lensdepth.captures.foreign`.

    Raises:
        FileNotFoundError: there is no capture, or a shard of it is missing.
        ValueError: it is damaged or unfinished.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(f"{CALLER}: there is no folder {shown(str(place))}.")
    index = foreign_index(place, caller=CALLER) or read_index(place, caller=CALLER)
    if not index.shards:
        names = map(shard_name, range(len(index.spans)))
        there = sum((place / name).is_file() for name in names)
        raise ValueError(
            f"{CALLER}: the capture in {shown(str(place))} is unfinished ({there} of "
            f"{len(index.spans)} shards are there); run it again, and it goes on."
        )
    missing = [shard.file for shard in index.shards if not (place / shard.file).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        raise FileNotFoundError(
            f"{CALLER}: {shown(str(place / missing[0]))}{more} is missing; capture again, which "
            f"makes it anew."
        )
    return Capture(place, index)
