"""Curves over depth: what tables, figures, JSON and pages are made of.

A curve has a key (its column), a name (its heading and its entry in a legend), a unit, a role
(its colour), values with their 95 % band, and depths. Rooms say which curves a result has; here
they become a table by depth, and `plotting` draws them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from torch import Tensor
from typing_extensions import Protocol, runtime_checkable

from lensdepth import stats
from lensdepth.telling.depths import explained, fraction
from lensdepth.telling.names import edit_name, position_name
from lensdepth.telling.numbers import Interval, p_text
from lensdepth.telling.plain import to_json
from lensdepth.units import Units
from lensdepth.writing import csv_text

if TYPE_CHECKING:
    import pandas as pd

WHERE = ("depth", "after", "relative_depth")
"""Columns of every table by depth: d, what stands there in words, d / L."""
FLOORS = 10
"""A y axis reaches this many numerical floors at least, so that rounding is no curve."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One line over depth with its band; low and high are NaN where there is no interval."""

    name: str
    """What a legend and a heading call it."""
    depths: Float[Array, " depth"]
    mean: Float[Array, " depth"]
    low: Float[Array, " depth"]
    high: Float[Array, " depth"]
    role: str
    """Key into `colours.PALETTE`."""
    key: str = ""
    """Its column in a table; the name by default."""
    unit: str = ""
    control: bool = False
    """Whether it is what others are compared with: dashed, and in a terminal without its band."""
    dashed: bool = False
    """Dashed, as controls are, for this or another reason."""
    banded: bool = True
    """Whether its table has columns for a band, known or not."""
    is_p: bool = False
    """Whether its numbers are p-values."""
    floor: float = 0.0
    """Size below which its numbers are rounding; figures reach further than that, and cells say
    so. 0 where none is known."""

    @classmethod
    def of(
        cls,
        name: str,
        values: Float[Tensor, "unit depth"],
        *,
        role: str,
        key: str = "",
        units: Units,
        unit: str = "",
        depths: Any = None,
        control: bool = False,
        dashed: bool = False,
        floor: float = 0.0,
    ) -> "Curve":
        """The mean over pairs with its interval, in which `units` go together."""
        return cls.from_interval(
            name,
            *stats.mean_interval(
                values.detach().cpu().numpy(), units=units, share=unit == "efficacy" or None
            ),
            role=role,
            key=key,
            unit=unit,
            depths=depths,
            control=control,
            dashed=dashed,
            floor=floor,
        )

    @classmethod
    def from_interval(
        cls,
        name: str,
        mean: Any,
        low: Any = None,
        high: Any = None,
        *,
        role: str,
        key: str = "",
        unit: str = "",
        depths: Any = None,
        control: bool = False,
        dashed: bool = False,
        is_p: bool = False,
        floor: float = 0.0,
    ) -> "Curve":
        """From (mean, low, high) as the functions of `stats` give them; without a band if not."""
        mean, banded = np.asarray(mean, dtype=float), low is not None
        unknown = np.full(mean.shape, np.nan)
        low, high = (unknown if x is None else np.asarray(x, dtype=float) for x in (low, high))
        at = np.arange(len(mean)) if depths is None else depths
        return cls(
            name=name,
            depths=np.asarray(at, dtype=float),
            mean=mean,
            low=low,
            high=high,
            role=role,
            key=key or name,
            unit=unit,
            control=control,
            dashed=dashed or control,
            banded=banded,
            is_p=is_p,
            floor=floor,
        )

    @property
    def heading(self) -> str:
        """Name and unit, for the head of a column."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def intervals(self) -> list[Interval]:
        """Its numbers, one a depth."""
        rows = zip(self.mean.tolist(), self.low.tolist(), self.high.tolist(), strict=True)
        return [
            Interval(value=value, low=low, high=high, floor=self.floor) for value, low, high in rows
        ]

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Its numbers with their intervals as texts, one a depth."""
        if self.is_p:
            return [(p_text(p), "") for p in self.mean.tolist()]
        return [interval.cells for interval in self.intervals]

    @property
    def means(self) -> list[float | None]:
        """Its numbers as JSON has them: null where there is none."""
        return to_json(self.mean.tolist())


@runtime_checkable
class Banded(Protocol):
    """Numbers with a band, as a figure draws them."""

    @property
    def mean(self) -> Array: ...
    @property
    def low(self) -> Array: ...
    @property
    def high(self) -> Array: ...
    @property
    def floor(self) -> float: ...


