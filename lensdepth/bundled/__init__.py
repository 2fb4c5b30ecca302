"""The models that ship with the package: Hugging Face folders beside this file.

Of some the checkpoints that training kept are here as well, under `checkpoints/NAME/step-STEP`.
"""

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


def checkpoint_steps(name: str) -> tuple[int, ...]:
    """Training steps of which a bundled model's weights are here, ascending; () where none are."""
    kept = (_HERE / "checkpoints" / name).glob("step-*/model.safetensors")
    return tuple(sorted(int(path.parent.name.removeprefix("step-")) for path in kept))


def checkpoint_path(name: str, step: int) -> Path:
    """Folder of a bundled model as it was after a training step, of `checkpoint_steps`."""
    return _HERE / "checkpoints" / name / f"step-{step}"
