"""Claims on several models or checkpoints side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth.arguments import checked
from lensdepth.claims.estimate import rise_width, rises_to
from lensdepth.claims.place import PASSES, Place, Switched, place_of, what_switches
from lensdepth.claims.places import DepthComparison, compared
from lensdepth.claims.result import ClaimTable
from lensdepth.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

NUMERICS = ("dtype", "weights")
"""What must be alike for numbers of two models to stand in one table."""


@checked
def compare_models(tables: Sequence[ClaimTable], *, allow_mixed: bool = False) -> "pd.DataFrame":
    """One row a model and claim, with where and how fast control passes, relative to the depth.

    `passes_at` is the crossing of the patching curves with its interval. Whether it is one relative
    depth in all models is asked by `compare_depths`, and told by `lensdepth claims --against`.

    Args:
        tables: from `evaluate_claims`, one a model.
        allow_mixed: put models of other dtypes, or of processed beside raw weights, in one table.
    Raises:
        ValueError: no tables, other tasks, or mixed numerics without `allow_mixed`.
    """
    import pandas as pd

    check_alike(tables, allow_mixed=allow_mixed)
    rows = []
    for table, name in zip(tables, names_of(tables), strict=True):
        model, curve = table.provenance.model, _everywhere(table.handover.double().numpy())
        where = _passes(table)
        for one in table.claims:
            found = table.finding(one.decisive)
            rows.append(
                {
                    "model": name,
                    "n_layers": table.n_layers,
                    "dtype": model.dtype,
                    "weights": model.weights,
                    "accuracy": table.accuracy,
                    "handover_at": rises_to(curve, 0.5),
                    "handover_width": rise_width(curve),
                    **{f"passes_{key}": value for key, value in where.items()},
                    "claim": one.claim,
                    "title": one.title,
                    "verdict": one.verdict,
                    "decisive": one.decisive,
                    "effect": found.effect,
                    "low": found.low,
                    "high": found.high,
                    "p": one.p,
                    "n": found.n,
                    "reason": one.reason,
                }
            )
    return pd.DataFrame(rows).astype(dict.fromkeys(("effect", "low", "high", "p"), float))


@checked
def compare_depths(
    found: Mapping[str, Switched] | Sequence[ClaimTable],
    *,
    twins: Mapping[str, Sequence[Switched]] | None = None,
    seed: int = 0,
) -> DepthComparison:
    """Whether control passes, or a profile switches, at one relative depth in several models.

    `lensdepth.claims.places` gives both tests and their nulls.

    Args:
        found: what `evaluate_claims` gave for each model; or by a model's name crossings, such as
            `find_crossing(patch_sweep(model, task))`, or transitions of one kind of profile, such
            as `find_transition(logit_lens(model, task))`. All of one task.
        twins: of crossings or transitions, those of untrained twins of some or all of the models,
            on their own answers (`lensdepth.claims.twins.in_a_twin`); tables bring their own.
        seed: of the draws.
    Returns:
        DepthComparison. "too few" where fewer than four models have a place.
    Raises:
        ValueError: none, bare curves, other tasks, other kinds of places, one model twice, or twins
            that belong to none.
    Example:
        >>> compare_depths({name: find_crossing(patch_sweep(m, task)) for name, m in ms.items()})
    """
    caller = "compare_depths"
    if isinstance(found, Mapping):
        known = {name: one.provenance for name, one in found.items()}
        rows = {name: (one.n_layers, place_of(one)) for name, one in found.items()}
        given = {} if twins is None else twins
        kinds = list(dict.fromkeys(map(what_switches, found.values())))
        if len(kinds) > 1:
            raise ValueError(
                f"{caller}: these are places of other kinds: where {' and '.join(kinds)}."
            )
        what = kinds[0] if kinds else PASSES
    else:
        what = PASSES
        if twins is not None:
            raise ValueError(f"{caller}: tables bring their twins; leave out `twins`.")
        tables = [one for one in found if one.place is not None]
        names = names_of(tables)
        known = {name: one.provenance for name, one in zip(names, tables, strict=True)}
        rows = {
            name: (one.n_layers, one.place)
            for name, one in zip(names, tables, strict=True)
            if one.place is not None
        }
        given = {name: one.twin_places for name, one in zip(names, tables, strict=True)}
    _check_places(known, given, caller)
    theirs = {
        name: tuple(one if isinstance(one, Place) else place_of(one) for one in given.get(name, ()))
        for name in rows
    }
    whole = {name: (n, place, theirs[name]) for name, (n, place) in rows.items()}
    return compared(whole, what=what, seed=seed)


def _check_places(
    known: Mapping[str, Provenance | None], twins: Mapping[str, object], caller: str
) -> None:
    """Refuse what is no set of different models on one task."""
    if not known:
        raise ValueError(f"{caller}: there is no model with a place to compare.")
    infos = {name: one for name, one in known.items() if one is not None}
    bare = [name for name in known if name not in infos]
    if bare:
        raise ValueError(
            f"{caller}: {bare[0]!r} is of bare curves; give a crossing or transition of a profile, "
            f"which knows its model."
        )
    tasks = list(dict.fromkeys(one.task for one in infos.values()))
    if len(tasks) > 1:
        raise ValueError(f"{caller}: the models were asked other tasks: {', '.join(tasks)}.")
    prints = [one.model.fingerprint for one in infos.values()]
    twice = [name for name, own in zip(infos, prints, strict=True) if prints.count(own) > 1]
    if twice:
        raise ValueError(f"{caller}: {twice[0]!r} is there twice; give each model once.")
    strange = [name for name in twins if name not in known]
    if strange:
        raise ValueError(f"{caller}: there are twins of {strange[0]!r}, and no such model.")


def _everywhere(curve: Float[Array, " depth"]) -> Float[Array, " depth"]:
    """A curve with straight lines over the depths at which nothing was measured."""
    known = np.flatnonzero(~np.isnan(curve))
    return np.interp(np.arange(len(curve)), known, curve[known]) if len(known) else curve


def _passes(table: ClaimTable) -> dict[str, float]:
    """Fraction of the depth at which control passes, with its interval."""
    place = table.place
    if place is None or not place.placed:
        return dict.fromkeys(("at", "low", "high"), float("nan"))
    found = {"at": place.depth, "low": place.low, "high": place.high}
    return {key: value / table.n_layers for key, value in found.items()}


def check_alike(tables: Sequence[ClaimTable], *, allow_mixed: bool) -> str:
    """Refuse what does not belong in one table, or say what is mixed in it.

    Raises:
        ValueError
    """
    if not tables:
        raise ValueError("compare_models: there are no tables to compare.")
    tasks = list(dict.fromkeys(table.provenance.task for table in tables))
    if len(tasks) > 1:
        raise ValueError(f"compare_models: the tables are of other tasks: {', '.join(tasks)}.")
    mixed = []
    for key in NUMERICS:
        values = dict.fromkeys(str(getattr(table.provenance.model, key)) for table in tables)
        if len(values) > 1:
            mixed.append(f"{key} {' and '.join(values)}")
    if mixed and not allow_mixed:
        raise ValueError(
            f"compare_models: the models were run with {'; '.join(mixed)}, which changes norms, "
            f"directions and rounding. Run them alike, or allow it (--mix-numerics, "
            f"allow_mixed=True)."
        )
    return "; ".join(mixed)


def names_of(tables: Sequence[ClaimTable]) -> list[str]:
    """Model names, told apart by their fingerprints where two are alike."""
    names = [table.provenance.model.name for table in tables]
    return [
        f"{name} ({table.provenance.model.fingerprint[:6]})" if names.count(name) > 1 else name
        for name, table in zip(names, tables, strict=True)
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelsTable:
    """Several models' claims as one result, for a table and a figure."""

    tables: tuple[ClaimTable, ...]
    allow_mixed: bool = False

    @property
    def provenance(self) -> Provenance:
        """That of the first model."""
        return self.tables[0].provenance

    @property
    def names(self) -> list[str]:
        return names_of(self.tables)

    def to_frame(self) -> "pd.DataFrame":
        """One row a model and claim."""
        return compare_models(self.tables, allow_mixed=self.allow_mixed)

    @cached_property
    def depths(self) -> DepthComparison | None:
        """Whether control passes at one relative depth in all of them, each model taken once; None
        where it was looked for in none."""
        if all(table.place is None for table in self.tables):
            return None
        once = {table.provenance.model.fingerprint: table for table in reversed(self.tables)}
        return compare_depths([*reversed(once.values())], seed=self.provenance.seed)

    def plot(self) -> "Figure":
        """The handover of every model over relative depth."""
        from lensdepth.claims.figures import handovers

        return handovers(self.tables, self.names)
