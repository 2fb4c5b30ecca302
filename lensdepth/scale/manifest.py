"""The manifest of a sweep: what it is of, so that nothing else is ever mixed into its folder.

Configuration, prompts, models and versions of libraries are told in `manifest.json` before the
first shard is run. Another run into the same folder must agree with all of it. Which shards are
done is told by the receipts beside their parts; a run that ends orderly writes their checksums and
times into the manifest as well.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lensdepth.outside import cut as shortened
from lensdepth.outside import outside, shown
from lensdepth.provenance import installed_versions
from lensdepth.scale.config import AnalysisSpec, ModelSpec, SweepConfig, TaskSpec
from lensdepth.scale.prompts import source_digest
from lensdepth.scale.shards import Shard, cut
from lensdepth.telling.plain import Json
from lensdepth.writing import write_text

NAME = "manifest.json"
FORMAT = 1
MOST_TOLD = 5
"""Differences that are named."""
_ELSEWHERE = ("name", "origin")
"""Of a model: what it is called, and where its files lie. Its fingerprint says which it is."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a sweep is of."""

    config: SweepConfig
    prompts: dict[str, str]
    """SHA-256 of each prompt file, by task; "" of what is none."""
    models: tuple[Json, ...]
    """What was found out about each: its `ModelInfo`, and of each task the number of pairs, their
    fingerprint, why others were left out, and what their units are called; `kept` says which tables
    of tasks lie beside the parts."""
    versions: dict[str, str]
    receipts: tuple[Json, ...] = field(default=())
    """Of the shards that were done when a run last ended."""

    @property
    def shards(self) -> list[Shard]:
        """All of them, in their order."""
        return cut(self.config, [[task["pairs"] for task in m["tasks"]] for m in self.models])

    @property
    def identity(self) -> Json:
        """All that must be the same for two runs to be one sweep."""
        config = {
            key: value for key, value in asdict(self.config).items() if key != "engines"
        }  # fmt: skip
        for model in config["models"]:
            del model["model"]  # wherever it lies, its fingerprint is told
        for task in config["tasks"]:
            if self.prompts[task["name"]]:
                del task["source"]
        models = [
            {
                "tasks": model["tasks"],
                # Which tables are kept of its tasks is no part of it.
                **{k: v for k, v in model["info"].items() if k not in _ELSEWHERE},
            }
            for model in self.models
        ]
        return _as_read(
            {
                "configuration": config,
                "prompts": self.prompts,
                "models": {self.config.models[i].told: model for i, model in enumerate(models)},
                "versions": {k: v for k, v in self.versions.items() if k != "python"},
            }
        )

    @property
    def sweep(self) -> str:
        """Sixteen hex digits that stand in every receipt."""
        said = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        done = {receipt["shard"]: receipt for receipt in self.receipts}
        told = ("sha256", "bytes", "rows", "seconds", "finished")
        shards = [
            asdict(shard)
            | {"part": shard.part}
            | {key: done[shard.number][key] for key in told if shard.number in done}
            for shard in self.shards
        ]
        whole = {
            "format": FORMAT,
            "sweep": self.sweep,
            "versions": self.versions,
            "configuration": asdict(self.config),
            "prompts": self.prompts,
            "models": list(self.models),
            "shards": shards,
        }
        write_text(folder / NAME, json.dumps(whole, indent=1, ensure_ascii=True) + "\n")


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none.

    Raises:
        ValueError: it is damaged, or of a newer lensdepth.
    """
    path = folder / NAME
    if not path.exists():
        return None
    with outside(f"{shown(str(path))} cannot be read"):
        found = json.loads(path.read_bytes())
        newer = found["format"] > FORMAT
    if newer:
        raise ValueError(f"{shown(str(path))} was written by a newer lensdepth; take that one.")
    with outside(f"{shown(str(path))} is not a manifest of a sweep"):
        given = found["configuration"]
        config = SweepConfig(
            **given
            | {
                "models": tuple(ModelSpec(**one) for one in given["models"]),
                "tasks": tuple(TaskSpec(**one) for one in given["tasks"]),
                "analyses": tuple(AnalysisSpec(**one) for one in given["analyses"]),
            }
        )
        made = Manifest(
            config=config,
            prompts=found["prompts"],
            models=tuple(found["models"]),
            versions=found["versions"],
            receipts=tuple(
                {**one, "shard": one["number"]} for one in found["shards"] if "sha256" in one
            ),
        )
        sound = made.sweep == found["sweep"]
    if not sound:
        raise ValueError(
            f"{shown(str(path))} is damaged: what it says of the sweep does not go with its "
            f"checksum; take another folder, or restore it."
        )
    return made


def begun(config: SweepConfig) -> Manifest:
    """What is known of a sweep before its models are."""
    return Manifest(
        config=config,
        prompts={spec.name: source_digest(spec) for spec in config.tasks},
        models=(),
        versions=installed_versions(),
    )


def check_same(there: Manifest, here: Manifest, folder: Path) -> None:
    """Refuse to go on with another sweep than the one that a folder holds.

    Args:
        there: what the folder holds.
        here: what is asked for; its models are compared where they are known.
        folder: of both.
    Raises:
        ValueError: they differ, with what does.
    """
    one, other = there.identity, here.identity
    if not here.models:
        one["models"] = other["models"] = {}
    found = list(differences(one, other))
    if found:
        more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
        raise ValueError(
            f"run_sweep: {shown(str(folder))} holds another sweep, and results are not mixed: "
            f"{'; '.join(found[:MOST_TOLD])}{more}. Take another folder, or put back what changed."
        )


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """In what two JSON values differ: `configuration.seed is 0 there and 1 here`."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            below = f"{where}.{key}" if where else str(key)
            if key not in one or key not in other:
                yield f"{below} is {'not there' if key in other else 'there'} and " + (
                    "here" if key in other else "not here"
                )
            else:
                yield from differences(one[key], other[key], below)
    elif _is_list(one) and _is_list(other) and len(one) == len(other):
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif _is_list(one) and _is_list(other):
        yield f"{where} has {len(one)} entries there and {len(other)} here"
    elif one != other:
        yield f"{where} is {_short(one)} there and {_short(other)} here"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: object) -> str:
    return shortened(json.dumps(value), 40)


def _as_read(value: Json) -> Json:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))
