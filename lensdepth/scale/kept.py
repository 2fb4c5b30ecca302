"""Tasks that were made once, kept beside the parts: which pair is which, and their answers' tokens.

To find pairs that a model answers may take longer than an analysis of them, and every worker needs
the task. So the one that plans writes the table of the task, and the others read it. That is done
only where the task made of that table is the task itself, in every token and position; where it is
not (some chat templates), workers make the task for themselves.
"""

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lensdepth.model import DepthModel
from lensdepth.outside import outside, shown
from lensdepth.tasks import Task, load_task
from lensdepth.telling.plain import Json
from lensdepth.writing import write_bytes

FOLDER = "tasks"
CARRIED = ("name", "seed", "keep", "joining", "n_drawn", "n_multi_token", "n_wrong", "n_unkept")
"""What of a task does not stand in its table."""


def place_of(folder: Path, model: int, task: int) -> Path:
    """Where the table of a task is kept."""
    return folder / FOLDER / f"{model:03}-{task:03}.parquet"


def keep_task(task: Task, model: DepthModel, path: Path) -> Json | None:
    """Write the table of a task, and give what goes with it; None where it would not be the same.

    Raises:
        OSError: it cannot be written.
    """
    data = task.to_frame().to_parquet(index=False)
    about: Json = {key: getattr(task, key) for key in CARRIED}
    about |= {
        "unit_columns": None if task.unit_columns is None else list(task.unit_columns),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    try:
        again = _made_of(data, about, model)
    except ValueError:
        return None
    if not _same(task, again):
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
    return about


def kept_task(path: Path, about: Json, model: DepthModel) -> Task | None:
    """The task of a table; None where that is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        return None
    with outside(f"the table {shown(str(path))} cannot be read"):
        return _made_of(data, about, model)


def _made_of(data: bytes, about: Json, model: DepthModel) -> Task:
    frame, columns = pd.read_parquet(io.BytesIO(data)), about["unit_columns"]
    made = load_task(frame, model, n=None, name=about["name"])
    return replace(
        made,
        **{key: about[key] for key in CARRIED},
        unit_columns=None if columns is None else tuple(columns),
    )


def _same(one: Task, other: Task) -> bool:
    names = ("clean", "corrupted", "target", "foil", "inputs", "corrupted_inputs", "units",
             "groupings")  # fmt: skip
    tensors: tuple[Any, ...] = (
        (one.target_ids, other.target_ids),
        (one.foil_ids, other.foil_ids),
        (one.input_positions, other.input_positions),
        (one.corrupted_input_positions, other.corrupted_input_positions),
        *zip(_tokens(one), _tokens(other), strict=True),
    )
    return all(getattr(one, name) == getattr(other, name) for name in names) and all(
        a is b is None or (a is not None and b is not None and torch.equal(a, b))
        for a, b in tensors
    )


def _tokens(task: Task) -> list[Tensor | None]:
    batches = (task.clean_tokens, task.corrupted_tokens)
    return [
        None if batch is None else getattr(batch, name)
        for batch in batches
        for name in ("tokens", "lengths")
    ]
