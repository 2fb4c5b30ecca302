"""Two reports beside each other: differences with intervals, curves on relative depth, verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from lensdepth.arguments import checked
from lensdepth.intervals import interval_figure
from lensdepth.plotting import Panel, relative_story
from lensdepth.provenance import Provenance
from lensdepth.storage import Result
from lensdepth.telling.numbers import Interval, counted, number
from lensdepth.telling.plain import Json, to_json

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

How = Literal["paired", "independent"]
Differs = Literal[
    "first is larger", "second is larger", "the same", "cannot tell", "too few", "not in both"
]
NOWHERE = Interval(value=float("nan"), low=float("nan"), high=float("nan"))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One number of both reports, and how far they differ."""

    key: str
    """`patching place`, `direction mean`."""
    says: str
    """What it is, in words."""
    analysis: str
    """Key of the analysis that it is of."""
    is_place: bool
    """Whether it is a place along the depth, as a fraction of it, or else a mean over the depth."""
    first: Interval
    second: Interval
    difference: Interval
    """First less second, with its 95 % interval over units."""
    verdict: Differs
    how: How
    """Whether pairs were taken together with themselves in the other report."""
    n_pairs: tuple[int, int]
    n_units: tuple[int, int]
    reason: str = ""
    """Why there is no difference, or why it cannot be told."""

    def told(self, names: tuple[str, str]) -> str:
        """In one sentence."""
        unit = " of the depth" if self.is_place else ""
        if self.verdict == "not in both":
            return f"{self.says}: {self.reason}."
        here = (
            f"{self.says}: {number(self.first.value)} in {names[0]} and "
            f"{number(self.second.value)} in {names[1]}{unit}"
        )
        by = f"difference {self.difference}"
        if self.verdict == "the same":
            return f"{here}; the same, pair by pair."
        if self.verdict in ("cannot tell", "too few"):
            why = f": {self.reason}" if self.reason else ""
            return f"{here}; whether they differ cannot be told ({by}{why})."
        return f"{here}; {self.verdict_on(names)} ({by})."

    def short(self, names: tuple[str, str]) -> str:
        """The same without its numbers but for the difference."""
        found = self.verdict_on(names)
        return f"{self.says}: {found}" + f" ({self.difference})" * self.difference.known

    def verdict_on(self, names: tuple[str, str]) -> str:
        """`later in tiny`, `more in tiny`, or that nothing is shown."""
        if self.verdict in ("first is larger", "second is larger"):
            more = names[self.verdict == "second is larger"]
            return f"{'later' if self.is_place else 'more'} in {more}"
        return self.verdict


