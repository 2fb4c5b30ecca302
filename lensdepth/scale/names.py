"""Whether a name of a model can stand for one, found out before anything is loaded for it."""

import os
from pathlib import Path

from lensdepth.bundled import bundled_names
from lensdepth.fetched import FETCHABLE
from lensdepth.gguf import find_gguf
from lensdepth.ollama import PREFIX
from lensdepth.outside import shown
from lensdepth.sources import nearest, resolve


def model_fault(name: str, *, revision: str = "", file: str | None = None) -> str:
    """What is wrong with the name of a model, in a sentence; "" where nothing can be said yet.

    What the hub holds, what a file of weights is worth, and which revisions there are is found out
    when it is loaded.
    """
    packed = name.startswith(PREFIX) or name.lower().endswith(".gguf") or file is not None
    folder = Path(os.path.expanduser(name))
    if os.path.isdir(folder):
        packed = packed or find_gguf(folder, file) is not None
    if packed:  # to say more it would have to be unpacked
        there = name.startswith(PREFIX) or folder.exists() or file is not None
        return "" if there else f"there is no file {shown(name)}"
    own = name.partition("@")[0] in bundled_names() or name in FETCHABLE
    if not own and not folder.exists() and "/" not in name and name not in _on_the_hub():
        return f"there is no model {shown(name)}.{nearest(name)}"
    try:
        resolve(name, revision=revision or None)
    except (ValueError, OSError) as error:
        return str(error).removeprefix("load_model: ")
    return ""


def _on_the_hub() -> list[str]:
    from transformer_lens.supported_models import OFFICIAL_MODEL_NAMES

    return list(OFFICIAL_MODEL_NAMES)
