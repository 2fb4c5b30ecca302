"""Mean curves of a sweep with their intervals, over all slices of a task together.

Slices are not averaged and then averaged again: the numbers of all pairs are put together, and the
interval of their mean goes over the units of the whole task (`stats.mean_interval`), as for one
sweep that was never cut.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lensdepth.scale.collect import PLACES
from lensdepth.scale.kinds import KINDS, Kind
from lensdepth.scale.manifest import Manifest
from lensdepth.scale.parts import FIRST, OTHER, UNIT, read_part
from lensdepth.scale.shards import Shard
from lensdepth.stats import mean_interval
from lensdepth.units import Grouping, Units, count

WHOSE = FIRST[:-2]
"""Columns of a row of means that say of which model, task and analysis it is."""


def mean_table(folder: Path, manifest: Manifest, shards: Sequence[Shard]) -> pd.DataFrame:
    """One row a curve, quantity and depth: mean over pairs, 95 % interval, pairs and units.

    Memory goes with the numbers of one analysis of one task on one model.

    Raises:
        ValueError: a part is damaged.
    """
    made: list[pd.DataFrame] = []
    for (_, _, at), group in groupby(shards, key=lambda s: (s.model, s.task, s.analysis)):
        kind = KINDS[manifest.config.analyses[at].analysis]
        frame = _rows(folder, manifest, list(group), kind)
        whose = {name: frame[name].iloc[0] for name in WHOSE} if len(frame) else {}
        made += [pd.DataFrame(whose | curve) for curve in _curves(frame, kind)]
    whole = pd.concat(made, ignore_index=True)
    last = ["quantity", *PLACES, "mean", "low", "high", "pairs", "units"]
    lines = [name for name in whole if name not in (*WHOSE, *last)]
    return whole[[*WHOSE, *lines, *last]]


def _rows(folder: Path, manifest: Manifest, shards: list[Shard], kind: Kind) -> pd.DataFrame:
    numbers = kind.means or (kind.value, "low", "high")
    columns = [*WHOSE, "pair", *PLACES, *kind.lines, *numbers]
    parts = []
    for shard in shards:
        table: Any = read_part(folder, shard, manifest.sweep)
        some = [n for n in table.column_names if n in columns or n.startswith(UNIT)]
        parts.append(table.select(some))
    return pa.concat_tables(parts, promote_options="permissive").to_pandas()


def _curves(frame: pd.DataFrame, kind: Kind) -> Iterator[dict[str, Any]]:
    lines = [name for name in kind.lines if name in frame]
    units = _units(frame)
    groups = frame.groupby(lines, sort=False, dropna=False) if lines else [((), frame)]
    for values, rows in groups:
        of = dict(zip(lines, values, strict=True))
        if not kind.means:
            yield of | {
                "quantity": kind.value,
                **{name: rows[name].to_numpy() for name in PLACES},
                "mean": rows[kind.value].to_numpy(),
                "low": rows["low"].to_numpy(),
                "high": rows["high"].to_numpy(),
                "pairs": None,
                "units": None,
            }
            continue
        yield from (of | curve for curve in _means(rows, kind, units))


def _means(rows: pd.DataFrame, kind: Kind, units: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of one curve, the means of each quantity that it has."""
    at = rows["depth"].fillna(-1).astype(int)  # an embedding has none
    relative = rows["relative_depth"].groupby(at).first()
    for name in kind.means:
        if name not in rows or rows[name].isna().all():
            continue
        # Where a prompt was read at several tokens, its mean over them stands for it.
        grid = rows[name].groupby([rows["pair"], at]).mean().unstack()
        own = units.loc[grid.index]
        groupings = _groupings(own)
        mean, low, high = mean_interval(grid.to_numpy(), units=groupings)
        depths = np.asarray(grid.columns)
        yield {
            "quantity": name,
            "depth": pd.array([None if d < 0 else d for d in depths], dtype="Int64"),
            "relative_depth": relative[depths].to_numpy(),
            "mean": mean,
            "low": low,
            "high": high,
            "pairs": grid.notna().sum().to_numpy(),
            "units": count(groupings, len(grid)),
        }


def _units(frame: pd.DataFrame) -> pd.DataFrame:
    """What each pair goes together with, once a pair."""
    if "pair" not in frame:
        return pd.DataFrame()
    columns = [name for name in frame if str(name).startswith(UNIT)]
    return frame[["pair", *columns]].drop_duplicates("pair").set_index("pair")


def _groupings(units: pd.DataFrame) -> Units:
    return tuple(
        Grouping(
            name=str(name),
            values=tuple(units[name]),
            other=tuple(units[f"{name}{OTHER}"]) if f"{name}{OTHER}" in units else (),
        )
        for name in units
        if not str(name).endswith(OTHER)
    )
