"""The one way in which a number is written, whoever shows it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

MINUS = "−"
UNKNOWN = "–"
"""Stands where there is no number."""
SMALLEST_P = 0.001


def number(x: float | int) -> str:
    """Two decimals below 10, one below 100, else none; never a minus before a zero.

    >>> [number(x) for x in (0.12345, -12.345, 123.45, float("nan"))]
    ['0.12', '−12.3', '123', '–']
    """
    return _written(x, lambda size: f"{size:.{_digits(size)}f}")


def change(x: float | int) -> str:
    """The same with its sign, for what went up or down."""
    text = number(x)
    return f"+{text}" if x > 0 and _has_digits(text) else text


def percent(share: float | int) -> str:
    """A share of one in whole per cent: `52%`; rounded as `number` rounds it, so that 0.085 is not
    9 hundredths in a table and 8 % in a sentence."""
    text = _written(share, lambda size: f"{100 * float(f'{size:.2f}'):.0f}")
    return text if text == UNKNOWN else f"{text}%"


def on_scale(x: float | int) -> str:
    """The label of a tick, two digits: what stands there is a place on a scale, no result."""
    return f"{x:.2g}".replace("-", MINUS)


def below(floor: float) -> str:
    """What is not told from nothing, by the size of that: `< 4e−6`, rounded up."""
    power = math.floor(math.log10(floor))
    digit = math.ceil(floor / 10.0**power - 1e-9)
    if digit == 10:
        digit, power = 1, power + 1
    size = f"{digit}e{power}".replace("-", MINUS)
    return f"< {size if power < -2 else number(digit * 10.0**power)}"


def tiny(x: float | int) -> str:
    """The size of an error that should be nothing: `3e−07`."""
    return f"{x:.0e}".replace("-", MINUS)


def p_text(p: float | int | None) -> str:
    """A p-value alone, for a cell: `0.031`, `< 0.001`, a dash where there is none."""
    if p is None or math.isnan(p):
        return UNKNOWN
    if p < SMALLEST_P:
        return f"< {SMALLEST_P}"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_value(p: float | int) -> str:
    """A p-value in a sentence: `p = 0.031`, `p < 0.001`."""
    text = p_text(p)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def counted(n: int, noun: str) -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def listed(parts: Sequence[object]) -> str:
    """`3`, `3 and 4`, `3, 4 and 7`; nothing of none."""
    *most, last = map(str, parts) if parts else ("",)
    return f"{', '.join(most)} and {last}" if most else last


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number with its 95 % interval over units; low and high are NaN where there is none.

    Written without the interval where that varies by less than the last digit shown.
    """

    value: float
    low: float
    high: float
    floor: float = field(default=0.0, metadata={"json": False})
    """What is smaller, bounds and all, is rounding: it is written as below this; 0: not known.
    JSON has the numbers as they are, and floors by themselves."""

    def __str__(self) -> str:
        return _joined(*self.cells)

    @property
    def cells(self) -> tuple[str, str]:
        """The number, and `low to high` or nothing: for a table."""
        return self._cells(number)

    @property
    def percent(self) -> str:
        """The same as percentages: `50% (40 to 60%)`."""
        value, bounds = self._cells(percent)
        return _joined(value, bounds.replace("% to", " to"))

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def __neg__(self) -> "Interval":
        return replace(self, value=-self.value, low=-self.high, high=-self.low)

    @property
    def is_rounding(self) -> bool:
        """Whether it is nothing but rounding; an exact zero is not."""
        sizes = [abs(x) for x in (self.value, self.low, self.high) if not math.isnan(x)]
        return bool(sizes) and 0 < max(sizes) < self.floor

    def _cells(self, write: Callable[[float], str]) -> tuple[str, str]:
        if write is number and self.is_rounding:
            return below(self.floor), ""
        value = write(self.value)
        bounds = [write(self.low), write(self.high)]
        if not self.known or math.isnan(self.value) or bounds == [value, value]:
            return value, ""
        return value, " to ".join(bounds)


def _joined(value: str, bounds: str) -> str:
    return f"{value} ({bounds})" if bounds else value


def _written(x: float | int, write: Callable[[float], str]) -> str:
    if math.isnan(x):
        return UNKNOWN
    # A mean in float32 and the same one in float64 are written alike, where they end in a 5.
    text = "∞" if math.isinf(x) else write(round(abs(x), 6))
    return MINUS + text if x < 0 and _has_digits(text) else text


def _digits(size: float | int) -> int:
    # What rounds up to 10 or to 100 is written as they are.
    return 2 if round(size, 2) < 10 else 1 if round(size, 1) < 100 else 0


def _has_digits(text: str) -> bool:
    return text.strip("0.") != ""


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
