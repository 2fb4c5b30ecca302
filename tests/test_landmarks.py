"""Landmarks beside the switch: planted both ways, by hand, and by slow independent ways."""

import json
import math
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats as distributions

from benchmarks.landmarks import planted as planted_curves
from lensdepth import (
    Landmarks,
    compare_definitions,
    compare_landmarks,
    find_commitment,
    find_crossing,
    find_landmarks,
    find_transition,
    load,
    load_model,
    load_task,
    stats,
)
from lensdepth.analyses import analysis
from lensdepth.landmarks import across_told
from lensdepth.landmarks.across import Run, left_over
from lensdepth.landmarks.drawn import drawn_curves, means_in
from lensdepth.landmarks.read_space import ReadSpace, read_space, shares_read
from lensdepth.model import DepthModel
from lensdepth.teaching import planted
from lensdepth.transition.landmark import Landmark, located, put_in_order
from lensdepth.units import Grouping

AT = np.arange(7.0)


def place(values: list[float], shape: Any) -> tuple[float, float]:
    where, stands_out = located(np.array([values], dtype=float), AT, shape)
    return float(where[0]), float(stands_out[0])


def test_places_are_those_found_by_hand() -> None:
    assert place([0, 1, 3, 9, 4, 2, 1], "peak") == (3.0, 8.0)  # above 1, not 0
    assert place([5, 4, 1, 2, 3, 3, 4], "dip") == (2.0, 3.0)
    assert place([0, 5, 5, 5, 0, 0, 0], "peak") == (2.0, 5.0)  # the middle of the plateau
    for shape in ("peak", "dip"):
        assert math.isnan(place([0, 1, 2, 3, 4, 5, 6], shape)[0])
        assert math.isnan(place([1, 1, 1, 1, 1, 1, 1], shape)[0])
    # From 0 to 4: 2 is passed half way from depth 3 to 4; the wiggle before does not count.
    assert place([0, 1, 0, 1, 3, 4, 3], "rise") == (3.5, 4.0)
    assert place([0, 3, 0, 1, 3, 4, 3], "rise") == (3.5, 4.0)  # the last passing
    assert math.isnan(place([6, 5, 4, 3, 2, 1, 0], "rise")[0])
    assert place([6, 6, 6, 6, 0, 0, 1], "step") == (3.5, 6.0)
    assert place([0, 0, 1, 6, 6, 5, 5], "step") == place([0, 0, 1, 6, 6, 5, 5], "rise")


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [(-3.0, "before"), (0.0, "at the same depth"), (3.0, "after"), (None, "none")],
)
def test_planted_landmarks_are_in_their_order(apart: float | None, verdict: str) -> None:
    """Whichever landmark, and never in a wrong order; noise may leave some unsettled."""
    said: dict[str, list[str]] = {}
    for seed in range(6):
        found = planted_curves(apart, n_words=20, width="sharp", noise=0.1, seed=seed)
        for name, one in found.items():
            said.setdefault(name, []).append(one.verdict)
    for name, verdicts in said.items():
        assert verdicts.count(verdict) >= 4, (name, verdicts)
        assert {*verdicts} <= {verdict, "not settled", "none"}, (name, verdicts)


