"""Where the work of a sweep is done. Each engine is one function

    run(worker, items, options) -> answers, as they come

that has a worker do all items, in any order, and knows nothing of what they are. None of them is a
scheduler: Ray and Slurm are, and what is done is told by the receipts in the folder.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, get_args

from lensdepth.outside import outside
from lensdepth.scale.work import Answers, Item, Worker

EngineName = Literal["local", "ray", "slurm"]
LOGS = "slurm"
"""The folder of what jobs say, within that of a sweep."""
Engine = Callable[[Worker, Sequence[Item], Mapping[str, Any]], Answers]


def engine_of(name: EngineName) -> Engine:
    """The engine of that name.

    Raises:
        ValueError: what it needs is not installed.
    """
    assert name in get_args(EngineName)
    hint = f"pip install 'lensdepth[{name}]'."
    with outside(f"run_sweep: the engine {name!r} cannot be had", hint=hint):
        return import_module(f"lensdepth.scale.engines.{name}").run
