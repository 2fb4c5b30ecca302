"""Which checkpoints are meant, and of which training step each is."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lensdepth.bundled import bundled_names, checkpoint_steps
from lensdepth.model import DepthModel
from lensdepth.outside import shown

Checkpoint = str | Path | DepthModel
"""A name or a folder that `load_model` takes, or a model that is loaded already."""
Checkpoints = str | Path | Sequence[str | Path] | Mapping[int, Checkpoint]
ALL = "all"
"""Behind a bundled model's `@`: every checkpoint of it that is here."""
FEWEST = 2
_LAST_NUMBER = re.compile(r"(\d+)\D*")


def listed(checkpoints: Checkpoints, *, caller: str) -> dict[int, Checkpoint]:
    """The checkpoints by step, ascending.

    Args:
        checkpoints: by step; or their names, each with its step as the last number of the revision
            (`NAME@step1000`) or of the folder's own name (`step-1000`, `checkpoint-1000`); or one
            folder of such folders; or `NAME@all`, all that are here of a bundled model.
        caller: of the public function.
    Raises:
        ValueError: fewer than two, a name without a number, a step that is named twice or
            negative, or a folder without checkpoints in it.
    """
    if isinstance(checkpoints, Mapping):
        found = dict(checkpoints)
    else:
        single = isinstance(checkpoints, str | Path)
        names = _expanded(checkpoints, caller) if single else list(checkpoints)
        found = {}
        for name in names:
            step = step_of(name, caller=caller)
            if step in found:
                raise ValueError(
                    f"{caller}: {shown(str(found[step]))} and {shown(str(name))} are both of step "
                    f"{step}; name each step once, or give checkpoints by step: {{step: name}}."
                )
            found[step] = name
    if len(found) < FEWEST:
        raise ValueError(
            f"{caller}: what happens over training takes {FEWEST} checkpoints at least, got "
            f"{len(found)}."
        )
    if min(found) < 0:
        raise ValueError(f"{caller}: a step must be 0 or more, got {min(found)}.")
    return dict(sorted(found.items()))


def step_of(name: str | Path, *, caller: str) -> int:
    """The training step that a checkpoint's name tells.

    Raises:
        ValueError: it has no number there.
    """
    own = os.path.basename(os.path.normpath(str(name)))
    told = own.rpartition("@")[2]
    match = list(_LAST_NUMBER.finditer(told))
    if not match:
        raise ValueError(
            f"{caller}: {shown(str(name))} does not end in a training step, as NAME@step1000 or "
            f"FOLDER/step-1000 do; give checkpoints by step: {{step: name}}."
        )
    return int(match[-1][1])


def _expanded(given: str | Path, caller: str) -> list[str | Path]:
    """All checkpoints behind one name."""
    name, _, asked = str(given).rpartition("@")
    if asked == ALL:
        steps = checkpoint_steps(name) if name in bundled_names() else ()
        if not steps:
            there = ", ".join(f"{one}@{ALL}" for one in bundled_names() if checkpoint_steps(one))
            raise ValueError(
                f"{caller}: which checkpoints {shown(name)} has is not known here; name them. "
                f"Known are those of {there or 'no bundled model'}."
            )
        return [f"{name}@{step}" for step in steps]
    folder = Path(os.path.expanduser(str(given)))
    inside = [one for one in _folders(folder) if re.search(r"\d", one.name)]
    if not inside:
        raise ValueError(
            f"{caller}: {shown(str(given))} is no folder with checkpoints in it, folders with a "
            f"config.json and a step in their names; name the checkpoints one by one, or give "
            f"such a folder."
        )
    return list(inside)


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [one for one in sorted(folder.iterdir()) if (one / "config.json").is_file()]