@dataclass(frozen=True, kw_only=True)
class VerdictsOfBoth:
    """One claim in both reports."""

    claim: str
    title: str
    verdicts: tuple[str, str]
    """A dash where a report has none."""
    effects: tuple[Interval, Interval]
    """Of the statement that settles it there."""
    settled: tuple[str, str]
    """By which; effects of other statements are no two values of one number."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ReportComparison(Result):
    """Two models, checkpoints or tasks on one axis of relative depth."""

    MADE_BY: ClassVar[str] = "compare_reports(first, second)"
    """The call that makes one."""

    names: tuple[str, str]
    provenances: tuple[Provenance, Provenance]
    """Of the lenses of both."""
    n_pairs: tuple[int, int]
    n_shared: int
    """Pairs that are the same prompts and answers in both."""
    how: How
    mixed: str
    """What else than weights and task differs in how both were run; "" where nothing does."""
    differences: tuple[Difference, ...]
    claims: tuple[VerdictsOfBoth, ...]
    panels: Mapping[str, tuple[Panel, ...]]
    """Curves of both by figure: lens, patch, ablation. Their depths are relative."""
    seed: int

    @property
    def provenance(self) -> Provenance:
        """Of the first."""
        return self.provenances[0]

    @property
    def on(self) -> str:
        """Whether it is paired, and over what."""
        first, second = self.n_pairs
        if self.how == "independent":
            shared = f", {self.n_shared:,} of them shared" if self.n_shared else ""
            return f"independent: {counted(first, 'prompt')} and {second:,}{shared}"
        whole = first == second == self.n_shared
        out_of = "" if whole else f" that both keep, of {first:,} and {second:,}"
        return f"paired over {counted(self.n_shared, 'prompt')}{out_of}"

    @property
    def sentences(self) -> list[str]:
        """Where both switch, then how both differ over the depth, then what to bear in mind."""
        said = [one.told(self.names) for one in self.differences]
        if self.mixed:
            said.append(f"They were run with {self.mixed}, which changes norms and rounding.")
        said.append(
            "Intervals go over units and are not corrected for the number of rows. Places are "
            "interpolated between measured depths: two that lie between depths which overlap are "
            "not told apart. Of curves the mean over the depth is compared, along straight lines "
            "between measured depths; at the last depth edits end as they must, in both alike."
        )
        return said

    @property
    def places(self) -> list[str]:
        """Where both switch, a sentence each, and over what that is known."""
        said = [one.told(self.names) for one in self.differences if one.is_place]
        return [*said, f"{self.on[:1].upper()}{self.on[1:]}."]

    def to_frame(self) -> "pd.DataFrame":
        """One row a number."""
        import pandas as pd

        rows = []
        for one in self.differences:
            row: Json = {"first": self.names[0], "second": self.names[1], "quantity": one.key}
            row |= {"says": one.says, "is_place": one.is_place, "verdict": one.verdict}
            for name in ("first", "second", "difference"):
                found = getattr(one, name)
                key = name if name == "difference" else f"value_{name}"
                row |= {key: found.value, f"{key}_low": found.low, f"{key}_high": found.high}
            row |= {
                "how": one.how,
                "n_pairs_first": one.n_pairs[0],
                "n_pairs_second": one.n_pairs[1],
                "n_units_first": one.n_units[0],
                "n_units_second": one.n_units[1],
                "reason": one.reason,
            }
            rows.append(row)
        return pd.DataFrame(rows)

    def curves_frame(self, key: str) -> "pd.DataFrame":
        """What one figure draws: one row a panel, curve and relative depth."""
        import pandas as pd

        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "panel": panel.title,
                        "of": curve.name,
                        "relative_depth": curve.depths,
                        "mean": curve.mean,
                        "low": curve.low,
                        "high": curve.high,
                    }
                )
                for panel in self.panels[key]
                for curve in panel.curves
            ],
            ignore_index=True,
        )

    def summary(self) -> Json:
        """What `summary.json` holds of it."""
        return to_json(
            {
                "names": list(self.names),
                "models": [one.model.name for one in self.provenances],
                "tasks": [one.task for one in self.provenances],
                "how": self.how,
                "n_pairs": list(self.n_pairs),
                "n_shared": self.n_shared,
                "differences": self.to_frame().to_dict("records"),
                "claims": [
                    {
                        "claim": one.claim,
                        "verdicts": list(one.verdicts),
                        "settled_by": list(one.settled),
                    }
                    for one in self.claims
                ],
            }
        )

    def plot(self, key: str | None = None) -> "Figure":
        """The differences beside none; or the curves of both: "lens", "patch" or "ablation".

        Raises:
            ValueError: there is no such figure.
        """
        if key is None:
            known = {
                one.says: one.difference for one in self.differences if one.verdict != "not in both"
            }
            title = f"{self.names[0]} less {self.names[1]}"
            return interval_figure(known, title=title, x_title="difference, 95% interval")
        if key not in self.panels:
            there = ", ".join(self.panels)
            raise ValueError(
                f"ReportComparison.plot: there is no figure {key!r}; there is {there}."
            )
        return relative_story(self.panels[key], title=f"{self.names[0]} and {self.names[1]}")

    def caption(self, key: str) -> str:
        """What to see in the figure of an analysis: how its numbers differ, in one sentence."""
        said = [one.short(self.names) for one in self.of(key)]
        return f"{'; '.join(said)}." if said else "No number of both is compared."

    def of(self, analysis: str) -> list[Difference]:
        """The differences of one analysis."""
        return [one for one in self.differences if one.analysis == analysis]
