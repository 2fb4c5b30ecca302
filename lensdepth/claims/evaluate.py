"""Each of the study's claims, tested on one model and one task."""

import gc
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import torch

from lensdepth.ablation.profile import WEAK
from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.architecture import N_TWINS, Draws
from lensdepth.claims.complete import TWIN_CONTROLS, complete_evidence
from lensdepth.claims.coupling import coupling_numbers
from lensdepth.claims.deals import Number
from lensdepth.claims.evidence import OF_CLAIM, Evidence, check_evidence, check_pairs
from lensdepth.claims.gradual import shown_handover
from lensdepth.claims.grounds import Grounds, geometry_of, lay_grounds
from lensdepth.claims.judged import judge_claims
from lensdepth.claims.measures import Nothing, Unmeasured, measure
from lensdepth.claims.place import Place
from lensdepth.claims.result import ClaimTable, Finding, make_finding
from lensdepth.claims.statements import BESIDE, STATEMENTS, TITLES, Statement, of_claim
from lensdepth.claims.testable import FEWEST_PAIRS, cannot_test, is_right, kept_share
from lensdepth.claims.twins import own_task, unheard
from lensdepth.geometry.reading import read_states
from lensdepth.model import DepthModel
from lensdepth.outside import reason
from lensdepth.plain_runs import apart
from lensdepth.progress import counted
from lensdepth.provenance import ModelInfo, make_provenance
from lensdepth.sweep.adaptive import Depths, as_setting
from lensdepth.sweep.controls import CONTROL_PAIRS, ControlPairs
from lensdepth.tasks.task import Task
from lensdepth.untrained import untrained

TwinsOf = Literal["supported", "all"]
Numbers = Mapping[str, tuple[Number | None, str]]
"""Key of a statement -> its number, or None with the reason."""
NOT_AT_STAKE = "no untrained twin was measured, for there is no support that it could take away"


