"""What is installed on this computer, and what for: packages, devices, backends, models, caches.

Read from package metadata, files and the GPU's driver alone, so that nothing heavy is imported and
a broken torch is no hindrance.
"""

import ctypes
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from lensdepth.telling.plain import Json

OPTIONAL = {
    "dash": "lensdepth explore, in the browser",
    "datasets": "data sets of the hub, and the first rows of long prompt files",
    "gguf": "GGUF files, ollama:NAME and lensdepth fetch",
    "peft": "adapters that stand beside a model's weights",
    "bitsandbytes": "--quantize int8 and nf4",
    "kaleido": "figures as SVG, PDF and PNG (figure.write_image)",
    "ipykernel": "the course's notebooks",
    "jupytext": "the course's notebooks",
    "nbclient": "executing the course",
    "nbconvert": "rendering the course",
    "ray": "many runs at once, by Ray",
    "submitit": "many runs at once, on a Slurm cluster",
    "nnsight": "benchmarks beside nnsight",
    "pyvene": "benchmarks beside pyvene",
}
"""Packages that one can do without, and what one then does without."""
FOR_MAKING = ("bench", "dev", "test")
"""Extras that only those need who work on lensdepth itself."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package: whether it is here, and what mends it where it is not."""

    name: str
    version: str | None
    """None where it is not installed."""
    needed: str
    """Versions that will do, such as `>=2.6`; "" where any will."""
    required: bool
    what_for: str
    extra: str | None
    """The extra of lensdepth that brings it."""

    @property
    def state(self) -> str:
        """`ok`, `missing`, or `other version` than one that will do."""
        if self.version is None:
            return "missing"
        wanted = Requirement(f"{self.name}{self.needed}").specifier
        return "ok" if wanted.contains(self.version, prereleases=True) else "other version"

    @property
    def mend(self) -> str | None:
        """The pip line that mends it; None where nothing has to be."""
        if self.state == "ok":
            return None
        if self.extra is not None:
            return f'pip install "lensdepth[{self.extra}]"'
        return (
            f'pip install "{self.name}{self.needed}"' if self.needed else f"pip install {self.name}"
        )

    def to_json(self) -> Json:
        """As the command prints it."""
        return {
            "package": self.name,
            "version": self.version,
            "needed": self.needed or None,
            "required": self.required,
            "state": self.state,
            "for": self.what_for,
            "mend": self.mend,
        }


def installed(name: str) -> str | None:
    """The version of a package, by its metadata; None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def packages(lines: Sequence[str] | None = None) -> list[Package]:
    """What lensdepth stands on, then what it can use.

    Args:
        lines: requirements as package metadata writes them; None: lensdepth's own.
    """
    if lines is None:
        try:
            lines = requires("lensdepth") or []
        except PackageNotFoundError:  # a source tree that nobody installed
            lines = []
    needed: dict[str, str] = {}
    extras: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        with suppress(InvalidRequirement):
            wanted = Requirement(line)
            name, which = canonicalize_name(wanted.name), str(wanted.specifier)
            extra = re.search(r"extra == ['\"]([^'\"]+)", line)
            if extra is None:
                needed[name] = which
            else:
                extras.setdefault(name, []).append((extra[1], which))
    found = [
        _package(name, which, True, "lensdepth itself", None) for name, which in needed.items()
    ]
    for name, what_for in OPTIONAL.items():
        own = [pair for pair in extras.get(name, ()) if pair[0] not in FOR_MAKING]
        extra, which = own[0] if own else (None, "")
        found.append(_package(name, which, False, what_for, extra))
    return found


def _package(name: str, needed: str, required: bool, what_for: str, extra: str | None) -> Package:
    return Package(
        name=name,
        version=installed(name),
        needed=needed,
        required=required,
        what_for=what_for,
        extra=extra,
    )


def backends() -> list[Json]:
    """TransformerLens's two classes, and whether the installed line has them."""
    found = []
    for name, kind, place in (
        ("hooked", "HookedTransformer", "transformer_lens/HookedTransformer.py"),
        ("bridge", "TransformerBridge", "transformer_lens/model_bridge"),
    ):
        there = False
        with suppress(PackageNotFoundError):
            there = os.path.exists(str(distribution("transformer-lens").locate_file(place)))
        found.append({"backend": name, "class": kind, "there": there})
    return found


