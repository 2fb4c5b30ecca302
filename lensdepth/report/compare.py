"""Put two reports beside each other: which numbers differ, by how much, and how sure that is.

Where both are on the same prompts the difference is taken prompt by prompt, units drawn together;
otherwise each report's units are drawn by themselves.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.ablation.profile import FIRST
from lensdepth.analyses import analysis
from lensdepth.arguments import checked
from lensdepth.claims.models import NUMERICS
from lensdepth.plotting import Panel
from lensdepth.report.comparison import (
    NOWHERE,
    Difference,
    Differs,
    How,
    ReportComparison,
    VerdictsOfBoth,
)
from lensdepth.report.measured import Measured
from lensdepth.report.quantities import QUANTITIES, Read, over_the_same
from lensdepth.tasks.task import Task
from lensdepth.telling.curves import Curve
from lensdepth.telling.names import edit_name, position_name, success_words
from lensdepth.telling.numbers import UNKNOWN, Interval
from lensdepth.transition.crossing import ENDS
from lensdepth.units import FEWEST_UNITS, Units, count, take

ROLES = ("input", "prediction")
"""Colours of the first report and of the second."""
SWAPS = ("direction", "norm", "random_direction")
"""Edits whose curves are drawn."""


@checked
def compare_reports(
    first: Measured, second: Measured, *, n_resamples: int = 1000, seed: int = 0
) -> ReportComparison:
    """Two models, checkpoints or tasks beside each other on relative depth.

    Where control and the lens switch, means over the depth of lens, patching and swaps, each
    first less second with a 95 % interval over units; the curves of both; the verdicts of both.
    Differences are paired where at least half of the pairs of either report are the same prompts
    with the same answers in both, and are then of these alone.

    Args:
        first: a report (`build_report`), or what one is made of.
        second: another one, of any number of layers and any task.
        n_resamples: draws of the means.
        seed: of the draws.
    Returns:
        ReportComparison. A difference whose interval holds 0 is "cannot tell"; numbers that are
        equal pair by pair are "the same".
    Example:
        >>> compare_reports(build_report(small, task, out="a.html"), other).to_frame()
    """
    rows = shared_pairs(first.task, second.task)
    enough = 2 * len(rows[0]) >= max(len(first.task), len(second.task))
    n_units = count(take(first.task.units, rows[0]), len(rows[0])) if len(rows[0]) else 0
    paired = rows if enough and n_units >= FEWEST_UNITS else None
    names = names_of(first, second)
    return ReportComparison(
        names=names,
        provenances=(first.lens.provenance, second.lens.provenance),
        n_pairs=(len(first.task), len(second.task)),
        n_shared=len(rows[0]),
        how="independent" if paired is None else "paired",
        mixed=_mixed(first, second),
        differences=tuple(_differences(first, second, paired, n_resamples, seed)),
        claims=tuple(_claims(first, second)),
        panels={
            key: panels
            for key, panels in (
                ("lens", _lens_panels(first, second, names)),
                ("patch", _patch_panels(first, second, names)),
                ("ablation", _swap_panels(first, second, names)),
            )
            if panels
        },
        seed=seed,
    )


def shared_pairs(first: Task, second: Task) -> tuple[list[int], list[int]]:
    """Rows of both tasks that are the same prompts with the same answers, in one order."""
    there: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, pair in enumerate(_pairs(second)):
        there[pair].append(row)
    found = [(row, there[pair].pop(0)) for row, pair in enumerate(_pairs(first)) if there.get(pair)]
    return [row for row, _ in found], [row for _, row in found]


def _pairs(task: Task) -> Iterator[tuple[str, ...]]:
    columns = (task.clean, task.corrupted, task.target, task.foil)
    yield from zip(*(column for column in columns if column is not None), strict=True)


def names_of(first: Measured, second: Measured) -> tuple[str, str]:
    """What tells both apart: model, task, weights, or else their order."""
    models = [one.lens.provenance.model for one in (first, second)]
    tasks = [one.task.name for one in (first, second)]
    a, b = (one.name for one in models)
    if a == b and models[0].fingerprint != models[1].fingerprint:
        a, b = (f"{one.name} ({one.fingerprint[:6]})" for one in models)
    if tasks[0] != tasks[1]:
        same = a == b
        a, b = (task if same else f"{x} on {task}" for x, task in zip((a, b), tasks, strict=True))
    return (f"{a}, first", f"{b}, second") if a == b else (a, b)


def _mixed(first: Measured, second: Measured) -> str:
    models = [one.lens.provenance.model for one in (first, second)]
    said = []
    for key in (*NUMERICS, "backend"):
        values = [str(getattr(one, key)) for one in models]
        if values[0] != values[1]:
            said.append(f"{key} {' and '.join(values)}")
    return "; ".join(said)


def _differences(
    first: Measured,
    second: Measured,
    paired: tuple[list[int], list[int]] | None,
    n_resamples: int,
    seed: int,
) -> Iterator[Difference]:
    """Every number that both reports can have."""
    sizes = len(first.task), len(second.task)
    for key, says, of, is_place, read in QUANTITIES:
        both = read(first), read(second)
        if both == (None, None):
            continue
        reads = [one for one in both if isinstance(one, Read)]
        if len(reads) < 2:
            why = [
                f"in {name} {one or 'it was not measured'}"
                for name, one in zip(names_of(first, second), both, strict=True)
                if not isinstance(one, Read)
            ]
            found = [one.found or NOWHERE if isinstance(one, Read) else NOWHERE for one in both]
            yield Difference(
                key=key, says=says, analysis=of, is_place=is_place, first=found[0],
                second=found[1], difference=NOWHERE, verdict="not in both", how="independent",
                n_pairs=sizes, n_units=(0, 0), reason="; ".join(why),
            )  # fmt: skip
            continue
        if not is_place:
            *reads, over = over_the_same(*reads)
            says = f"{says} over {over}"
        whole = all(len(one.values[0]) == n for one, n in zip(reads, sizes, strict=True))
        rows = paired if whole else None
        yield _difference(
            reads[0], reads[1], rows, key=key, says=says, of=of, is_place=is_place,
            n_resamples=n_resamples, seed=seed,
        )  # fmt: skip


def _difference(
    first: Read,
    second: Read,
    rows: tuple[list[int], list[int]] | None,
    *,
    key: str,
    says: str,
    of: str,
    is_place: bool,
    n_resamples: int,
    seed: int,
) -> Difference:
    """One number of both, on the pairs that are shared where there are rows."""
    how: How = "independent" if rows is None else "paired"
    if rows is not None:
        first, second = (_of_rows(one, own) for one, own in zip((first, second), rows, strict=True))
    n_pairs = len(first.values[0]), len(second.values[0])
    n_units = count(first.units, n_pairs[0]), count(second.units, n_pairs[1])
    values = [_value(one) for one in (first, second)]
    own = [one.found or Interval(value=x, low=np.nan, high=np.nan)
           for one, x in zip((first, second), values, strict=True)]  # fmt: skip
    value = values[0] - values[1]
    difference = Interval(value=value, low=np.nan, high=np.nan)
    same = (
        how == "paired"
        and np.array_equal(first.at, second.at)
        and len(first.values) == len(second.values)
        and all(map(_equal, first.values, second.values))
    )
    if min(n_units) >= FEWEST_UNITS:
        drawn = _drawn(first, second, how, n_resamples, seed)
        low, high = stats.corrected_interval(drawn[0] - drawn[1], value)
        difference = replace(difference, low=low, high=high)
        own = [
            replace(one, low=ends[0], high=ends[1]) if not one.known else one
            for one, draws in zip(own, drawn, strict=True)
            for ends in [stats.corrected_interval(draws, one.value)]
        ]
    verdict, reason = _judge(difference, same, first.step, second.step, min(n_units))
    return Difference(
        key=key, says=says, analysis=of, is_place=is_place, first=own[0], second=own[1],
        difference=difference, verdict=verdict, how=how, n_pairs=n_pairs, n_units=n_units,
        reason=reason,
    )  # fmt: skip


def _judge(
    found: Interval,
    same: bool,
    first: tuple[float, float] | None,
    second: tuple[float, float] | None,
    n_units: int,
) -> tuple[Differs, str]:
    """What a difference comes to, and why nothing can be told."""
    if same:
        return "the same", ""
    if n_units < FEWEST_UNITS:
        return "too few", f"{n_units} independent units"
    if np.isnan(found.value) or not found.known or found.low <= 0 <= found.high:
        return "cannot tell", ""
    if first is not None and second is not None and max(first[0], second[0]) < min(
        first[1], second[1]
    ):  # fmt: skip
        return "cannot tell", "both lie between measured depths that overlap"
    return ("first is larger" if found.low > 0 else "second is larger"), ""


def _of_rows(one: Read, rows: Sequence[int]) -> Read:
    """The same number on some of the pairs; all of them in their own order are the report's."""
    whole = len(rows) == len(one.values[0])
    return replace(
        one,
        values=tuple(values[list(rows)] for values in one.values),
        units=take(one.units, rows),
        found=one.found if whole else None,
    )


