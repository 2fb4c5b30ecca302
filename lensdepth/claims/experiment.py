"""Hypotheses tested on a model: a number and a verdict for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from lensdepth.arguments import checked
from lensdepth.bounds import bounded
from lensdepth.claims.estimate import Estimate, estimate
from lensdepth.claims.evidence import Evidence, check_evidence
from lensdepth.claims.hypothesis import Condition, Hypothesis, parse_depths
from lensdepth.claims.result import Finding, make_finding
from lensdepth.claims.sweeps import (
    ZONES,
    Sweep,
    SweepProfile,
    asked_metrics,
    conditions,
    effects_of,
    needed_sweeps,
    profile_of,
    run_public,
    sweeps_of,
    whole_difference,
)
from lensdepth.claims.verdict import Judged, Verdict, decide
from lensdepth.claims.zones import FEWEST, chosen_on_others, deal_groups, find_zones
from lensdepth.model import DepthModel
from lensdepth.patching.profile import PatchProfile
from lensdepth.progress import one_by_one
from lensdepth.provenance import Provenance, make_provenance
from lensdepth.site import last_place
from lensdepth.steering.labels import by_pair
from lensdepth.storage import Result
from lensdepth.tasks.task import Task
from lensdepth.telling.names import metric_words
from lensdepth.units import take

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True)
class HypothesisVerdict:
    """One hypothesis with its verdict; its numbers are in the finding of the same name."""

    name: str
    family: str
    verdict: Verdict
    p: float | None
    """Two-sided, Holm-corrected over the family."""


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class HypothesisTable(Result):
    """Verdicts on somebody's own hypotheses."""

    MADE_BY: ClassVar[str] = "evaluate_hypotheses(model, task, hypotheses)"
    """The call that makes one."""

    provenance: Provenance
    hypotheses: tuple[HypothesisVerdict, ...]
    findings: tuple[Finding, ...]
    n_pairs: int

    def to_frame(self) -> "pd.DataFrame":
        """One row a hypothesis."""
        import pandas as pd

        rows = []
        for one, found in zip(self.hypotheses, self.findings, strict=True):
            row = {"hypothesis": one.name, "family": one.family, "verdict": one.verdict}
            names = ("says", "unit", "expect", "threshold", "effect", "low", "high")
            row |= {name: getattr(found, name) for name in names}
            row |= {"p": one.p, "p_for": found.p_for, "p_against": found.p_against}
            rows.append(row | {"n": found.n, "reason": found.reason})
        numbers = ("threshold", "effect", "low", "high", "p")
        return pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))

    def plot(self) -> "Figure":
        """Every difference with its interval, beside the threshold."""
        from lensdepth.claims.figures import forest

        return forest(self.findings, {one.name: one.verdict for one in self.hypotheses})


@checked
@bounded
def evaluate_hypotheses(
    model: DepthModel,
    task: Task,
    hypotheses: Sequence[Hypothesis],
    *,
    evidence: Evidence | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    max_memory: int | None = None,
) -> HypothesisTable:
    """Test each hypothesis on the task's pairs.

    Differences are paired where both conditions are of the same pairs. Standard errors are
    clustered by prompt; centroids of steering come from other prompts than those steered, and
    depths named `early`, `late` or `best` from pairs that share no prompt with the pair tested.

    Args:
        model: any wrapped model.
        task: pairs of prompts; usually those that the model answers rightly.
        hypotheses: what is expected.
        evidence: patches and ablations that were measured on this task already, as for
            `evaluate_claims`; whatever else is needed is measured here.
        seed: of groups, folds and controls.
        batch_size: prompts in one forward pass; None bounds the tokens in it.
        max_memory: bytes to plan with; None takes a sensible share of what there is.
    Returns:
        HypothesisTable.
    Raises:
        ValueError: before any forward pass: no pairs, unknown labels or values, depths that the
            model does not have, too few pairs, or evidence of another model, other prompts,
            another seed or other options.
    Example:
        >>> first = Condition(intervention="ablate", edit="direction")
        >>> second = Condition(intervention="ablate", edit="norm")
        >>> one = Hypothesis(name="turn", first=first, second=second, depths=">= 7", by=0.2)
        >>> evaluate_hypotheses(model, task, [one]).hypotheses[0].verdict
    """
    check_hypotheses(model, task, hypotheses)
    also = asked_metrics(hypotheses)
    profiles: dict[Sweep, SweepProfile] = {}
    if evidence is not None:
        caller = "evaluate_hypotheses"
        check_evidence(evidence, model.info, task, seed=seed, caller=caller, whole=True)
        profiles = sweeps_of(evidence, also)
    sweeps = needed_sweeps(hypotheses, profiles)
    for sweep in one_by_one(sweeps, "sweeps"):
        profiles[sweep] = run_public(model, task, sweep, also=also, seed=seed)
    assert task.corrupted is not None
    group = deal_groups(task.clean, task.corrupted, seed=seed)
    findings = [_finding(one, task, profiles, group, model.n_layers) for one in hypotheses]
    return HypothesisTable(
        provenance=make_provenance(
            "evaluate_hypotheses",
            model.info,
            **task.origin,
            settings={
                "hypotheses": [one.says for one in hypotheses],
                "batch_size": batch_size,
                "max_memory": max_memory,
            },
            seed=seed,
        ),
        hypotheses=tuple(_verdicts(hypotheses, findings)),
        findings=tuple(findings),
        n_pairs=len(task),
    )


