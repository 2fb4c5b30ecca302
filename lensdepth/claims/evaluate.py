"""Each of the study's claims, tested on one model and one task."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray as Array

from lensdepth import stats
from lensdepth.arguments import checked
from lensdepth.claims.complete import complete_evidence
from lensdepth.claims.estimate import Estimate
from lensdepth.claims.evidence import Evidence, check_evidence, check_pairs
from lensdepth.claims.grounds import Grounds, lay_grounds
from lensdepth.claims.measures import Unmeasured, handover_curve, measure
from lensdepth.claims.result import ClaimTable, ClaimVerdict, Finding, make_finding
from lensdepth.claims.statements import BESIDE, STATEMENTS, TITLES, Statement, of_claim
from lensdepth.claims.verdict import Judged, all_of, decide
from lensdepth.model import DepthModel
from lensdepth.provenance import ModelInfo, make_provenance
from lensdepth.tasks.build import answered_rightly
from lensdepth.tasks.task import Task
from lensdepth.tasks.told import origin

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
    evidence: Evidence | None = None,
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
        evidence: what has been measured on this task already; the rest is measured here. Where the
            model answers some pairs wrongly, all of it is measured here, on the others: controls,
            centroids and random directions depend on which pairs there are.
        seed: of the groups of prompts and of the controls.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
    Returns:
        ClaimTable, with a reason wherever a claim could not be tested.
    Raises:
        ValueError: the task has plain prompts alone, or the evidence is of another model, other
            prompts, another seed or other options.
    Source: Haim & McNamee, arXiv 2602.04931.
    Example:
        >>> evaluate_claims(model, load_task("months", model)).verdict("C1")
    """
    check_pairs(task, caller="evaluate_claims")
    if evidence is not None:
        check_evidence(evidence, model.info, task, seed=seed, caller="evaluate_claims")
    model.check_weights()
    clean, corrupted = answered_rightly(task, model)
    right = (clean & corrupted).numpy()
    accuracy = float(right.mean()) * _kept_share(task)
    reason = _cannot_test(model, task, int(right.sum()), accuracy)
    if reason is not None:
        kept = task.select(right) if right.any() else task
        return judge(model.info, kept, reason, accuracy=accuracy, n=int(right.sum()), seed=seed)
    kept, known = (task, evidence) if right.all() else (task.select(right), None)
    whole = complete_evidence(model, kept, known, seed=seed, batch_size=batch_size)
    grounds = lay_grounds(kept, whole, seed=seed)
    return judge(model.info, kept, grounds, accuracy=accuracy, n=len(kept), seed=seed)


def judge(
    model: ModelInfo, task: Task, on: Grounds | str, *, accuracy: float, n: int, seed: int
) -> ClaimTable:
    """Every statement's number and every claim's verdict; nothing is run.

    Args:
        model: which one it was measured on.
        task: the pairs that it was measured on.
        on: what was measured, or why nothing could be.
        accuracy: share of the drawn pairs that the model answers rightly.
        n: number of pairs that it answers rightly.
        seed: of the groups of prompts and of the controls.
    """
    findings = [_finding(one, on) for one in STATEMENTS]
    located = 0.0 if isinstance(on, str) or on.zones is None else on.zones.located
    curve = _curve(on, model.n_layers)
    return ClaimTable(
        provenance=make_provenance(
            "evaluate_claims",
            model,
            task=task.name,
            prompts=task.clean,
            corrupted=task.corrupted or (),
            pairs=origin(task),
            settings={},
            seed=seed,
        ),
        claims=tuple(judge_claims(findings)),
        findings=(*findings, *_beside(on)),
        accuracy=accuracy,
        n_pairs=n,
        n_prompts=0 if isinstance(on, str) else on.n_prompts,
        located=located,
        handover=torch.from_numpy(curve[0]).float(),
        handover_low=torch.from_numpy(curve[1]).float(),
        handover_high=torch.from_numpy(curve[2]).float(),
    )


def _kept_share(task: Task) -> float:
    """Share of the drawn pairs that were not left out as wrong when the task was made."""
    drawn = task.n_drawn - task.n_multi_token
    # What is not even preferred is wrong.
    n_wrong = task.n_wrong + (task.n_unkept if task.keep == "preferred" else 0)
    return 1 - n_wrong / drawn if drawn > 0 else 1.0


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


def _finding(one: Statement, on: Grounds | str) -> Finding:
    found, why = _number(one.key, on)
    return make_finding(
        one.key,
        found,
        says=one.says,
        unit=one.unit,
        expect=one.expect,
        threshold=one.threshold,
        reason=why if found is None else _bear_in_mind(one, on),
    )


def _number(key: str, on: Grounds | str) -> tuple[Estimate | None, str]:
    """A statement's number, or why there is none."""
    if isinstance(on, str):
        return None, on
    try:
        return measure(key, on), ""
    except Unmeasured as why:
        return None, str(why)


def _bear_in_mind(one: Statement, on: Grounds | str) -> str:
    """What makes a number weaker than it looks."""
    if one.key in ("C5 norm does nothing", "C5 beats norm", "C6 norm decides nothing"):
        assert isinstance(on, Grounds)
        assert on.ablation is not None
        assert on.zones is not None
        ratio = on.ablation.norm_ratio[..., on.ablation.positions.index("prediction")]
        change = ratio.log().abs().double().numpy()
        typical = float(np.nanmedian(change[on.zones.late]))
        if typical < WEAK_NORMS:
            return (
                f"the norms of a pair differ by {typical:.1%} (median), so a norm swap is a weak "
                f"test of what norms can do"
            )
    return ""


def _beside(on: Grounds | str) -> list[Finding]:
    """What is measured beside a claim."""
    rows = []
    for key, (says, unit) in BESIDE.items():
        found, why = _number(key, on)
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
    on: Grounds | str, n_layers: int
) -> tuple[Float[Array, " depth"], Float[Array, " depth"], Float[Array, " depth"]]:
    """The handover by depth with its interval; NaN where it was not measured."""
    if isinstance(on, str) or on.patch is None:
        nothing = np.full(n_layers + 1, np.nan)
        return nothing, nothing, nothing
    return stats.bootstrap_mean(handover_curve(on))
