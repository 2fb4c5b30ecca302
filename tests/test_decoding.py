"""Readers against planted labels and scikit-learn, their null, and the whole on a small model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from lensdepth import DepthModel, Task, load_task, polar, stats
from lensdepth.ablation import decoding
from lensdepth.ablation.decoding import DecodingProfile, decode_parts
from lensdepth.ablation.probes import (
    PENALTY,
    Decoded,
    Kind,
    assign_folds,
    decode,
    fit_folds,
    permuted,
    predict_classes,
    predict_numbers,
)
from lensdepth.ablation.quantities import choose_reads, usable
from lensdepth.residual import ResidualStream
from lensdepth.tasks import build_task
from lensdepth.tasks.rows import Row


def decode_features(
    features: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    n_permutations: int = 99,
    seed: int = 0,
) -> Decoded:
    groups = np.arange(len(values)) if groups is None else groups
    classes = values.dtype.kind == "i"
    kind: Kind = "class" if classes else "number"
    return decode(
        fit_folds(features, assign_folds(groups, 5, seed)),
        permuted(values, groups, n_permutations, seed),
        groups,
        kind=kind,
        n_classes=int(values.max()) + 1 if classes else 0,
        n_resamples=200,
        seed=seed,
    )


def in_parts(states: np.ndarray) -> dict[str, np.ndarray]:
    x = torch.from_numpy(states)
    return {
        "norm": polar.norm(x)[:, None].numpy(),
        "direction": polar.direction(x).numpy(),
        "state": states,
    }


@pytest.mark.parametrize("n_features", [1, 6, 200])
def test_predictions_are_scikit_learns_on_the_same_folds(n_features: int) -> None:
    """Below and above the number of samples."""
    rng = np.random.default_rng(n_features)
    features = rng.normal(3, 2, size=(60, n_features)) * rng.uniform(0.1, 9, size=n_features)
    y = features[:, 0] + rng.normal(size=60)
    classes = np.digitize(y, np.quantile(y, [0.25, 0.6]))
    folds = assign_folds(np.arange(60) // 2, 5)
    split = PredefinedSplit(folds)
    shrink = FunctionTransformer(lambda x: x / np.sqrt(n_features))
    ridge = make_pipeline(StandardScaler(), shrink, Ridge(alpha=PENALTY))
    fits = fit_folds(features, folds)
    numbers, mean = predict_numbers(fits, np.stack([y, y[::-1]]))
    for row, target in zip(numbers, (y, y[::-1]), strict=True):
        np.testing.assert_allclose(row, cross_val_predict(ridge, features, target, cv=split))
    np.testing.assert_allclose(mean[0, folds == 2], y[folds != 2].mean())
    found = predict_classes(fits, np.stack([classes, classes[::-1]]), 3)
    for row, target in zip(found, (classes, classes[::-1]), strict=True):
        for train, test in split.split():
            ridge.fit(features[train], np.eye(3)[target[train]])
            nearest = NearestCentroid().fit(ridge.predict(features[train]), target[train])
            assert (nearest.predict(ridge.predict(features[test])) == row[test]).all()
    decoded = decode_features(features, classes, np.arange(60) // 2)
    assert decoded.score == pytest.approx(balanced_accuracy_score(classes, found[0]))


def test_norm_and_direction_each_tell_what_was_planted_in_them() -> None:
    rng = np.random.default_rng(0)
    in_norm, in_direction = rng.integers(0, 5, 150), rng.integers(0, 3, 150)
    direction = np.eye(16)[in_direction] + 0.15 * rng.normal(size=(150, 16))
    length = 1 + in_norm + 0.1 * rng.normal(size=150)
    states = direction / np.linalg.norm(direction, axis=1, keepdims=True) * length[:, None]
    parts = in_parts(states)
    # Five classes on a line: the largest fitted target would only ever name the outer ones.
    assert decode_features(parts["norm"], in_norm).score > 0.95
    assert decode_features(parts["direction"], in_norm).score < 0.4
    assert decode_features(parts["direction"], in_direction).score == 1
    assert decode_features(parts["norm"], in_direction).score < 0.5
    assert decode_features(parts["state"], in_direction).score == 1
    assert decode_features(parts["norm"], length).score > 0.999
    assert decode_features(parts["direction"], length).score < 0.2
    strong = decode_features(parts["norm"], in_norm)
    assert strong.p == pytest.approx(1 / 100)
    assert strong.null.mean() == pytest.approx(0.2, abs=0.03)
    low, high = stats.percentile_interval(strong.resampled)
    assert low <= strong.score <= high


@pytest.mark.parametrize("kind", ["class", "number"])
def test_p_is_small_as_often_as_it_says_when_nothing_is_related(kind: Kind) -> None:
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = rng.integers(0, 2, 30) if kind == "class" else rng.normal(size=30)
        features = rng.normal(size=(30, 4))
        p.append(decode_features(features, values, n_permutations=39, seed=seed).p)
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.095
    assert 0.44 < np.mean(p) < 0.58


def test_a_prompt_that_comes_twice_is_not_recognised() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 4)
    features = rng.normal(size=(40, 100))[groups]
    values = rng.integers(0, 2, 40)[groups]
    grouped = decode_features(features, values, groups)
    alone = decode_features(features, values)
    assert alone.score == 1
    assert grouped.score < 0.7
    assert grouped.p > 0.05


def test_folds_keep_groups_whole_and_are_of_one_size() -> None:
    groups = np.array([7, 7, 1, 1, 1, 4, 9, 9, 2, 3, 7])
    folds = assign_folds(groups, 3, seed=5)
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    assert sorted(np.bincount([folds[groups == g][0] for g in sorted(set(groups))])) == [2, 2, 2]


def test_what_is_constant_in_a_group_moves_with_it_and_what_varies_stays_inside() -> None:
    groups = np.array([0, 0, 2, 2, 2, 1, 5])
    constant = np.array([3, 3, 1, 1, 1, 1, 2])
    rows = permuted(constant, groups, 50)
    assert (rows[0] == constant).all()
    assert (rows[:, 0] == rows[:, 1]).all()
    assert (rows[:, 2] == rows[:, 3]).all()
    assert all(sorted(row[[0, 2, 5, 6]]) == [1, 1, 2, 3] for row in rows)
    assert len({tuple(row) for row in rows}) > 5
    varying = np.array([1.0, 2, 3, 4, 5, 6, 7])
    rows = permuted(varying, groups, 50)
    assert all(set(row[:2]) == {1, 2} and set(row[2:5]) == {3, 4, 5} for row in rows)
    assert (rows[:, 5:] == [6, 7]).all()
    assert len({tuple(row) for row in rows}) > 5


@pytest.mark.parametrize("kind", ["class", "number"])
def test_equal_states_tell_nothing(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 3, 40) if kind == "class" else rng.normal(size=40)
    noise = 1 + 1e-8 * rng.normal(size=(40, 5))
    for features in (np.full((40, 5), 0.1), 0.1 * noise, np.zeros((40, 1))):
        decoded = decode_features(features, values)
        assert decoded.score == pytest.approx(1 / 3 if kind == "class" else 0, abs=1e-12)
        assert decoded.p == 1


def test_a_null_gone_through_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, values = rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
    whole = decode_features(features, values)
    monkeypatch.setattr("lensdepth.ablation.probes.LARGEST_ARRAY", 700)
    parts = decode_features(features, values)
    np.testing.assert_array_equal(parts.null, whole.null)
    np.testing.assert_array_equal(parts.resampled, whole.resampled)


def test_classes_and_numbers_are_told_apart_and_what_is_useless_is_left_out() -> None:
    n = 40
    frame = {
        "word": pd.Series(["a", "b"] * 18 + ["c"] * 4),
        "twin": pd.Series([1, 0] * 18 + [7] * 4),
        "few": pd.Series(np.arange(n) % 6),
        "thin": pd.Series(np.arange(n) % 11),
        "many": pd.Series(np.arange(n) % 13),
        "flag": pd.Series(np.arange(n) < 20),
        "holes": pd.Series([None, "x", "y", "x"] * 10),
        "rare": pd.Series([f"{i // 4}" for i in range(n)]),
        "constant": pd.Series(["a"] * n),
        "flat": pd.Series(np.full(n, 0.3)).where(pd.Series(range(n)) > 3),
        "sparse": pd.Series(np.where(np.arange(n) < 9, np.arange(n), np.nan) * 1.5),
        "corrupted_word": pd.Series(["a", "b"] * 20),
        "context_length": pd.Series(np.arange(n) % 2 + 5),
        "position": pd.Series(np.arange(n) % 2 + 4),
    }
    found, skipped = usable(frame, np.arange(n), 5)
    by_name = {quantity.name: quantity for quantity in found}
    assert {name: (q.kind, q.n_classes, int(q.used.sum())) for name, q in by_name.items()} == {
        "word": ("class", 2, 36),
        "few": ("class", 6, 40),
        "thin": ("number", 0, 40),
        "many": ("number", 0, 40),
        "flag": ("class", 2, 40),
        "holes": ("class", 2, 30),
        "context_length": ("number", 0, 40),
    }
    assert skipped["twin"] == "says the same as word"
    assert skipped["position"] == "says the same as context_length"
    assert skipped["rare"].startswith("0 of 10 classes stand in 5 prompts or more")
    assert skipped["constant"] == "constant"
    assert skipped["sparse"] == "known for 9 prompts; 5 folds need 10"
    assert skipped["corrupted_word"].startswith("describes the corrupted prompt")
    assert skipped["flat"] == "constant (0.3)"
    # Prompts count, not states: of "a" and "b" there is now one each.
    assert "word" in usable({"word": frame["word"]}, np.arange(n) % 2, 5)[1]


def test_a_state_that_prompts_share_is_read_once(trained: DepthModel) -> None:
    texts = ["The capital of France is", "The capital of Spain is", "The capital of France is"]
    task = build_task([Row(clean=t, input=t.split()[3]) for t in texts], trained, name="t")
    assert choose_reads(task, "prediction", 9, 0).prompt.tolist() == [0, 1]
    assert choose_reads(task, "input", 9, 0).position.tolist() == [4, 4]
    every = choose_reads(task, "all", 99, 0)
    # <bos> The capital of France is: the second prompt shares all before its own country.
    assert every.prompt.tolist() == [0] * 5 + [1] * 2
    assert every.position.tolist() == [1, 2, 3, 4, 5, 4, 5]
    some = choose_reads(task, "all", 3, 0)
    assert len(some.prompt) == 3
    assert {*zip(some.prompt, some.position, strict=True)} <= {
        *zip(every.prompt, every.position, strict=True)
    }


@pytest.fixture(scope="module")
def task(trained: DepthModel) -> Task:
    return load_task("ioi", trained, n=60)


@pytest.fixture(scope="module")
def profile(trained: DepthModel, task: Task) -> DecodingProfile:
    return decode_parts(trained, task, depths=[0, 2, 3], n_permutations=19)


def test_a_small_model_is_decoded(profile: DecodingProfile, task: Task) -> None:
    assert profile.depths.tolist() == [0, 2, 3]
    assert {"template", "order", "place", "context_length", "entropy"} <= {*profile.labels}
    assert profile.skipped["position"] == "says the same as context_length"
    kinds = dict(zip(profile.labels, profile.kinds, strict=True))
    assert kinds["template"] == "class"
    assert kinds["target_log_prob"] == "number"
    assert profile.of("context_length", "state", profile.score)[1] > 0.8
    assert profile.of("template", "direction", profile.score)[1] > 0.7
    assert profile.n_samples[profile.labels.index("template")] == len(task)
    assert (profile.low <= profile.score + 1e-6).all()
    assert (profile.score <= profile.high + 1e-6).all()
    for values in (profile.score, profile.low, profile.high, profile.null_mean, profile.null_high):
        assert values.isfinite().all()


def test_at_depth_0_the_last_token_is_everywhere_the_same(
    trained: DepthModel, capitals: Task
) -> None:
    profile = decode_parts(trained, capitals, depths=[0, 3], n_permutations=9)
    assert profile.labels == ("entropy", "target_log_prob")
    assert (profile.score[:, :, 0].abs() < 1e-6).all()
    assert (profile.p[:, :, 0] == 1).all()
    centred = decode_parts(
        trained, capitals, depths=[0, 3], n_permutations=9, coordinates="centred"
    )
    assert (centred.p[:, :, 0] == 1).all()
    assert (centred.score[:, 0, 1] != profile.score[:, 0, 1]).all()


def test_what_is_planted_in_a_models_states_is_found(
    trained: DepthModel, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norms tell the template at depth 2 alone, whatever the model made of it."""
    template = pd.factorize(task.labels["template"])[0]
    plain = DepthModel.residual_stream

    def planted(self: DepthModel, *args, **kwargs) -> ResidualStream:
        stream = plain(self, *args, **kwargs)
        resid = stream.resid.clone()
        noise = torch.randn(resid.shape[1:], generator=torch.Generator().manual_seed(0))
        length = torch.from_numpy(template + 1.0).float()[:, None, None]
        resid[1] = polar.direction(noise)
        resid[2] = polar.direction(noise) * length
        return replace(stream, resid=resid)

    monkeypatch.setattr(DepthModel, "residual_stream", planted)
    profile = decode_parts(trained, task, labels=["template"], depths=[1, 2], n_permutations=19)
    assert profile.of("template", "norm", profile.score).tolist() == [0.25, 1]
    assert profile.of("template", "direction", profile.score)[1] < 0.5
    assert profile.difference[0, 1] > 0.5
    assert profile.difference_low[0, 1] > 0.3
    assert profile.difference_low[0, 1] <= profile.difference[0, 1] <= profile.difference_high[0, 1]
    assert profile.p[0, 0].tolist() == pytest.approx([1, 0.05])


