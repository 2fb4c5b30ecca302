"""Direction and norm edits: identities, matched controls, and what each leaves alone."""

import pytest
import torch

from lensdepth import DepthModel, Task, ablation_sweep, patch_sweep
from lensdepth.ablation import AblationProfile


@pytest.fixture(scope="module")
def profile(trained: DepthModel, capitals: Task) -> AblationProfile:
    return ablation_sweep(trained, capitals)


def test_the_full_edit_is_patching(
    trained: DepthModel, capitals: Task, profile: AblationProfile
) -> None:
    patched = patch_sweep(trained, capitals, positions=("prediction",), controls=())
    torch.testing.assert_close(
        profile.logit_diff[profile.edits.index("full")],
        patched.of("logit_diff")[..., 0].T,
        atol=1e-4,
        rtol=1e-4,
    )


def test_under_a_final_norm_the_norm_cannot_matter_at_depth_l(profile: AblationProfile) -> None:
    """RMSNorm divides the norm out up to its epsilon (DESIGN: final-norm identity)."""
    assert profile.identity_depth == profile.n_layers
    norm = profile.of("norm", profile.transferred)[:, -1]
    assert norm.abs().max() < 1e-3
    direction = profile.of("direction", profile.transferred)[:, -1]
    torch.testing.assert_close(direction, torch.ones_like(direction), atol=1e-3, rtol=0)


def test_equal_states_at_depth_0_leave_every_edit_without_effect(
    profile: AblationProfile,
) -> None:
    """The prompts end in the same token, so its embedding is its own source."""
    assert profile.angle[0].abs().max() < 1e-5
    assert profile.kl[:, 0].abs().max() < 1e-5


def test_the_random_direction_is_seeded_and_does_not_depend_on_the_batch(
    trained: DepthModel, capitals: Task, profile: AblationProfile
) -> None:
    again = ablation_sweep(trained, capitals, max_memory=100_000)
    other = ablation_sweep(trained, capitals, seed=1)
    torch.testing.assert_close(again.logit_diff, profile.logit_diff, atol=1e-4, rtol=1e-4)
    i = profile.edits.index("random_direction")
    assert not torch.allclose(other.logit_diff[i], profile.logit_diff[i])


def test_one_pair_has_no_shuffled_norm(trained: DepthModel, capitals: Task) -> None:
    alone = ablation_sweep(trained, capitals.select([0]))
    assert "shuffled_norm" not in alone.edits
    with pytest.raises(ValueError, match="'shuffled_norm' was not made"):
        alone.of("shuffled_norm", alone.kl)


def test_frame_save_and_load(profile: AblationProfile, tmp_path) -> None:
    frame = profile.to_frame()
    assert len(frame) == profile.logit_diff.numel()
    row = frame[(frame.edit == "norm") & (frame.depth == 2) & (frame.pair == 4)]
    assert row["angle"].item() == profile.angle[2, 4].item()
    assert row["kl"].item() == profile.kl[profile.edits.index("norm"), 2, 4].item()
    profile.save(tmp_path / "a.safetensors")
    assert AblationProfile.load(tmp_path / "a.safetensors").to_frame().equals(frame)
    assert profile.plot().data
