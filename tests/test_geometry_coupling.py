"""Coupling of distances: against scipy, against slow sums, and on states whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr, spearmanr

from lensdepth import DepthModel, load_task, metrics
from lensdepth.geometry.context import context_distances, label_distance
from lensdepth.geometry.coupling import PARTIAL, PairTable, couple, coupling_names
from lensdepth.geometry.exchange import exchanged, exchanges
from lensdepth.geometry.halves import draw_halves
from lensdepth.geometry.pairs import (
    distribution_distances,
    pair_index,
    pairs_of,
    state_distances,
    u_centred,
    unit,
    upper,
)
from lensdepth.units import Grouping

pytestmark = pytest.mark.long

Array = np.ndarray


def random_distances(seed: int, n: int = 30) -> Array:
    points = np.random.default_rng(seed).normal(size=(n, 3))
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def states(seed: int, n: int = 30, d: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, n, d)))


def table(x: torch.Tensor, target: Array, **options: int) -> pd.DataFrame:
    given = {"n_permutations": 99, "seed": 0, "n_resamples": 50} | options
    halves = draw_halves(x.shape[1], given["n_resamples"], 0)
    found = couple(
        x, {"t": target}, halves, n_permutations=given["n_permutations"], seed=given["seed"]
    )
    columns = {end: getattr(found, end)[:, 0, 0] for end in ("value", "low", "high", "p")}
    return pd.DataFrame(columns, index=coupling_names("t"))


def slow_partial(a: Array, b: Array, held: Array) -> float:
    """Correlation of what two rank vectors keep once a line through the third is taken off."""
    design = np.column_stack([held, np.ones_like(held)])
    rest = [y - design @ np.linalg.lstsq(design, y, rcond=None)[0] for y in (a, b)]
    return float(pearsonr(rest[0], rest[1]).statistic)


def slow_dcor(a: Array, b: Array) -> float:
    """Bias-corrected distance correlation, entry by entry."""
    n = len(a)

    def centred(x: Array) -> Array:
        out = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    out[i, j] = (
                        x[i, j] - x[i].sum() / (n - 2) - x[:, j].sum() / (n - 2)
                        + x.sum() / ((n - 1) * (n - 2))
                    )  # fmt: skip
        return out

    a, b = centred(a), centred(b)
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def test_correlations_are_those_of_scipy_and_of_slow_sums() -> None:
    x, target = states(0), random_distances(7)
    found = table(x, target).value
    angle, norm, distance = state_distances(x[0])
    i, j = np.triu_indices(30, 1)
    for name, of in (("angle_t", angle), ("norm_t", norm), ("distance_t", distance)):
        assert found[name] == pytest.approx(spearmanr(of[i, j], target[i, j]).statistic, abs=1e-9)
        assert found[f"{name}_dcor"] == pytest.approx(slow_dcor(of, target), abs=1e-9)
    ranks = [pd.Series(y[i, j]).rank().to_numpy() for y in (angle, norm, target)]
    assert found["angle_t_given_norm"] == pytest.approx(
        slow_partial(ranks[0], ranks[2], ranks[1]), abs=1e-9
    )
    assert found["norm_t_given_angle"] == pytest.approx(
        slow_partial(ranks[1], ranks[2], ranks[0]), abs=1e-9
    )


def test_without_each_prompt_is_among_the_others() -> None:
    x = torch.cat([states(1, n=9), states(2, n=9)])
    among = PairTable(
        np.stack([state_distances(one) for one in x]),
        np.stack([random_distances(3, n=9), random_distances(4, n=9)]),
    )
    left = among.without_each()
    for prompt in range(9):
        others = np.delete(np.arange(9), prompt)
        np.testing.assert_allclose(left[..., prompt], among.among(others)[:5], atol=1e-9)
    same = PairTable(np.zeros((1, 3, 5, 5)), random_distances(5, n=5)[None])
    assert np.isnan(same.without_each()).all()


def test_whole_units_change_places() -> None:
    words = Grouping(name="word", values=tuple("aaabbccccc"))
    rng = np.random.default_rng(0)
    for order in exchanged(words, rng, 20):
        taken = np.array(words.values)[order]
        for word, size in (("a", 3), ("b", 2), ("c", 5)):
            mine = np.array(words.values) == word
            theirs = set(taken[mine])
            assert len(theirs) == 1
            there = np.bincount(order[mine], minlength=10)[np.array(words.values) == theirs.pop()]
            assert there.max() - there.min() <= 1
            assert there.sum() == size
    alone = Grouping(name="prompt", values=tuple("abcdef"))
    orders = exchanged(alone, rng, 600)
    assert (np.sort(orders) == np.arange(6)).all()
    assert (abs(orders.mean(0) - 2.5) < 0.3).all(), "each one's place is any of them"


def test_which_word_it_is_is_asked_of_prompts_that_differ_in_the_word() -> None:
    """Words that change places as a whole would leave the distance as it is."""
    word, template = np.repeat(np.arange(6), 5), np.tile(np.arange(5), 6)
    units = tuple(
        Grouping(name=name, values=tuple(map(str, values)))
        for name, values in (("word", word), ("template", template))
    )
    differ = (word[:, None] != word[None]).astype(float)
    assert [one.name for one in exchanges(units, differ)] == ["template"]
    assert [one.name for one in exchanges(units[:1], differ)] == ["prompt"]
    steps = np.abs(word[:, None] - word[None]).astype(float)
    assert [one.name for one in exchanges(units, steps)] == ["prompt", "word", "template"]
    x = torch.from_numpy(np.eye(6)[word] + 0.3 * np.random.default_rng(0).normal(size=(30, 6)))
    found = couple(
        x[None], {"t": differ}, draw_halves(30, 2, 0), units={"t": units}, n_permutations=99, seed=0
    )
    assert found.p[0, 0, 0] == pytest.approx(0.01)


def test_words_that_lie_apart_in_both_are_no_coupling() -> None:
    """States and predictions have effects of the word, which have nothing to do with each other."""
    alarms = {"prompts": 0, "words": 0}
    n_sets = 60
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        word = rng.integers(7, size=30)
        x, y = (rng.normal(size=(7, 3))[word] + 0.5 * rng.normal(size=(30, 3)) for _ in range(2))
        target = np.linalg.norm(y[:, None] - y[None], axis=-1)
        words = (Grouping(name="word", values=tuple(map(str, word))),)
        for name, units in (("prompts", ()), ("words", words)):
            found = couple(
                torch.from_numpy(x)[None], {"t": target}, draw_halves(30, 1, 0),
                units={"t": units}, n_permutations=59, seed=seed,
            )  # fmt: skip
            alarms[name] += found.p[0, 0, 0] <= 0.05
    assert alarms["prompts"] / n_sets > 0.5
    assert alarms["words"] / n_sets <= 0.1


def test_p_is_that_of_a_slow_mantel_test() -> None:
    x = states(3, n=12)
    target = random_distances(4, n=12) + state_distances(x[0])[0]
    found = table(x, target, n_permutations=200)
    angle = state_distances(x[0])[0]
    i, j = np.triu_indices(12, 1)
    alone = Grouping(name="prompt", values=tuple(map(str, range(12))))
    null, null_dcor = [], []
    for order in exchanged(alone, np.random.default_rng(0), 200):
        moved = target[np.ix_(order, order)]
        null.append(abs(spearmanr(angle[i, j], moved[i, j]).statistic))
        null_dcor.append(slow_dcor(angle, moved))
    value = found.value
    expected = (1 + (np.array(null) >= abs(value["angle_t"]) - 1e-12).sum()) / 201
    assert found.p["angle_t"] == pytest.approx(expected)
    expected = (1 + (np.array(null_dcor) >= value["angle_t_dcor"] - 1e-12).sum()) / 201
    assert found.p["angle_t_dcor"] == pytest.approx(expected)


def test_p_is_uniform_when_nothing_is_related() -> None:
    p = pd.concat(
        [
            table(states(seed, n=15), random_distances(seed + 500, n=15), n_resamples=1).p
            for seed in range(60)
        ],
        axis=1,
    ).dropna()
    assert len(p) == len(coupling_names("t")) - len(PARTIAL)
    assert ((p <= 0.05).mean(axis=1) < 0.17).all()
    assert (abs(p.mean(axis=1) - 0.5) < 0.13).all()


def test_the_part_that_matters_is_told_from_the_other() -> None:
    """The target is the angle, and the norm leans on the angle to a fixed direction."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(60, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    norm = np.exp(u[:, :1] + 0.2 * rng.normal(size=(60, 1)))
    x = torch.from_numpy(u * norm)[None]
    found = table(x, state_distances(x[0])[0])
    assert found.value["angle_t"] == pytest.approx(1)
    assert found.value["angle_t_given_norm"] == pytest.approx(1)
    assert found.value["norm_t"] > 0.2
    assert found.p["norm_t"] < 0.05
    noisy = table(x, state_distances(x[0])[0] + 0.3 * random_distances(1, n=60))
    assert noisy.value["angle_t_given_norm"] > 0.5
    assert abs(noisy.value["norm_t_given_angle"]) < 0.25
    assert noisy.low["angle_t"] < noisy.value["angle_t"] < noisy.high["angle_t"]