def above_floor(curves: Sequence[Banded]) -> tuple[float, float] | None:
    """The range of an axis whose curves show nothing but rounding; None where they show more."""
    largest = FLOORS * max((curve.floor for curve in curves), default=0.0)
    seen = [np.nan_to_num(np.abs(x)) for c in curves for x in (c.mean, c.low, c.high) if len(x)]
    if not seen or max(float(x.max()) for x in seen) >= largest:
        return None
    return -largest, largest


def estimate(
    values: Float[Tensor, " pair"],
    units: Units,
    *,
    share: bool | None = None,
    floor: float = 0.0,
) -> Interval:
    """Mean over prompts or pairs with its interval, in which `units` go together.

    Args:
        values: one a pair.
        units: which pairs go together.
        share: whether these are outcomes, 0 or 1; see `stats.mean_interval`.
        floor: what is smaller is rounding.
    """
    mean, low, high = stats.mean_interval(values.detach().cpu().numpy(), units=units, share=share)
    return Interval(value=float(mean), low=float(low), high=float(high), floor=floor)


def share_at(values: Float[Tensor, "unit depth"], index: int, units: Units) -> Interval:
    """One depth of a curve of outcomes, 0 or 1, with the interval that the whole curve has there.

    Where all outcomes are one, how pairs go together is learned from the other depths: of one depth
    by itself the same number would have another interval in a sentence than in the table.
    """
    return Curve.of("", values, role="", units=units, unit="efficacy").intervals[index]


def mean_curve(values: Float[Tensor, "unit depth"]) -> list[float | None]:
    """Means over units by depth as JSON has them; null where every unit is NaN."""
    return to_json(stats.mean_interval(values.detach().cpu().numpy())[0].tolist())


def edited_curve(
    position: str,
    values: Float[Tensor, "unit depth"],
    *,
    key: str,
    role: str,
    units: Units,
    edit: str | None = None,
    control: bool = False,
    depths: Any = None,
    unit: str = "",
    floor: float = 0.0,
) -> Curve:
    """A curve of one position, and of one edit or control there: `input position, norm`."""
    name = position_name(position)
    if edit is not None:
        name += f", {edit_name(edit)}"
    return Curve.of(
        name,
        values,
        key=key,
        role=role,
        units=units,
        control=control,
        depths=depths,
        unit=unit,
        floor=floor,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthTable:
    """Curves of the same depths as one table: a row a depth."""

    curves: tuple[Curve, ...]
    n_layers: int

    @property
    def depths(self) -> list[int]:
        """Of its rows."""
        return [int(depth) for depth in self.curves[0].depths]

    @property
    def headings(self) -> list[str]:
        """Of its curves' columns."""
        return [curve.heading for curve in self.curves]

    @property
    def frame(self) -> "pd.DataFrame":
        """WHERE, and for each curve the columns `<key>`, `<key>_low` and `<key>_high`."""
        import pandas as pd

        columns: dict[str, Any] = {
            "depth": self.depths,
            "after": [explained(d, self.n_layers) for d in self.depths],
            "relative_depth": [d / self.n_layers for d in self.depths],
        }
        for curve in self.curves:
            columns[curve.key] = curve.mean
            if curve.banded:
                columns[f"{curve.key}_low"] = curve.low
                columns[f"{curve.key}_high"] = curve.high
        return pd.DataFrame(columns)

    @property
    def csv(self) -> str:
        """Six significant digits; of what users write it holds names of labels."""
        return csv_text(self.frame, float_format="%.6g")

    @property
    def csv_uri(self) -> str:
        """The CSV as a data: address, which works in a file opened from disk."""
        return "data:text/csv;charset=utf-8," + quote(self.csv)

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Cells as (value, interval) texts, those of WHERE first."""
        cells = [curve.cells for curve in self.curves]
        return [
            [
                (str(depth), ""),
                (explained(depth, self.n_layers), ""),
                (fraction(depth, self.n_layers), ""),
                *(column[i] for column in cells),
            ]
            for i, depth in enumerate(self.depths)
        ]


def depth_table(curves: Sequence[Curve], n_layers: int) -> DepthTable:
    """The curves side by side; all must have the same depths.

    Raises:
        ValueError: they have not.
    """
    if any(not np.array_equal(curve.depths, curves[0].depths) for curve in curves):
        raise ValueError("depth_table: all curves must have the same depths.")
    return DepthTable(curves=tuple(curves), n_layers=n_layers)