def _value(one: Read) -> float:
    return float(one.statistic(*(np.nanmean(values, axis=0)[None] for values in one.values))[0])


def _equal(first: Array, second: Array) -> bool:
    return first.shape == second.shape and np.array_equal(first, second, equal_nan=True)


def _drawn(
    first: Read, second: Read, how: How, n_resamples: int, seed: int
) -> tuple[Float[Array, " draw"], Float[Array, " draw"]]:
    """Both numbers in draws of the means: the same units for both where they are paired."""
    if how == "independent":
        draws = [
            stats.drawn_means(*one.values, units=one.units, n_resamples=n_resamples, seed=seed + i)
            for i, one in enumerate((first, second))
        ]
        return first.statistic(*draws[0]), second.statistic(*draws[1])
    # What is equal in both is drawn once, so that a report less itself is nothing.
    kept: list[Array] = []
    places = []
    for values in (*first.values, *second.values):
        at = next((i for i, one in enumerate(kept) if _equal(one, values)), len(kept))
        kept[at:] = kept[at:] or [values]
        places.append(at)
    drawn = stats.drawn_means(*kept, units=first.units, n_resamples=n_resamples, seed=seed)
    n = len(first.values)
    return (
        first.statistic(*(drawn[i] for i in places[:n])),
        second.statistic(*(drawn[i] for i in places[n:])),
    )