def test_every_position_and_plain_prompts(trained: DepthModel, task: Task) -> None:
    everywhere = decode_parts(
        trained, task, position="all", depths=[0], n_permutations=9, max_samples=150,
        labels=["position", "template"],
    )  # fmt: skip
    assert everywhere.n_samples == (150, 150)
    assert everywhere.labels == ("position", "template")
    graded = decode_parts(trained, load_task("graded", trained, n=40), depths=[3], n_permutations=9)
    assert {"template", "top_log_prob", "context_length"} <= {*graded.labels}
    inputs = decode_parts(
        trained, load_task("weekdays", trained, n=60), position="input", depths=[0],
        n_permutations=39, labels=["input_token"],
    )  # fmt: skip
    assert inputs.of("input_token", "state", inputs.score).item() == 1


def test_the_predictions_are_the_models_own(
    trained: DepthModel, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def spy(values, prompt, n_folds):
        seen.update(values)
        return usable(values, prompt, n_folds)

    monkeypatch.setattr(decoding, "usable", spy)
    decode_parts(trained, task, position="input", depths=[0], n_permutations=9)
    prompts = choose_reads(task, "input", 2000, 0).prompt
    log_probs = trained.logits(task.clean_tokens)[:, -1].log_softmax(-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    assert task.target_ids is not None
    target = log_probs[torch.arange(len(task)), task.target_ids]
    np.testing.assert_allclose(seen["entropy"], entropy[prompts], atol=1e-5)
    np.testing.assert_allclose(seen["target_log_prob"], target[prompts], atol=1e-5)


def test_frame_figure_save_and_load(profile: DecodingProfile, tmp_path) -> None:
    frame = profile.to_frame()
    assert len(frame) == len(profile.labels) * 3 * 3
    row = frame[(frame.label == "template") & (frame.part == "norm") & (frame.depth == 3)].iloc[0]
    assert row.score == profile.of("template", "norm", profile.score)[2].item()
    assert row.chance == 0.25
    assert row.p_holm >= row.p
    by_hand = stats.holm(profile.p[0].double().flatten().numpy())
    np.testing.assert_allclose(frame.p_holm[:9], by_hand, rtol=1e-6)
    profile.save(tmp_path / "d.safetensors")
    loaded = DecodingProfile.load(tmp_path / "d.safetensors")
    assert loaded.to_frame().equals(frame)
    assert (loaded.kinds, loaded.n_classes) == (profile.kinds, profile.n_classes)
    assert loaded.skipped == profile.skipped
    figure = profile.plot()
    roles = [trace["meta"]["role"] for trace in figure.to_dict()["data"] if "meta" in trace]
    assert roles == ["full", "direction", "norm", "control"] * len(profile.labels)
    with pytest.raises(ValueError, match=r"'position' was not decoded .*\(says the same as"):
        profile.of("position", "norm", profile.score)
    with pytest.raises(ValueError, match="'template' was not decoded from 'angle'"):
        profile.of("template", "angle", profile.score)


def test_the_same_seed_gives_the_same_numbers(
    trained: DepthModel, task: Task, profile: DecodingProfile
) -> None:
    again = decode_parts(trained, task, depths=[0, 2, 3], n_permutations=19)
    assert again.to_frame().equals(profile.to_frame())
    other = decode_parts(trained, task, depths=[0, 2, 3], n_permutations=19, seed=1)
    assert not other.to_frame().equals(profile.to_frame())


def test_the_null_is_long_enough_for_holm(trained: DepthModel, task: Task) -> None:
    n = decode_parts(trained, task, labels=["order"], depths=[3]).provenance.settings
    assert n["n_permutations"] == 200
    every = decode_parts(trained, task, labels=["template"])
    assert every.provenance.settings["n_permutations"] == 240
    assert every.p_holm.min() < 0.05


def test_what_cannot_be_decoded_is_refused_before_any_forward_pass(
    trained: DepthModel, task: Task, capitals: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_args, **_kwargs) -> None:
        raise AssertionError("a forward pass")

    monkeypatch.setattr(DepthModel, "residual_stream", never)
    plain = build_task([Row(clean=c) for c in task.clean], trained, name="plain")
    with pytest.raises(ValueError, match=r"labels must be some of template, .*entropy.* got "):
        decode_parts(trained, task, labels=["colour"])
    with pytest.raises(ValueError, match="labels must be some of"):
        decode_parts(trained, task, labels=[])
    with pytest.raises(ValueError, match=r"5 folds need at least 10 prompts .* got 9"):
        decode_parts(trained, capitals.select(slice(9)))
    with pytest.raises(ValueError, match="got 1; add prompts or lower n_folds"):
        decode_parts(trained, capitals.select([0] * 12))
    with pytest.raises(ValueError, match="n_folds must be at least 2, got 1"):
        decode_parts(trained, task, n_folds=1)
    with pytest.raises(ValueError, match="n_permutations must be at least 1, got 0"):
        decode_parts(trained, task, n_permutations=0)
    with pytest.raises(ValueError, match="max_samples must be at least 10, got 5"):
        decode_parts(trained, task, max_samples=5)
    with pytest.raises(ValueError, match="depths must lie between 0 and 3"):
        decode_parts(trained, task, depths=[4])
    with pytest.raises(ValueError, match="task 'plain' has no input position"):
        decode_parts(trained, plain, position="input")
    with pytest.raises(ValueError, match=r"nothing to decode \(country: 0 of 12 classes"):
        decode_parts(trained, capitals, labels=["country", "position"])
