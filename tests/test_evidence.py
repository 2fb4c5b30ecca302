"""What the claims are judged on is measured once, whoever measures it, and fits or is refused."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from lensdepth import (
    Condition,
    DepthModel,
    Hypothesis,
    Task,
    ablation_sweep,
    build_report,
    compare_local_global,
    decode_parts,
    dose_response,
    evaluate_claims,
    evaluate_hypotheses,
    geometry_profile,
    load_model,
    load_task,
    logit_lens,
    patch_sweep,
    steering_sweep,
    trajectory_response,
)
from lensdepth.claims.contrasts import contrast_sweep
from lensdepth.claims.evidence import PROFILES, Evidence, check_evidence, late_depths
from lensdepth.claims.result import ClaimTable
from lensdepth.claims.sweeps import needed_sweeps
from lensdepth.geometry.reading import read_states
from lensdepth.passes import Passes
from lensdepth.plain_runs import shared
from lensdepth.provenance import Provenance
from lensdepth.replay import engine
from lensdepth.report import Report
from lensdepth.report.measure import measure
from lensdepth.report.measured import Measured
from lensdepth.tasks import answered_rightly
from lensdepth.teaching import planted

pytestmark = pytest.mark.long
PAIRS = [(a, (a + 5) % 12) for a in range(12)]
WORDINGS = planted.WORDINGS[:3]


@dataclass
class Work:
    """What a model was made to do."""

    prompts: int = 0
    """Prompts that went through forward passes."""
    runs: int = 0
    """Runs of the engine."""
    analyses: list[str] = field(default_factory=list)
    """Every provenance that was made: analysis, model, prompts, settings and seed."""

    @property
    def names(self) -> list[str]:
        return [json.loads(one)[0] for one in self.analyses]


@contextmanager
def watched() -> Iterator[Work]:
    """All that is run on any model within."""
    work = Work()
    forward, stamp = Passes.forward, Provenance.__init__

    def counted_forward(self: Passes, tokens: torch.Tensor, cache: Any = None) -> Any:
        work.prompts += len(tokens)
        return forward(self, tokens, cache)

    def counted_parts(way: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def parts(*args: Any, **options: Any) -> Iterator[Any]:
            for part in way(*args, **options):
                work.runs += len(part.sets)
                yield part

        return parts

    def noted(self: Provenance, **values: Any) -> None:
        stamp(self, **values)
        what = (self.analysis, self.model.fingerprint, self.prompts_fingerprint)
        work.analyses.append(json.dumps([*what, self.settings, self.seed], sort_keys=True))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Passes, "forward", counted_forward)
        patched.setattr(Provenance, "__init__", noted)
        patched.setattr(engine, "by_replay", counted_parts(engine.by_replay))
        patched.setattr(engine, "by_hooks", counted_parts(engine.by_hooks))
        yield work


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DepthModel:
    folder = tmp_path_factory.mktemp("evidence") / "m"
    return load_model(planted.switch(folder, n_layers=6, layer=3, noise=0.15))


@pytest.fixture(scope="module")
def task(model: DepthModel, tmp_path_factory: pytest.TempPathFactory) -> Task:
    path = tmp_path_factory.mktemp("prompts") / "p.csv"
    planted.prompt_file(path, PAIRS, list(range(12)), WORDINGS)
    task = load_task(path, model)
    # The engine and the readout check a model once, which is no part of any analysis.
    patch_sweep(model, task)
    compare_local_global(model, task, stream="attn_out")
    return task


@pytest.fixture(scope="module")
def reported(
    model: DepthModel, task: Task, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, Work]:
    with watched() as work:
        report = build_report(model, task, twins=0, out=tmp_path_factory.mktemp("r") / "r.html")
    return report, work


def claims_of(measured: Measured) -> ClaimTable:
    assert measured.claims is not None
    return measured.claims


def numbers(table: ClaimTable) -> list[float]:
    return [x for one in table.findings for x in (one.effect, one.low, one.high) if x is not None]


def test_a_report_runs_each_of_its_analyses_once(
    model: DepthModel, task: Task, reported: tuple[Report, Work]
) -> None:
    report, work = reported
    assert sum(one.effect is not None for one in claims_of(report).findings) > 15
    assert [one for one, n in Counter(work.analyses).items() if n > 1] == []
    first = task.clean_tokens[:1]
    with watched() as alone, shared():
        logit_lens(model, task)
        logit_lens(model, first, positions=torch.arange(int(first.lengths[0]))[None])
        patch_sweep(model, task)
        steering_sweep(model, task)
        compare_local_global(model, task, stream="attn_out")
        ablation_sweep(model, task)
        dose_response(model, task)
        decode_parts(model, task)
        read_states(model, task)
        trajectory_response(model, task, stream="attn_out")
        contrast_sweep(model, task, depths=late_depths(Evidence(patch=report.patch), task, seed=0))
        answered_rightly(task, model)
    assert min(alone.prompts, alone.runs) > 0
    assert work.runs == alone.runs
    assert work.prompts <= alone.prompts
    # All pairs are right, so that there are no mistakes to compare with.
    others = {"evaluate_claims", "geometry_profile", "compare_mistakes"}
    assert set(work.names) - others == set(alone.names)


def test_the_claims_of_a_report_are_those_of_the_task(
    model: DepthModel, task: Task, reported: tuple[Report, Work]
) -> None:
    own, theirs = claims_of(reported[0]), evaluate_claims(model, task, twins=0)
    assert own.claims == theirs.claims
    assert numbers(own) == pytest.approx(numbers(theirs), abs=1e-6)


def test_only_what_is_absent_is_measured(
    model: DepthModel, task: Task, reported: tuple[Report, Work]
) -> None:
    report, _ = reported
    known = Evidence(
        patch=report.patch, ablation=report.ablation, dose=report.dose, locality=report.locality,
        refused={"steering": "no labels"},
    )  # fmt: skip
    with watched() as work:
        found = evaluate_claims(model, task, evidence=known, twins=0)
    assert work.names == [
        "read_states", "trajectory_response", "contrast_sweep", "evaluate_claims",
    ]  # fmt: skip
    assert found.finding("C2 input stops").reason == "no labels"
    assert found.verdict("C1") == claims_of(report).verdict("C1") == "supported"


def test_pairs_answered_wrongly_are_left_out_and_nothing_of_them_is_taken(
    model: DepthModel, task: Task, tmp_path: Path
) -> None:
    """A sixth of the answers are the wrong way round: the claims are those of the others."""
    path = planted.prompt_file(tmp_path / "p.csv", PAIRS, list(range(12)), WORDINGS)
    frame = pd.read_csv(path)
    wrong = frame.index % 6 == 0
    frame.loc[wrong, ["target", "foil"]] = frame.loc[wrong, ["foil", "target"]].to_numpy()
    frame.to_csv(path, index=False)
    mixed = load_task(path, model)
    with watched() as work:
        measured = measure(model, mixed, twins=0)
    assert [one for one, n in Counter(work.analyses).items() if n > 1] == []
    assert claims_of(measured).n_pairs == len(task) - wrong.sum() < len(mixed)
    alone = evaluate_claims(model, mixed.select(~wrong), twins=0)
    assert numbers(claims_of(measured)) == pytest.approx(numbers(alone), abs=1e-6)


def test_a_reading_serves_the_geometry_too(model: DepthModel, task: Task) -> None:
    reading = read_states(model, task)
    with watched() as work:
        found = geometry_profile(model, task, sample=10, reading=reading)
    assert work.prompts == 0
    alone = geometry_profile(model, task, sample=10)
    torch.testing.assert_close(found.value, alone.value, equal_nan=True, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.norm, alone.norm)
    with pytest.raises(ValueError, match="the reading is of other prompts"):
        geometry_profile(model, task.select(range(20)), reading=reading)
    with pytest.raises(ValueError, match="the reading is not the one of a task's last tokens"):
        geometry_profile(model, task, include_first=True, reading=reading)


def remade(evidence: Evidence, name: str, **changes: Any) -> Evidence:
    """One of the profiles as if it had been made otherwise."""
    return replace(evidence, **{name: replace(getattr(evidence, name), **changes)})


def relabelled(evidence: Evidence, name: str, **coords: tuple[Any, ...]) -> Evidence:
    """One of the profiles with other labels on the axes of its numbers."""
    outcome = getattr(evidence, name).outcome
    return remade(evidence, name, outcome=replace(outcome, coords={**outcome.coords, **coords}))


def renamed(evidence: Evidence, name: str, **metrics: str) -> Evidence:
    """One of the profiles with metrics under other names."""
    outcome = getattr(evidence, name).outcome
    names = tuple(metrics.get(metric, metric) for metric in outcome.metrics)
    return remade(evidence, name, outcome=replace(outcome, metrics=names))


def stamped(evidence: Evidence, name: str, **changes: Any) -> Evidence:
    known = getattr(evidence, name).provenance
    return remade(evidence, name, provenance=replace(known, **changes))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda e, t: remade(e, "patch", edit="norm"), "patch of the evidence is of edit 'norm'"),
        (lambda e, t: remade(e, "patch", mode="noise"), "is of mode 'noise', and 'denoise' is"),
        (lambda e, t: remade(e, "patch", method="attribution"), "of method 'attribution'"),
        (lambda e, t: relabelled(e, "patch", head=(0,)), r"of heads \(0,\), and \(\) is needed"),
        (lambda e, t: relabelled(e, "patch", position=("prediction", "0")), "without input among"),
        (lambda e, t: renamed(e, "patch", success="flip"), "without success"),
        (lambda e, t: renamed(e, "ablation", success="js"), "without success among its metrics"),
        (lambda e, t: renamed(e, "dose", flip="js"), "without flip among its metrics"),
        (lambda e, t: renamed(e, "steering", success="js"), "without success among its metrics"),
        (lambda e, t: remade(e, "ablation", to="mean"), "of to 'mean', and 'source' is needed"),
        (lambda e, t: remade(e, "ablation", coordinates="centred"), "of coordinates 'centred'"),
        (lambda e, t: relabelled(e, "ablation", scope=("suffix",)), "without local among"),
        (lambda e, t: relabelled(e, "ablation", depth=tuple(range(1, 8))), "all of 0 to 6 are"),
        (lambda e, t: remade(e, "dose", position="input"), "of position 'input'"),
        (lambda e, t: remade(e, "dose", doses=e.dose.doses + 1), "without 0.5 among its factors"),
        (lambda e, t: remade(e, "steering", strength=2.0), "of strength 2.0, and 1.0 is needed"),
        (lambda e, t: remade(e, "steering", folds=e.steering.folds // 2), "5 folds, and 10 are"),
        (lambda e, t: stamped(e, "steering", settings={"output_label": "x"}), "of input_label"),
        (lambda e, t: remade(e, "locality", stream="mlp_out"), "of stream 'mlp_out'"),
        (lambda e, t: remade(e, "locality", metric="kl"), "of metric 'kl'"),
        (lambda e, t: stamped(e, "ablation", seed=1), "of seed 1, and the claims are of seed 0"),
        (lambda e, t: stamped(e, "locality", task="ioi"), "of the task 'ioi', and this one is"),
        (lambda e, t: stamped(e, "dose", prompts_fingerprint="0"), "dose .* is of other prompts"),
        (
            lambda e, t: stamped(
                e, "dose", model=replace(e.dose.provenance.model, dtype="float64")
            ),
            "its dtype is float64, and this one's float32",
        ),
        (lambda e, t: Evidence(reading=t.of(torch.arange(5))), "read_states did not make"),
    ],
)  # fmt: skip
def test_evidence_that_does_not_fit_is_refused_with_the_difference(
    model: DepthModel,
    task: Task,
    reported: tuple[Report, Work],
    changed: Callable[[Evidence, Any], Evidence],
    said: str,
) -> None:
    kept: dict[str, Any] = {name: getattr(reported[0], name, None) for name in PROFILES}
    whole = Evidence(**kept)
    evaluating: dict[str, Any] = {"seed": 0, "caller": "evaluate_claims"}
    check_evidence(whole, model.info, task, **evaluating)
    reading = read_states(model, task)
    with watched() as work, pytest.raises(ValueError, match=f"^evaluate_claims: .*{said}"):
        evaluate_claims(model, task, evidence=changed(whole, reading))
    assert work.prompts == 0


def test_hypotheses_take_what_was_measured_and_run_each_edit_once(
    model: DepthModel, task: Task, reported: tuple[Report, Work]
) -> None:
    def one(name: str, depths: str = ">= 4", **first: Any) -> Hypothesis:
        return Hypothesis(name=name, first=Condition(**first), depths=depths, by=0.1)

    given = [
        one("a", intervention="ablate", edit="direction"),
        one("b", intervention="ablate", edit="norm", scope="suffix"),
        one("c", intervention="ablate", edit="full", position="input"),
        one("d", intervention="steer", position="input", scope="suffix"),
        one("e", intervention="steer", position="prediction", scope="suffix"),
        one("f", intervention="patch", edit="full", depths="late"),
        one("g", intervention="patch", edit="norm", position="input"),
    ]
    planned = {(one.kind, one.edit, one.positions, one.scopes) for one in needed_sweeps(given)}
    assert planned == {
        ("ablate", "", ("prediction",), ("local", "suffix")),
        ("ablate", "", ("input",), ("local",)),
        ("steer", "", ("input",), ("suffix",)),
        ("steer", "", ("prediction",), ("suffix",)),
        ("patch", "full", ("prediction", "input"), ("local",)),
        ("patch", "norm", ("input",), ("local",)),
    }
    report, _ = reported
    known = Evidence(patch=report.patch, ablation=report.ablation, steering=report.steering)
    few = [given[0], given[5]]
    with watched() as work:
        found = evaluate_hypotheses(model, task, few, evidence=known)
    assert (work.prompts, work.runs) == (0, 0)
    alone = evaluate_hypotheses(model, task, few)
    for own, theirs in zip(found.findings, alone.findings, strict=True):
        assert own.effect == pytest.approx(theirs.effect, abs=1e-6)
    with pytest.raises(ValueError, match=r"^evaluate_hypotheses: .*of seed 0.*of seed 2"):
        evaluate_hypotheses(model, task, few, evidence=known, seed=2)
