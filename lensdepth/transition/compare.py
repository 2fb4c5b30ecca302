"""Transitions side by side: do definitions agree, is one sharper, do they survive being many?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.storage import Result
from lensdepth.telling.numbers import Interval, p_value
from lensdepth.transition.change_point import ChangePoint
from lensdepth.transition.commitment import Commitment
from lensdepth.transition.crossing_result import Crossing
from lensdepth.transition.landmark import Landmark
from lensdepth.transition.paired import Located, differences
from lensdepth.transition.pairs import best_cuts
from lensdepth.transition.result import Transition
from lensdepth.transition.sigmoid import fit_sigmoids
from lensdepth.units import FEWEST_UNITS, count, take

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@checked
@dataclass(frozen=True, kw_only=True)
class WidthComparison(Result):
    """Which of two transitions takes fewer depths."""

    verdict: Literal["first is sharper", "second is sharper", "cannot tell"]
    difference: float
    """Width of the first less that of the second, in depths: negative where the first is
    sharper."""
    low: float
    high: float

    def to_frame(self) -> "pd.DataFrame":
        """One row."""
        import pandas as pd

        return pd.DataFrame([asdict(self)])

    def plot(self) -> "Figure":
        """The difference with its interval, beside none."""
        from lensdepth.intervals import interval_figure

        found = Interval(value=self.difference, low=self.low, high=self.high)
        return interval_figure(
            {"first less second": found},
            title=f"Two transitions: {self.verdict}",
            x_title="difference of 10-90 % widths, depths",
        )


@checked
def compare_widths(
    first: Transition, second: Transition, *, n_resamples: int = 1000, seed: int = 0
) -> WidthComparison:
    """The difference of two 10-90 % widths, by a bootstrap that is paired over units.

    Args:
        first: of some prompts.
        second: of the same prompts, in the same order.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.
    Raises:
        ValueError: they have different numbers of units, or one has fewer than two.
    """
    if first.n_pairs != second.n_pairs or first.n_pairs < 2:
        raise ValueError(
            f"compare_widths: both transitions must be of the same prompts, two or more; got "
            f"{first.n_pairs} and {second.n_pairs} pairs."
        )
    curves = [found.curve.double().numpy() for found in (first, second)]
    low = high = float("nan")
    if first.n_units >= FEWEST_UNITS:
        # One call draws the same units for both.
        drawn = stats.drawn_means(*curves, units=first.units, n_resamples=n_resamples, seed=seed)
        widths = [
            fit_sigmoids(y, one.depths.double().numpy())["width"]
            for y, one in zip(drawn, (first, second), strict=True)
        ]
        low, high = stats.corrected_interval(widths[0] - widths[1], first.width - second.width)
    verdict = "cannot tell"
    if high < 0:
        verdict = "first is sharper"
    elif low > 0:
        verdict = "second is sharper"
    return WidthComparison(
        verdict=verdict,  # type: ignore[arg-type]
        difference=first.width - second.width,
        low=low,
        high=high,
    )


@checked
@dataclass(frozen=True, kw_only=True)
class OrderComparison(Result):
    """Which of two switches of the same pairs comes first, pair by pair."""

    verdict: Literal["first comes first", "second comes first", "cannot tell", "too few"]
    lead: float
    """Share of pairs whose first switch comes before the second less the share of the others."""
    low: float
    high: float
    earlier: float
    """Share of pairs whose first switch comes before the second."""
    same: float
    """Share whose switches lie between the same two measured depths."""
    lag: float
    """Median of second less first, in depths."""
    apart: float
    """The same over the pairs of the more frequent order; NaN where there are none."""
    n_pairs: int
    """Pairs that have both."""
    n_units: int

    @property
    def later(self) -> float:
        """Share of pairs whose first switch comes after the second."""
        return 1 - self.earlier - self.same

    def to_frame(self) -> "pd.DataFrame":
        """One row."""
        import pandas as pd

        return pd.DataFrame([asdict(self)])

    def plot(self) -> "Figure":
        """The lead with its interval, beside none."""
        from lensdepth.intervals import interval_figure

        return interval_figure(
            {"first before second": Interval(value=self.lead, low=self.low, high=self.high)},
            title=f"Two switches: {self.verdict}",
            x_title="share of pairs with the first one earlier, less share with it later",
        )


@checked
def compare_order(first: Transition | Crossing, second: Transition | Crossing) -> OrderComparison:
    """Which of two switches comes first, from the same functional of the same pairs.

    Each pair's two profiles are cut in two where that leaves least spread, which is known to a step
    between two measured depths; pairs whose switches lie in one step have none first.

    Args:
        first: a switch of some pairs.
        second: another switch of the same pairs, in the same order. Where one was measured at more
            depths, it is cut at those of the other.
    Raises:
        ValueError: they have other numbers of pairs, or the depths of neither are among the
            other's, depth L aside.
    """
    shared = np.intersect1d(first.depths.numpy(), second.depths.numpy())
    fewer = min(len(first.depths), len(second.depths))
    if first.n_pairs != second.n_pairs or len(shared) < max(fewer - 1, 2):
        raise ValueError(
            f"compare_order: both must be of the same pairs, and one's depths among the other's; "
            f"got {first.n_pairs} and {second.n_pairs} pairs, {len(first.depths)} and "
            f"{len(second.depths)} depths, {len(shared)} of them of both."
        )
    lag = _places(second, shared) - _places(first, shared)
    both = ~np.isnan(lag)
    sign = np.sign(lag[both])
    units = take(first.units, both)
    n_units = count(units, len(sign))
    # Between −1 and 1, and so is its interval.
    way = stats.mean_interval((sign + 1) / 2, units=units, share=True)
    lead, low, high = (2 * float(x) - 1 for x in way)
    verdict = "cannot tell" if n_units >= FEWEST_UNITS else "too few"
    if low > 0:
        verdict = "first comes first"
    elif high < 0:
        verdict = "second comes first"
    return OrderComparison(
        verdict=verdict,  # type: ignore[arg-type]
        lead=lead,
        low=low,
        high=high,
        earlier=float((sign > 0).mean()) if len(sign) else float("nan"),
        same=float((sign == 0).mean()) if len(sign) else float("nan"),
        lag=float(np.median(lag[both])) if len(sign) else float("nan"),
        apart=_median(lag[both][sign == (1 if lead > 0 else -1)]),
        n_pairs=len(sign),
        n_units=n_units,
    )


def _places(one: Transition | Crossing, depths: Float[Array, " depth"]) -> Float[Array, " pair"]:
    """Where each pair switches, as these depths show it."""
    known = one.pairs.depth.double().numpy()
    at = one.depths.double().numpy()
    if len(at) - len(depths) <= 1:
        return known
    profile = one.second - one.first if isinstance(one, Crossing) else one.curve
    among = np.isin(at, depths)
    place, _, _ = best_cuts(profile.double().numpy()[:, among], at[among])
    return np.where(np.isnan(known), np.nan, place)


def _median(lag: Float[Array, " pair"]) -> float:
    return float(np.median(lag)) if len(lag) else float("nan")


@checked
def correct_many(found: Sequence[Transition]) -> list[Transition]:
    """The same transitions, with p-values corrected for their number by Holm's method.

    A transition whose corrected p-value is no longer small becomes "cannot tell".
    """
    if not found:
        return []
    corrected = stats.holm(np.array([one.p for one in found]))
    result = []
    for one, p in zip(found, corrected, strict=True):
        changed = replace(one, p=float(p))
        if one.verdict == "transition" and p >= stats.ALPHA:
            reason = f"after correction for {len(found)} profiles it could be chance ({p_value(p)})"
            changed = replace(changed, verdict="cannot tell", reason=reason)
        result.append(changed)
    return result


@checked
def compare_definitions(
    found: Mapping[str, Located],
    *,
    against: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> "pd.DataFrame":
    """One row a definition: where it puts the switch, how far from the causal one, and which others
    it agrees with.

    Definitions agree where their 95 % intervals meet. They answer different questions, so that
    they differ is a finding and no fault. The difference to the causal switch is paired: both are
    found in the same draws of units.

    Args:
        found: transitions, change points, crossings, commitments and landmarks, by name; all of
            the same pairs, in the same order. Of other prompts, of another number of pairs, and of
            one cut through several curves there is a difference, and no interval of it.
        against: which of them is the causal switch; by default the first crossing.
        n_resamples: draws of the means.
        seed: of the draws.
    Returns:
        Columns: definition, kind, verdict, depth, low, high (NaN where there is none), agrees_with,
        and less the causal switch `difference`, `difference_low`, `difference_high` and `order`:
        "before" and "after" by more than a depth, "at the same depth" within one, "not settled",
        "none" (it has no place), "no switch", "not paired", "too few"; "" for the switch itself.
    Raises:
        ValueError: `against` is no crossing among them.
    """
    import pandas as pd

    crossings = [name for name, one in found.items() if isinstance(one, Crossing)]
    if against is not None and against not in crossings:
        raise ValueError(
            f"compare_definitions: against must name a crossing among what was found; got "
            f"{against!r}, and there are {', '.join(crossings) or 'none'}."
        )
    switch = against or next(iter(crossings), "")
    rows = {name: _located(one) for name, one in found.items()}
    frame = pd.DataFrame(
        [
            {"definition": name, "kind": kind, "verdict": verdict,
             "depth": depth, "low": low, "high": high}
            for name, (kind, verdict, depth, low, high) in rows.items()
        ],
        columns=["definition", "kind", "verdict", "depth", "low", "high"],
    )  # fmt: skip
    frame["agrees_with"] = [
        ", ".join(
            other
            for other, (*_, other_low, other_high) in rows.items()
            if other != name and low <= other_high and other_low <= high
        )
        for name, (*_, low, high) in rows.items()
    ]
    places = {name: depth for name, (_, _, depth, _, _) in rows.items()}
    apart = differences(found, places, switch, n_resamples=n_resamples, seed=seed)
    for i, column in enumerate(("difference", "difference_low", "difference_high", "order")):
        frame[column] = [apart[name][i] for name in rows]
    return frame


def _located(one: Located) -> tuple[str, str, float, float, float]:
    """Kind, verdict, and the depth with its interval, NaN where there is no such place."""
    if isinstance(one, Commitment):
        return "commitment", "commitment", one.location, one.low, one.high
    if isinstance(one, Landmark):
        return "landmark", one.verdict, one.depth, one.low, one.high
    if isinstance(one, Transition):
        kind, found = "sigmoid", one.verdict if one.verdict == "rise" else "transition"
        place = (one.location_low, one.location_high)
    elif isinstance(one, ChangePoint):
        kind, found, place = "change point", "change", (one.low, one.high)
    else:
        kind, found, place = "crossing", "crossing", (one.low, one.high)
    at = one.depth if isinstance(one, Crossing) else one.location
    if one.verdict != found:
        at, place = float("nan"), (float("nan"), float("nan"))
    return kind, one.verdict, at, *place
