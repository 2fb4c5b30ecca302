"""Clouds with known answers: dimensions, directions, likeness; and other people's code."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from scipy.stats import special_ortho_group
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from lensdepth.geometry import effective_rank, participation_ratio, two_nn
from lensdepth.geometry.anisotropy import measure_anisotropy
from lensdepth.geometry.dimension import measure_dimension
from lensdepth.geometry.halves import draw_halves, half_interval, halve_units
from lensdepth.geometry.reading import curvature, measure_states
from lensdepth.geometry.similarity import linear_cka, procrustes
from lensdepth.units import Grouping

NO_HALVES = np.zeros((0, 2), dtype=int)
seeds = st.integers(0, 2**31)


def gaussian(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def on_circle(n: int, d: int = 5, seed: int = 0) -> Tensor:
    theta = torch.rand(n, generator=torch.Generator().manual_seed(seed)) * 2 * math.pi
    return torch.cat([theta.cos()[:, None], theta.sin()[:, None], torch.zeros(n, d - 2)], dim=1)


def anisotropy(x: Tensor) -> dict[str, float]:
    wide = x.double()
    found = measure_anisotropy(x, wide.mean(0), wide.var(0, correction=0), NO_HALVES)
    return {name: values[0] for name, values in found.items()}


# ---------------------------------------------------------------- dimensions


def test_spectral_dimensions_of_known_clouds() -> None:
    for measure in (effective_rank, participation_ratio):
        assert measure(gaussian(4000, 8)) == pytest.approx(8, rel=0.02)
        line = gaussian(50, 1) * gaussian(1, 8, seed=1) + 3
        assert measure(line) == pytest.approx(1, abs=1e-4)
        theta = torch.arange(12) * 2 * math.pi / 12
        circle = torch.stack([theta.cos(), theta.sin(), torch.zeros(12)], dim=1)
        assert measure(circle) == pytest.approx(2, abs=1e-6)
        assert math.isnan(measure(torch.full((5, 3), 0.1)))
        rounded = torch.full((5, 3), 0.1) + 1e-9 * gaussian(5, 3)
        assert math.isnan(measure(rounded)), "what rounding leaves is no cloud"
    # n states from a ball in d dimensions.
    assert participation_ratio(gaussian(100, 200)) == pytest.approx(200 / 3, rel=0.1)


def test_spectrum_is_that_of_scikit_learns_pca() -> None:
    for n, d in ((40, 6), (6, 40)):
        x = gaussian(n, d) * torch.arange(1, d + 1)
        p = PCA().fit(x.double().numpy()).explained_variance_ratio_
        p = p[p > 1e-12]
        assert effective_rank(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-8)
        assert participation_ratio(x) == pytest.approx(1 / (p**2).sum(), rel=1e-8)


def test_two_nn_of_known_clouds() -> None:
    assert two_nn(on_circle(1500)) == pytest.approx(1, abs=0.08)
    assert two_nn(gaussian(1500, 1) * gaussian(1, 7, seed=1)) == pytest.approx(1, abs=0.08)
    assert two_nn(gaussian(2000, 4)) == pytest.approx(4, rel=0.1)
    flat = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) @ gaussian(2, 9, seed=1)
    assert two_nn(flat) == pytest.approx(2, rel=0.1)
    assert math.isnan(two_nn(torch.ones(6, 3)))


def test_two_nn_is_the_ratio_of_scikit_learns_neighbours() -> None:
    x = gaussian(80, 5)
    distance, _ = NearestNeighbors(n_neighbors=3).fit(x.double()).kneighbors()
    expected = (80 - 1) / np.log(distance[:, 1] / distance[:, 0]).sum()
    assert two_nn(x) == pytest.approx(expected, rel=1e-9)
    twice = torch.cat([x, x[:20]])
    assert two_nn(twice) == pytest.approx(expected, rel=1e-6), "equal states count once"


@settings(max_examples=15)
@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_dimensions_forget_rotation_scale_and_place(seed: int, scale: float) -> None:
    x = gaussian(20, 4, seed).double()
    rotation = torch.from_numpy(special_ortho_group.rvs(4, random_state=seed))
    moved = scale * (x @ rotation + 0.5)
    for measure in (effective_rank, participation_ratio, two_nn):
        assert measure(moved) == pytest.approx(measure(x), rel=1e-6)


def test_intervals_of_dimensions_cover_the_truth_of_a_ball() -> None:
    stretch = torch.arange(1, 6)
    x = gaussian(300, 5, seed=1) * stretch
    truth = gaussian(20000, 5) * stretch
    found = measure_dimension(x, draw_halves(300, 100, 0))
    for name, measure in (
        ("effective_rank", effective_rank), ("participation_ratio", participation_ratio),
    ):  # fmt: skip
        value, drawn = found[name]
        low, high = half_interval(np.array([value]), drawn[:, None])
        assert low < measure(truth) < high
    value, drawn = found["two_nn"]
    low, high = half_interval(np.array([value]), drawn[:, None])
    assert low < value < high


# ---------------------------------------------------------------- intervals


def test_halves_cover_the_truth_as_often_as_they_say() -> None:
    """The mean of products over pairs of a normal sample: its truth is the squared mean."""
    hits = 0
    for seed in range(200):
        x = np.random.default_rng(seed).normal(1.0, 1.0, 60)
        halves = draw_halves(60, 100, seed)

        def mean_product(rows: np.ndarray) -> np.ndarray:
            n = rows.shape[-1]
            return (rows.sum(-1) ** 2 - (rows**2).sum(-1)) / (n * (n - 1))

        low, high = half_interval(mean_product(x[None]), mean_product(x[halves])[:, None])
        hits += bool(low <= 1.0 <= high)
    assert 0.9 <= hits / 200 <= 0.98


@pytest.mark.parametrize(
    ("n_words", "n_templates", "by_word", "by_template"),
    [(12, 5, 1.0, 0.0), (7, 8, 1.0, 0.0), (12, 6, 1.0, 1.0), (12, 6, 0.0, 0.0)],
)
def test_halves_of_units_cover_what_halves_of_prompts_do_not(
    n_words: int, n_templates: int, by_word: float, by_template: float
) -> None:
    word = np.repeat(np.arange(n_words), n_templates)
    template = np.tile(np.arange(n_templates), n_words)
    units = [Grouping(name="word", values=tuple(map(str, word)))]
    if n_templates > 5:
        units.append(Grouping(name="template", values=tuple(map(str, template))))
    hits = np.zeros(2)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = by_word * rng.normal(size=n_words)[word] + rng.normal(size=len(word))
        x += by_template * rng.normal(size=n_templates)[template]
        for i, grouped in enumerate((tuple(units), ())):
            halves = halve_units(grouped, len(x), 60, seed)
            drawn = np.array([[x[half].mean()] for half in halves])
            low, high = half_interval(x.mean(keepdims=True), drawn, halves)
            hits[i] += bool(low[0] <= 0 <= high[0])
    assert hits[0] >= 88  # 92 %, less a standard error and a half
    assert (hits[1] < 80) == (by_word > 0)


def test_halves_of_units_keep_units_whole_and_need_five() -> None:
    values = tuple("abcdef"[i // 3] for i in range(18))
    halves = halve_units((Grouping(name="word", values=values),), 18, 20, 0)
    assert len(halves) == 20
    assert all(len(half) == 9 and (half.reshape(3, 3) // 3).std(1).max() == 0 for half in halves)
    few = (Grouping(name="word", values=tuple("abcd"[i % 4] for i in range(18))),)
    assert len(halve_units(few, 18, 20, 0)) == 0


def test_a_half_has_no_prompt_twice_and_few_prompts_have_no_half() -> None:
    halves = draw_halves(11, 30, 0)
    assert halves.shape == (30, 5)
    assert all(len(set(row)) == 5 for row in halves.tolist())
    assert draw_halves(7, 30, 0).shape == (0, 3)
    low, high = half_interval(np.array([1.0, 2.0]), np.zeros((0, 2)))
    assert np.isnan([low, high]).all()


# ---------------------------------------------------------------- directions


def test_mean_cosine_of_known_clouds() -> None:
    same = anisotropy(torch.full((6, 4), 0.3))
    assert same["cosine"] == pytest.approx(1)
    assert same["centred_cosine"] == same["standardized_cosine"] == 0
    opposite = anisotropy(torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]))
    assert opposite["cosine"] == pytest.approx(-1 / 3)
    circle = anisotropy(torch.eye(4).repeat(5, 1))
    assert circle["cosine"] == pytest.approx((4 * 5 * 4) / (20 * 19))


def test_one_rogue_coordinate_is_found_and_standardised_away() -> None:
    x = gaussian(400, 50)
    x[:, 7] = 60 + 3 * x[:, 7]
    found = anisotropy(x)
    assert found["cosine"] > 0.9
    assert found["rogue_dimensions"] == 1
    assert found["rogue_share"] > 0.95
    assert abs(found["standardized_cosine"]) < 0.02
    assert abs(found["centred_cosine"]) < 0.05
    even = anisotropy(1 + 0.01 * x[:, :7])
    assert even["rogue_dimensions"] == 4
    assert even["rogue_share"] == pytest.approx(3 / 7, abs=0.02)


def test_massive_activations_are_large_in_both_ways() -> None:
    x = torch.full((1, 4, 5), 0.1)
    x[0, 0, 0], x[0, 1, 0], x[0, 2, :] = 150, 90, 500
    assert measure_states(x)["massive"].tolist() == [[1, 0, 0, 0]]


def test_curvature_of_a_line_and_of_a_square() -> None:
    line = torch.arange(5.0)[:, None] * torch.tensor([1.0, 2.0])
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [0, 0]])
    x = torch.stack([line, square, square])[None]
    there = torch.tensor([[True] * 5, [True] * 5, [True, True, False, False, False]])
    found = curvature(x, there)[0]
    torch.testing.assert_close(found[:2], torch.tensor([0, math.pi / 2]))
    assert found[2].isnan()


# ---------------------------------------------------------------- likeness


def slow_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased HSIC by its sums, as in Song et al. 2012, equation 5."""

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        return (
            np.trace(k @ m)
            + (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
            - 2 * (ones @ k @ m @ ones) / (n - 2)
        )

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def test_cka_is_that_of_its_sums() -> None:
    x = torch.stack([gaussian(30, 6), gaussian(30, 6, 1), gaussian(30, 6) + gaussian(30, 6, 2)])
    value, low, high = linear_cka(x, draw_halves(30, 50, 0))
    for a in range(3):
        for b in range(3):
            slow = slow_cka(x[a].double().numpy() + 5, x[b].double().numpy() - 3)
            assert value[a, b] == pytest.approx(slow, abs=1e-8)
    assert low[0, 2] < value[0, 2] < high[0, 2]


def test_unrelated_clouds_have_no_cka_however_few_they_are() -> None:
    x = torch.stack([gaussian(20, 300), gaussian(20, 300, 1)])
    value, *_ = linear_cka(x, NO_HALVES)
    assert abs(value[0, 1]) < 0.1
    _, _, _, chance = procrustes(x, n_resamples=2, seed=0)
    assert chance[0, 1] > 0.5, "a rotation fits them by chance, and says so"


@settings(max_examples=5)
@given(seed=seeds, scale=st.floats(1e-2, 1e2))
def test_likeness_forgets_rotation_scale_and_place(seed: int, scale: float) -> None:
    x = gaussian(12, 4, seed)
    rotation = torch.from_numpy(special_ortho_group.rvs(4, random_state=seed)).float()
    both = torch.stack([x, scale * (x @ rotation + 1)])
    assert linear_cka(both, NO_HALVES)[0][0, 1] == pytest.approx(1, abs=1e-4)
    assert procrustes(both, n_resamples=2, seed=0)[0][0, 1] == pytest.approx(1, abs=1e-4)


def test_procrustes_is_scipys() -> None:
    for n, d in ((25, 4), (6, 9)):
        x = torch.stack([gaussian(n, d), gaussian(n, d, 1)])
        value, low, high, chance = procrustes(x, n_resamples=100, seed=0)
        *_, disparity = scipy_procrustes(x[0].double().numpy(), x[1].double().numpy())
        assert value[0, 1] == value[1, 0] == pytest.approx(1 - disparity, abs=1e-8)
        assert value[0, 0] == pytest.approx(1)
        assert low[0, 1] < value[0, 1] < high[0, 1]
        order = torch.from_numpy(np.random.default_rng(0).permutation(n))
        *_, shuffled = scipy_procrustes(x[0].double().numpy(), x[1][order].double().numpy())
        assert chance[0, 1] == pytest.approx(1 - shuffled, abs=1e-8)


def test_a_cloud_without_extent_is_like_none() -> None:
    x = torch.stack([gaussian(10, 4), torch.ones(10, 4)])
    value, *_ = linear_cka(x, draw_halves(10, 5, 0))
    share, *_ = procrustes(x, n_resamples=5, seed=0)
    for found in (value, share):
        assert found[0, 0] == pytest.approx(1)
        assert np.isnan([found[0, 1], found[1, 0], found[1, 1]]).all()
