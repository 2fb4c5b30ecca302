"""Pairs until it is clear: patching is measured in batches, and ends when the crossing is known.

Looking several times, and stopping when one likes what one sees, makes intervals too narrow and
verdicts too sure. Here the looks are fixed beforehand, at twice as many pairs each, and each of K
looks takes the K-th part of what an interval may miss: at 95 % and five looks each is at 99 %. By
Bonferroni's inequality all of them hold together in at least 95 % of data sets, and so does the
one at which measuring stopped, whatever made it stop. Pairs come in an order of chance.

Source: Lan & DeMets 1983, "Discrete Sequential Boundaries for Clinical Trials" (spending the error
over looks); Pocock 1977 (equal shares of it).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.gap import find_holder
from lensdepth.model import DepthModel
from lensdepth.outcome import Effects
from lensdepth.patching.profile import PatchProfile
from lensdepth.patching.sweep import ALSO, patch_sweep
from lensdepth.progress import one_by_one
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.storage import ModelResult
from lensdepth.sweep.adaptive import Depths, as_setting
from lensdepth.sweep.roles import Mode
from lensdepth.tasks.task import Task
from lensdepth.telling.numbers import Interval, counted, number
from lensdepth.telling.plain import Json, to_json
from lensdepth.transition.crossing import ENDS, find_crossing
from lensdepth.transition.crossing_result import Crossing, CrossingVerdict
from lensdepth.units import count

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

Stopped = Literal["clear", "time", "all pairs"]
FIRST_LOOK = 24
"""Pairs before the first look."""
DRAWS_IN_TAIL = 20
"""Draws that lie beyond each end of an interval, at least: so many the ends are told by."""


@checked
@dataclass(frozen=True, kw_only=True)
class Look:
    """What was known after some of the pairs."""

    n_pairs: int
    n_units: int
    verdict: CrossingVerdict
    depth: float
    low: float
    high: float
    """Ends of an interval that holds at this and all other looks together."""
    seconds: float
    """Since the beginning."""

    @property
    def reach(self) -> float:
        """How far the interval goes to its longer side, in depths; NaN without one."""
        return max(self.depth - self.low, self.high - self.depth)


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class LocatedCrossing(ModelResult):
    """Where control passes, of as many pairs as it took to know it."""

    MADE_BY: ClassVar[str] = "locate_crossing(model, task)"
    """The call that makes one."""

    provenance: Provenance
    crossing: Crossing
    """Of the pairs that were measured; of a gap, with who holds it. Its interval and its verdict
    hold at 95 % although it was looked for several times."""
    profile: PatchProfile
    """Their curves, without controls."""
    looks: tuple[Look, ...]
    level: float
    """Coverage of each look's interval by itself."""
    stopped: Stopped
    n_pairs_there: int
    """Pairs that the task has."""
    n_units_there: int
    """Independent ones."""

    @property
    def told(self) -> str:
        """Why measuring stopped, and what more pairs would give."""
        last, n, units = self.looks[-1], self.n_pairs_there, self.n_units_there
        asked = self.provenance.settings
        why = {
            "clear": f"it was clear after {counted(last.n_pairs, 'pair')} of {n}",
            "time": f"the {number(asked['minutes'] or 0.0)} minutes were up after "
            f"{counted(last.n_pairs, 'pair')} of {n}",
            "all pairs": f"all {counted(n, 'pair')} were measured",
        }[self.stopped]
        more = ""
        if last.n_pairs < n and last.reach > 0:
            # What units differ by stays, however many pairs each of them has.
            expected = float(last.reach * np.sqrt(last.n_units / units))
            more = (
                f" All {n} pairs, which are {counted(units, 'unit')} in place of {last.n_units}, "
                f"would bring the interval's longer side from {number(last.reach)} to about "
                f"{number(expected)} depths."
            )
        looks = counted(len(self.looks), "look")
        return (
            f"Measured in batches, {why}. The interval and the verdict hold at 95 % whenever "
            f"one stops: {looks}, each at {100 * self.level:.3g} %.{more}"
        )

    @property
    def summary(self) -> Json:
        """Why measuring stopped, at what level, and every look, as JSON."""
        return {
            "stopped": self.stopped,
            "level": self.level,
            "n_pairs_there": self.n_pairs_there,
            "looks": to_json([vars(look) for look in self.looks]),
        }

    def to_frame(self) -> "pd.DataFrame":
        """One row a look."""
        import pandas as pd

        frame = pd.DataFrame([vars(look) for look in self.looks])
        after = frame.columns.tolist().index("depth") + 1
        frame.insert(after, "relative_depth", (frame["depth"] / self.n_layers).tolist())
        return frame

    def plot(self) -> "Figure":
        """The depth and its interval after so many pairs."""
        from lensdepth.intervals import interval_figure

        found = {
            counted(look.n_pairs, "pair"): Interval(value=look.depth, low=look.low, high=look.high)
            for look in self.looks
        }
        return interval_figure(found, title="Where control passes", x_title="depth")


