"""From the findings of statements to a verdict for each claim."""

from lensdepth.claims.result import ClaimVerdict, Finding
from lensdepth.claims.statements import TITLES, claim_of, of_claim
from lensdepth.claims.verdict import Judged, all_of, decide

BY_ARCHITECTURE = (
    "by architecture: of untrained twins of the model more than one in twenty would pass each "
    "statement of it, and no number of the model's lies so far beyond theirs that a further twin "
    "would hardly come as far"
)


def judge_claims(findings: list[Finding]) -> list[ClaimVerdict]:
    """A verdict for each claim, from the findings of its statements."""
    by_claim = {claim: [one for one in findings if claim_of(one.key) == claim] for claim in TITLES}
    judged, testable = {}, []
    for claim, parts in by_claim.items():
        # A part that could not be measured leaves a claim open, unless another speaks against it.
        judged[claim] = all_of([Judged(p_for=p.p_for, p_against=p.p_against) for p in parts])
        if any(part.effect is not None for part in parts):
            testable.append(claim)
    decided = dict(zip(testable, decide([judged[c] for c in testable]), strict=True))
    verdicts = []
    for claim, parts in by_claim.items():
        assert len(parts) == len(of_claim(claim))
        verdict, p = decided.get(claim, ("cannot tell", None))
        open_parts = [part for part in parts if part.effect is None]
        if verdict == "contradicted":
            decisive = min(parts, key=lambda part: part.p_against)
        elif open_parts and len(open_parts) == len(parts):
            decisive = open_parts[0]
        else:
            decisive = max(
                (part for part in parts if part.effect is not None), key=lambda part: part.p_for
            )
        reasons = dict.fromkeys(
            part.reason for part in (open_parts if verdict == "cannot tell" else []) or parts
        )
        if verdict == "supported" and all(part.twin.says_nothing for part in parts):
            verdict, reasons = "cannot tell", {BY_ARCHITECTURE: None} | reasons
        verdicts.append(
            ClaimVerdict(
                claim=claim,
                title=TITLES[claim],
                verdict=verdict,
                p=p,
                decisive=decisive.key,
                reason="; ".join(why for why in reasons if why),
            )
        )
    return verdicts
