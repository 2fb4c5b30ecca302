"""Right against wrong answers: planted differences, none, and what cannot be told apart."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray as Array

import lensdepth
from lensdepth.analyses import analysis
from lensdepth.mistakes import compare_mistakes, null
from lensdepth.mistakes.compare import compared as found_in
from lensdepth.mistakes.profile import FEWEST
from lensdepth.model import DepthModel
from lensdepth.tasks import load_task
from lensdepth.units import Grouping

Draw = tuple[Array, Array, dict[str, Array]]


def compared(drawn: Draw, n: int = 199) -> tuple[Any, ...]:
    depth, wrong, named = drawn
    units = tuple(Grouping(name=name, values=tuple(map(str, one))) for name, one in named.items())
    return found_in(depth, wrong, units, units, n_permutations=n, seed=0)


def test_deals_keep_units_together() -> None:
    """By hand: unit 0 has both kinds, 1 and 2 are right, 3 is wrong."""
    wrong = np.array([True, False, False, False, False, True, True])
    unit = np.array([0, 0, 0, 1, 2, 3, 3])
    assert null.n_deals(wrong, unit) == 3 * 3
    made = null.deals(wrong, unit, 400, 0)
    assert len(np.unique(made, axis=0)) == 9
    assert (made[:, :3].sum(1) == 1).all()
    assert (made[:, 5] == made[:, 6]).all()
    assert (made[:, 3].astype(int) + made[:, 4] + made[:, 5] == 1).all()
    depth = np.arange(7.0)
    found = null.difference(depth, wrong)
    assert found == pytest.approx((0 + 5 + 6) / 3 - (1 + 2 + 3 + 4) / 4)


@pytest.mark.parametrize(
    ("later", "verdict"), [(2.0, "later"), (-2.0, "earlier"), (0.0, "cannot tell")]
)
def test_a_planted_difference_is_found_with_its_sign(later: float, verdict: str) -> None:
    rng = np.random.default_rng(1)
    wrong = np.arange(60) % 3 == 0
    depth = 10 + later * wrong + rng.normal(0, 1, 60)
    found = compared((depth, wrong, {"input": np.arange(60) // 5}))
    assert found[0] == verdict
    assert found[2] == pytest.approx(depth[wrong].mean() - depth[~wrong].mean())
    assert found[3] < found[2] < found[4]
    assert (found[5] < 0.05) == (verdict != "cannot tell")


def test_words_that_go_together_make_no_difference() -> None:
    """Depth and share of wrong answers both go with the word, and have nothing to do with each
    other: the null of single pairs finds a difference in a third of the draws and more."""
    said, naive = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        unit = np.repeat(np.arange(12), 6)
        word = rng.normal(0, 1, 12)
        wrong = rng.random(72) < 1 / (1 + np.exp(-3 * rng.normal(0, 1, 12)[unit]))
        depth = 10 + 2 * word[unit] + rng.normal(0, 0.5, 72)
        said.append(compared((depth, wrong, {"input": unit}), 99)[0])
        naive.append(compared((depth, wrong, {"pair": np.arange(72)}), 99)[0])
    assert naive.count("later") + naive.count("earlier") > 12
    assert said.count("later") + said.count("earlier") <= 5


def test_what_is_too_few_is_said_to_be() -> None:
    depth, wrong = np.arange(40.0), np.zeros(40, dtype=bool)
    wrong[: FEWEST - 1] = True
    verdict, reason, *_, p = compared((depth, wrong, {"pair": np.arange(40)}))
    assert (verdict, np.isnan(p)) == ("too few", True)
    assert f"there are {FEWEST - 1} wrong answers, and {FEWEST} of each kind are needed" in reason
    wrong[:20] = True
    template = np.arange(40) // 20  # every wrong answer comes from the first template
    verdict, reason, *_ = compared((depth, wrong, {"pair": np.arange(40), "template": template}))
    assert verdict == "too few"
    assert "by template there are 2 units" in reason
    none = compared((depth, np.zeros(40, dtype=bool), {"pair": np.arange(40)}))
    assert none[0] == "too few"
    assert np.isnan(none[2])


@pytest.fixture(scope="module")
def half_wrong(trained: DepthModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Capitals, every second pair with another pair's answers written down as right."""
    frame = load_task("capitals", trained, n=40).to_frame()
    rows = frame[["clean", "corrupted", "target", "foil", "input", "corrupted_input"]].to_dict(
        "records"
    )
    for i in range(0, len(rows), 2):
        rows[i]["target"], rows[i]["foil"] = rows[i]["foil"], rows[i]["target"]
    path = tmp_path_factory.mktemp("half") / "half.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("by", ["lens", "patch"])
