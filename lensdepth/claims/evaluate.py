"""Each of the study's claims, tested on one model and one task."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array
from tqdm.auto import tqdm

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.evidence import STAGES, Evidence, check_pairs, gather_evidence
from lensdepth.claims.measures import Unmeasured, handover_curve, measure
from lensdepth.claims.result import ClaimTable, ClaimVerdict, Finding, make_finding
from lensdepth.claims.statements import BESIDE, STATEMENTS, TITLES, Statement, of_claim
from lensdepth.claims.verdict import Judged, all_of, decide
from lensdepth.model import DepthModel
from lensdepth.provenance import make_provenance
from lensdepth.tasks import Task, answered_rightly

FEWEST_PAIRS = 30
"""Pairs with fewer than this settle nothing: depths are chosen on about a third of them."""
LEAST_ACCURACY = 0.5
"""Share of the drawn pairs that the model must answer rightly: the claims are about how a
prediction is formed, and pairs that come out right by luck form none."""
FEWEST_LAYERS = 6
"""With fewer blocks there is no telling early from late, or sharp from gradual."""
WEAK_NORMS = 0.05
"""Below this median change of the norm, a norm swap is a weak test."""


@checked
def evaluate_claims(
    model: DepthModel,
    task: Task,
    *,
    seed: int = 0,
    batch_size: int | None = None,
) -> ClaimTable:
    """Test the claims C1 ... C7 of the study, each against its smallest effect that matters.

    A claim is several statements, each with a threshold; `docs/claims.md` gives them with the
    reasons. It is supported where every statement's number lies beyond its threshold, contradicted
    where one lies clearly short of it, and otherwise nobody can tell; p-values are corrected over
    the claims by Holm's method. Depths are chosen on pairs that share no prompt with the pair
    tested. Depth L, where the final norm settles what a norm can do, takes no part.

    Args:
        model: any wrapped model.
        task: pairs; those with `keep="correct"` are what the claims are about, and pairs that the
            model answers wrongly are left out here too.
        seed: of the groups of prompts and of the controls.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
    Returns:
        ClaimTable, with a reason wherever a claim could not be tested.
    Raises:
        ValueError: the task has plain prompts alone.
    Source: Haim & McNamee, arXiv 2602.04931.
    Example:
        >>> evaluate_claims(model, load_task("months", model)).verdict("C1")
    """
    check_pairs(task, caller="evaluate_claims")
    model.check_weights()
    clean, corrupted = answered_rightly(task, model)
    right = (clean & corrupted).numpy()
    accuracy = float(right.mean()) * _kept_share(task)
    reason = _cannot_test(model, task, int(right.sum()), accuracy)
    kept = task.select(right) if right.any() else task
    evidence = None
    if reason is None:
        with tqdm(total=len(STAGES), desc="claims", disable=None, leave=False) as bar:

            def progress(stage: str) -> None:
                bar.set_postfix_str(stage)
                bar.update()

            evidence = gather_evidence(
                model, kept, seed=seed, batch_size=batch_size, progress=progress
            )
    findings = [_finding(one, evidence, reason) for one in STATEMENTS]
    curve = _curve(evidence, model.n_layers)
    return ClaimTable(
        provenance=make_provenance(
            "evaluate_claims",
            model.info,
            task=task.name,
            prompts=kept.clean,
            corrupted=kept.corrupted or (),
            settings={},
            seed=seed,
        ),
        claims=tuple(judge_claims(findings)),
        findings=(*findings, *_beside(evidence, reason)),
        accuracy=accuracy,
        n_pairs=int(right.sum()),
        n_prompts=0 if evidence is None else evidence.n_prompts,
        located=0.0 if evidence is None or evidence.zones is None else evidence.zones.located,
        handover=torch.from_numpy(curve[0]).float(),
        handover_low=torch.from_numpy(curve[1]).float(),
        handover_high=torch.from_numpy(curve[2]).float(),
    )


def _kept_share(task: Task) -> float:
    """Share of the drawn pairs that were not left out as wrong when the task was made."""
    drawn = task.n_drawn - task.n_multi_token
    return 1 - task.n_wrong / drawn if drawn > 0 else 1.0


def _cannot_test(model: DepthModel, task: Task, n_right: int, accuracy: float) -> str | None:
    """Why nothing can be said of this model on this task, if so."""
    if task.input_positions is None or task.corrupted_input_positions is None:
        return "the task has no input position; add the columns input and corrupted_input"
    if model.n_layers < FEWEST_LAYERS:
        return (
            f"the model has {model.n_layers} blocks, and early, late and sharp mean something from "
            f"{FEWEST_LAYERS} on"
        )
    if accuracy < LEAST_ACCURACY:
        return (
            f"the model answers {accuracy:.0%} of the pairs rightly; the claims are about how it "
            f"forms its answers, and that needs {LEAST_ACCURACY:.0%}"
        )
    if n_right < FEWEST_PAIRS:
        return f"there are {n_right} pairs that it answers rightly, and {FEWEST_PAIRS} are needed"
    return None


def _finding(one: Statement, evidence: Evidence | None, reason: str | None) -> Finding:
    found, why = _number(one.key, evidence, reason)
    return make_finding(
        one.key,
        found,
        says=one.says,
        unit=one.unit,
        expect=one.expect,
        threshold=one.threshold,
        reason=why if found is None else _bear_in_mind(one, evidence),
    )


def _number(key: str, evidence: Evidence | None, reason: str | None) -> tuple[Estimate | None, str]:
    if evidence is None:
        return None, reason or ""
    try:
        return measure(key, evidence), ""
    except Unmeasured as why:
        return None, str(why)


def _bear_in_mind(one: Statement, evidence: Evidence | None) -> str:
    """What makes a number weaker than it looks."""
    assert evidence is not None
    if one.key in ("C5 norm does nothing", "C5 beats norm", "C6 norm decides nothing"):
        assert evidence.ablation is not None
        assert evidence.zones is not None
        change = evidence.ablation.norm_ratio[..., 0].log().abs().double().numpy()
        typical = float(np.nanmedian(change[evidence.zones.late]))
        if typical < WEAK_NORMS:
            return (
                f"the norms of a pair differ by {typical:.1%} (median), so a norm swap is a weak "
                f"test of what norms can do"
            )
    return ""


def _beside(evidence: Evidence | None, reason: str | None) -> list[Finding]:
    """What is measured beside a claim."""
    rows = []
    for key, (says, unit) in BESIDE.items():
        found, why = _number(key, evidence, reason)
        rows.append(make_finding(key, found, says=says, unit=unit, reason=why))
    return rows


def judge_claims(findings: list[Finding]) -> list[ClaimVerdict]:
    """A verdict for each claim, from the findings of its statements."""
    by_claim = {
        claim: [one for one in findings if one.key.split(" ", 1)[0] == claim] for claim in TITLES
    }
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


def _curve(
    evidence: Evidence | None, n_layers: int
) -> tuple[Float[Array, " depth"], Float[Array, " depth"], Float[Array, " depth"]]:
    """The handover by depth with its interval; NaN where it was not measured."""
    if evidence is None or evidence.patch is None:
        nothing = np.full(n_layers + 1, np.nan)
        return nothing, nothing, nothing
    return stats.bootstrap_mean(handover_curve(evidence))
