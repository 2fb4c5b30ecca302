"""Exchange within subspaces: identities, a slow way by hand, planted dimensions both ways."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lensdepth import SubspaceProfile, load_model, load_task, patch_sweep, polar, subspace_sweep
from lensdepth.analyses import analysis
from lensdepth.cli import main
from lensdepth.model import DepthModel
from lensdepth.provenance import Backend
from lensdepth.site import depth_hook
from lensdepth.subspaces import learned
from lensdepth.subspaces.bases import leading, random_basis
from lensdepth.subspaces.parts import NAMES, with_controls
from lensdepth.sweep.apart import deal_fits, kept_apart
from lensdepth.tasks import Task
from lensdepth.teaching import planted
from lensdepth.units import Grouping

KINDS = [(a, a + 6) for a in range(6)] + [(a + 6, a) for a in range(6)]
ALL = list(range(12))


@pytest.fixture(scope="module")
def months(trained: DepthModel) -> Task:
    return load_task("months", trained, n=24)


def planted_task(folder: Path, model: DepthModel, pairs: Any, outputs: list[int]) -> Task:
    path = planted.prompt_file(folder / "p.csv", pairs, outputs, planted.WORDINGS)
    return load_task(path, model, keep="correct")


@pytest.mark.parametrize("position", ["prediction", "input"])
def test_all_dimensions_are_a_plain_patch_and_none_is_the_base_run(
    trained: DepthModel, months: Task, position: Any
) -> None:
    d_model = trained.d_model
    found = subspace_sweep(trained, months, positions=(position,), dims=[0, 1, d_model])
    patch = patch_sweep(trained, months, positions=(position,), controls=())
    whole = patch.of("logit_diff", position=position)
    for basis in ("full", *found.bases):
        of = found.of("logit_diff", basis=basis, dim=d_model, position=position)
        torch.testing.assert_close(of, whole, atol=1e-4, rtol=1e-4)
        if basis != "full":
            assert (found.moved(basis, dim=0) == 0).all()
    assert found.self_patch_error < 1e-4
    # Somewhere between, part of it is moved: the two ends are not all that there is.
    between = found.moved("pca", dim=1).mean(0)
    assert ((between > 0.05) & (between < 0.95)).any()


def test_each_pair_has_what_plain_hooks_give_with_a_basis_of_the_others(
    tiny_gpt2: DepthModel, tmp_path: Path
) -> None:
    months = load_task("months", tiny_gpt2, n=20)
    depth, k, seed = 2, 3, 5
    found = subspace_sweep(
        tiny_gpt2, months, depths=[depth], dims=[k], bases=("pca",), n_folds=3, seed=seed
    )
    fits = deal_fits(kept_apart(months, "prompts", caller=""), n_folds=3, seed=seed, caller="")
    assert months.corrupted is not None
    at = depth_hook(depth, tiny_gpt2.n_layers)
    clean, corrupted = (
        tiny_gpt2.activations(list(prompts), [at])[0, :, 0].double().numpy()
        for prompts in (months.clean, months.corrupted)
    )
    texts = list(zip(months.clean, months.corrupted, strict=True))
    by_hand = torch.full((len(months),), torch.nan, dtype=torch.float32)
    for fit in range(len(fits)):
        mine = (fits.of_pair == fit).nonzero()[:, 0].tolist()
        train = fits.train[fit].nonzero()[:, 0].tolist()
        assert train
        assert not {x for i in mine for x in texts[i]} & {x for i in train for x in texts[i]}
        rows = np.linalg.svd((clean - corrupted)[train], full_matrices=False)[2][:k]
        edit = polar.swap_within(torch.tensor(rows.T, dtype=torch.float32))
        patch = patch_sweep(
            tiny_gpt2, months.select(mine), depths=[depth], positions=("prediction",), edit=edit,
            controls=(), engine="hooks",
        )  # fmt: skip
        by_hand[mine] = patch.of("logit_diff", position="prediction")[:, 0]
    ours = found.of("logit_diff", basis="pca", dim=k, position="prediction")[:, 0]
    torch.testing.assert_close(ours, by_hand, atol=1e-4, rtol=1e-3)
    assert (found.moved("pca").abs() > 1e-3).any()


def test_one_planted_dimension_is_found_to_be_enough(tmp_path: Path, backend: Backend) -> None:
    """Between its blocks the gate's answer is how long the state is along one direction."""
    model = load_model(
        planted.gate(tmp_path / "gate", n_layers=6, stretch=1, weigh=4), backend=backend
    )
    task = planted_task(tmp_path, model, KINDS, [0] * 6 + [1] * 6)
    found = subspace_sweep(model, task, dims=[1, 2, 4], control_pairs="all")
    rows = found.dimensions("pca").set_index("depth")
    assert rows.verdict[:2].tolist() == ["no effect"] * 2
    assert rows.verdict[2:6].tolist() == ["reached"] * 4
    assert (rows.k[2:6] == 1).all()
    assert (rows.k_high[2:6] == 1).all()
    torch.testing.assert_close(found.moved("pca", dim=1)[:, 2:6], found.moved()[:, 2:6])
    assert found.rank[0, 2:6, 0].tolist() == [1] * 4
    assert found.moved("random", dim=1)[:, 2:6].mean() < 0.2


