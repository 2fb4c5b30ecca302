"""What a table of pairs says: its summary and sentences."""

from typing import TYPE_CHECKING

from lensdepth.pairs.table import DISTANCE
from lensdepth.telling.curves import Curve
from lensdepth.telling.depths import of_depths
from lensdepth.telling.numbers import counted, number, percent
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    from lensdepth.pairs.table import PairTable

FAR = 3.5
"""Distance from which on a pair is named an outlier, as Iglewicz and Hoaglin have it."""


def curves(table: "PairTable") -> list[Curve]:
    """None: a table of pairs has nothing by depth."""
    return []


def summary(table: "PairTable") -> Json:
    """How many pairs there are of which kind, and the medians."""
    crossing = table.crossing[~table.crossing.isnan()]
    return to_json(
        {
            "n_pairs": len(table.corrupted),
            "right": int(table.right.sum()),
            "preferred": int(table.preferred.sum()),
            "crossing_verdict": table.verdict or None,
            "n_crossing": len(crossing),
            "median_crossing": float(crossing.quantile(0.5)) if len(crossing) else None,
            "depth": table.depth,
            "median_norm_ratio": float(table.norm_ratio.quantile(0.5)),
            "median_effect": float(table.effect.quantile(0.5)),
            "outliers": (table.distance > FAR).nonzero()[:, 0].tolist(),
        }
    )


def sentences(table: "PairTable") -> list[str]:
    """How many are right, where they cross, and what an outlier is."""
    n, right = len(table.corrupted), int(table.right.sum())
    said = f"Of {counted(n, 'pair')} {right:,} are right ({percent(right / n)})"
    crossing = table.crossing[~table.crossing.isnan()]
    if len(crossing):
        middle = of_depths(float(crossing.quantile(0.5)), table.n_layers)
        said += f"; {len(crossing):,} cross by themselves, in the median at {middle}"
    elif table.verdict:
        said += "; none crosses by itself"
    else:
        said += "; the task has no input position from which control could pass"
    far = int((table.distance > FAR).sum())
    return [
        f"{said}. Norm ratio and effect are of the last token's state at depth {table.depth}.",
        f"{counted(far, 'pair')} {'lies' if far == 1 else 'lie'} farther than {number(FAR)} robust "
        f"standard deviations from the median. {DISTANCE}",
    ]
