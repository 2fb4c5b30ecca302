"""The models that ship with the package: Hugging Face folders beside this file."""

from pathlib import Path

_HERE = Path(__file__).parent


def bundled_names() -> tuple[str, ...]:
    """Names of the bundled models, those whose weights are there."""
    return tuple(sorted(path.parent.name for path in _HERE.glob("*/model.safetensors")))


def bundled_path(name: str) -> Path:
    """Folder of a bundled model.

    Raises:
        ValueError: there is no bundled model of that name.
    """
    if name not in bundled_names():
        known = ", ".join(bundled_names()) or "none"
        raise ValueError(f"bundled_path: no bundled model {name!r}. There are: {known}.")
    return _HERE / name
