"""Sets of depths: planted redundant and other models, exhaustive search, and what was held out."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lensdepth import (
    DepthChoice,
    DepthModel,
    Task,
    choose_depths,
    compare_local_global,
    load_model,
    load_task,
    patch_windows,
    shapley_depths,
)
from lensdepth.analyses import analysis
from lensdepth.locality.choice import _greedy, _judged, _Sets
from lensdepth.locality.choice_profile import METHODS
from lensdepth.provenance import Backend
from lensdepth.sweep.apart import deal_fits, kept_apart
from lensdepth.teaching import planted
from lensdepth.units import Grouping

FIRST = [(a, a + planted.N) for a in range(planted.N)]
"""The clean input of the first kind, the corrupted of the second."""
ANSWERS = [*range(planted.N), *[planted.N] * planted.N]
DIFFERENT = [(a, (a + 1 + a % 3) % 12) for a in range(12)]


def backup_task(folder: Path, model: DepthModel) -> Task:
    path = planted.prompt_file(folder / "p.csv", FIRST, ANSWERS, planted.WORDINGS)
    return load_task(path, model, keep="correct")


def said(choice: DepthChoice) -> str:
    return " ".join(analysis("choice").sentences(choice))


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=24)


def test_four_blocks_that_do_the_same_work_are_found_redundant(
    tmp_path: Path, backend: Backend
) -> None:
    layers = [1, 2, 3, 4]
    model = load_model(planted.backup(tmp_path / "b", n_layers=6, layers=layers), backend=backend)
    task = backup_task(tmp_path, model)
    assert task.n_wrong == 0
    choice = choose_depths(model, task, stream="attn_out")
    assert choice.group.tolist() == layers
    assert choice.redundancy() == "redundant"
    assert choice.alone[:, [0, 5]].abs().max() < 1e-3
    shares = choice.alone[:, layers].mean(0) / choice.group_whole.mean()
    lost = 1 - choice.group_without.mean(0) / choice.group_whole.mean()
    assert (shares > 0.8).all()
    assert (lost < 0.05).all()
    assert "Blocks 1, 2, 3 and 4 are redundant: each alone moves at least" in said(choice)
    torch.testing.assert_close(choice.group_whole, choice.whole, atol=1e-3, rtol=1e-3)


def test_greedy_choice_takes_the_other_block_and_not_a_second_of_four_alike(
    tmp_path: Path, backend: Backend
) -> None:
    """You targeted one of four redundant layers: the strongest two alone are two of these."""
    folder = planted.backup(tmp_path / "b", n_layers=6, layers=[1, 2, 3, 4], other=5)
    model = load_model(folder, backend=backend)
    choice = choose_depths(model, backup_task(tmp_path, model), stream="attn_out", n_sites=2)
    greedy, _, single = (set(row) for row in choice.chosen.tolist())
    assert 5 in greedy
    assert len(greedy & {1, 2, 3, 4}) == 1
    assert single <= {1, 2, 3, 4}
    lead = choice.lead("single")
    assert lead.low > 0
    assert choice.verdict() == "more"
    assert choice.group.tolist() == [1, 2, 3, 4]
    assert choice.redundancy() == "redundant"
    assert "against which the greedy ones lead by" in said(choice)


@pytest.mark.parametrize("layer", [1, 3])
def test_where_one_block_does_it_more_are_no_more(
    tmp_path: Path, backend: Backend, layer: int
) -> None:
    model = load_model(planted.switch(tmp_path / "s", n_layers=5, layer=layer), backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)), planted.WORDINGS)
    choice = choose_depths(model, load_task(path, model, keep="correct"), stream="attn_out")
    assert (choice.chosen[:, 0] == layer).all()
    assert (choice.fits[:, :, 0] == layer).all()
    assert choice.verdict() == "no more"
    assert choice.redundancy() == "none"
    assert "one does as much" in said(choice)
    assert "No two blocks each do half" in said(choice)


def test_parts_that_add_up_are_more_together_and_not_redundant(
    tmp_path: Path, backend: Backend
) -> None:
    model = load_model(planted.gradual(tmp_path / "g", n_layers=5, layers=[1, 3]), backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", DIFFERENT, list(range(12)), planted.WORDINGS)
    choice = choose_depths(
        model, load_task(path, model, keep="correct"), stream="attn_out", n_sites=2
    )
    assert all(set(row) == {1, 3} for row in choice.chosen.tolist())
    assert choice.verdict() == "more"
    assert choice.redundancy() in ("not redundant", "none")
    torch.testing.assert_close(choice.held_out[:, 1], choice.whole.expand(3, -1))


def test_single_depths_the_whole_and_shapley_are_those_of_their_own_analyses(
    trained: DepthModel, months: Task
) -> None:
    for mode in ("denoise", "noise"):
        choice = choose_depths(trained, months, stream="mlp_out", mode=mode)
        compared = compare_local_global(trained, months, stream="mlp_out", mode=mode)
        sign = (compared.source_value - compared.base_value).sign()
        torch.testing.assert_close(choice.alone, compared.local * sign[:, None])
        torch.testing.assert_close(choice.whole, compared.whole * sign)
        torch.testing.assert_close(choice.without, compared.without * sign[:, None])
        shares = shapley_depths(trained, months, stream="mlp_out", mode=mode).values
        order = (shares * sign[:, None]).double().mean(0).argsort(descending=True)
        assert choice.chosen[1].tolist() == order.tolist()


def test_the_first_step_is_the_best_and_each_step_the_best_beside_those_before(
    trained: DepthModel, months: Task
) -> None:
    """Held against every set of two, by windows and by hand."""
    choice = choose_depths(trained, months, stream="attn_out", n_sites=2, n_folds=3, seed=4)
    windows = patch_windows(trained, months, stream="attn_out")
    sign = (windows.source_values[0] - windows.base_values[0]).sign()
    from lensdepth.patching.line import depth_line
    from lensdepth.sweep.options import Options

    line = depth_line(
        trained, months, Options(caller=""), stream="attn_out", depths=None,
        position="prediction", edit="full",
    )  # fmt: skip
    sets = list(itertools.combinations(range(trained.n_layers), 2))
    effects = dict(zip(sets, line.measure(sets, description="").change() * sign, strict=True))
    fits = deal_fits(kept_apart(months, "prompts", caller=""), n_folds=3, seed=4, caller="")
    for fit, train in enumerate(fits.train):
        mine = (fits.of_pair == fit).nonzero()[:, 0].tolist()
        first = int((windows.local * sign[:, None])[train].double().mean(0).argmax())
        beside = {s: float(e[train].double().mean()) for s, e in effects.items() if first in s}
        best = max(beside, key=lambda s: beside[s])
        found = choice.fits[fit, 0].tolist()
        assert found[0] == first
        assert set(found) == set(best)
        torch.testing.assert_close(
            choice.held_out[0, 1, mine], effects[best][mine], atol=1e-4, rtol=1e-4
        )


def test_what_was_chosen_on_noise_is_optimistic() -> None:
    """Effects that are noise, drawn anew for each set: the best of many seems good, and is not."""
    n, n_pairs, seen = 8, 60, []
    every = [s for size in (1, 2) for s in itertools.combinations(range(n), size)]
    units = (Grouping(name="prompt", values=tuple(map(str, range(n_pairs)))),)
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        known = {s: torch.randn(n_pairs, generator=draw, dtype=torch.float32) for s in every}
        sets = object.__new__(_Sets)  # of no model: everything is known
        sets.known = known
        fits = deal_fits(units, n_folds=5, seed=seed, caller="")
        masks = torch.cat([fits.train, torch.ones(1, n_pairs, dtype=torch.bool)])
        orders = torch.tensor(_greedy(sets, masks, n, 2))[:, None]
        judged = (orders[fits.of_pair], orders[-1:].expand(n_pairs, -1, -1))
        seen.append([float(_judged(sets, mine)[0, 1].mean()) for mine in judged])
    held_out, in_sample = torch.tensor(seen).mean(0)
    assert in_sample > 0.1
    assert held_out < in_sample / 3


def test_the_last_state_is_no_candidate_unless_it_is_named(
    trained: DepthModel, months: Task
) -> None:
    last = trained.n_layers
    assert choose_depths(trained, months).depths.tolist() == list(range(last))
    named = choose_depths(trained, months, depths=[1, last], n_sites=1)
    assert named.depths.tolist() == [1, last]
    assert (named.chosen == last).all()
    assert "by construction" in said(named)
    assert named.provenance.settings["depths"] == [1, last]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_sites": 0}, "n_sites must lie between 1 and the 3 candidates, got 0"),
        ({"n_sites": 9}, "n_sites must lie between 1 and the 3 candidates, got 9"),
        ({"apart": "moon"}, "apart must be one of prompts, units"),
        ({"n_permutations": 5}, "choose_depths: n_permutations must be even"),
        ({"n_folds": 1}, "n_folds must be at least 2"),
    ],
)
def test_bad_options_are_refused_before_any_pass(
    trained: DepthModel, months: Task, options: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a pass was made")

    monkeypatch.setattr("lensdepth.passes.Passes.forward", run)
    with pytest.raises(ValueError, match=says):
        choose_depths(trained, months, stream="mlp_out", **options)


def test_it_is_asked_by_name_and_told_in_json(trained: DepthModel, months: Task) -> None:
    choice = choose_depths(trained, months, stream="mlp_out", n_sites=2)
    assert torch.equal(choice.of(method="shapley", size=2), choice.held_out[1, 1])
    with pytest.raises(ValueError, match="method 'best' was not there"):
        choice.of(method="best")
    told = analysis("choice")
    summary = json.loads(json.dumps(told.summary(choice), allow_nan=False))
    assert summary["chosen"]["greedy"] == [
        block + 1 for block in summary["chosen_layers"]["greedy"]
    ]
    assert summary["effects"]["greedy"][1]["value"] == pytest.approx(
        float(choice.held_out[0, 1].mean())
    )
    frame = choice.to_frame()
    assert frame.method.unique().tolist() == list(METHODS)
    few = choose_depths(trained, months.select([0, 1, 2, 3]), stream="mlp_out", n_folds=2)
    assert few.verdict() == "too few"
    assert "so few units give no interval" in said(few)