def test_halves_stray_as_the_clustered_means_do() -> None:
    """Words in two roles and templates: the spread of draws beside that of `mean_interval`."""
    rng = np.random.default_rng(0)
    word, other, template = (rng.integers(0, k, 240) for k in (24, 24, 16))
    values = (
        rng.normal(size=(24, 3))[word]
        + 0.8 * rng.normal(size=(16, 3))[template]
        + rng.normal(size=(240, 3))
    )
    units = (
        Grouping(name="word", values=tuple(map(str, word)), other=tuple(map(str, other))),
        Grouping(name="template", values=tuple(map(str, template))),
    )
    drawn = drawn_curves(
        lambda sets: {"x": means_in(values, sets)}, 240, units=units, n_halves=2000, seed=0
    )
    mean, low, high = stats.mean_interval(values, units=units)
    assert drawn.curves["x"] == pytest.approx(mean)
    ours = np.subtract(*np.percentile(drawn.strayed["x"], [97.5, 2.5], axis=0))
    assert ours / (high - low) == pytest.approx(np.ones(3), abs=0.35)
    # Too few words: no draws at all.
    few = (Grouping(name="word", values=tuple(map(str, word % 4))),)
    none = drawn_curves(
        lambda sets: {"x": means_in(values, sets)}, 240, units=few, n_halves=50, seed=0
    )
    assert none.strayed["x"].shape == (0, 3)
    # Of two roles the one with too few values is taken as it is.
    one_role = (replace(few[0], other=tuple(map(str, other))),)
    some = drawn_curves(
        lambda sets: {"x": means_in(values, sets)}, 240, units=one_role, n_halves=50, seed=0
    )
    assert some.strayed["x"].shape == (50, 3)


def test_aligned_shares_are_those_of_all_pairs_of_states() -> None:
    rng = np.random.default_rng(1)
    states = torch.tensor(rng.normal(size=(9, 6)), dtype=torch.float32)
    basis = torch.linalg.qr(torch.tensor(rng.normal(size=(6, 6))))[0]
    some = np.array([0, 2, 3, 7])
    space = ReadSpace(basis=basis[:, :2], centred=False)
    x = (states / states.norm(dim=1, keepdim=True)).double()
    gaps = torch.stack([x[i] - x[j] for i in some for j in some])
    expected = float((gaps @ basis[:, :2]).square().sum() / gaps.square().sum())
    found = shares_read(states, space, [some, np.arange(9)])
    assert found[0] == pytest.approx(expected)
    whole = shares_read(states, ReadSpace(basis=basis, centred=False), [some])
    assert whole[0] == pytest.approx(1.0)
    assert np.isnan(shares_read(states[:1].expand(4, -1), space, [np.arange(4)])[0])


def test_the_directions_read_most_are_those_of_a_singular_value_decomposition(
    tiny_llama: DepthModel,
) -> None:
    found = read_space(tiny_llama, 0.5)
    assert found is not None
    matrix, _ = tiny_llama.unembedding()
    weight = tiny_llama.model.ln_final.w if hasattr(tiny_llama.model.ln_final, "w") else None
    rows = matrix.detach().double() * (1.0 if weight is None else weight.detach().double())
    _, singular, right = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    carried = (singular**2).cumsum(0) / (singular**2).sum()
    assert carried[found.dim - 1] >= 0.5 > carried[found.dim - 2]
    # The same space: every direction of one lies in the other.
    inside = (found.basis.T @ right[: found.dim].T).square().sum()
    assert float(inside) == pytest.approx(found.dim, rel=1e-4)


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Landmarks:
    """A model in which one block moves the answer to the end, where the readout reads it."""
    folder = tmp_path_factory.mktemp("switch")
    model = load_model(planted.switch(folder / "m", n_layers=8, layer=4, noise=0.2))
    kinds = [(a, a + 6) for a in range(6)] + [(a + 6, a) for a in range(6)]
    path = planted.prompt_file(folder / "p.csv", kinds, list(range(12)), planted.WORDINGS)
    return find_landmarks(model, load_task(path, model), n_halves=100)


def test_where_one_block_moves_and_is_read_readability_is_at_the_switch(
    switched: Landmarks, tmp_path: Path
) -> None:
    one = switched.of("readability")
    assert switched.crossing.between == (4.0, 5.0)
    assert one.verdict == "at the same depth"
    assert one.depth == pytest.approx(4.5, abs=0.1)
    told = analysis("landmarks")
    said = " ".join(told.sentences(switched))
    assert "Readability half risen: at the same depth" in said
    json.dumps(told.summary(switched), allow_nan=False)
    switched.save(tmp_path / "l.safetensors")
    again = load(tmp_path / "l.safetensors")
    assert told.sentences(again) == told.sentences(switched)
    frame = switched.to_frame().set_index("landmark")
    assert frame.difference["readability"] == pytest.approx(one.depth - switched.crossing.depth)
    drawn: Any = switched.plot_order()
    assert list(drawn.data[0].x) == pytest.approx(frame.difference.tolist(), nan_ok=True)
    curves: Any = switched.plot()
    assert {"lens contrast"} <= {trace.name for trace in curves.data}
    with pytest.raises(ValueError, match="there is no landmark 'x'"):
        switched.of("x")


