"""Models that were converted once and are kept between runs, in the user's cache folder.

Each is a folder in Hugging Face format with a list of its files and their checksums; it is written
whole or not at all, and a file that is no longer what was written is found out before it is used.

    <cache>/converted/SmolLM2-135M-Instruct.Q4_1-b179c9523d0e6a0f/
        config.json, tokenizer.json, model-00001.safetensors ...
        lensdepth.json      where it comes from, how it was packed, its files

The cache folder is `LENSDEPTH_CACHE`, else `lensdepth` in `XDG_CACHE_HOME`, else in `~/.cache`.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lensdepth.outside import outside, shown
from lensdepth.signals import put_off
from lensdepth.unfinished import hidden, settle, sweep

ABOUT = "lensdepth.json"
FORMAT = 1
"""Of what is kept; one of another number is made anew."""
DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class About:
    """Where a converted model comes from; `lensdepth.json` of its folder."""

    name: str
    source: str
    """The file that it was made of, and where that came from."""
    sha256: str
    """Of that file."""
    quantization: str
    """How its weights were packed."""
    licence: str = ""
    format: int = FORMAT
    files: dict[str, str] = field(default_factory=dict)
    """Names of its files and their SHA-256."""


def cache_folder() -> Path:
    """Where lensdepth keeps what can be made again."""
    own, shared = os.environ.get("LENSDEPTH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(os.path.expanduser(own))
    return (Path(shared) if shared else Path(os.path.expanduser("~/.cache"))) / "lensdepth"


def place_of(name: str, sha256: str) -> Path:
    """Where the conversion of a file of this content is kept, whatever it was called then."""
    folder = cache_folder() / "converted"
    with suppress(OSError):
        for place in folder.iterdir():
            if place.name[0] != "." and place.name.endswith(f"-{sha256[:DIGITS]}"):
                return place
    plain = re.sub(r"[^\w.-]", "-", name)[:60].lstrip(".-") or "model"
    return folder / f"{plain}-{sha256[:DIGITS]}"


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_about(folder: Path) -> About | None:
    """What a converted model's folder says of itself; None of any other folder."""
    try:
        read = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        about = About(**read)
    except (OSError, ValueError, TypeError):
        return None
    texts = (about.name, about.source, about.sha256, about.quantization, about.licence)
    whole = all(isinstance(text, str) for text in texts) and isinstance(about.files, dict)
    return about if whole else None


def is_whole(folder: Path) -> bool:
    """Whether a converted model is there, of this format, every byte as it was written."""
    about = read_about(folder)
    if about is None or about.format != FORMAT or not about.files:
        return False
    try:
        return all(digest(folder / file) == known for file, known in about.files.items())
    except OSError:
        return False


@contextmanager
def keeping(place: Path, about: About) -> Iterator[Path]:
    """Give an empty folder; what was written there is at `place` afterwards, with its checksums.

    Where another run came first and what it made is whole, that stays.

    Raises:
        ValueError: the cache cannot be written.
    """
    with ExitStack() as stack:
        with _writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(hidden(place, folder=True))
            fresh = folder / "new"
            fresh.mkdir()
        yield fresh
        with _writing(place):
            files = {file.name: digest(file) for file in sorted(fresh.iterdir())}
            text = json.dumps({**asdict(about), "files": files}, indent=2)
            (fresh / ABOUT).write_text(text + "\n", encoding="utf-8")
            for file in fresh.iterdir():
                settle(file)
            with put_off():
                if is_whole(place):
                    return
                if os.path.lexists(place):
                    place.rename(folder / "old")
                fresh.rename(place)
                settle(place.parent)


def _writing(place: Path) -> outside:
    return outside(
        f"load_model: the converted model cannot be kept in {shown(str(place.parent))}",
        hint="Make room there, or name another folder in LENSDEPTH_CACHE.",
    )


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder."""
    found = 0
    with suppress(OSError):
        found = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return found


def converted_models() -> list[dict[str, Any]]:
    """Those that are kept: name, source, quantisation, licence, folder and bytes."""
    folder, found = cache_folder() / "converted", []
    with suppress(OSError):
        for place in sorted(folder.iterdir()):
            about = read_about(place)
            if about is not None:
                found.append(
                    {
                        "name": about.name,
                        "source": about.source,
                        "quantization": about.quantization,
                        "licence": about.licence,
                        "folder": str(place),
                        "bytes": size_of(place),
                    }
                )
    return found


def clean() -> int:
    """Remove every converted model, and what killed runs left; how many bytes that freed.

    Only folders that hold a `lensdepth.json` are touched.

    Raises:
        ValueError: one cannot be removed.
    """
    folder, freed = cache_folder() / "converted", 0
    if folder.is_dir():
        sweep(folder)
    for model in converted_models():
        with outside(f"models: {shown(model['folder'])} cannot be removed"):
            # Its name goes first, so that nobody finds half of it.
            place = Path(model["folder"])
            with put_off(), hidden(place, folder=True) as trash:
                place.rename(trash / "old")
        freed += model["bytes"]
    with suppress(OSError):
        folder.rmdir()
    return freed
