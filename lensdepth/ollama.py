"""Models that Ollama holds on this computer: `ollama:NAME[:TAG]` is the GGUF file behind the name.

Ollama keeps, in `OLLAMA_MODELS` or `~/.ollama/models`, a manifest for each name, which lists layers
by their digests, and the layers under those digests. Nothing is asked of Ollama itself, which need
not run, and nothing is changed.
"""

import difflib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from lensdepth.outside import outside, shown

PREFIX = "ollama:"
HOST, OWNER, TAG = "registry.ollama.ai", "library", "latest"
"""What a name leaves out."""
_MODEL = "application/vnd.ollama.image.model"
_ADAPTER = "application/vnd.ollama.image.adapter"
_PART = re.compile(r"[\w][\w.-]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def ollama_folder() -> Path:
    """Where Ollama keeps its models."""
    return Path(os.path.expanduser(os.environ.get("OLLAMA_MODELS") or "~/.ollama/models"))


def find_blob(name: str) -> tuple[str, Path, str]:
    """Full name of a model that Ollama holds, the GGUF file behind it, and that file's SHA-256.

    Args:
        name: `NAME[:TAG]` with or without `ollama:`; NAME may have an owner, and a host before it.
    Raises:
        ValueError: one line: no such model here (the nearest names are offered), a manifest that
            cannot be read, or a model that is more than one file.
    """
    asked = name.removeprefix(PREFIX)
    path, _, tag = asked.rpartition(":") if ":" in asked.rpartition("/")[2] else (asked, "", TAG)
    parts = path.split("/")
    if len(parts) > 3 or not all(_PART.fullmatch(part) for part in [*parts, tag]):
        raise ValueError(
            f"load_model: {shown(name)} is no name of Ollama's; one is like 'ollama:llama3.2' or "
            f"'ollama:qwen2.5:0.5b'."
        )
    host, owner, model = [HOST, OWNER][: 3 - len(parts)] + parts
    folder, full = ollama_folder(), f"{asked if ':' in asked else f'{path}:{tag}'}"
    manifest = folder / "manifests" / host / owner / model / tag
    if not manifest.is_file():
        raise ValueError(
            f"load_model: Ollama holds no {shown(full)} in {shown(str(folder))}."
            f"{_nearest(full, folder)}"
        )
    digest = _model_layer(manifest, full)
    blob = folder / "blobs" / digest.replace(":", "-")
    if not blob.is_file():
        raise ValueError(
            f"load_model: Ollama lists {shown(full)} and does not hold its weights "
            f"({shown(blob.name)} in {shown(str(blob.parent))}); 'ollama pull {full}' fetches them."
        )
    return f"{PREFIX}{full}", blob, digest.removeprefix("sha256:")


def _model_layer(manifest: Path, name: str) -> str:
    """Digest of the one layer that is a model."""
    said = f"load_model: Ollama's manifest of {shown(name)}"
    with outside(f"{said} cannot be read", hint=f"'ollama pull {name}' writes it anew."):
        read = json.loads(manifest.read_text(encoding="utf-8"))
    layers: Any = read.get("layers") if isinstance(read, dict) else None
    entries = [layer for layer in layers if isinstance(layer, dict)] if layers else []
    if any(layer.get("mediaType") == _ADAPTER for layer in entries):
        raise ValueError(
            f"load_model: Ollama puts an adapter on {shown(name)}, and the file of its model holds "
            f"the base alone; name the base, or merge the two by llama.cpp's 'llama-export-lora'."
        )
    found = [str(layer.get("digest")) for layer in entries if layer.get("mediaType") == _MODEL]
    if len(found) != 1 or not _DIGEST.fullmatch(found[0]):
        what = f"{len(found)} files of weights" if len(found) != 1 else shown(found[0])
        raise ValueError(
            f"{said} names {what}; the digest of one is needed. 'ollama pull {name}' writes it "
            f"anew."
        )
    return found[0]


def ollama_models() -> list[str]:
    """Names of what Ollama holds here, as Ollama lists them."""
    root, found = ollama_folder() / "manifests", []
    with suppress(OSError):
        for manifest in sorted(root.glob("*/*/*/*")):
            host, owner, model, tag = manifest.relative_to(root).parts
            if manifest.is_file() and tag[0] != ".":
                places = [] if host == HOST else [host]
                places += [] if (host, owner) == (HOST, OWNER) else [owner]
                found.append(f"{'/'.join([*places, model])}:{tag}")
    return found


def _nearest(name: str, folder: Path) -> str:
    there = ollama_models()
    if not there:
        missing = "" if folder.is_dir() else " There is no such folder; OLLAMA_MODELS names it."
        return missing or " It holds none there; OLLAMA_MODELS names another folder."
    close = difflib.get_close_matches(name, there, n=3, cutoff=0.5) or there[:5]
    return f" It holds {', '.join(shown(f'{PREFIX}{one}') for one in close)}."