def _claims(first: Measured, second: Measured) -> Iterator[VerdictsOfBoth]:
    tables = first.claims, second.claims
    known = next((table for table in tables if table is not None), None)
    for like in () if known is None else known.claims:
        verdicts, effects, settled = [], [], []
        for table in tables:
            one = table and next((x for x in table.claims if x.claim == like.claim), None)
            found = None if not table or one is None else table.finding(one.decisive)
            verdicts.append(UNKNOWN if one is None else one.verdict)
            settled.append("" if one is None else one.decisive)
            numbers = (found.effect, found.low, found.high) if found is not None else (None,) * 3
            value, low, high = (float("nan") if x is None else x for x in numbers)
            effects.append(Interval(value=value, low=low, high=high))
        yield VerdictsOfBoth(
            claim=like.claim,
            title=like.title,
            verdicts=(verdicts[0], verdicts[1]),
            effects=(effects[0], effects[1]),
            settled=(settled[0], settled[1]),
        )


def _lens_panels(first: Measured, second: Measured, names: tuple[str, str]) -> tuple[Panel, ...]:
    curves = [
        {curve.key: curve for curve in analysis("lens").curves(one.lens)} for one in (first, second)
    ]
    panels = []
    for key in ("contrast", "kl", "top1_agreement"):
        if all(key in one for one in curves):
            both = [one[key] for one in curves]
            panels.append(_panel(both[0].heading, both, (first, second), names))
    return tuple(panels)


def _patch_panels(first: Measured, second: Measured, names: tuple[str, str]) -> tuple[Panel, ...]:
    if first.patch is None or second.patch is None:
        return ()
    unit = success_words(first.patch.provenance).unit
    return tuple(
        _panel(
            f"{position_name(position)}: {unit}",
            [
                _curve(one.patch.efficacy(position), one.patch.depths, one.patch.provenance.units)
                for one in (first, second)
                if one.patch is not None
            ],
            (first, second),
            names,
        )
        for position in ENDS
        if position in first.patch.positions and position in second.patch.positions
    )


def _swap_panels(first: Measured, second: Measured, names: tuple[str, str]) -> tuple[Panel, ...]:
    profiles = [one.ablation for one in (first, second) if one.ablation is not None]
    if len(profiles) < 2:
        return ()
    return tuple(
        _panel(
            f"{edit_name(edit)}: transferred fraction",
            [
                _curve(one.of("transferred", edit=edit, **FIRST), one.depths, one.provenance.units)
                for one in profiles
            ],
            (first, second),
            names,
        )
        for edit in SWAPS
        if all(edit in one.edits for one in profiles)
    )


def _curve(values: Any, depths: Any, units: Units) -> Curve:
    return Curve.of("", values, role="full", units=units, depths=depths.numpy())


def _panel(
    title: str, curves: Sequence[Curve], reports: Sequence[Measured], names: tuple[str, str]
) -> Panel:
    """Both reports' curves over relative depth, the second dashed."""
    return Panel(
        title=title,
        curves=[
            replace(
                curve, name=name, role=role, depths=curve.depths / report.n_layers, dashed=dashed
            )
            for curve, report, name, role, dashed in zip(
                curves, reports, names, ROLES, (False, True), strict=True
            )
        ],
    )
