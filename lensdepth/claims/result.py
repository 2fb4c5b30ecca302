"""What `evaluate_claims` gives: a verdict for each claim, and every number behind it."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from torch import Tensor

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.claims.architecture import Beside
from lensdepth.claims.deals import Number
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.place import Place
from lensdepth.claims.statements import ORIGINS, Origin, claim_of
from lensdepth.claims.verdict import Expectation, Judged, Verdict, judge
from lensdepth.provenance import Provenance
from lensdepth.storage import ModelResult

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement's number, beside what was expected of it."""

    MADE_BY: ClassVar[str] = "evaluate_claims(model, task).finding(key)"
    """The call that makes one."""

    key: str
    """Of a claim: `C5 beats norm`; of a hypothesis: its name."""
    says: str
    unit: str
    expect: Expectation | None
    """None for what is measured beside and judges nothing."""
    threshold: float | None
    effect: float | None
    """None where it could not be measured."""
    low: float | None
    """95 % interval over units; not corrected."""
    high: float | None
    p_for: float
    """One-sided, not corrected; 1 where nothing was measured."""
    p_against: float
    n: int
    """Different prompts."""
    reason: str
    """Why there is no number, or what to bear in mind."""
    origin: Origin | None = None
    """Of the study's claims: whose statement it is; see `statements.ORIGINS`."""
    deals_low: float | None = None
    """Smallest value over the deals of prompts into groups, where the number is their mean."""
    deals_high: float | None = None
    twin: Beside = field(default_factory=Beside)
    """The same number on untrained twins of the model; `n` is 0 where none was measured."""

    @property
    def stands(self) -> Verdict:
        """How the number stands by itself, before any correction for many."""
        if min(self.p_for, self.p_against) >= stats.ALPHA / 2:
            return "cannot tell"
        return "supported" if self.p_for < self.p_against else "contradicted"


def make_finding(
    key: str,
    found: Estimate | Number | None,
    *,
    says: str,
    unit: str,
    expect: Expectation | None = None,
    threshold: float | None = None,
    bounds: tuple[float, float] | None = None,
    reason: str = "",
    origin: Origin | None = None,
    twin: Beside | None = None,
) -> Finding:
    """A number, or None, beside what was expected of it.

    Args:
        key: of the statement.
        found: its number.
        says: the statement in words.
        unit: of the number.
        expect: None for what judges nothing.
        threshold: what the number is held against.
        bounds: range that the number cannot leave: its interval does not, and the tests know it.
        reason: why there is no number, or what to bear in mind.
        origin: whose statement it is.
        twin: its numbers on untrained twins.
    """
    deals = found.deals if isinstance(found, Number) else None
    if isinstance(found, Number):
        reason = "; ".join(filter(None, (reason, found.note)))
        found = found.found
    if found is not None:
        found = replace(found, bounds=bounds)
    judged = Judged(p_for=1.0, p_against=1.0)
    if found is not None and expect is not None and threshold is not None:
        judged = judge(found, expect, threshold)
    return Finding(
        key=key,
        says=says,
        unit=unit,
        expect=expect,
        threshold=threshold,
        effect=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        p_for=judged.p_for,
        p_against=judged.p_against,
        n=0 if found is None else found.n,
        reason=reason,
        origin=origin,
        deals_low=None if deals is None else deals[0],
        deals_high=None if deals is None else deals[1],
        twin=Beside() if twin is None else twin,
    )


@dataclass(frozen=True, kw_only=True)
class ClaimVerdict:
    """One claim with its verdict and the statement that settles it."""

    claim: str
    title: str
    verdict: Verdict
    p: float | None
    """Two-sided, Holm-corrected over the claims that could be tested; None where it could not."""
    decisive: str
    """Key of the finding whose numbers stand for the claim: the weakest, or the one against."""
    reason: str


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class ClaimTable(ModelResult):
    """Verdicts with effects, intervals and corrected p-values."""

    MADE_BY: ClassVar[str] = "evaluate_claims(model, task)"
    """The call that makes one."""

    provenance: Provenance
    claims: tuple[ClaimVerdict, ...]
    findings: tuple[Finding, ...]
    accuracy: float
    """Share of the drawn pairs of which the model answers both prompts rightly."""
    n_pairs: int
    n_prompts: int
    located: float
    """Share of pairs for which other pairs show a crossing; thirds of the depth stand for it
    elsewhere."""
    handover: Float[Tensor, " depth"]
    """Mean of half of 1 + patching success at the prediction position - that at the input."""
    handover_low: Float[Tensor, " depth"]
    handover_high: Float[Tensor, " depth"]
    place: Place | None = None
    """Where control passes, by `find_crossing` of the patches; None where it was not asked."""
    twin_places: tuple[Place, ...] = ()
    """The same of each untrained twin."""
    n_twins: int = 0
    """Untrained twins that stand beside statements."""
    twins_note: str = ""
    """Why there are none, or fewer than asked for."""

    def finding(self, key: str) -> Finding:
        """One statement's finding.

        Raises:
            KeyError: there is none.
        """
        for one in self.findings:
            if one.key == key:
                return one
        raise KeyError(
            f"ClaimTable: there is no finding {key!r}; there are "
            f"{', '.join(f.key for f in self.findings)}."
        )

    def verdict(self, claim: str) -> Verdict:
        """The verdict of `C1` ... `C6`, `C7a`, `C7b` or `C7c`.

        Raises:
            KeyError: there is no such claim.
        """
        found: dict[str, Verdict] = {one.claim: one.verdict for one in self.claims}
        if claim not in found:
            raise KeyError(
                f"ClaimTable: there is no claim {claim!r}; there are {', '.join(found)}."
            )
        return found[claim]

    def to_frame(self) -> "pd.DataFrame":
        """One row a statement: numbers, what was expected, and its claim's verdict."""
        import pandas as pd

        verdicts = {one.claim: one for one in self.claims}
        rows = []
        for one in self.findings:
            claim = verdicts.get(claim_of(one.key), verdicts["C7a"])
            rows.append(
                {
                    "claim": claim.claim,
                    "title": claim.title,
                    "verdict": claim.verdict,
                    "statement": one.key,
                    "decisive": one.key == claim.decisive,
                    "says": one.says,
                    "origin": None if one.origin is None else ORIGINS[one.origin],
                    "unit": one.unit,
                    "expect": one.expect,
                    "threshold": one.threshold,
                    "effect": one.effect,
                    "low": one.low,
                    "high": one.high,
                    "p_for": one.p_for,
                    "p_against": one.p_against,
                    "p_claim": claim.p,
                    "n": one.n,
                    "deals_low": one.deals_low,
                    "deals_high": one.deals_high,
                    "n_twins": one.twin.n,
                    "twin_median": one.twin.median,
                    "twin_low": one.twin.low,
                    "twin_high": one.twin.high,
                    "twin_passing": one.twin.share,
                    "by_architecture": one.twin.by_architecture,
                    "twin_as_far": one.twin.as_far,
                    "reason": one.reason,
                }
            )
        numbers = (
            "threshold", "effect", "low", "high", "p_claim", "deals_low", "deals_high",
            "twin_median", "twin_low", "twin_high", "twin_passing", "twin_as_far",
        )  # fmt: skip
        return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))

    def plot(self) -> "Figure":
        """Every statement's number with its interval, beside the threshold."""
        from lensdepth.claims.figures import forest

        judging = [one for one in self.findings if one.expect is not None]
        return forest(judging, {one.key: one.stands for one in judging})