def test_answers_are_the_models_own(trained: DepthModel, half_wrong: Path, by: Any) -> None:
    """A key that is wrong makes an answer wrong, and moves none: by hand from the lens."""
    task = load_task(half_wrong, trained)
    profile = compare_mistakes(trained, task, by=by, n_permutations=200)
    own = trained.logits(task.clean_tokens)[:, 0].argmax(-1)
    assert profile.wrong.tolist() == (own != task.target_ids).tolist()
    assert 0 < profile.wrong.sum() < len(task)
    if by == "lens":
        lens = lensdepth.logit_lens(trained, task)
        first = lens.top_tokens[:, :, -1, 0] == own
        for pair, depth in enumerate(profile.depths.int().tolist()):
            assert first[depth:, pair].all()
            assert depth == 0 or not first[depth - 1, pair]
    else:
        assert not profile.depths.isnan().all()
    assert profile.depths.nan_to_num(0).max() <= trained.n_layers
    assert profile.p > 0.05 or profile.verdict != "cannot tell"
    summary = analysis("mistakes").summary(profile)
    assert summary["right"]["n"] + summary["wrong"]["n"] == int((~profile.depths.isnan()).sum())
    said = " ".join(analysis("mistakes").sentences(profile))
    assert profile.verdict == "too few" or f"{summary['wrong']['n']} wrong answer" in said


def test_almost_right_answers_are_a_group_of_their_own(
    trained: DepthModel, half_wrong: Path
) -> None:
    task = load_task(half_wrong, trained)
    profile = compare_mistakes(trained, task, n_permutations=200)
    ranked = trained.logits(task.clean_tokens)[:, 0].argsort(-1, descending=True)
    assert profile.almost is not None
    assert profile.almost.tolist() == (ranked[:, 1] == task.target_ids).tolist()
    assert 0 < profile.almost.sum() <= profile.wrong.sum()
    assert len(profile.of("almost")) + len(profile.of("off")) == len(profile.of("wrong"))
    assert profile.to_frame()["almost"].tolist() == profile.almost.tolist()
    to_right, to_others = profile.differences
    assert (to_right.kind, to_right.than, to_others.than) == ("almost", "right", "off")
    means = [float(profile.of(kind).mean()) for kind in ("almost", "right")]
    assert to_right.difference == pytest.approx(means[0] - means[1])
    for one in profile.differences:
        smaller = min(len(profile.of("almost")), len(profile.of(one.than)))
        assert (one.verdict == "too few") == (smaller < FEWEST)
    said = " ".join(analysis("mistakes").sentences(profile))
    assert f"{int(profile.almost.sum())} are almost right, the target being the second" in said
    told = replace(to_right, verdict="later", reason="", difference=1.0, low=0.4, high=1.5, p=0.01)
    later = replace(profile, differences=(told,))
    said = " ".join(analysis("mistakes").sentences(later))
    assert "They form later than right ones (difference 1.00 (0.40 to 1.50), p = 0.01" in said
    none = replace(profile, almost=torch.zeros_like(profile.wrong), differences=())
    assert "almost" not in " ".join(analysis("mistakes").sentences(none))
    assert not len(none.of("almost"))


def test_a_planted_difference_of_almost_right_answers_is_found() -> None:
    rng = np.random.default_rng(2)
    almost = np.arange(60) % 3 == 0
    depth, words = 10 + 2.0 * almost + rng.normal(0, 1, 60), np.arange(60) // 5
    units = (Grouping(name="input", values=tuple(map(str, words))),)
    asked: dict[str, Any] = {"n_permutations": 199, "seed": 0, "names": ("off", "almost right")}
    assert found_in(depth, almost, units, units, **asked)[0] == "later"
    few = found_in(depth[:21], almost[:21], (), (), **asked)
    assert few[:2] == (
        "too few",
        f"there are 7 almost right answers, and {FEWEST} of each kind are needed",
    )


def test_a_small_p_beside_an_interval_that_holds_0_is_explained(
    trained: DepthModel, half_wrong: Path
) -> None:
    """Deals within these units are one question, other units another."""
    profile = compare_mistakes(trained, load_task(half_wrong, trained), n_permutations=200)
    told = {"verdict": "earlier", "difference": -1.0, "low": -2.0, "p": 0.004}
    for high, explained in ((0.5, True), (-0.2, False), (math.nan, False)):
        said = analysis("mistakes").sentences(replace(profile, **told, high=high))
        assert ("The interval over units holds 0" in " ".join(said)) is explained


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: compare_mistakes(m, load_task("graded", m, n=4)), "plain prompts alone"),
        (
            lambda m: compare_mistakes(m, load_task("capitals", m, n=9, keep="correct")),
            "this task kept the correct pairs alone; make it with keep='all'",
        ),
        (
            lambda m: compare_mistakes(m, load_task("capitals", m, n=9), units=[["a"]]),
            "units must have a label for each of the 9 pairs; 'unit 1' has 1",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    trained: DepthModel, make: Callable[[DepthModel], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(trained)


def test_right_answers_alone_are_too_few_wrong_ones(trained: DepthModel, capitals: Any) -> None:
    profile = compare_mistakes(trained, load_task("capitals", trained, n=12, keep="all"))
    if not profile.wrong.any():
        assert profile.verdict == "too few"
        assert torch.tensor(profile.difference).isnan()
        said = analysis("mistakes").sentences(profile)
        assert said == [
            "Whether wrong answers form at other depths cannot be told: there are 0 wrong answers, "
            f"and {FEWEST} of each kind are needed."
        ]


def test_fewer_than_one_deal_is_refused_on_entry(trained: DepthModel) -> None:
    task = load_task("capitals", trained, n=12, keep="all")
    for n in (0, -3):
        with pytest.raises(ValueError, match=f"n_permutations must be at least 1, got {n}"):
            compare_mistakes(trained, task, n_permutations=n)