@checked
@bounded
def locate_crossing(
    model: DepthModel,
    task: Task,
    *,
    precision: float | None = None,
    minutes: float | None = None,
    first_look: int = FIRST_LOOK,
    depths: Depths = None,
    mode: Mode = "denoise",
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> LocatedCrossing:
    """Patch both positions, batch by batch, until the crossing is known well enough, or time is up.

    Args:
        model: any wrapped model.
        task: pairs with an input position.
        precision: depths that the interval may reach to either side of the crossing; None: until
            there is a verdict other than "cannot tell".
        minutes: time for it; the next batch is begun only if it is likely to end in time. The first
            one is measured whatever it takes.
        first_look: pairs in the first batch; each further look is at twice as many.
        depths: as of `patch_sweep`; those that the first batch finds are measured in all.
        mode: as of `patch_sweep`.
        seed: of the order of the pairs and of the draws.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: see `lensdepth.replay.replay`.
    Returns:
        LocatedCrossing.
    Raises:
        ValueError: a task without pairs or input positions, a precision, time or first look that is
            not above 0, or what `patch_sweep` refuses.
    Example:
        >>> locate_crossing(model, load_task("ioi", model, n=400), precision=0.5).told
    """
    caller = "locate_crossing"
    for name, value in (("precision", precision), ("minutes", minutes), ("first_look", first_look)):
        if value is not None and not value > 0:
            raise ValueError(f"{caller}: {name} must be above 0, got {value}.")
    if task.no_handover:
        raise ValueError(f"{caller}: there is no crossing to look for: {task.no_handover}.")
    if task.input_positions is None:
        raise ValueError(f"{caller}: the task has no input position; add the column input.")
    order = np.random.default_rng(seed).permutation(len(task))
    sizes = look_sizes(len(task), first_look)
    level = 1 - (1 - stats.LEVEL) / len(sizes)
    profiles: list[PatchProfile] = []

    def measure(rows: slice) -> None:
        some = task.select(order[rows])
        at = profiles[0].depths.tolist() if profiles else depths
        profile = patch_sweep(
            model, some, positions=ENDS, also=ALSO, controls=(), depths=at, mode=mode,
            seed=seed,
        )  # fmt: skip
        profiles.append(profile)

    def look(n: int) -> Crossing:
        profile = together(profiles, task.select(order[:n]))
        return find_crossing(profile, level=level, n_resamples=draws_at(level), seed=seed)

    found, looks, stopped = until_clear(
        sizes, measure, look, lambda one: is_clear(one, precision), minutes=minutes
    )
    measured = task.select(order[: looks[-1].n_pairs])
    settings = {
        "precision": precision, "minutes": minutes, "first_look": first_look, "mode": mode,
        "depths": as_setting(depths), "batch_size": batch_size, "max_memory": max_memory,
    }  # fmt: skip
    return LocatedCrossing(
        provenance=make_provenance(
            caller, model.info, **measured.origin,
            settings=settings, seed=seed,
        ),
        crossing=find_holder(model, measured, found, mode=mode, seed=seed),
        profile=together(profiles, measured),
        looks=looks,
        level=level,
        stopped=stopped,
        n_pairs_there=len(task),
        n_units_there=count(task.units, len(task)),
    )  # fmt: skip


def look_sizes(n: int, first: int) -> list[int]:
    """Pairs at each look: twice as many each time, and all at the last."""
    sizes = [min(first, n)]
    while sizes[-1] < n:
        # What is left after the next doubling would be no more than half of it: one look for both.
        sizes.append(2 * sizes[-1] if 3 * sizes[-1] <= n else n)
    return sizes


def draws_at(level: float) -> int:
    """Draws of the means that an interval of this coverage needs; 1,000 at least."""
    return max(1000, int(np.ceil(2 * DRAWS_IN_TAIL / (1 - level))))


def is_clear(look: Look, precision: float | None) -> bool:
    """Whether there is a verdict, and, of a crossing, its interval is narrow enough."""
    if look.verdict in ("cannot tell", "too few"):
        return False
    return precision is None or look.verdict != "crossing" or look.reach <= precision


def until_clear(
    sizes: Sequence[int],
    measure: Callable[[slice], Any],
    look: Callable[[int], Crossing],
    clear: Callable[[Look], bool],
    *,
    minutes: float | None = None,
) -> tuple[Crossing, tuple[Look, ...], Stopped]:
    """Measure batch after batch, look after each, and stop where it is clear or time is up.

    Args:
        sizes: pairs at each look, ascending.
        measure: measures the pairs of these rows.
        look: what the first so many give, at the level of one look.
        clear: whether that will do.
        minutes: see `locate_crossing`.
    """
    began, looks = time.monotonic(), list[Look]()
    stopped: Stopped = "all pairs"
    found: Crossing | None = None
    for k, n in enumerate(one_by_one(sizes, "looks")):
        measure(slice(looks[-1].n_pairs if looks else 0, n))
        found = look(n)
        seconds = round(time.monotonic() - began, 3)
        one = Look(
            n_pairs=n, n_units=count(found.units, n), verdict=found.verdict, depth=found.depth,
            low=found.low, high=found.high, seconds=seconds,
        )  # fmt: skip
        looks.append(one)
        if n == sizes[-1]:
            break
        if clear(looks[-1]):
            stopped = "clear"
            break
        ahead = looks[-1].seconds / n * sizes[k + 1]
        if minutes is not None and ahead > 60 * minutes:
            stopped = "time"
            break
    assert found is not None
    return found, tuple(looks), stopped


def together(profiles: Sequence[PatchProfile], task: Task) -> PatchProfile:
    """One profile of the pairs of several, which were patched alike, one after the other.

    Args:
        profiles: of parts of the task.
        task: the pairs of all of them, in that order.
    """
    first = profiles[0]
    if len(profiles) == 1:
        return first
    alike = all(one.labels == first.labels for one in profiles)
    known = make_provenance(
        first.provenance.analysis, first.provenance.model, **task.origin,
        settings=first.provenance.settings, seed=first.provenance.seed,
    )  # fmt: skip
    return replace(
        first,
        provenance=known,
        labels=first.labels if alike else first.positions,
        outcome=_joined([one.outcome for one in profiles]),
        self_patch_error=max(one.self_patch_error for one in profiles),
    )


def _joined(parts: Sequence[Effects]) -> Effects:
    """The same edited runs on the pairs of all parts."""
    along = {"values": parts[0].dims.index("pair"), "base": 1, "source": 1}
    numbers = {
        name: torch.cat([getattr(part, name) for part in parts], dim=dim)
        for name, dim in along.items()
    }
    floors = zip(*(part.floor for part in parts), strict=True)
    return replace(parts[0], **numbers, floor=tuple(map(max, floors)))
