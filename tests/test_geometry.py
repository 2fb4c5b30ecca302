"""Geometry against clouds with known answers and against scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from lensdepth import DepthModel, geometry_profile, load_task
from lensdepth.geometry import GeometryProfile, _pairwise_ranks, effective_rank, mantel


@pytest.fixture(scope="module")
def profile(trained: DepthModel) -> GeometryProfile:
    return geometry_profile(trained, load_task("capitals", trained, n=20), n_resamples=100)


def test_effective_rank_of_known_clouds() -> None:
    generator = torch.Generator().manual_seed(0)
    ball = torch.randn(4000, 8, generator=generator)
    assert effective_rank(ball) == pytest.approx(8, rel=0.02)
    line = torch.randn(50, 1, generator=generator) * torch.randn(1, 8, generator=generator) + 3
    assert effective_rank(line) == pytest.approx(1, abs=1e-4)
    theta = torch.arange(12) * 2 * math.pi / 12
    circle = torch.stack([theta.cos(), theta.sin(), torch.zeros(12)], dim=1)
    assert effective_rank(circle) == pytest.approx(2, abs=1e-6)
    assert math.isnan(effective_rank(torch.full((5, 3), 0.1)))


def test_effective_rank_interval_covers_the_truth_of_a_ball() -> None:
    from lensdepth.geometry import _rank_interval

    generator = torch.Generator().manual_seed(1)
    big = effective_rank(torch.randn(20000, 5, generator=generator) * torch.arange(1, 6))
    low, high = _rank_interval(
        torch.randn(300, 5, generator=generator) * torch.arange(1, 6), n_resamples=200, seed=0
    )
    assert low < big < high


def random_distances(seed: int, n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(seed).normal(size=(n, 4))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    noise = np.random.default_rng(seed + 1).normal(size=(n, n))
    return distance, distance + 0.7 * np.abs(noise + noise.T)


def test_mantel_rho_is_scipys_spearman_over_pairs() -> None:
    a, b = random_distances(0)
    i, j = np.triu_indices(len(a), 1)
    rho, low, high, p = mantel(_pairwise_ranks(a), _pairwise_ranks(b), n_resamples=200)
    assert rho == pytest.approx(spearmanr(a[i, j].round(6), b[i, j].round(6)).statistic, abs=1e-9)
    assert low < rho < high
    assert p == pytest.approx(1 / 201)


def test_mantel_p_is_uniform_when_nothing_is_related() -> None:
    p_values = []
    for seed in range(100):
        a, _ = random_distances(seed, n=15)
        b, _ = random_distances(seed + 5000, n=15)
        p_values.append(mantel(_pairwise_ranks(a), _pairwise_ranks(b), n_resamples=99)[3])
    assert np.mean(np.array(p_values) <= 0.05) < 0.12
    assert 0.4 < np.mean(p_values) < 0.6


def test_a_constant_matrix_has_no_correlation() -> None:
    a, _ = random_distances(0)
    rho, *_, p = mantel(_pairwise_ranks(a), _pairwise_ranks(np.ones_like(a)))
    assert math.isnan(rho)
    assert p == 1.0


def test_norms_and_steps_are_those_of_the_residual_stream(trained: DepthModel) -> None:
    prompts = ["The capital of France is", "The opposite of hot is", "If it is May now, in"]
    profile = geometry_profile(trained, prompts, n_resamples=20)
    resid = trained.residual_stream(prompts).resid[:, :, 0]
    torch.testing.assert_close(profile.norm, resid.norm(dim=-1))
    cosine = torch.cosine_similarity(resid[:-1], resid[1:], dim=-1)
    torch.testing.assert_close(profile.step_angle.cos(), cosine, atol=1e-5, rtol=0)
    by_hand = torch.cosine_similarity(resid[2, 0], resid[2, 1:], dim=-1).mean()
    assert profile.cosine[2, 0].item() == pytest.approx(by_hand.item(), abs=1e-5)


def test_angles_follow_predictions_at_depth_l_of_a_model_that_reads_angles(
    profile: GeometryProfile,
) -> None:
    """Depth 0 is the same token everywhere: no angle, no correlation, no rank."""
    assert profile.angle_js[0].isnan()
    assert profile.effective_rank[0].isnan()
    assert profile.angle_js_p[0] == 1
    assert profile.angle_js[-1] > 0.3
    assert profile.angle_js_p[-1] < 0.05


def test_frame_save_and_load(profile: GeometryProfile, tmp_path) -> None:
    frame = profile.to_frame()
    assert set(frame.measure) == {
        "norm", "step_angle", "cosine", "standardized_cosine", "effective_rank", "angle_js",
        "norm_js",
    }  # fmt: skip
    assert frame[frame.measure == "step_angle"].depth.tolist() == [1, 2, 3]
    profile.save(tmp_path / "g.safetensors")
    assert GeometryProfile.load(tmp_path / "g.safetensors").to_frame().equals(frame)
    assert profile.plot().data


def test_what_is_not_a_cloud_is_refused(trained: DepthModel) -> None:
    prompts = ["The capital of France is"] * 4
    with pytest.raises(ValueError, match="at least 3 prompts, got 2"):
        geometry_profile(trained, prompts[:2])
    with pytest.raises(ValueError, match="attention sink"):
        geometry_profile(trained, prompts, positions=[0, 1, 1, 1])
    with pytest.raises(ValueError, match="one position a prompt is needed, got 6"):
        geometry_profile(trained, prompts, positions="all")
