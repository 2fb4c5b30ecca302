"""Intervals for what is measured between prompts: from halves of them, never from pairs.

A bootstrap draws prompts twice, and a prompt is at distance 0 from itself: that would lower ranks,
raise similarities and break nearest neighbours. Half of the prompts, drawn without replacement,
have none twice, and an estimate from half of them varies about the estimate from all as much as
that one varies about the truth, for a statistic with root-n error.

Where prompts go together (see `units`), half of the units is drawn, each with all of its prompts.
Of several groupings each is halved by itself: the one with the most spread counts whole, each other
one with what it adds to that of independent prompts, as in `covariance`.

Source: Politis, Romano & Wolf 1999, "Subsampling", the half-sampling case; Owen 2007, "The
Pigeonhole Bootstrap", on groupings that are crossed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray as Array
from scipy import stats as distributions

from lensdepth import stats
from lensdepth.units import FEWEST_UNITS, Units, count

FEWEST = 8
"""With fewer prompts there is no interval: bias-corrected measures need four in each half."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Halves:
    """Halves of prompts by one grouping after the other."""

    by_grouping: tuple[tuple[Int[Array, "_"], ...], ...]
    """Where there are several groupings, first those of prompts that go with none."""
    scales: tuple[float, ...]
    """What deviations are multiplied by, for each grouping: a half of few units strays less than
    theirs do, and the odd one is in no half."""

    def __iter__(self) -> Iterator[Int[Array, "_"]]:
        """All halves in a row."""
        return (half for halves in self.by_grouping for half in halves)

    def __len__(self) -> int:
        return sum(map(len, self.by_grouping))


def draw_halves(n: int, n_resamples: int, seed: int) -> Int[Array, "resample half"]:
    """Halves of `n` prompts in ascending order; no rows where there are too few prompts."""
    if n < FEWEST:
        return np.zeros((0, n // 2), dtype=int)
    rng = np.random.default_rng(seed)
    return np.stack([np.sort(rng.permutation(n)[: n // 2]) for _ in range(n_resamples)])


def halve_units(units: Units, n: int, n_resamples: int, seed: int) -> Halves:
    """Halves of `n` prompts by units; none where there are too few of either.

    Args:
        units: which prompts go together; each by itself where there are none.
        n: prompts.
        n_resamples: halves by each grouping.
        seed: of the draws.
    """
    if n < FEWEST or count(units, n) < FEWEST_UNITS:
        return Halves(by_grouping=(), scales=())
    grouped = [one for one in units if one.n < n]
    codes = [np.unique(one.values, return_inverse=True)[1] for one in grouped]
    if len(codes) != 1:
        codes.insert(0, np.arange(n))
    found, scales = [], []
    rng = np.random.default_rng(seed)
    for code in codes:
        n_units = int(code.max()) + 1
        half = n_units // 2
        drawn = [rng.permutation(n_units)[:half] for _ in range(n_resamples)]
        found.append(tuple(np.flatnonzero(np.isin(code, some)) for some in drawn))
        t = distributions.t.ppf((1 + stats.LEVEL) / 2, n_units - 1)
        normal = distributions.norm.ppf((1 + stats.LEVEL) / 2)
        scales.append(float(t / normal * np.sqrt(half / (n_units - half))))
    return Halves(by_grouping=tuple(found), scales=tuple(scales))


def half_interval(
    value: Float[Array, "*shape"],
    drawn: Float[Array, "resample *shape"],
    halves: Halves | None = None,
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """95 % interval (low, high) of a value from its values in the halves.

    Half of the prompts may give other values on average (fewer prompts fill fewer dimensions), so
    only the spread of the halves about their median is used.

    Args:
        value: in all prompts.
        drawn: in each half, in their order.
        halves: by which groupings they are; of single prompts by default.
    """
    if not len(drawn):
        return np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    if halves is None:
        return _about(value, strayed_about_median(drawn))
    ends = np.cumsum([len(some) for some in halves.by_grouping])[:-1]
    parts = [
        scale * strayed_about_median(part)
        for scale, part in zip(halves.scales, np.split(drawn, ends), strict=True)
    ]
    return _about(value, parts[0] if len(parts) == 1 else together(parts))


def strayed_about_median(
    drawn: Float[Array, "resample *shape"],
) -> Float[Array, "resample *shape"]:
    """About their median; a measure that a half does not define is left out."""
    known = ~np.isnan(drawn).all(0)
    middle = np.full(drawn.shape[1:], np.nan)
    middle[known] = np.nanmedian(drawn[:, known], axis=0)
    return drawn - middle


def together(parts: Sequence[Float[Array, "resample *shape"]]) -> Float[Array, "resample *shape"]:
    """The deviations of the grouping that has most, as wide as all of them make them.

    Args:
        parts: by one grouping after the other, first those of single prompts; each about 0.
    """
    squares = np.stack([np.nan_to_num(part).var(0) for part in parts])
    most = squares.argmax(0)
    added = np.maximum(squares - squares[0], 0.0)
    largest = squares.max(0)
    np.put_along_axis(added, most[None], largest[None], axis=0)
    wider = np.sqrt(np.divide(added.sum(0), largest, out=np.ones(largest.shape), where=largest > 0))
    return np.take_along_axis(np.stack(parts), most[None, None], axis=0)[0] * wider


def _about(
    value: Float[Array, "*shape"], strayed: Float[Array, "resample *shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    low, high = stats.percentile_interval(strayed)
    return value + low, value + high