class WrongHypothesis(ValueError):
    """A hypothesis that this task or model cannot test; it knows which and by which key."""

    def __init__(self, hypothesis: Hypothesis, key: str, message: str) -> None:
        super().__init__(f"hypothesis {hypothesis.name!r}: {message}")
        self.hypothesis, self.key, self.message = hypothesis, key, message


def check_hypotheses(model: DepthModel, task: Task, hypotheses: Sequence[Hypothesis]) -> None:
    """Refuse what cannot be tested.

    Raises:
        ValueError
    """
    if not hypotheses:
        raise ValueError("evaluate_hypotheses: there is no hypothesis to test.")
    if not task.has_pairs:
        raise ValueError(
            f"evaluate_hypotheses: interventions need pairs of prompts; {task.name!r} has plain "
            f"prompts alone."
        )
    check_labels(hypotheses, {name: task.labels[name].astype(str) for name in task.labels.columns})
    check_hypothesis_depths(hypotheses, model.n_layers)
    for one in hypotheses:
        for condition in conditions(one):
            if condition.position == "input" and task.input_positions is None:
                raise WrongHypothesis(one, "position", "the task has no input position.")
        if one.depths in ("early", "late") and task.input_positions is None:
            raise WrongHypothesis(
                one, "depths", f"depths {one.depths!r} need a task with an input position."
            )


def check_hypothesis_depths(hypotheses: Sequence[Hypothesis], n_layers: int) -> None:
    """Refuse depths that a model of so many blocks does not have.

    Raises:
        WrongHypothesis
    """
    for one in hypotheses:
        try:
            parse_depths(one.depths, last_depth(one, n_layers))
        except ValueError as error:
            raise WrongHypothesis(one, "depths", str(error)) from error


def check_labels(hypotheses: Sequence[Hypothesis], labels: "dict[str, pd.Series[str]]") -> None:
    """Refuse labels and values that the prompts do not have.

    Raises:
        WrongHypothesis
    """
    for one in hypotheses:
        for condition in conditions(one):
            for label, value in (condition.where or {}).items():
                if label not in labels:
                    there = ", ".join(labels) or "none"
                    raise WrongHypothesis(
                        one, "where", f"the prompts have no label {label!r}; there are {there}."
                    )
                if value not in set(labels[label]):
                    some = ", ".join(sorted(set(labels[label]))[:8])
                    raise WrongHypothesis(
                        one, "where", f"no prompt has {label} = {value}; there are {some}."
                    )