def test_where_the_norm_leans_on_the_direction_the_interval_tells() -> None:
    """The target depends on the norm alone; permuting would call the angle's part found."""
    hits = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        u = rng.normal(size=(50, 3))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        norm = 5 + u[:, :1] + 0.5 * rng.normal(size=(50, 1))
        y = norm[:, 0] + 0.3 * rng.normal(size=50)
        target = np.abs(y[:, None] - y[None])
        found = table(torch.from_numpy(u * norm)[None], target, n_permutations=1)
        assert math.isnan(found.p["angle_t_given_norm"])
        assert found.low["norm_t_given_angle"] > 0.3
        hits.append(found.low["angle_t_given_norm"] <= 0 <= found.high["angle_t_given_norm"])
    assert np.mean(hits) > 0.85


def test_what_is_constant_has_no_correlation() -> None:
    x = states(0, n=10)
    same = table(torch.ones(1, 10, 3), random_distances(0, 10))
    for given in (table(x, np.zeros((10, 10))), same):
        assert given.value.isna().all()
        assert given.low.isna().all()
        assert (given.p.dropna() == 1).all()
    along = torch.from_numpy(np.random.default_rng(0).uniform(1, 2, size=(1, 10, 1)) * np.ones(3))
    found = table(along, random_distances(0, 10)).value
    assert math.isnan(found["angle_t"])
    assert math.isnan(found["norm_t_given_angle"])
    assert not math.isnan(found["norm_t"])


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Truth: the coupling in a sample of 1500; intervals: from 40 prompts."""

    def draw(seed: int, n: int) -> tuple[torch.Tensor, Array]:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 3))
        y = x[:, 0] + 0.8 * rng.normal(size=n)
        return torch.from_numpy(x)[None], np.abs(y[:, None] - y[None])

    names = ["distance_t", "distance_t_dcor"]
    truth = table(*draw(999, 1000), n_permutations=1, n_resamples=1).value[names]
    hits = pd.DataFrame(
        [
            (found.low <= truth) & (truth <= found.high)
            for seed in range(40)
            for found in [table(*draw(seed, 40), n_permutations=1, n_resamples=100).loc[names]]
        ]
    )
    assert (hits.mean() > 0.85).all()


# ---------------------------------------------------------------- distances


def test_angles_on_a_circle_are_known() -> None:
    theta = np.arange(8) * 2 * np.pi / 8
    norms = np.arange(1, 9)
    x = torch.from_numpy(norms[:, None] * np.column_stack([np.cos(theta), np.sin(theta)]))
    angle, norm, distance = state_distances(x)
    gap = np.abs(theta[:, None] - theta[None])
    np.testing.assert_allclose(angle, np.minimum(gap, 2 * np.pi - gap), atol=1e-6)
    np.testing.assert_allclose(norm * 8, np.abs(np.subtract.outer(norms, norms)), atol=1e-5)
    assert distance[0, 4] * 8 == pytest.approx(6, abs=1e-5)


def test_the_zero_state_is_at_a_right_angle() -> None:
    angle, *_ = state_distances(torch.tensor([[0.0, 0], [1, 0], [-1, 0]]))
    assert angle[0, 1] == angle[0, 2] == pytest.approx(math.pi / 2, abs=1e-6)
    assert angle[1, 2] == pytest.approx(math.pi, abs=1e-6)


def test_distances_of_distributions_are_scipys_and_ours() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 40)) * 4).float()
    logits[3] = logits[2]
    found = distribution_distances(logits)
    p = logits.double().softmax(-1).numpy()
    for i in range(5):
        for j in range(5):
            assert found["js"][i, j] == pytest.approx(jensenshannon(p[i], p[j]) ** 2, abs=2e-6)
            hellinger = np.linalg.norm(np.sqrt(p[i]) - np.sqrt(p[j])) / math.sqrt(2)
            assert found["hellinger"][i, j] == pytest.approx(hellinger, abs=2e-6)
    ours = metrics.js_divergence(logits[0], logits[1])
    assert found["js"][0, 1] == pytest.approx(ours.item(), abs=2e-6)


def test_pairs_find_their_places() -> None:
    square = random_distances(0, n=6)
    row = upper(square)
    order = np.array([4, 0, 5, 2])
    np.testing.assert_array_equal(
        row[pairs_of(pair_index(6), order)], upper(square[np.ix_(order, order)])
    )


def test_u_centring_leaves_every_prompt_at_nothing() -> None:
    square = np.zeros((7, 7))
    square[np.triu_indices(7, 1)] = u_centred(random_distances(0, n=7))
    np.testing.assert_allclose((square + square.T).sum(0), 0, atol=1e-12)
    assert not u_centred(random_distances(0, n=3)).any()
    assert np.isnan(unit(np.zeros(4))).all()


# ---------------------------------------------------------------- contexts


def test_labels_are_classes_or_numbers() -> None:
    assert label_distance(pd.Series(["a", "b", "a"])).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert label_distance(pd.Series([1, 4])).tolist() == [[0, 3], [3, 0]]
    assert label_distance(pd.Series([True, False])).tolist() == [[0, 1], [1, 0]]


def test_contexts_are_what_varies_and_is_known(trained: DepthModel) -> None:
    task = load_task("months", trained, n=30)
    found = context_distances(trained.token_text, task, task.clean_tokens, np.arange(30))
    assert list(found) == ["alpha", "beta", "gamma"], "the input token parts prompts as alpha does"
    beta = task.labels["beta"].to_numpy()
    np.testing.assert_array_equal(found["beta"], np.abs(beta[:, None] - beta[None]))
    prompts = trained.tokenize(["The capital of France is", "The sky is", "If it is May now, in"])
    lengths = context_distances(trained.token_text, None, prompts, np.arange(3))
    assert list(lengths) == ["context_length"]


def test_names_stand_for_what_was_measured() -> None:
    names = coupling_names("js")
    assert names[: PARTIAL.start] == ["angle_js", "norm_js", "distance_js"]
    assert [names[i] for i in PARTIAL] == ["angle_js_given_norm", "norm_js_given_angle"]
    assert all(name.endswith("_dcor") for name in names[PARTIAL.stop :])