def test_planted_answers_of_their_own_need_as_many_dimensions(
    tmp_path: Path, backend: Backend
) -> None:
    """Six pairs of inputs, whose differences lie in six orthogonal directions."""
    model = load_model(planted.switch(tmp_path / "s", n_layers=4, layer=1), backend=backend)
    task = planted_task(tmp_path, model, KINDS, ALL)
    found = subspace_sweep(model, task, dims=[1, 3, 5, 6], control_pairs="all")
    for basis in found.bases:
        rows = found.dimensions(basis).set_index("depth")
        assert rows.verdict[:2].tolist() == ["no effect"] * 2
        assert rows.verdict[2:4].tolist() == ["reached"] * 2
        assert (rows.k[2:4] == 6).all()
        torch.testing.assert_close(
            found.moved(basis, dim=6)[:, 2:], found.moved()[:, 2:], atol=1e-4, rtol=1e-4
        )
        # The pair's own direction is the one that its fit has seen least often.
        assert found.moved(basis, dim=3)[:, 2:4].mean() < 0.6
    assert found.rank[:, 2:, 0].tolist() == [[6] * 3] * 2
    assert found.moved("random", dim=1)[:, 2:].mean() < 0.1
    assert found.moved("unembedding_shuffled", dim=1)[:, 2:].mean() < 0.3
    # A basis that has never seen the words has nothing of their directions.
    unseen = subspace_sweep(
        model, task, dims=[6], bases=("pca",), apart="input", control_pairs="all"
    )
    rows = unseen.dimensions("pca").set_index("depth")
    assert unseen.moved("pca")[:, 2:].abs().max() < 1e-3
    assert rows.verdict[2:4].tolist() == ["not reached"] * 2
    said = " ".join(analysis("subspaces").sentences(unseen))
    assert "no measured dimension does 90% of what the whole state does; 6 dimensions do 0%" in said
    assert "share no input value with those" in said


def test_a_deaf_model_has_nothing_to_divide(tmp_path: Path, backend: Backend) -> None:
    model = load_model(planted.deaf(tmp_path / "deaf", n_layers=3), backend=backend)
    path = planted.prompt_file(tmp_path / "p.csv", KINDS, ALL, planted.WORDINGS)
    found = subspace_sweep(model, load_task(path, model), dims=[1, 4])
    assert set(found.dimensions("pca").verdict) == {"no effect"}
    assert "there is nothing to divide" in analysis("subspaces").sentences(found)[0]


def test_a_learned_dimension_is_found_and_arbitrary_answers_are_not(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "STEPS", 40)
    model = load_model(
        planted.gate(tmp_path / "gate", n_layers=6, stretch=1, weigh=4), backend=backend
    )
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    task = planted_task(tmp_path, model, KINDS, [0] * 6 + [1] * 6)
    found = subspace_sweep(
        model, task, depths=[0, 3], dims=[1, 32], bases=("das",), n_folds=2, control_pairs="all"
    )
    assert found.moved("das", dim=1)[:, 1].min() > 0.9
    # Of two answers the arbitrary one is the base's own: the subspace leads away, if anywhere.
    assert found.moved("das_shuffled", dim=1)[:, 1].max() < 0.1
    assert found.moved("das", dim=1)[:, 0].abs().max() == 0  # depth 0 is alike in both prompts
    row = found.dimensions("das").iloc[1]
    assert (row.verdict, row.k, row.labels_matter) == ("reached", 1, True)
    assert found.loss is not None
    assert found.loss[0, 0, 1, 0] < found.loss[0, 0, 0, 0]
    assert found.loss[:, 1].isnan().all()
    for name, weight in model.model.named_parameters():
        assert weight.grad is None
        assert torch.equal(weight, before[name])


def test_arbitrary_answers_are_others_and_the_same_for_equal_ones(
    trained: DepthModel, months: Task
) -> None:
    from lensdepth.sweep.roles import assign_roles

    roles = assign_roles(months, "denoise", positions=(), caller="")
    made_up = learned.arbitrary(roles, seed=0)
    assert (made_up != roles.target).all()
    pairs = set(zip(roles.target.tolist(), made_up.tolist(), strict=True))
    assert len(pairs) == len(roles.target.unique()) == len(made_up.unique())


def test_an_untrained_twin_stands_beside_it(trained: DepthModel) -> None:
    task = load_task("months", trained, n=40)
    found = subspace_sweep(trained, task, depths=[2], dims=[1, 2], bases=("pca",), twin=True)
    assert found.twin is not None, found.twin_note
    assert found.twin.shape == (len(found.outcome.coords["basis"]), 2, 1, 1)
    assert found.twin.isfinite().all()
    assert "In an untrained twin, on its own answers" in " ".join(
        analysis("subspaces").sentences(found)
    )


