"""Claims on several models or checkpoints side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lensdepth.arguments import checked
from lensdepth.claims.estimate import rise_width, rises_to
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
        model, curve = table.provenance.model, table.handover.double().numpy()
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

    def plot(self) -> "Figure":
        """The handover of every model over relative depth."""
        from lensdepth.claims.figures import handovers

        return handovers(self.tables, self.names)
