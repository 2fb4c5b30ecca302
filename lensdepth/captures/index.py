"""The index of a capture: which model, which prompts, which states, in which shards.

It is one JSON file, `capture.json`, with a checksum over all that it says. It is written when a
capture begins, so that whoever goes on knows what with, and again when the last shard is there.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lensdepth.outside import outside, shown
from lensdepth.provenance import ModelInfo, installed_versions
from lensdepth.writing import write_text

INDEX = "capture.json"
FORMAT = 1
"""Of the folder; raised when an older lensdepth would misread it."""
KIND = "lensdepth capture"
_UNTOLD = ("name", "origin")
"""What of a model may differ where its fingerprint is the same."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of states."""

    file: str
    first: int
    """The first prompt in it."""
    stop: int
    """One past the last."""
    sums: dict[str, str]
    """SHA-256 of the states of each depth, by tensor name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """What a capture holds."""

    model: ModelInfo
    prompts: tuple[str, ...]
    """As text; token ids where there was none."""
    tokens: tuple[tuple[int, ...], ...]
    """Of each prompt."""
    positions: tuple[tuple[int, ...], ...]
    """Which positions of each prompt were kept, from its start."""
    depths: tuple[int, ...]
    dtype: str
    """In which the states are stored."""
    side: str
    """Which prompts of a task they are: `clean` or `corrupted`."""
    at_once: int
    """Prompts in one shard."""
    task: dict[str, Any] | None = None
    """The task as JSON; None of prompts by themselves."""
    vocabulary: dict[str, str] = field(default_factory=dict)
    """What tokens stand for, by id: those of the prompts, with a readout all there are."""
    readout: str = ""
    """SHA-256 of the file with the model's final norm and unembedding; "" where none is kept."""
    shards: tuple[Shard, ...] = ()
    """In the order of the prompts; () until all are there."""

    @property
    def identity(self) -> str:
        """Sixteen hex digits over all that decides what stands in a shard."""
        return _digest(self._told())[:16]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First prompt and one past the last, of each shard that there is to be."""
        n = len(self.prompts)
        return [(first, min(first + self.at_once, n)) for first in range(0, n, self.at_once)]

    def _told(self) -> dict[str, Any]:
        told = asdict(replace(self, shards=(), readout="", vocabulary={}))
        for name in _UNTOLD:
            del told["model"][name]
        return told

    def other_than(self, other: "Index") -> str:
        """In what another capture differs from this one, in words; "" where it does not."""
        ours, theirs = (json.loads(json.dumps(one._told())) for one in (self, other))
        for name, value in ours.pop("model").items():
            found = theirs["model"][name]
            if found != value:
                own = shown(value)
                return f"of another model: its {name} is {shown(found)}, and this one's {own}"
        for name, value in ours.items():
            if theirs[name] == value:
                continue
            if name in ("prompts", "tokens", "task"):
                return "of other prompts"
            said = f": {shown(theirs[name])}, and this one's {shown(value)}"
            what = "prompts in a shard (shard_bytes)" if name == "at_once" else name
            return f"with other {what}{'' if name == 'positions' else said}"
        return ""

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        said = {
            "kind": KIND,
            "format": FORMAT,
            "lensdepth": installed_versions()["lensdepth"],
            **asdict(self),
        }
        write_text(folder / INDEX, json.dumps(said | {"checksum": _digest(said)}, indent=1) + "\n")


def shard_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:05}.safetensors"


def tensor_name(depth: int) -> str:
    """The name in a shard of the states of one depth."""
    return f"depth.{depth}"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(value).encode()).hexdigest()


def read_index(folder: Path, *, caller: str) -> Index:
    """The index of a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of a newer format.
    """
    path, said = folder / INDEX, f"{caller}: {shown(str(folder / INDEX))}"
    if not path.is_file():
        raise FileNotFoundError(f"{caller}: there is no capture in {shown(str(folder))}.")
    with outside(f"{said} is damaged: it is no JSON"):
        told = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise ValueError(f"{said} is no index of a capture.")
    checksum = told.pop("checksum", "")
    if checksum != _digest(told):
        raise ValueError(
            f"{said} is damaged: it is not what was written. Take another copy, or remove it and "
            f"capture again, which keeps the shards that are whole."
        )
    if told["format"] != FORMAT:
        raise ValueError(
            f"{said} was written by lensdepth {told['lensdepth']} in format {told['format']}; this "
            f"one reads {FORMAT}. Update lensdepth."
        )
    for name in ("kind", "format", "lensdepth"):
        del told[name]
    with outside(f"{said} has other fields than this lensdepth knows"):
        shards = tuple(Shard(**shard) for shard in told.pop("shards"))
        rows = {name: tuple(map(tuple, told.pop(name))) for name in ("tokens", "positions")}
        return Index(
            model=ModelInfo(**told.pop("model")),
            prompts=tuple(told.pop("prompts")),
            depths=tuple(told.pop("depths")),
            shards=shards,
            **rows,
            **told,
        )