def test_transformer_lens_interchanges_alike(tmp_path: Path, load_tiny: Any) -> None:
    theirs = pytest.importorskip("transformer_lens.tools.analysis.interchange")
    model: DepthModel = load_tiny("llama", "bridge")
    basis = random_basis(model.d_model, 3, seed=1)
    prompts = ["Two months from January is", "Two months from May is"]
    hook, tokens = depth_hook(2, model.n_layers), model.tokenize(prompts)
    source = model.activations(prompts[::-1], [hook])[0, :, 0]

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        return model.model(tokens)[:, -1]

    with torch.no_grad():
        given = theirs.run_with_intervention(
            model.model, hook, theirs.SubspaceInterchange(basis), tokens.tokens, source, logits,
            positions=tokens.last,
        )  # fmt: skip
    from lensdepth.hooks import SiteEdit

    edit = SiteEdit(hook=hook, positions=tokens.last, edit=polar.swap_within(basis), source=source)
    ours = next(model.run_edits(tokens, [[edit]]))[:, 0]
    torch.testing.assert_close(ours, given, atol=1e-4, rtol=1e-4)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=12, max_size=30),
    st.lists(st.integers(0, 5), min_size=30, max_size=30),
    st.integers(2, 5),
    st.booleans(),
)
def test_no_pair_is_judged_by_what_shares_a_value_with_it(
    words: list[tuple[int, int]], templates: list[int], n_folds: int, two: bool
) -> None:
    roles = [tuple(str(pair[i]) for pair in words) for i in (0, 1)]
    units = (Grouping(name="word", values=roles[0], other=roles[1]),)
    if two:
        units += (Grouping(name="form", values=tuple(map(str, templates[: len(words)]))),)
    try:
        fits = deal_fits(units, n_folds=n_folds, seed=0, caller="here")
    except ValueError as error:
        assert "others apart from it, and 2 are needed" in str(error)  # noqa: PT017
        return
    for pair, fit in enumerate(fits.of_pair.tolist()):
        for other in fits.train[fit].nonzero()[:, 0].tolist():
            assert not {*words[pair]} & {*words[other]}
            assert not two or templates[pair] != templates[other]


def test_values_that_stand_in_one_pair_go_into_one_fold_where_they_can() -> None:
    names = [f"w{i}" for i in range(8)]
    apart = Grouping(name="word", values=tuple(names[::2]) * 3, other=tuple(names[1::2]) * 3)
    fits = deal_fits((apart,), n_folds=4, seed=0, caller="")
    assert len(fits) == 4
    assert (fits.train.sum(1) == 9).all()


def test_leading_directions_are_ordered_and_as_many_as_there_are() -> None:
    flat = torch.zeros(6, 5)
    assert leading(flat).shape == (5, 0)
    flat[:, 1], flat[0, 3] = 2.0, 1.0
    found = leading(flat)
    assert found.shape == (5, 2)
    torch.testing.assert_close(found.T @ found, torch.eye(2), atol=1e-6, rtol=0)
    assert found[1, 0].abs() > 0.99
    wide, narrow = random_basis(9, 5, seed=3), random_basis(9, 2, seed=3)
    torch.testing.assert_close(wide[:, :2], narrow, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dims": [1, 999]}, "dims must be different whole numbers between 0 and"),
        ({"dims": []}, "dims must be different"),
        ({"dims": [2, 2]}, "dims must be different"),
        ({"bases": ()}, "bases must be some of pca, unembedding, das"),
        ({"positions": ()}, "positions must be some of input, prediction"),
        ({"apart": "moon"}, "apart must be one of prompts, units, .*got 'moon'"),
        ({"n_folds": 1}, "n_folds must be at least 2"),
        ({"depths": [99]}, "depths must lie between 0 and"),
    ],
)
def test_bad_options_are_refused_before_any_pass(
    trained: DepthModel, months: Task, options: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a pass was made")

    monkeypatch.setattr("lensdepth.passes.Passes.forward", run)
    with pytest.raises(ValueError, match=says):
        subspace_sweep(trained, months, **options)


def test_every_label_has_a_name_and_the_summary_is_json(trained: DepthModel, months: Task) -> None:
    labels = with_controls(("pca", "unembedding", "das"), shuffled=True)
    assert set(labels) == set(NAMES)
    found = subspace_sweep(trained, months, depths=[1, 2], dims=[1, 2])
    assert isinstance(found, SubspaceProfile)
    told = analysis("subspaces")
    summary = json.loads(json.dumps(told.summary(found), allow_nan=False))
    assert summary["needed"]["pca"]["k"] == [
        None if k != k else k for k in found.dimensions("pca").k
    ]
    table = told.table(found)
    assert table is not None
    assert list(table.frame["full"]) == pytest.approx(found.moved().mean(0).tolist(), abs=1e-6)
    few = subspace_sweep(trained, months.select([0, 1, 2, 3]), depths=[2], dims=[1], n_folds=2)
    assert set(few.dimensions("pca").verdict) == {"too few"}
    assert "so few units give no interval" in told.sentences(few)[0]


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["subspaces", "--basis", "moon"]) == 2
    assert "--basis must be one of pca, unembedding, das, got 'moon'" in capsys.readouterr().err
    assert main(["subspaces", "--depth", "2", "--depths", "all"]) == 2
    assert "give --depth or --depths, not both" in capsys.readouterr().err