def test_landmarks_without_a_switch_or_units_are_in_no_order(trained: DepthModel) -> None:
    curve, at = np.array([0, 0, 0, 1.0, 1, 1]), np.arange(6.0)
    strayed = 0.01 * np.random.default_rng(0).normal(size=(100, 6))
    nowhere = np.full(100, np.nan)
    alone = put_in_order(
        "x", "rise", curve, strayed, at, switch=np.nan, switch_draws=nowhere, no_switch="why"
    )
    assert (alone.verdict, alone.reason, alone.depth) == ("no switch", "why", 2.5)
    few = put_in_order(
        "x", "rise", curve, strayed[:0], at, switch=2.0, switch_draws=nowhere[:0], no_switch="few"
    )
    assert (few.verdict, few.difference) == ("too few", 0.5)
    assert math.isnan(few.difference_low)
    wide = put_in_order(
        "x", "rise", curve, strayed, at, switch=1.6, switch_draws=np.linspace(0, 3.2, 100)
    )
    assert wide.verdict == "not settled"
    six = find_landmarks(trained, load_task("months", trained, n=6), n_halves=20)
    assert {one.verdict for one in six.landmarks} <= {"too few", "none"}
    assert six.of("readability").reason == "6 pairs; halves are drawn from 8 on"
    wrong: list[dict[str, Any]] = [{"carried": 0.0}, {"n_halves": 3}, {"sample": 2}]
    for options in wrong:
        with pytest.raises(ValueError, match="find_landmarks"):
            find_landmarks(trained, load_task("months", trained, n=6), **options)


def run(model: str, task: str, place: float, switch: float) -> Run:
    return Run(
        model=model, task=task, landmark="turn", verdict="not settled", place=place,
        switch=switch, difference=0.0, low=0.0, high=0.0,
    )  # fmt: skip


def test_what_is_left_over_is_free_of_each_model_s_own_depth() -> None:
    runs = [
        *(run("a", t, x, y) for t, x, y in (("s", 0.1, 0.5), ("t", 0.3, 0.7))),
        *(run("b", t, x, y) for t, x, y in (("s", 0.7, 0.1), ("t", 0.9, 0.2), ("u", 0.8, 0.3))),
        run("c", "s", 0.5, 0.5),  # of one task alone: nothing is left
    ]
    found, asked = left_over(runs, "tasks")
    assert found == pytest.approx(np.array([[-0.1, 0.1, 0.0], [-0.1, 0.05, 0.1]]))
    assert asked == [("a", "b"), ("a", "b"), ("b",)]


def several(switched: Landmarks, places: list[float], switches: list[float]) -> list[Landmarks]:
    """The same results on other tasks, with planted places."""
    made = []
    for i, (at, switch) in enumerate(zip(places, switches, strict=True)):
        one = replace(switched.of("turn"), verdict="after", depth=at, difference=at - switch)
        made.append(
            replace(
                switched,
                provenance=replace(switched.provenance, task=f"task {i}"),
                landmarks=(one,),
                crossing=replace(switched.crossing, depth=switch),
            )
        )
    return made