def last_depth(one: Hypothesis, n_layers: int) -> int:
    """The last residual depth, or the last block of the other streams."""
    return last_place(one.first.stream, n_layers)


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One condition in numbers by pair."""

    pairs: Bool[Array, " pair"]
    """Those that it is about."""
    effects: Float[Array, "pair depth"]
    unit: Float[Array, " pair"]
    """What an effect is a fraction of: 1, or the whole difference."""


def _side(
    condition: Condition | None, one: Hypothesis, task: Task, profiles: dict[Sweep, SweepProfile]
) -> Side:
    profile = profile_of(condition or one.first, profiles)
    effects = by_pair(
        effects_of(condition or one.first, one.metric, profile), profile.positions, task
    )
    pairs = np.asarray(~np.isnan(effects).all(1))
    for label, value in ((condition or one.first).where or {}).items():
        pairs &= (task.labels[label].astype(str) == value).to_numpy()
    whole = np.ones(len(task))
    if one.metric == "transferred":
        whole = np.where(pairs, by_pair(whole_difference(profile), profile.positions, task), 1.0)
    effects = np.where(pairs[:, None], effects, 0.0)
    return Side(
        pairs=pairs, effects=np.zeros_like(effects) if condition is None else effects, unit=whole
    )


def _finding(
    one: Hypothesis,
    task: Task,
    profiles: dict[Sweep, SweepProfile],
    group: Int[Array, "pair role"],
    n_layers: int,
) -> Finding:
    first, second = (_side(c, one, task, profiles) for c in (one.first, one.second))
    found, reason = None, ""
    try:
        at = _depths(one, first, second, profiles, group, n_layers)
        found = _difference(first, second, at, task)
        if np.isnan(found.value) or np.isnan(found.se):
            found, reason = None, "too few pairs have a number here"
    except ValueError as why:
        reason = str(why)
    return make_finding(
        one.name,
        found,
        says=one.says,
        unit=metric_words(one.metric).scale,
        expect=one.expect,
        threshold=one.threshold,
        reason=reason if found is None else _bear_in_mind(one, n_layers),
    )


def _bear_in_mind(one: Hypothesis, n_layers: int) -> str:
    asked = parse_depths(one.depths, last_depth(one, n_layers))
    if asked is None or one.first.stream != "resid_pre" or not asked[-1]:
        return ""
    if any(c.intervention == "ablate" and c.position == "prediction" for c in conditions(one)):
        return (
            f"depth {n_layers} is among the depths: under a final norm a norm edit does nothing "
            f"there and a direction edit all, in every model"
        )
    return ""


def _depths(
    one: Hypothesis,
    first: Side,
    second: Side,
    profiles: dict[Sweep, SweepProfile],
    group: Int[Array, "pair role"],
    n_layers: int,
) -> Bool[Array, "pair depth"]:
    """Over which depths each pair's effects are averaged."""
    fixed = parse_depths(one.depths, last_depth(one, n_layers))
    if fixed is not None:
        return np.tile(fixed, (len(group), 1))
    if one.depths == "best":
        return _best(one, first, second, group)
    curves = []
    for patched in ZONES:
        profile = profile_of(patched, profiles)
        assert isinstance(profile, PatchProfile)
        curves.append(profile.efficacy(patched.position).double().numpy())
    zones = find_zones(curves[0], curves[1], group)
    if not zones.located:
        raise ValueError("no crossing of patching was found, so no depth is early or late")
    where = zones.early if one.depths == "early" else zones.late
    # Blocks of other streams: block l leads to depth l + 1.
    return where if one.first.stream == "resid_pre" else where[:, 1:]


def _best(
    one: Hypothesis, first: Side, second: Side, group: Int[Array, "pair role"]
) -> Bool[Array, "pair depth"]:
    """The depth of the largest difference in the expected direction, on other pairs."""
    chosen_at = np.zeros_like(first.effects, dtype=bool)
    for mine, others in chosen_on_others(group):
        means = []
        for side in (first, second):
            rows = others & side.pairs
            if rows.sum() < FEWEST:
                raise ValueError(
                    f"there are {int(rows.sum())} pairs without a prompt in common with others to "
                    f"choose a depth on, and {FEWEST} are needed"
                )
            means.append(side.effects[rows].mean(0) / side.unit[rows].mean())
        gap = means[0] - means[1]
        score = {"greater": gap, "less": -gap, "equivalent": np.abs(gap)}[one.expect]
        chosen_at[mine, int(np.nanargmax(score))] = True
    return chosen_at


def _difference(first: Side, second: Side, at: Bool[Array, "pair depth"], task: Task) -> Estimate:
    """First less second, of means over their pairs, each in its own unit."""
    columns = []
    for side in (first, second):
        mean = (side.effects * at).sum(1) / at.sum(1)
        columns += [np.where(side.pairs, mean, 0.0), np.where(side.pairs, side.unit, 0.0)]
    either = first.pairs | second.pairs
    assert task.corrupted is not None
    units = take(task.units, either)

    def difference(mean: Float[Array, "4"]) -> float:
        return float(mean[0] / mean[1] - mean[2] / mean[3])

    return estimate(np.stack(columns, axis=1)[either], units, difference)


def _verdicts(
    hypotheses: Sequence[Hypothesis], findings: Sequence[Finding]
) -> list[HypothesisVerdict]:
    """Corrected within each family, over those that could be measured."""
    decided: dict[str, tuple[Verdict, float]] = {}
    for family in dict.fromkeys(one.family for one in hypotheses):
        tested = [
            found
            for one, found in zip(hypotheses, findings, strict=True)
            if one.family == family and found.effect is not None
        ]
        judged = [Judged(p_for=found.p_for, p_against=found.p_against) for found in tested]
        decided |= dict(zip((found.key for found in tested), decide(judged), strict=True))
    return [
        HypothesisVerdict(
            name=one.name,
            family=one.family,
            verdict=decided[one.name][0] if one.name in decided else "cannot tell",
            p=decided[one.name][1] if one.name in decided else None,
        )
        for one in hypotheses
    ]