def torch_build() -> str | None:
    """What torch was built for: `cpu`, `cuda 12.8`, `rocm 6.3`; None where there is no torch."""
    with suppress(PackageNotFoundError, OSError):
        text = Path(str(distribution("torch").locate_file("torch/version.py"))).read_text()
        for word, name in (("cuda", "cuda"), ("hip", "rocm")):
            if said := re.search(rf"^{word}\b[^=]*= '([^']+)'", text, re.MULTILINE):
                return f"{name} {said[1]}"
        return "cpu"
    return None


def devices() -> list[Json]:
    """What a model can be put on, by its `--device`: name, words, bytes, and whether torch can."""
    build = torch_build()
    memory = None
    with suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: list[Json] = [
        {"device": "cpu", "what": f"{cores} cores", "bytes": memory, "usable": build is not None}
    ]
    usable = build is not None and build.startswith("cuda")
    for i, (name, size) in enumerate(gpus()):
        found.append({"device": f"cuda:{i}", "what": name, "bytes": size, "usable": usable})
    if sys.platform == "darwin" and os.uname().machine == "arm64":
        found.append(
            {"device": "mps", "what": "Apple's GPU", "bytes": memory, "usable": build is not None}
        )
    return found


def gpus() -> Iterator[tuple[str, int]]:
    """Name and bytes of each GPU of NVIDIA's, as the driver tells, which torch asks as well."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return
    n, device, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(n)):
        return
    for i in range(n.value):
        if driver.cuDeviceGet(ctypes.byref(device), i):
            continue
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        yield name.value.decode(errors="replace"), size.value


def models() -> list[Json]:
    """Models that are here, with where they lie and how many bytes they take."""
    from lensdepth.bundled import bundled_names, bundled_path
    from lensdepth.cli.inventory import hub_models
    from lensdepth.converted import converted_models, size_of
    from lensdepth.fetchable import FETCHABLE
    from lensdepth.ollama import ollama_folder, ollama_models

    sources = {model.source: name for name, model in FETCHABLE.items()}
    rows = [
        ("bundled", name, str(bundled_path(name)), size_of(bundled_path(name)))
        for name in bundled_names()
    ]
    for one in converted_models():
        kind = "fetched" if one["source"] in sources else "unpacked"
        rows.append((kind, one["name"], one["folder"], one["bytes"]))
    rows += [("hub", one["name"], one["folder"], one["bytes"]) for one in hub_models()]
    rows += [("ollama", f"ollama:{name}", str(ollama_folder()), None) for name in ollama_models()]
    return [dict(zip(("kind", "model", "folder", "bytes"), row, strict=True)) for row in rows]


def to_fetch(here: Sequence[Json]) -> list[str]:
    """Real models that `lensdepth fetch` has and that are not here yet."""
    from lensdepth.fetchable import FETCHABLE

    there = {one["model"] for one in here if one["kind"] == "fetched"}
    return [name for name in FETCHABLE if name not in there]


def caches() -> list[Json]:
    """Folders in which models are kept, what they hold, and what says where they are."""
    from huggingface_hub import constants

    from lensdepth.converted import cache_folder

    return [
        {"of": of, "folder": str(folder), "bytes": _bytes_in(folder), "set_by": name}
        for of, folder, name in (
            ("lensdepth", cache_folder(), "LENSDEPTH_CACHE"),
            ("Hugging Face hub", Path(constants.HF_HUB_CACHE), "HF_HOME"),
        )
    ]


def _bytes_in(folder: Path) -> int:
    """Of all files below a folder, links left out; 0 where there is none."""
    found = 0
    for place, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                path = os.path.join(place, file)
                found += 0 if os.path.islink(path) else os.stat(path).st_size
    return found


def is_offline() -> bool:
    """Whether the hub is not to be asked."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