def test_landmarks_go_with_the_switch_over_tasks_or_do_not(switched: Landmarks) -> None:
    switches = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    along = compare_landmarks(several(switched, [x - 1 for x in switches], switches))
    one = along.of("turn", "tasks")
    # All orders of six: only the same and its reverse are as strong.
    assert (one.verdict, one.n, one.p) == ("follows the switch", 6, pytest.approx(2 / 720))
    assert along.of("turn", "models").verdict == "too few"
    assert along.counts("turn") == {"after": 6}
    against = compare_landmarks(several(switched, switches[::-1], switches))
    assert against.of("turn", "tasks").verdict == "runs against it"
    mixed = [4.0, 2.0, 5.0, 1.0, 6.0, 3.0]
    chance = compare_landmarks(several(switched, mixed, switches)).of("turn", "tasks")
    rho = distributions.spearmanr(mixed, switches).statistic
    exact = np.mean(
        [
            abs(distributions.spearmanr(order, switches).statistic) >= abs(rho) - 1e-12
            for order in permutations(mixed)
        ]
    )
    assert (chance.rho, chance.p) == (pytest.approx(rho), pytest.approx(exact))
    assert chance.verdict == "not told"
    assert "cannot be told from chance" in " ".join(
        across_told.sentences(compare_landmarks(several(switched, mixed, switches)))
    )
    few = compare_landmarks(several(switched, mixed[:4], switches[:4]))
    assert few.of("turn", "tasks").verdict == "too few"
    assert "too few (4 that have places in the same models" in " ".join(across_told.sentences(few))
    # Two of them on another model too: only tasks of the same models change places, in 24 ways.
    other = replace(switched.provenance.model, name="other")
    more = [
        replace(one, provenance=replace(one.provenance, model=other))
        for one in several(switched, mixed, switches)[:2]
    ]
    parted = compare_landmarks([*several(switched, mixed, switches), *more])
    assert (parted.of("turn", "tasks").verdict, parted.of("turn", "tasks").n) == ("too few", 6)
    with pytest.raises(ValueError, match="is there twice"):
        compare_landmarks([switched, switched])
    with pytest.raises(ValueError, match="no landmarks to compare"):
        compare_landmarks([])


def test_definitions_are_held_against_the_crossing_of_the_same_pairs() -> None:
    """Pairs that switch at depths of their own: each place strays, their difference hardly."""
    generator = torch.Generator().manual_seed(0)
    own = 6 + 2 * torch.randn(40, generator=generator)
    later = (torch.arange(13)[None] > own[:, None]).float()
    read = (torch.arange(13)[None] > own[:, None] + 2).float()
    read[:, -1] = 1.0
    crossing = find_crossing(1 - later, later, n_resamples=400)
    lens = find_transition(read[:, :-1], n_resamples=400)
    found = {
        "lens": lens,
        "settled": find_commitment(read),
        "patching": crossing,
        "others": find_transition(read[:30, :-1], n_resamples=400),
        "flat": find_transition(torch.full((40, 13), 1.0), n_resamples=19),
        "turn": Landmark(
            name="turn", verdict="before", reason="", depth=2.0, low=1.0, high=3.0,
            stands_out=1.0, share=1.0, p_flat=0.01, difference=-4.0, difference_low=-5.0,
            difference_high=-3.0,
        ),
    }  # fmt: skip
    rows = {row["definition"]: row for row in compare_definitions(found).to_dict("records")}
    one = rows["lens"]
    assert one["difference"] == pytest.approx(lens.location - crossing.depth)
    assert one["order"] == "after"
    assert one["difference_high"] - one["difference_low"] < (lens.location_high - one["low"]) * 0.8
    assert rows["settled"]["order"] == "after"
    assert rows["patching"]["order"] == ""
    assert (rows["others"]["order"], rows["flat"]["order"]) == ("not paired", "none")
    assert math.isnan(rows["others"]["difference_low"])
    assert (rows["turn"]["kind"], rows["turn"]["order"]) == ("landmark", "before")
    alone = compare_definitions({"lens": lens}).to_dict("records")[0]
    assert alone["order"] == "no switch"
    with pytest.raises(ValueError, match="against must name a crossing"):
        compare_definitions(found, against="lens")
