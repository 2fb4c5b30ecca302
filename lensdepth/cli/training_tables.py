"""The checkpoints of a training as a table on the terminal."""

from typing import TYPE_CHECKING

from lensdepth.cli.tables import plain_table
from lensdepth.dynamics.told import NAMES

if TYPE_CHECKING:
    from rich.table import Table

    from lensdepth.dynamics import TrainingDynamics

HEADER = ("step", "right", "control passes", "depth", "95 %", "width", "lens", "coupling")


def checkpoint_table(result: "TrainingDynamics") -> "Table":
    """One row a checkpoint; what it has not is left open."""
    return plain_table(
        HEADER,
        [
            (
                f"{one.step:,}",
                one.right.percent.split(" ")[0],
                NAMES[one.kind],
                *one.depth.cells,
                one.width.cells[0],
                one.lens_depth.cells[0],
                one.coupling.cells[0],
            )
            for one in result.moments
        ],
    )
