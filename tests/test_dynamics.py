"""When in training the switch appears: planted courses, and what no course may be read into."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ruptures import KernelCPD
from torch import Tensor

import lensdepth
from lensdepth import load_model, load_task, training_dynamics
from lensdepth.analyses import analysis
from lensdepth.dynamics import TrainingDynamics, asked, measure, null
from lensdepth.dynamics.asked import measure_moment
from lensdepth.dynamics.course import FEWEST_LOCATED, Course, appearance, course
from lensdepth.dynamics.listed import listed, step_of
from lensdepth.dynamics.moment import Moment
from lensdepth.model import DepthModel
from lensdepth.tasks.task import Task
from lensdepth.teaching import planted
from lensdepth.units import Grouping

pytestmark = pytest.mark.long

DIFFERENT = [(a, (a + 1 + a % 3) % len(planted.INPUTS)) for a in range(len(planted.INPUTS))]
STEPS = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120]
N_LAYERS = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DepthModel]:
    """Models that hand over in block 0 to 4, and one that never hears its input."""
    folder = tmp_path_factory.mktemp("planted")
    models = {
        str(layer): load_model(planted.switch(folder / f"{layer}", n_layers=N_LAYERS, layer=layer))
        for layer in range(5)
    }
    # What the last block moves is seen at depth L alone: answers without a crossing.
    last = planted.switch(folder / "last", n_layers=N_LAYERS, layer=N_LAYERS - 1)
    models["last"] = load_model(last)
    models["deaf"] = load_model(planted.deaf(folder / "deaf", n_layers=N_LAYERS))
    return models


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, made: dict[str, DepthModel]) -> Task:
    path = tmp_path_factory.mktemp("pairs") / "p.csv"
    return load_task(planted.prompt_file(path, DIFFERENT, list(range(12))), made["0"], keep="all")


@pytest.fixture(scope="module")
def measured(made: dict[str, DepthModel], pairs: Task) -> dict[str, tuple[Moment, Tensor]]:
    """What each model gives as a checkpoint, once: a course puts them in order."""
    return {
        name: measure_moment(model, pairs, 0, depths=None, claims=False, seed=0)
        for name, model in made.items()
    }


JUMP = ["deaf", *"0000", *"33333"]


@pytest.mark.parametrize(
    ("course_of", "appears", "moves", "by"),
    [
        (JUMP, "with the answers", "jump", 20),
        (["deaf", *"011222334"], "with the answers", "moves", 20),
        (["deaf", "deaf", *"22222222"], "with the answers", "steady", 40),
        (["last", "last", *"22222222"], "after the answers", "steady", 40),
        (["last"] * 10, "never", "too few", None),
        (["deaf"] * 10, "not learned", "too few", None),
        (["2", "2", "last", *"2222222"], "comes and goes", "steady", 80),
        (["deaf", *"040404040"], "with the answers", "wanders", 20),
    ],
)
def test_a_planted_course_is_told(
    measured: dict[str, tuple[Moment, Tensor]],
    pairs: Task,
    course_of: list[str],
    appears: str,
    moves: str,
    by: int | None,
) -> None:
    moments = [replace(measured[x][0], step=s) for x, s in zip(course_of, STEPS, strict=True)]
    for one, name in zip(moments, course_of, strict=True):
        if name.isdigit():
            assert (one.kind, one.depth.value) == ("crossing", int(name) + 0.5)
        else:  # no number where there is no place
            assert one.kind == {"last": "none", "deaf": "not learned"}[name]
            assert np.isnan([one.depth.value, one.depth.low, one.width.value]).all()
    seen = appearance(moments)
    assert (seen.verdict, seen.by) == (appears, by)
    located = [(s, x) for s, x in zip(STEPS, course_of, strict=True) if x.isdigit()]
    places = torch.stack([measured[x][1] for _, x in located], 1) if located else torch.zeros(12, 0)
    found = course(places, [s for s, _ in located], units=pairs.units)
    assert found.verdict == moves, found
    if moves == "jump":
        assert (found.after, found.by) == (160, 320)
        assert found.change.value == pytest.approx(3)
        assert 160 <= found.low <= found.high <= 320


@pytest.fixture(scope="module")
def jumped(
    made: dict[str, DepthModel], measured: dict[str, tuple[Moment, Tensor]], pairs: Task
) -> TrainingDynamics:
    """A whole training, of checkpoints that are measured already."""

    def known(model: DepthModel, task: Task, step: int, **_: Any) -> tuple[Moment, Tensor]:
        (name,) = [name for name, one in made.items() if one is model]
        one, places = measured[name]
        return replace(one, step=step), places

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "measure_moment", known)
        return training_dynamics(dict(zip(STEPS, [made[x] for x in JUMP], strict=True)), pairs)


def test_the_share_explained_is_that_of_ruptures() -> None:
    paths = np.random.default_rng(3).normal(size=(6, 9)).cumsum(1)
    for path, own in zip(paths, null.explained(paths), strict=True):
        k, *_ = KernelCPD(kernel="linear", min_size=1).fit_predict(path[:, None], n_bkps=1) or [1]
        left = sum(((side - side.mean()) ** 2).sum() for side in (path[:k], path[k:]))
        assert own == pytest.approx(1 - left / ((path - path.mean()) ** 2).sum())
    # By hand: a straight line of n points is cut in the middle, (3/4) n² / (n² − 1) of it; a step
    # wholly; what stands still, not at all.
    n = 8
    line, step, still = np.arange(n * 1.0), np.arange(n) > 2, np.full(n, 0.3)
    found = null.explained(np.stack([line, step.astype(float), still]))
    assert found.tolist() == pytest.approx([0.75 * n**2 / (n**2 - 1), 1.0, 0.0])


def test_walks_stray_as_far_as_the_steps_lie_apart() -> None:
    at = np.array([0.0, 1.0, 1.25, 3.25])
    increments = np.diff(null.walks(at, 20_000, 0), axis=1)
    assert increments.std(0) == pytest.approx([1.0, 0.5, 2**0.5], rel=0.03)
    assert np.corrcoef(increments.T)[0, 1] == pytest.approx(0, abs=0.03)
    orders = null.shuffled(np.array([1.0, 2.0, 4.0]), 300, 0)
    assert len(np.unique(orders, axis=0)) == 6
    assert (np.sort(orders, axis=1) == [1.0, 2.0, 4.0]).all()


def drawn(base: np.ndarray, seed: int) -> Course:
    rng = np.random.default_rng(seed)
    word = np.arange(48) % 12
    y = base + rng.normal(0, 0.3, (12, 1))[word] + rng.normal(0, 0.3, (48, len(base)))
    steps = [int(x) for x in np.geomspace(100, 10_000, len(base))]
    units = (Grouping(name="word", values=tuple(map(str, word))),)
    return course(torch.from_numpy(y).float(), steps, units=units, n_draws=60, seed=seed)


def test_a_path_that_wanders_is_seldom_called_a_jump() -> None:
    """Neighbours alike, no jump: against checkpoints in any order alone, most would be one."""
    said = [drawn(2 + np.random.default_rng(s).normal(0, 0.5, 14).cumsum(), s) for s in range(40)]
    naive = [one for one in said if one.p_units < 0.05 and one.p_order < 0.05]
    assert len(naive) >= 20
    assert sum(one.verdict == "jump" for one in said) <= 5


def test_noise_of_units_alone_is_no_move() -> None:
    said = [drawn(np.full(10, 2.0), s).verdict for s in range(20)]
    assert set(said) <= {"steady", "cannot tell"}


def test_too_few_checkpoints_or_units_have_no_course(
    made: dict[str, DepthModel], pairs: Task
) -> None:
    places = torch.tensor(2.5).expand(12, FEWEST_LOCATED)
    few = course(places[:, 1:], STEPS[1:FEWEST_LOCATED], units=pairs.units)
    assert (few.verdict, np.isnan(few.p_walk)) == ("too few", True)
    assert course(places, STEPS[:FEWEST_LOCATED], units=pairs.units).verdict == "steady"
    some = course(places[:4], STEPS[:FEWEST_LOCATED], units=())
    assert (some.verdict, some.n_units) == ("too few", 4)
    one, _ = measure_moment(
        made["2"], pairs.select([0, 1, 2]), 5, depths=None, claims=False, seed=0
    )
    assert (one.kind, one.n_right, np.isnan(one.depth.value)) == ("too few", 3, True)
    assert appearance([one, replace(one, step=9)]).verdict == "cannot tell"


def test_names_tell_their_steps(tmp_path: Path) -> None:
    assert step_of("EleutherAI/pythia-70m@step1000", caller="f") == 1000
    assert step_of("runs/7/checkpoint-500/", caller="f") == 500
    assert list(listed("tiny@all", caller="f"))[:3] == [0, 31, 43]
    assert list(listed(["x@step20", "x@step3"], caller="f")) == [3, 20]
    for name in ("step-10", "step-2", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert list(listed(tmp_path, caller="f")) == [2, 10]
    for wrong, said in {
        ("a@step1",): "takes 2 checkpoints at least, got 1",
        ("a@step1", "b@step1"): "'a@step1' and 'b@step1' are both of step 1",
        ("a@step1", "main"): "'main' does not end in a training step",
    }.items():
        with pytest.raises(ValueError, match=said):
            listed(wrong, caller="f")
    for wrong, said in {
        "calendar@all": "which checkpoints 'calendar' has is not known here",
        str(tmp_path / "other"): "is no folder with checkpoints in it",
    }.items():
        with pytest.raises(ValueError, match=said):
            listed(wrong, caller="f")


def test_bad_input_is_refused_before_a_model_is_loaded(
    made: dict[str, DepthModel], pairs: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    chosen = load_task("months", load_model("tiny"), n=8, keep="correct")
    monkeypatch.setattr(measure, "load_model", never)
    with pytest.raises(ValueError, match="kept the correct ones of one model alone"):
        training_dynamics("tiny@all", chosen)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="no two checkpoints of one training"):
        training_dynamics({1: made["0"], 2: load_model("tiny")}, pairs)


def test_one_checkpoint_is_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task("months", load_model("tiny"), n=12, keep="all")
    gone: list[weakref.ref[DepthModel]] = []

    def noted(name: Any, **options: Any) -> DepthModel:
        assert all(one() is None for one in gone)
        model = load_model(name, **options)
        gone.append(weakref.ref(model))
        return model

    gc.collect()
    monkeypatch.setattr(measure, "load_model", noted)
    found = training_dynamics(["tiny@0", "tiny@5879", "tiny@8000"], task)
    assert len(gone) == 3
    assert [one.model.name for one in found.moments] == ["tiny@0", "tiny@5879", "tiny@8000"]
    assert len({one.model.fingerprint for one in found.moments}) == 3
    assert found.moments[-1].model.fingerprint == load_model("tiny").info.fingerprint


def test_every_surface_has_the_same_numbers(jumped: TrainingDynamics, tmp_path: Path) -> None:
    found = jumped
    found.save(tmp_path / "d.safetensors")
    again = lensdepth.load(tmp_path / "d.safetensors")
    assert str(again.moments) == str(found.moments)  # NaN is equal to itself in writing alone
    assert again.course.p_walk == found.course.p_walk
    torch.testing.assert_close(again.places, found.places, equal_nan=True)
    assert (found.appears.verdict, found.course.verdict) == ("with the answers", "jump")
    told = analysis("dynamics")
    summary = told.summary(found)
    assert summary == told.summary(again)
    frame = found.to_frame()
    assert frame["step"].tolist() == STEPS
    place = [None if np.isnan(x) else x for x in frame["relative_depth"]]
    assert place == [one["relative_depth"] for one in summary["checkpoints"]]
    shown = {t["name"]: t["y"] for t in found.plot().to_dict()["data"]}
    assert list(shown["crossing"]) == [x for x in place if x is not None]
    text = " ".join(told.sentences(found))
    assert "from step 20 on, not yet by step 10: as soon as there are answers" in text
    assert "The place jumps: the best cut lies between steps 160 and 320" in text
    assert found.at(160).depth.value == 0.5
    with pytest.raises(ValueError, match="no checkpoint is of step 7"):
        found.at(7)


def test_claims_are_evaluated_where_they_are_asked_for(
    made: dict[str, DepthModel], pairs: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_on: list[str] = []

    def evaluated(model: DepthModel, task: Task, **_: Any) -> Any:
        found_on.append(model.info.name)
        assert len(task) == 12
        return SimpleNamespace(claims=[SimpleNamespace(claim="C1", verdict="supported")])

    monkeypatch.setattr(asked, "evaluate_claims", evaluated)
    found = training_dynamics({1: made["deaf"], 2: made["2"]}, pairs, claims=True)
    assert found_on == ["2"]
    assert [one.claims for one in found.moments] == [{}, {"C1": "supported"}]
    assert found.to_frame()["claim_C1"].isna().tolist() == [True, False]
