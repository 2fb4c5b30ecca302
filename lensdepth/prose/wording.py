"""How numbers, places and counts are written, the same everywhere."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over prompts with its 95 % interval; the bounds are NaN for one prompt alone.

    Written without the interval where that varies by less than the last digit shown.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return self._written(plain, "")

    @property
    def percent(self) -> str:
        """The same as a percentage."""
        return self._written(lambda x: f"{100 * x:.0f}", "%")

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def _written(self, write: Callable[[float], str], unit: str) -> str:
        mean, low, high = write(self.mean), write(self.low), write(self.high)
        if not self.known or low == mean == high:
            return mean + unit
        return f"{mean}{unit} ({low} to {high}{unit})"


@checked
def estimate(values: Float[Tensor, " unit"]) -> Estimate:
    """Mean and interval over prompts or pairs."""
    mean, low, high = stats.bootstrap_mean(values.numpy()[:, None])
    return Estimate(mean=float(mean[0]), low=float(low[0]), high=float(high[0]))


@checked
def plain(x: float) -> str:
    """Two decimals below 10, fewer above, and never a minus before a zero."""
    text = f"{x:.2f}" if abs(x) < 10 else f"{x:.1f}" if abs(x) < 100 else f"{x:.0f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


@checked
def p_value(p: float) -> str:
    """`p = 0.03`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


@checked
def block_of(depth: float | int, n_layers: int) -> str:
    """The residual state nearest to a depth, by the block whose output it is."""
    nearest = round(depth)
    if nearest <= 0:
        return "the embedding"
    return f"the output of block {nearest - 1}" + (", the last" if nearest >= n_layers else "")


def at_depth(depth: int, n_layers: int) -> str:
    """A whole depth with its block."""
    return f"depth {depth} ({block_of(depth, n_layers).removeprefix('the ')})"


def place(depth: float, low: float, high: float, n_layers: int) -> str:
    """Where along the depth, with the interval, the nearest block and the fraction."""
    digits = 1 if high - low >= 0.5 else 2
    return (
        f"depth {depth:.{digits}f} of {n_layers} (95% interval {low:.{digits}f} to "
        f"{high:.{digits}f}), {depth / n_layers:.0%} of the way, nearest "
        f"{block_of(depth, n_layers)}"
    )


@checked
def counted(n: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


@checked
def between(at: float, low: float, high: float, n_layers: int) -> str:
    """The interval of a location, short."""
    digits = 1 if high - low >= 0.5 else 2
    return (
        f"depth {at:.{digits}f} of {n_layers}, 95% interval {low:.{digits}f} to {high:.{digits}f}"
    )
