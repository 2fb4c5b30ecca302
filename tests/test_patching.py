"""Identities that patching must obey exactly, whatever the weights."""

import pytest
import torch

from lensdepth import DepthModel, Task, find_crossing, load_task, patch_sweep
from lensdepth.patching import PatchProfile
from lensdepth.roles import shuffled_sources


@pytest.fixture(scope="module")
def profile(trained: DepthModel, capitals: Task) -> PatchProfile:
    return patch_sweep(trained, capitals)


def test_the_last_state_at_depth_l_gives_the_source_run(profile: PatchProfile) -> None:
    last = profile.logit_diff[profile.positions.index("prediction"), -1]
    torch.testing.assert_close(last, profile.source_logit_diff, atol=1e-4, rtol=1e-5)
    assert (profile.efficacy("prediction")[:, -1] == 1).all()


def test_the_input_state_at_depth_l_changes_nothing(profile: PatchProfile) -> None:
    at_input = profile.positions.index("input")
    torch.testing.assert_close(
        profile.logit_diff[at_input, -1], profile.base_logit_diff, atol=1e-5, rtol=0
    )
    assert profile.kl[at_input, -1].abs().max() < 1e-6


def test_the_only_differing_token_at_depth_0_gives_the_source_run(profile: PatchProfile) -> None:
    at_input = profile.positions.index("input")
    torch.testing.assert_close(
        profile.logit_diff[at_input, 0], profile.source_logit_diff, atol=1e-4, rtol=1e-5
    )
    at_prediction = profile.positions.index("prediction")
    assert profile.transferred[at_prediction, 0].abs().max() < 1e-4


def test_noising_mirrors_denoising_when_the_prompts_change_places(
    trained: DepthModel, capitals: Task, profile: PatchProfile
) -> None:
    noise = patch_sweep(trained, capitals, mode="noise")
    torch.testing.assert_close(noise.base_logit_diff, profile.source_logit_diff)
    torch.testing.assert_close(noise.source_logit_diff, profile.base_logit_diff)
    assert (noise.efficacy("prediction")[:, -1] == 1).all()


def test_a_pair_gives_the_same_numbers_alone_and_among_others(
    trained: DepthModel, capitals: Task, profile: PatchProfile
) -> None:
    alone = patch_sweep(trained, capitals.select([3]))
    torch.testing.assert_close(
        alone.logit_diff[..., 0], profile.logit_diff[..., 3], atol=1e-4, rtol=1e-4
    )
    assert alone.control_success is None


def test_ragged_pairs_are_patched_at_their_own_positions(trained: DepthModel) -> None:
    ragged = load_task("months", trained, n=10, template="all")
    assert ragged.clean_tokens.lengths.unique().numel() > 1
    profile = patch_sweep(trained, ragged)
    for i in range(3):
        alone = patch_sweep(trained, ragged.select([i]))
        torch.testing.assert_close(
            alone.logit_diff[..., 0], profile.logit_diff[..., i], atol=1e-4, rtol=1e-4
        )


def test_self_patch_is_exactly_zero(profile: PatchProfile) -> None:
    assert profile.self_patch_error == 0.0


def test_the_shuffled_source_brings_another_answer(capitals: Task) -> None:
    answers = capitals.target_ids
    assert answers is not None
    partner = shuffled_sources(answers, seed=0)
    assert sorted(partner.tolist()) == list(range(len(capitals)))
    assert (answers[partner] != answers).all()
    one_answer = torch.zeros(5, dtype=torch.long)
    assert (shuffled_sources(one_answer, seed=0) != torch.arange(5)).all()


def test_frame_save_load_and_plot(profile: PatchProfile, tmp_path) -> None:
    frame = profile.to_frame()
    assert len(frame) == profile.logit_diff.numel()
    row = frame[(frame.position == "prediction") & (frame.depth == 2) & (frame.pair == 1)]
    at = profile.positions.index("prediction")
    assert row["logit_diff"].item() == profile.logit_diff[at, 2, 1].item()
    profile.save(tmp_path / "p.safetensors")
    assert PatchProfile.load(tmp_path / "p.safetensors").to_frame().equals(frame)
    assert profile.plot().data


def test_the_crossing_of_a_profile_lies_between_its_depths(profile: PatchProfile) -> None:
    crossing = find_crossing(profile, n_resamples=100)
    assert crossing.verdict == "crossing"
    assert 0 < crossing.depth < profile.n_layers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [0, 99]}, "depths must lie between 0 and 3"),
        ({"depths": []}, "depths must lie"),
        ({"positions": ("middle",)}, "named input or prediction, got 'middle'"),
        ({"positions": ()}, "no position given"),
    ],
)
def test_bad_options_are_refused(
    trained: DepthModel, capitals: Task, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        patch_sweep(trained, capitals, **options)


def test_plain_prompts_are_refused(trained: DepthModel, tmp_path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt\nThe capital of France is\nThe capital of Spain is\n")
    with pytest.raises(ValueError, match="interventions need pairs"):
        patch_sweep(trained, load_task(str(path), trained))
