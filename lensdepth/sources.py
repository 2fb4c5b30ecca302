"""What a name of a model stands for: a bundled model, a folder, or a name on the hub.

Where it stands for nothing, the names that come nearest are offered.
"""

import difflib
import os
import socket
import stat
from collections.abc import Iterable
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import getproxies

from lensdepth.adapters import how_to_merge
from lensdepth.bundled import bundled_names, bundled_path
from lensdepth.outside import LONGEST_NAME, outside, shown

MOST_ENTRIES = 1000
"""Entries of a folder among which a mistyped name is looked for."""


def resolve(name_or_path: str | Path) -> tuple[str, str]:
    """Name to show, and folder or hub name to read.

    Raises:
        ValueError: there is no such model, or its folder holds what is no file.
    """
    given = str(name_or_path)
    if given in bundled_names():
        return given, str(bundled_path(given))
    if not given.strip():
        raise ValueError(f"load_model: give a name or a folder.{nearest(given)}")
    # os.path says no where Path raises: names too long, with a NUL, or of no user's home.
    path = Path(os.path.expanduser(given))
    if os.path.isdir(path):
        name = path.resolve().name
        _check_regular(path, name)
        if not os.path.isfile(path / "config.json"):
            raise ValueError(
                f"load_model: the folder {shown(given)} has no config.json."
                f"{how_to_merge(path, name) or nearest(given)}"
            )
        return name, str(path)
    if os.path.exists(path):
        raise ValueError(f"load_model: {shown(given)} is a file; a model is a folder or a name.")
    if given != given.strip() or isinstance(name_or_path, Path) or _is_path(given):
        raise ValueError(f"load_model: there is no folder {shown(given)}.{nearest(given)}")
    with outside(
        f"load_model: {shown(given)} is no bundled model, no folder and no name on the hub",
        hint=nearest(given).strip(),
    ):
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(given)
    return given, given


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
    """A sentence with the names that come nearest, or nothing."""
    bundled = ", ".join(bundled_names())
    if len(given) <= LONGEST_NAME:
        path = Path(os.path.expanduser(given))
        names = {*bundled_names(), *_models_in(path.parent), *_official_names()}
        by_lower = {name.lower(): name for name in names}
        by_lower |= {Path(name).name.lower(): name for name in names}
        close = difflib.get_close_matches(given.lower(), by_lower, n=8, cutoff=0.6)
        close += difflib.get_close_matches(path.name.lower(), by_lower, n=8, cutoff=0.6)
        offered = list(dict.fromkeys(by_lower[key] for key in close))[:3]
        if offered:
            return f" Did you mean {' or '.join(map(shown, offered))}?"
    return f" Bundled models: {bundled}." if bundled else ""


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