@checked
@bounded
def evaluate_claims(
    model: DepthModel,
    task: Task,
    *,
    evidence: Evidence | None = None,
    twins: int = N_TWINS,
    twins_of: TwinsOf = "supported",
    depths: Depths = None,
    control_pairs: ControlPairs = CONTROL_PAIRS,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> ClaimTable:
    """Test the claims C1 ... C7 of the study, each against its smallest effect that matters.

    A claim is several statements, each with a threshold; `docs/claims.md` gives them with the
    reasons. It is supported where every statement's number lies beyond its threshold, contradicted
    where one lies clearly short of it, and otherwise nobody can tell; p-values are corrected over
    the claims by Holm's method. Depths are chosen on pairs that share no prompt with the pair
    tested. Depth L, where the final norm settles what a norm can do, takes no part.

    Beside what would be supported stand the numbers of untrained twins (`lensdepth.untrained`), on
    these prompts with their own answers. What twins pass as well is by architecture: a claim all
    of whose statements are cannot be supported.

    Args:
        model: any wrapped model.
        task: pairs; those with `keep="correct"` are what the claims are about, and pairs that the
            model answers wrongly are left out here too. Of a task with `keep="preferred"` it is
            preference that counts, here and as success.
        evidence: what has been measured on this task already; the rest is measured here. Where the
            model answers some pairs wrongly, all of it is measured here, on the others: controls,
            centroids and random directions depend on which pairs there are.
        twins: how many untrained twins are drawn, each measured on 60 pairs at most; 0 for none,
            and then nothing is known to be by architecture.
        twins_of: the claims that twins are measured for: those that would be supported without
            them, since all that a twin can do is take that away; or "all", for their numbers.
        depths: at which whole states are edited, see `patch_sweep`: of models of more than 16
            blocks those where patching moves, of others all. Means over depths and widths are then
            taken along straight lines between them.
        control_pairs: pairs that controls are run on, drawn at random; `"all"` of them.
        seed: of the groups of prompts, of the controls and of the twins' weights.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        ClaimTable, with a reason wherever a claim could not be tested.
    Raises:
        ValueError: the task has plain prompts alone, a negative number of twins, or the evidence
            is of another model, other prompts, another seed or other options.
    Source: Haim & McNamee, arXiv 2602.04931, versions 1 and 2; `lensdepth.claims.statements` says
        of each statement whose it is.
    Example:
        >>> evaluate_claims(model, load_task("months", model)).verdict("C1")
    """
    check_pairs(task, caller="evaluate_claims")
    if twins < 0:
        raise ValueError(f"evaluate_claims: twins must be 0 or more, got {twins}.")
    if evidence is not None:
        check_evidence(evidence, model.info, task, seed=seed, caller="evaluate_claims")
    options: dict[str, Any] = {
        "depths": as_setting(depths), "control_pairs": control_pairs, "twins_of": twins_of,
        "batch_size": batch_size, "max_memory": max_memory,
    }  # fmt: skip
    model.check_weights()
    right = is_right(task, model).numpy()
    accuracy = float(right.mean()) * kept_share(task)
    why = cannot_test(model, task, int(right.sum()), accuracy)
    if why is not None:
        kept = task.select(right) if right.any() else task
        n = int(right.sum())
        return judge(
            model.info, kept, why, accuracy=accuracy, n=n, seed=seed, twins=twins, options=options
        )
    kept, known = (task, evidence) if right.all() else (task.select(right), None)
    whole = complete_evidence(
        model, kept, known, depths=depths, control_pairs=control_pairs, seed=seed,
        batch_size=batch_size, lean=True,
    )  # fmt: skip
    grounds = lay_grounds(kept, whole, seed=seed)
    numbers = numbers_of(grounds)
    alone = judge_claims([_finding(one, grounds, numbers, Draws()) for one in STATEMENTS])
    at_stake = [one.claim for one in alone if twins_of == "all" or one.verdict == "supported"]
    draws = Draws(note=NOT_AT_STAKE if twins else "")
    if twins and at_stake:
        draws = draw_twins(
            model, kept, twins, claims=at_stake, depths=depths, seed=seed, batch_size=batch_size
        )
    return judge(
        model.info, kept, grounds, accuracy=accuracy, n=len(kept), seed=seed, twins=twins,
        draws=draws, numbers=numbers, options=options,
    )  # fmt: skip


MOST_TRIES = 2
"""Twins drawn for each one wanted, at most."""
TWIN_DEALS = 4
"""Deals of a twin's prompts into groups: its numbers are not told more exactly than its draw."""


def draw_twins(
    model: DepthModel,
    task: Task,
    n: int,
    *,
    claims: Collection[str] = tuple(TITLES),
    depths: Depths = None,
    seed: int,
    batch_size: int | None = None,
) -> Draws:
    """The statements' numbers on untrained twins of a model, on the same prompts.

    A twin that answers too few of these pairs in two ways is left out, and another one drawn in its
    place; where there are too few all the same, or none can be made, the note says why.

    Args:
        model: it is left as it is.
        task: pairs that it answers rightly.
        n: twins to draw; the k-th has the weights of seed + k.
        claims: those whose statements are measured; all by default.
        depths: as of the model; each twin finds its own.
        seed: of the weights, the groups and the controls.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
    """
    numbers: list[dict[str, float | None]] = []
    places: list[Place] = []
    notes: dict[str, None] = {}
    with counted(n, "untrained twins") as update:
        for k in range(MOST_TRIES * n):
            if len(numbers) == n:
                break
            try:
                twin = untrained(model, seed=seed + k)
            except ValueError as refusal:  # the next one would fare no better
                notes[reason(refusal)] = None
                break
            try:
                with apart():  # plain runs that are kept go with their twin
                    found, place = _measured(
                        twin, task, claims, depths=depths, seed=seed, batch_size=batch_size
                    )
                numbers.append(found)
                places.append(place)
                update(1)
            except ValueError as refusal:
                notes[reason(refusal)] = None
            # A model of TransformerLens is a circle of references: there would be several.
            del twin
            gc.collect()
    note = ""
    if len(numbers) < n:
        which = "no untrained twin" if not numbers else f"{len(numbers)} of {n} untrained twins"
        note = f"{which} could be measured: {'; '.join(notes)}"
    return Draws(numbers=tuple(numbers), places=tuple(places), note=note)


def _measured(
    twin: DepthModel,
    task: Task,
    claims: Collection[str],
    *,
    depths: Depths,
    seed: int,
    batch_size: int | None,
) -> tuple[dict[str, float | None], Place]:
    """By key of a statement, None for one that has nothing to be about; and where control passes.

    Raises:
        ValueError: the twin cannot be measured on these prompts.
    """
    own = own_task(twin, task, seed=seed, fewest=FEWEST_PAIRS)
    with unheard():
        whole = complete_evidence(
            twin, own, depths=depths, control_pairs=TWIN_CONTROLS, seed=seed,
            batch_size=batch_size, lean=True,
            profiles={name for claim in claims for name in OF_CLAIM[claim[:2]]} - {"trajectory"},
        )  # fmt: skip
    grounds = lay_grounds(own, whole, seed=seed, n_deals=TWIN_DEALS)
    if grounds.zones is None:
        raise ValueError(grounds.absent["zones"])
    values: dict[str, float | None] = {}
    for one in STATEMENTS:
        try:
            if one.claim in claims:
                values[one.key] = measure(one.key, grounds).found.value
        except Nothing:  # which passes nothing
            values[one.key] = None
        except Unmeasured:  # which says nothing of it
            continue
    if "C4" in claims:
        # Angles against predictions need no answers: of all prompts, more than the twin has pairs.
        geometry = geometry_of(read_states(twin, task, batch_size=batch_size))
        early, late = grounds.zones.early.mean(0) > 0.5, grounds.zones.late.mean(0) > 0.5
        coupled = coupling_numbers(task.clean, geometry, early, late) or {}
        values |= {f"C4 {word}": value for word, value in coupled.items()}
    assert grounds.place is not None
    return values, grounds.place


def judge(
    model: ModelInfo,
    task: Task,
    on: Grounds | str,
    *,
    accuracy: float,
    n: int,
    seed: int,
    twins: int = 0,
    draws: Draws | None = None,
    numbers: Numbers | None = None,
    options: Mapping[str, Any] | None = None,
) -> ClaimTable:
    """Every statement's number and every claim's verdict; nothing is run.

    Args:
        model: which one it was measured on.
        task: the pairs that it was measured on.
        on: what was measured, or why nothing could be.
        accuracy: share of the drawn pairs that the model answers rightly.
        n: number of pairs that it answers rightly.
        seed: of the groups of prompts and of the controls.
        twins: how many were asked for.
        draws: the numbers of those that were measured.
        numbers: the model's own, where they are known; see `numbers_of`.
        options: the others that were given, by name.
    """
    draws = Draws() if draws is None else draws
    known = numbers_of(on) if numbers is None else numbers
    findings = [_finding(one, on, known, draws) for one in STATEMENTS]
    located = 0.0 if isinstance(on, str) or on.zones is None else on.zones.located
    curve = shown_handover(None if isinstance(on, str) else on.patch, model.n_layers)
    return ClaimTable(
        provenance=make_provenance(
            "evaluate_claims",
            model,
            **task.origin,
            settings={"twins": twins, **(options or {})},
            seed=seed,
        ),
        claims=tuple(judge_claims(findings)),
        findings=(*findings, *_beside(on)),
        accuracy=accuracy,
        n_pairs=n,
        n_prompts=0 if isinstance(on, str) else on.n_prompts,
        located=located,
        place=None if isinstance(on, str) else on.place,
        twin_places=draws.places,
        handover=torch.from_numpy(curve[0]).float(),
        handover_low=torch.from_numpy(curve[1]).float(),
        handover_high=torch.from_numpy(curve[2]).float(),
        n_twins=len(draws.numbers),
        twins_note=draws.note,
    )


def numbers_of(on: Grounds | str) -> Numbers:
    """Every statement's number, or why there is none."""
    return {one.key: _number(one.key, on) for one in STATEMENTS}


def _finding(one: Statement, on: Grounds | str, numbers: Numbers, draws: Draws) -> Finding:
    found, why = numbers[one.key]
    return make_finding(
        one.key,
        found,
        says=one.says,
        unit=one.unit,
        expect=one.expect,
        threshold=one.threshold,
        bounds=one.bounds,
        reason=why if found is None else _bear_in_mind(one, on),
        origin=one.origin,
        twin=draws.beside(
            one.key,
            None if found is None else found.found,
            one.expect,
            one.threshold,
            n_statements=len(of_claim(one.claim)),
        ),
    )


def _number(key: str, on: Grounds | str) -> tuple[Number | None, str]:
    """A statement's number, or why there is none."""
    if isinstance(on, str):
        return None, on
    try:
        return measure(key, on), ""
    except Unmeasured as why:
        return None, str(why)


def _bear_in_mind(one: Statement, on: Grounds | str) -> str:
    """What makes a number weaker than it looks."""
    if one.key in ("C5 norm does nothing", "C6 norm decides nothing"):
        assert isinstance(on, Grounds)
        assert on.ablation is not None
        assert on.zones is not None
        ratio = on.ablation.norm_ratio[..., on.ablation.positions.index("prediction")]
        change = (ratio - 1).abs().double().numpy()
        late = on.zones.late[:, on.ablation.depths.numpy()]
        typical = float(np.nanmedian(change[late]))
        if typical < WEAK:
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
